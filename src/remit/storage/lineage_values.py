"""Which values of a record lineage knows, and what makes two of them the same (docs/design/lineage.md).

A value is a whole scalar: a parameter of a task, its prompt, an argument of a call, a field of a result that the
catalogue selects, the host that a call goes to; in lists and objects, each scalar below. Strings are trimmed (Unicode
white space) and normalised (NFC). A number is its decimal without exponent and without zeros that say nothing, also
where it came as a string: `120.5`, `120.50` and `1.205e+2` are one value, and `007` is a string. Truth values, null and
"" are none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from remit.ledger.commitments import opens, pointer
from remit.ledger.record import Record

MOST: Final = 256  # values of one record; a record with more says so
DEPTH: Final = 32
_PATH: Final = 512  # characters of a path; below a longer one, values have that of what they stand in
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,63})(?:\.[0-9]{1,64})?(?:e[+-][0-9]{1,3})?")
_EXPONENT: Final = 308

Openings = Mapping[str, tuple[bytes, bytes]]  # pointer: salt, canonical value


class Value(NamedTuple):
    """One value of a record, normalised; `is_personal` where only an opening holds it."""

    normal: str
    path: str  # JSON Pointer from the body
    is_personal: bool


class Values(NamedTuple):
    """The values of a record; `is_whole` unless there were more than are known of one."""

    values: list[Value]
    is_whole: bool


def normal(value: Any) -> str | None:
    """What stands for a scalar, or for a decimal as records write it; None for what is no value."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        value = repr(value)
    if not isinstance(value, str):
        return None
    # Before and after: what NFC makes of a string may begin or end with white space.
    text = unicodedata.normalize("NFC", value.strip()).strip()
    return (_decimal(text) if _NUMBER.fullmatch(text) else text) or None


def long(digest: str) -> str:
    """What stands for a string that the record holds as a digest only."""
    return f"sha256:{digest}"


def values_of(record: Record, openings: Openings) -> Values:
    """The values of a record in the order of its body, each path and value once."""
    found: dict[Value, None] = {}
    for part, at in _parts(record):
        for value in _below(part, at, openings, 0):
            if len(found) >= MOST:
                return Values(list(found), is_whole=False)
            found[value] = None
    return Values(list(found), is_whole=True)


def _parts(record: Record) -> Iterator[tuple[Any, str]]:
    body = record.body
    if record.kind == "task" and "intent" in body:
        yield body.get("params"), "/params"
        yield body.get("prompt"), "/prompt"
    elif record.kind == "decision" and "/" in str(body.get("action", "")):
        context = body.get("context")
        if isinstance(context, dict):
            yield context.get("input"), "/context/input"
            destination = context.get("destination")
            if isinstance(destination, dict):
                yield destination.get("host"), "/context/destination/host"
    elif record.kind == "outcome":
        yield body.get("selected"), "/selected"


def _below(node: Any, at: str, openings: Openings, depth: int) -> Iterator[Value]:
    if depth > DEPTH:
        return
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _below(item, _within(at, index), openings, depth + 1)
    elif isinstance(node, dict):
        yield from _object(node, at, openings, depth)
    elif (text := normal(node)) is not None:
        yield Value(text, at, is_personal=False)


def _object(node: dict[str, Any], at: str, openings: Openings, depth: int) -> Iterator[Value]:
    if node.keys() == {"commitment"}:
        yield from _opened(node, at, openings)
    elif node.keys() == {"literal"} and isinstance(node["literal"], dict):
        for key, item in node["literal"].items():
            yield from _below(item, _within(at, key), openings, depth + 1)
    elif node.keys() == {"__extn"} and isinstance(node["__extn"], dict):
        yield from _below(node["__extn"].get("arg"), at, openings, depth + 1)
    elif node.keys() == {"bytes", "sha256"} and isinstance(node["sha256"], str):
        yield Value(long(node["sha256"]), at, is_personal=False)
    else:
        for key, item in node.items():
            yield from _below(item, _within(at, key), openings, depth + 1)


def _opened(stand: dict[str, Any], at: str, openings: Openings) -> Iterator[Value]:
    kept = openings.get(at)
    if kept is None:
        return
    try:
        value = msgspec.json.decode(kept[1])
    except (ValueError, RecursionError):
        return
    # SECURITY: an opening that does not give the commitment was never in this record.
    if not opens(stand, kept[0], value):
        return
    # SECURITY: names inside a personal value may be personal too; all of it has the path of the commitment.
    for scalar in _scalars(value, 0):
        if (text := normal(scalar)) is not None:
            yield Value(text, at, is_personal=True)


def _scalars(value: Any, depth: int) -> Iterator[Any]:
    if depth > DEPTH:
        return
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _scalars(item, depth + 1)
    else:
        yield value


def _within(at: str, key: str | int) -> str:
    below = pointer(at, key)
    return below if len(below) <= _PATH else at


def _decimal(text: str) -> str:
    number = Decimal(text)
    if abs(number.adjusted()) > _EXPONENT:
        return text
    plain = f"{number:f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in ("-0", "") else plain
