"""JSON from strangers: bounded, and with one reading only (RFC 8259 section 4; RFC 8725 section 2.4)."""

from __future__ import annotations

import json
from typing import Any, Final

from remit.core import bounds
from remit.core.errors import InvalidInput


def json_object(data: bytes, *, most: int) -> dict[str, Any]:
    """The JSON object in `data`, of at most `most` bytes; `InvalidInput("json_invalid")` for anything else.

    Refused besides what is no JSON: a name that stands twice in one object, NaN and infinities, numbers of more
    digits than any clock or counter has, and more than `JSON_DEPTH` levels.
    """
    if len(data) > most:
        raise _invalid(f"the text is larger than {most} bytes")
    # Counting brackets gives an upper bound on the depth, before anything is built.
    if data.count(b"{") + data.count(b"[") > bounds.JSON_DEPTH and _depth(data) > bounds.JSON_DEPTH:
        raise _invalid(f"the text is nested deeper than {bounds.JSON_DEPTH} levels")
    try:
        value = _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _invalid("the text is not JSON with one reading") from None
    if not isinstance(value, dict):
        raise _invalid("the text is not a JSON object")
    return value


def _depth(data: bytes) -> int:
    """The deepest nesting, in one pass."""
    deepest = depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    # SECURITY: of two equal names one parser takes the first and another the last.
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _integer(digits: str) -> int:
    # A number too long to convert is refused before Python tries to.
    if len(digits) > 20:
        raise ValueError("a number is too long")
    return int(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("json_invalid", message)


_decoder: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_constant)
