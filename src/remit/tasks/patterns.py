"""Patterns of string parameters, matched in linear time.

The Rust `regex` engine does the matching: no input makes it backtrack, and look-around and back references, which
would need that, are refused when the intent is loaded. `\\d`, `\\w` mean ASCII, as in ECMA-262.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import jsonschema_rs

PATTERN_LENGTH: Final = 256
_COMPILED_BYTES: Final = 1024 * 1024


def pattern_problem(pattern: str) -> str:
    """What is wrong with `pattern`, or nothing."""
    if len(pattern) > PATTERN_LENGTH:
        return f"the pattern is longer than {PATTERN_LENGTH} characters"
    # SECURITY: on its own too, so that `a)|(b` does not slip out of the group that makes it a full match.
    if _compiled(pattern) is None or _compiled(_whole(pattern)) is None:
        return f"`{pattern}` is not a pattern that can be matched in linear time"
    return ""


def matches(pattern: str, value: str) -> bool:
    """Whether the whole of `value` matches; a bad pattern matches nothing."""
    compiled = _compiled(_whole(pattern))
    return compiled is not None and compiled.is_valid(value)


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> jsonschema_rs.Draft202012Validator | None:
    try:
        return jsonschema_rs.Draft202012Validator(
            {"type": "string", "pattern": pattern},
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_COMPILED_BYTES, dfa_size_limit=_COMPILED_BYTES),
        )
    except ValueError:
        return None
