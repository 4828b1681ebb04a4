"""Fulfilling obligations on a result. Unknown ones mean that nothing may be done.

What must be told is told by `remit.sdk.notifiers`, before the action. What a result must not show is done here, before
it is given on: `shape` removes fields, cuts lists and withholds what is too large or can't be looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from remit.core.decisions import Decision
from remit.core.obligations import KNOWN, LIMIT, REDACT, REPORT_FIRST, SELECT
from remit.sdk.permit import Refused

__all__ = ["KNOWN", "REDACT", "REPORT_FIRST", "SELECT", "Shaping", "check_known", "fields_of", "redact", "select"]

WITHHELD: Final = "result_withheld"


class Shaping(msgspec.Struct, frozen=True, kw_only=True):
    """What must be done to a result: fields to remove, the most elements of lists by path, the most bytes."""

    fields: tuple[str, ...] = ()
    items: Mapping[str, int] = {}
    bytes: int = 0

    @property
    def changes(self) -> bool:
        """Whether the result must be looked into."""
        return bool(self.fields or self.items)


def check_known(decision: Decision, known: frozenset[str] = KNOWN) -> None:
    """`Refused("obligation_unknown")` when the decision obliges to something that the caller can't do."""
    for obligation in decision.obligations:
        # SECURITY: a permit whose condition is not understood is no permit.
        if obligation.id not in known:
            raise Refused(
                "obligation_unknown",
                f"the permit obliges to `{obligation.id}`, which this enforcement point does not know",
                "update the enforcement point",
                decision,
            )


def fields_of(decision: Decision, id: str) -> tuple[str, ...]:
    """The fields that all obligations with this id name."""
    return tuple(field for obligation in decision.obligations if obligation.id == id for field in obligation.fields)


def shaping_of(decision: Decision) -> Shaping:
    """What a decision obliges to do to the result; of two limits the lower one."""
    items: dict[str, int] = {}
    size = 0
    for obligation in decision.obligations:
        if obligation.id == LIMIT:
            for path, most in obligation.items.items():
                items[path] = min(most, items.get(path, most))
            size = min(obligation.bytes or size, size or obligation.bytes)
    return Shaping(fields=fields_of(decision, REDACT), items=items, bytes=size)


def shape(value: Any, shaping: Shaping) -> Any:
    """A copy of `value` as it may be given on. `Refused("result_withheld")` where that can't be made.

    The bytes are those of the result as JSON, after fields were removed and lists were cut.
    """
    value = redact(value, shaping.fields)
    value = limit(value, shaping.items)
    if shaping.bytes:
        check_size(value, shaping.bytes)
    return value


def redact(value: Any, fields: Iterable[str]) -> Any:
    """A copy of `value` without the fields at these dotted paths; a path goes through every element of a list.

    `Refused("result_withheld")` when there are fields to remove and `value` is no JSON object or list of objects.
    """
    paths = [tuple(field.split(".")) for field in fields]
    if not paths:
        return value
    # SECURITY: what can't be looked into may hold what must not leave.
    if not _is_structured(value):
        raise Refused(WITHHELD, "the result has an unknown shape, and fields of it must be removed")
    return _without(value, paths)


def limit(value: Any, items: Mapping[str, int]) -> Any:
    """A copy of `value` with at most so many elements in the lists at these paths; "" is `value` itself.

    A path goes through every element of a list on its way. `Refused("result_withheld")` where something else than a
    list stands at a path, or `value` is neither an object nor a list.
    """
    for path, most in items.items():
        if not path:
            if not isinstance(value, list):
                raise Refused(WITHHELD, "the result is no list, and its elements are limited")
            value = value[:most]
            continue
        if not isinstance(value, dict | list):
            raise Refused(WITHHELD, "the result has an unknown shape, and lists in it are limited")
        value = _cut(value, tuple(path.split(".")), most)
    return value


def check_size(value: Any, most: int) -> None:
    """`Refused("result_withheld")` when `value` as JSON has more than `most` bytes, or is no JSON."""
    try:
        size = len(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        # SECURITY: what has no size that can be told may be larger than what may leave.
        raise Refused(WITHHELD, "the size of the result can't be told, and it is limited") from None
    if size > most:
        raise Refused(
            WITHHELD, f"the result has {size} bytes, and at most {most} may be given on", "ask for less of it"
        )


def select(value: Any, fields: Iterable[str]) -> dict[str, Any]:
    """The values at these dotted paths, by path; those that are missing or within lists are left out."""
    found: dict[str, Any] = {}
    for field in fields:
        node = value
        for step in field.split("."):
            node = node.get(step, _MISSING) if isinstance(node, dict) else _MISSING
        if isinstance(node, (str, int, float, bool)):
            found[field] = node
    return found


_MISSING: Final = object()


def _is_structured(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(_is_structured(item) for item in value))


def _without(value: Any, paths: list[tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        return [_without(item, paths) for item in value]
    if not isinstance(value, dict):
        # SECURITY: a path leads into this value, and it is no object: nothing of it leaves.
        return None
    gone = {path[0] for path in paths if len(path) == 1}
    result = {}
    for key, item in value.items():
        if key in gone:
            continue
        deeper = [path[1:] for path in paths if len(path) > 1 and path[0] == key]
        result[key] = _without(item, deeper) if deeper else item
    return result


def _cut(value: Any, path: tuple[str, ...], most: int) -> Any:
    if value is None:
        return None
    if not path:
        if not isinstance(value, list):
            raise Refused(WITHHELD, "a limited field of the result is no list")
        return value[:most]
    if isinstance(value, list):
        return [_cut(item, path, most) for item in value]
    if not isinstance(value, dict):
        raise Refused(WITHHELD, "a limited list can't be found: a value stands where an object was expected")
    return {key: _cut(item, path[1:], most) if key == path[0] else item for key, item in value.items()}
