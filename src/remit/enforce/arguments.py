"""Arguments from a command line, `name=value`, typed by the action's JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from remit.core.errors import InvalidInput
from remit.enforce.frames import FrameError, strict_json

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


def read_arguments(pairs: Iterable[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that `pairs` give, each of the type that `schema` says; text where it says nothing.

    Objects and lists are given as JSON. Raises `InvalidInput` for a name that the schema does not have (where it has
    any), a name that stands twice, and a value that does not fit its type; nothing is guessed from the value.
    """
    properties = schema.get("properties")
    known: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise InvalidInput("param_invalid", f"`{pair[:80]}` is not of the form name=value")
        if name in arguments:
            raise InvalidInput("param_repeated", f"`{name[:80]}` is given twice")
        if known and name not in known:
            names = ", ".join(sorted(known))
            raise InvalidInput("param_unknown", f"the action has no argument `{name[:80]}`", f"it has: {names}")
        arguments[name] = _typed(name, text, _types(known.get(name)))
    return arguments


def _types(schema: Any) -> tuple[str, ...]:
    if not isinstance(schema, Mapping):
        return ("string",)
    said = schema.get("type")
    if isinstance(said, str):
        return (said,)
    if isinstance(said, list):
        return tuple(item for item in said if isinstance(item, str))
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        return tuple(name for option in options for name in _types(option))
    return ("string",)


def _typed(name: str, text: str, types: tuple[str, ...]) -> Any:
    # Text comes last, so that a value that is also of a narrower type of the schema has that type.
    for type_ in sorted(types, key=lambda item: item == "string"):
        fits, value = _as(type_, text)
        if fits:
            return value
    raise InvalidInput("param_invalid", f"`{name[:80]}` must be {' or '.join(types)}, not `{text[:80]}`")


def _as(type_: str, text: str) -> tuple[bool, Any]:
    if type_ == "string":
        return True, text
    if type_ == "boolean":
        return text in ("true", "false"), text == "true"
    if type_ == "null":
        return text == "null", None
    pattern = {"integer": _INTEGER, "number": _NUMBER}.get(type_)
    if pattern is not None and not pattern.fullmatch(text):
        return False, None
    try:
        value = strict_json(text.encode())
    except (FrameError, UnicodeEncodeError):
        return False, None
    kind = _KINDS.get(type_)
    return kind is not None and isinstance(value, kind), value
