"""What a store is about, and when it has rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remit.policy.dogwood.monitor.forms import NONE, Group
from remit.policy.dogwood.monitor.moment import Moment
from remit.policy.dogwood.monitor.steps import About, Compiler, Find
from remit.policy.dogwood.monitor.stores import Last, Latest, Row, Rows, Runs, Store
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
    find: Find
    slots: int
    wanted: tuple[int, ...]  # the slots of the columns

    def rows(self, moment: Moment) -> Rows:
        """Its rows at a timepoint."""
        slots: list[Any] = [None] * self.slots
        found: Rows = {}
        for _ in self.find(slots, moment):
            row: Row = tuple([slots[slot] for slot in self.wanted])
            found[row] = None
        return found

    def store(self) -> Store:
        """An empty store for it."""
        if self.about.kind == "latest":
            return Latest(self.about.window, self.about.indexing.wanted)
        if self.about.kind == "last":
            return Last(self.about.indexing.wanted)
        return Runs()


def compiled(
    about: About,
    stores: list[About],
    key: str,
    identity: Signature | None,
    is_wide: bool,
    form: Group,
    columns: list[str],
) -> StoredBody:
    """The body of a store, whose members are in an order in which nothing needs to be bound before."""
    compiler = Compiler(stores)
    find = compiler.rows(form, NONE)
    wanted = tuple(compiler.slot(name) for name in columns)
    return StoredBody(about, key, identity, is_wide, find, len(compiler.slots), wanted)
