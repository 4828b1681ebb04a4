"""What an intent may refer to: `params.<name>`, `done.<prerequisite>.<field>`, and literals.

Paths into arguments and results are `input.<path>` and `output.<path>`; steps are separated by dots.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from remit.tasks.amounts import canonical_decimal

_STEP = r"[A-Za-z0-9_$][A-Za-z0-9_$:@-]*"
_PATH = re.compile(rf"(input|output)\.({_STEP}(?:\.{_STEP})*)")
_PARAM = re.compile(r"params\.([A-Za-z0-9_]+)")
_DONE = re.compile(rf"done\.([a-z0-9-]+)\.({_STEP}(?:\.{_STEP})*)")
_TEXT = re.compile(r"'([^'\x00-\x1f\x7f]{0,256})'")

Kind = Literal["param", "done", "text", "number", "boolean"]


class Reference(NamedTuple):
    """A value by reference: `name` is the parameter or prerequisite, `field` the result field, or the literal."""

    kind: Kind
    name: str
    field: str = ""


def reference_of(text: str) -> Reference | None:
    """Reads a reference or a literal; None when it is neither."""
    if match := _PARAM.fullmatch(text):
        return Reference("param", match[1])
    if match := _DONE.fullmatch(text):
        return Reference("done", match[1], match[2])
    if match := _TEXT.fullmatch(text):
        return Reference("text", match[1])
    if text in ("true", "false"):
        return Reference("boolean", text)
    if (number := canonical_decimal(text)) is not None:
        return Reference("number", number)
    return None


def path_of(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The side (`input` or `output`) and the steps of a path; None when it is not one."""
    match = _PATH.fullmatch(text)
    return (match[1], tuple(match[2].split("."))) if match else None
