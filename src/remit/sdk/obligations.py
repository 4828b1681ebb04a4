"""Obligations: what must be done with a permit. Unknown ones mean that nothing may be done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from remit.core.decisions import Decision
from remit.sdk.permit import Refused

REDACT: Final = "redact"  # remove these fields before the result leaves
SELECT: Final = "select"  # report these fields in the outcome
REPORT_FIRST: Final = "report_first"  # the outcome must be in order before the result leaves
KNOWN: Final = frozenset({REDACT, SELECT, REPORT_FIRST})


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


def redact(value: Any, fields: Iterable[str]) -> Any:
    """A copy of `value` without the fields at these dotted paths; a path goes through every element of a list.

    `Refused("result_withheld")` when there are fields to remove and `value` is no JSON object or list of objects.
    """
    paths = [tuple(field.split(".")) for field in fields]
    if not paths:
        return value
    # SECURITY: what can't be looked into may hold what must not leave.
    if not _is_structured(value):
        raise Refused("result_withheld", "the result has an unknown shape, and fields of it must be removed")
    return _without(value, paths)


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
