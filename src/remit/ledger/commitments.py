"""What stands in a record in place of personal values and long strings (docs/design/records.md, Commitments)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from remit.core import bounds, canonical
from remit.core.errors import InvalidInput, Unavailable

# JSON Pointer (RFC 6901) from the root of the record's body, salt, value: kept beside the record, never in it.
Opening = tuple[str, bytes, Any]

SALT_BYTES: Final = 16
_SURELY_SHORT: Final = bounds.STRING_IN_RECORD // 4  # characters: UTF-8 needs at most 4 bytes for one
_LONG_STRING: Final = {"bytes", "sha256"}


class _Stand(dict[str, Any]):
    """An object that concealing itself put in place of a value."""


def conceal(
    tree: dict[str, Any], personal: Iterable[str], salts: Callable[[], bytes], at: str = ""
) -> tuple[dict[str, Any], list[Opening]]:
    """`tree` as a record may hold it, and the openings of what was concealed.

    Values at the dotted paths `personal` become `{"commitment": hex}`, strings over 1 KiB `{"sha256", "bytes"}`,
    floating-point numbers decimal strings, and a caller's look-alikes of these `{"literal": …}`. A path also reaches
    into the elements of lists and matches keys that contain dots. `at` is the JSON Pointer of `tree` in the record's
    body. `salts` gives at least 16 fresh random bytes a call. Nothing is changed in place: a tree without such
    values comes back as it is. Raises `InvalidInput` for numbers that are not finite and for too deep a tree.
    """
    openings: list[Opening] = []
    try:
        # The shorter path first: what stands below it is concealed with it.
        for path in sorted(personal, key=len):
            tree = _conceal_at(tree, path.split("."), at, salts, openings)
        return _plain_object(tree, inner=bool(at)), openings
    except RecursionError:
        raise InvalidInput("record_invalid", "the values to record are nested too deeply") from None


def reveal(tree: dict[str, Any], openings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A recorded body with each (pointer, value) put back and `literal` objects unwrapped.

    Erased values stay commitments, long strings digests. A pointer that leads to no commitment raises `InvalidInput`:
    the opening is not of this record. Nothing is changed in place.
    """
    given = dict(openings)
    used: set[str] = set()
    revealed = {key: _reveal(value, pointer("", key), given, used) for key, value in tree.items()}
    if len(used) != len(given):
        missing = next(path for path in given if path not in used)
        raise InvalidInput("opening_misplaced", f"there is no commitment at `{missing}` in this record")
    return revealed


def opens(stand: Any, salt: bytes, value: Any) -> bool:
    """Whether `stand`, as it is in a record, commits to this value under this salt."""
    return bool(stand == {"commitment": canonical.commitment(salt, value)})


def pointer(at: str, key: str | int) -> str:
    """The JSON Pointer of a key or index below `at` (RFC 6901, 3)."""
    return f"{at}/{key}" if isinstance(key, int) else f"{at}/{key.replace('~', '~0').replace('/', '~1')}"


def _conceal_at(node: Any, steps: Sequence[str], at: str, salts: Callable[[], bytes], openings: list[Opening]) -> Any:
    if type(node) is list or type(node) is tuple:
        items = [_conceal_at(item, steps, pointer(at, i), salts, openings) for i, item in enumerate(node)]
        return items if any(new is not old for new, old in zip(items, node, strict=True)) else node
    if type(node) is not dict:
        return node
    for taken in range(1, len(steps) + 1):
        key = ".".join(steps[:taken])
        if key not in node:
            continue
        below, rest = node[key], steps[taken:]
        if type(below) is _Stand:
            continue
        where = pointer(at, key)
        new = _conceal_at(below, rest, where, salts, openings) if rest else _commit(below, where, salts, openings)
        if new is not below:
            node = {**node, key: new}
    return node


def _commit(value: Any, at: str, salts: Callable[[], bytes], openings: list[Opening]) -> _Stand:
    salt = salts()
    if len(salt) < SALT_BYTES:
        # SECURITY: under a short salt the value can be found by trying.
        raise Unavailable("salt_too_short", f"a salt of {len(salt)} bytes is under {SALT_BYTES}")
    try:
        stand = _Stand(commitment=canonical.commitment(salt, value))
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput("record_invalid", f"the value at `{at}` can't be recorded") from None
    openings.append((at, salt, value))
    return stand


def _plain(value: Any) -> Any:
    """A value without long strings, floating-point numbers and look-alikes; itself when it has none."""
    kind = type(value)
    if kind is str:
        return _long_string(value) if len(value) > _SURELY_SHORT else value
    if kind is dict:
        return _plain_object(value, inner=True)
    if kind is list or kind is tuple:
        items = [_plain(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if kind is float:
        if not math.isfinite(value):
            raise InvalidInput("record_invalid", "a number that is not finite can't be recorded")
        return repr(value)
    return value


def _plain_object(value: dict[str, Any], inner: bool = False) -> dict[str, Any]:
    changed: dict[str, Any] | None = None
    for key, old in value.items():
        kind = type(old)
        if kind is str:
            if len(old) <= _SURELY_SHORT:
                continue
            new = _long_string(old)
        elif kind is bool or kind is int:
            continue
        else:
            new = _plain(old)
        if new is not old:
            if changed is None:
                changed = dict(value)
            changed[key] = new
    plain = value if changed is None else changed
    # SECURITY: a caller's object must not pass for a commitment or a digest that Remit made.
    if inner and len(value) <= 2 and _looks_concealed(value):
        return _Stand(literal=plain)
    return plain


def _looks_concealed(value: Mapping[str, Any]) -> bool:
    keys = value.keys()
    return keys == {"commitment"} or keys == {"literal"} or keys == _LONG_STRING


def _long_string(value: str) -> Any:
    if len(value) <= bounds.STRING_IN_RECORD and value.isascii():
        return value
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("record_invalid", "a string is not valid Unicode") from None
    if len(data) <= bounds.STRING_IN_RECORD:
        return value
    return _Stand(bytes=len(data), sha256=canonical.sha256(data))


def _reveal(node: Any, at: str, given: Mapping[str, Any], used: set[str]) -> Any:
    if isinstance(node, list):
        return [_reveal(item, pointer(at, i), given, used) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        if "literal" in node and isinstance(node["literal"], dict):
            # What stands in a literal object was sent as it is; only what is below it may be concealed.
            return {key: _reveal(value, pointer(at, key), given, used) for key, value in node["literal"].items()}
        if "commitment" in node and at in given:
            used.add(at)
            return given[at]
    return {key: _reveal(value, pointer(at, key), given, used) for key, value in node.items()}
