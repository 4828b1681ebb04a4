"""What one session has shown up to a record: calls, labels, destinations, and which steps were completed.

A decision's facts about its session are a function of the records before it in the same stream, so that a verifier can
work them out again. What a step was asked and answered may be concealed; then it is not known which one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from remit.core.evaluations import Path
from remit.ledger.bodies import Decision, Outcome
from remit.ledger.concealed import known
from remit.ledger.configured import Step as Prerequisite

HIDDEN: Final = object()  # a value that is there and not known


@dataclass(frozen=True, slots=True)
class Completed:
    """One completed action: when, what it was asked, and which result fields were kept."""

    at: int
    input: Mapping[str, Any]
    hidden: frozenset[Path]  # of the input
    selected: Mapping[str, Any]


@dataclass(slots=True)
class _Index:
    """Completed actions by the values that one prerequisite compares."""

    seen: int = 0
    unsure: bool = False
    latest: dict[tuple[Any, ...], Completed] = field(default_factory=dict)


@dataclass(slots=True)
class History:
    """The facts of one session; `awaited` are the actions that some prerequisite waits for, None for all."""

    awaited: frozenset[str] | None
    calls: int = 0
    labels: set[str] = field(default_factory=set)
    destinations: set[str] = field(default_factory=set)
    untrusted: bool = False
    _asked: dict[str, tuple[str, Mapping[str, Any], frozenset[Path]]] = field(default_factory=dict)
    _completed: dict[str, list[Completed]] = field(default_factory=dict)
    _indexes: dict[tuple[str, ...], _Index] = field(default_factory=dict)

    def permitted(self, body: Decision) -> None:
        """Takes a permit."""
        self.calls += 1
        self.labels.update(body.adds.labels)
        self.untrusted = self.untrusted or body.adds.untrusted
        if body.adds.destination:
            self.destinations.add(body.adds.destination)
        if self.awaited is None or body.action in self.awaited:
            asked = body.context.get("input")
            self._asked[body.id] = (body.action, *known(asked if isinstance(asked, dict) else {}))

    def completed(self, body: Outcome, at: int) -> None:
        """Takes a believed response."""
        asked = self._asked.pop(body.decision, None)
        if asked is not None:
            action, arguments, hidden = asked
            self._completed.setdefault(action, []).append(Completed(at, arguments, hidden, body.selected))

    def latest(self, step: Prerequisite, wanted: tuple[Any, ...]) -> Completed | object | None:
        """The latest completed step with these values at its paths; None for none, `HIDDEN` where that is unsure."""
        steps = self._completed.get(step.done, [])
        index = self._indexes.setdefault((step.done, *step.where), _Index())
        for each in steps[index.seen :]:
            values = tuple(_value_at(each, path) for path in step.where)
            index.unsure = index.unsure or HIDDEN in values
            if None not in values:
                index.latest[values] = each
        index.seen = len(steps)
        return HIDDEN if index.unsure or HIDDEN in wanted else index.latest.get(wanted)


def scalar(value: Any) -> Any:
    """A comparable form of a scalar: type-exact, decimals by value; None for anything else."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int):
        return ("number", Decimal(value))
    if isinstance(value, str):
        return ("string", value)
    extension = value.get("__extn") if isinstance(value, dict) and value.keys() == {"__extn"} else None
    if isinstance(extension, dict) and extension.get("fn") == "decimal":
        try:
            return ("number", Decimal(extension["arg"]))
        except (ArithmeticError, KeyError, TypeError, ValueError):
            return None
    return None


def is_hidden(value: Any) -> bool:
    """Whether something stands for a value that is not known."""
    return isinstance(value, dict) and value.keys() in ({"commitment"}, {"bytes", "sha256"})


def _value_at(step: Completed, path: str) -> Any:
    side, _, rest = path.partition(".")
    if side == "output":
        value = step.selected.get(rest)
        return HIDDEN if is_hidden(value) else scalar(value)
    names = tuple(rest.split("."))
    if any(names[: len(hidden)] == hidden for hidden in step.hidden):
        return HIDDEN
    found: Any = step.input
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return scalar(found)
