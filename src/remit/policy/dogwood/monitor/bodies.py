"""What a store is about, and when it has rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from remit.policy.dogwood.monitor.moment import Moment
from remit.policy.dogwood.monitor.steps import About, Step
from remit.policy.dogwood.monitor.stores import NO_ROWS, Last, Latest, Row, Rows, Runs, Store
from remit.policy.dogwood.timepoints import Signature


@dataclass(frozen=True)
class StoredBody:
    """The body of a temporal operator, evaluated at each event, with every parameter as a column.

    `identity`: the one event at which it has rows; `None` where any event could. `is_wide`: it can have more than one
    row at an event, all of them rows of another store.
    """

    about: About
    key: str  # the same for the same body, whatever its variables and parameters are called
    identity: Signature | None
    is_wide: bool
    reads: frozenset[int]  # the stores that it looks into, and those that they do
    find: Step
    slots: int
    columns: int
    row: Callable[[Sequence[Any]], Row]  # of the slots, what is kept

    def rows(self, moment: Moment) -> Rows:
        """Its rows at a timepoint."""
        slots: list[Any] = [None] * self.slots
        check, find = self.find
        if check is not None:
            return {self.row(slots): None} if check(slots, moment) else NO_ROWS
        found: Rows = {}
        for _ in find(slots, moment) if find else ():
            found[self.row(slots)] = None
        return found

    def store(self) -> Store:
        """An empty store for it."""
        if self.about.kind == "latest":
            return Latest(self.about.window, self.about.indexing.wanted)
        if self.about.kind == "last":
            return Last(self.about.indexing.wanted)
        return Runs()
