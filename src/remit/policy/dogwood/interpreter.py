"""Leaves evaluated directly over the events that their windows need: exact, and slower the more events those hold.

It is what incremental monitors are compared with, and answers for leaves that have no incremental form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.extent import layout_of, reach_of
from remit.policy.dogwood.history import Event, Request
from remit.policy.dogwood.relations import Preparation, Run
from remit.policy.dogwood.stored import text
from remit.policy.dogwood.timepoints import Timepoints
from remit.policy.dogwood.witnesses import REQUEST_ID, Explanation, Part

EVENTS_BOUND: Final = 10_000
WORK_BOUND: Final = 200_000
_VERSION: Final = 1


class Interpreter:
    """A `Monitor` of these leaves over one history.

    It keeps at most `events_bound` events, and one call of `evaluate` takes at most `work_bound` steps, of about a
    microsecond each. Not for use by several threads at once.
    """

    def __init__(self, leaves: Iterable[Leaf], events_bound: int = EVENTS_BOUND, work_bound: int = WORK_BOUND) -> None:
        conditions = {leaf.name: leaf.condition for leaf in leaves}
        named = layout_of(conditions.values())
        # The id of the request says which decision a witness was.
        layout = {signature: tuple(sorted({*paths, REQUEST_ID})) for signature, paths in named.items()}
        preparation = Preparation(layout)
        reach = max(map(reach_of, conditions.values()), default=0)
        self._nodes = {name: preparation.node(condition) for name, condition in conditions.items()}
        self._history = Timepoints(layout, reach, events_bound)
        self._work_bound = work_bound
        self._signatures = tuple(sorted(layout))
        self._id_places = tuple(layout[signature].index(REQUEST_ID) for signature in self._signatures)
        self.digest = _digest([reach, sorted([signature, paths] for signature, paths in layout.items())])

    def observe(self, event: Event) -> None:
        """Takes an event that happened. Raises `Exceeded` and changes nothing where the bound is reached."""
        self._history.append(event)

    def evaluate(self, request: Request, event: Event, names: frozenset[str]) -> dict[str, bool]:
        """The leaves of these names at `event`, which is the decision's own and the last; changes nothing.

        Raises `Exceeded` where a bound is reached.
        """
        at = self._history.push(event)
        try:
            run = Run(self._history, request, self._work_bound)
            return {name: self._nodes[name].holds(run, at, {}) for name in sorted(names)}
        finally:
            self._history.pop()

    def explain(self, request: Request, event: Event, name: str) -> Part:
        """Why the leaf of this name holds at `event`, or does not: all its parts that were looked at; changes nothing.

        Raises `Exceeded` where a bound is reached.
        """
        at = self._history.push(event)
        try:
            run = Run(self._history, request, self._work_bound)
            return Explanation(run, self._signatures, self._id_places).part(self._nodes[name], at, {})
        finally:
            self._history.pop()

    def dump(self) -> bytes:
        """The whole state; the same state gives the same bytes."""
        return text([_VERSION, self.digest, self._history.form()]).encode()

    def load(self, state: bytes) -> None:
        """Takes a state into a new interpreter; `ValueError` if other conditions dumped it, or nothing did."""
        try:
            form = json.loads(state)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError("this is no stored history") from error
        match form:
            case [version, digest, history] if version == _VERSION:
                # Other conditions may look further back, or at other fields.
                if digest != self.digest:
                    raise ValueError("the stored history is one of other conditions: rebuild it from the events")
                self._history.fill(history)
            case _:
                raise ValueError("this is no stored history")

    @classmethod
    def restore(
        cls, leaves: Iterable[Leaf], state: bytes, events_bound: int = EVENTS_BOUND, work_bound: int = WORK_BOUND
    ) -> Interpreter:
        """The interpreter that `dump` wrote down; `ValueError` as `load`."""
        made = cls(leaves, events_bound, work_bound)
        made.load(state)
        return made


class Interpretation:
    """A `Plan` of leaves (`remit.policy.dogwood.temporal`) whose histories are interpreters."""

    def __init__(self, leaves: Iterable[Leaf], events_bound: int = EVENTS_BOUND, work_bound: int = WORK_BOUND) -> None:
        self._leaves = tuple(leaves)
        self._bounds = (events_bound, work_bound)
        self.digest = self.start().digest

    def start(self) -> Interpreter:
        """The state of a history in which nothing happened."""
        return Interpreter(self._leaves, *self._bounds)

    def restore(self, data: bytes) -> Interpreter:
        """The state that was dumped; `ValueError` where it is not one of this plan."""
        return Interpreter.restore(self._leaves, data, *self._bounds)


def _digest(form: Any) -> str:
    return hashlib.sha256(text(form).encode()).hexdigest()
