"""One timepoint as it is looked at: an event, and what the stores hold of those before it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

from remit.policy.compiled.values import key
from remit.policy.dogwood.ast import Path
from remit.policy.dogwood.history import Event, Exceeded
from remit.policy.dogwood.monitor.stores import NO_ROWS, Rows, Store
from remit.policy.dogwood.timepoints import ABSENT, Signature, field_of


class Body(Protocol):
    """What a store is about."""

    def rows(self, moment: Moment) -> Rows:
        """Its rows at a timepoint."""
        ...


class Moment:
    """The event is the last timepoint; the stores do not have it yet, and are not changed."""

    __slots__ = (
        "_bodies",
        "_keys",
        "_left",
        "_pending",
        "_work",
        "at",
        "changed",
        "event",
        "identity",
        "number",
        "stores",
    )

    def __init__(
        self,
        event: Event,
        number: int,
        stores: Sequence[Store],
        bodies: Sequence[Body],
        changed: Mapping[int, None],
        work: int,
    ) -> None:
        """`changed`: the stores that such an event can change; no other has rows at it."""
        self.at = event.at
        self.number = number
        self.identity: Signature = (event.type, event.action, event.kind)
        self.stores = stores
        self.event = event
        self._bodies = bodies
        self.changed = changed
        self._keys: dict[Path, Hashable] = {}
        self._pending: dict[int, Rows] = {}
        self._left = self._work = work

    def begin(self) -> None:
        """Begins to count rows anew."""
        self._left = self._work

    def field(self, path: Path) -> Hashable:
        """What the value of a field compares by; `None` where it is absent."""
        value = self.event.fields.get(path)
        if type(value) is str or type(value) is int:
            return value
        if path not in self._keys:
            value = field_of(self.event.fields, path)
            self._keys[path] = None if value is ABSENT else key(value)
        return self._keys[path]

    def pending(self, store: int) -> Rows:
        """The rows that a store's body has at this timepoint."""
        if store not in self.changed:
            return NO_ROWS
        found = self._pending.get(store)
        if found is None:
            found = self._pending[store] = self._bodies[store].rows(self)
        return found

    def work(self) -> None:
        """Counts one row that is looked at; `Exceeded` if that is too many."""
        self._left -= 1
        if self._left < 0:
            raise Exceeded(f"a temporal condition looked at more than {self._work} rows")

    @property
    def worked(self) -> int:
        """How many rows were looked at."""
        return self._work - self._left
