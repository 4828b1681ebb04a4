"""The monitor: stores that follow the events of one history, and leaves that look into them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from typing import Any, Final

from remit.policy.dogwood.history import Event, Exceeded, Request
from remit.policy.dogwood.interpreter import Interpreter
from remit.policy.dogwood.monitor import snapshots
from remit.policy.dogwood.monitor.bodies import StoredBody
from remit.policy.dogwood.monitor.layout import LeafForm
from remit.policy.dogwood.monitor.moment import Moment
from remit.policy.dogwood.monitor.stores import Latest, Rows, Stamp, Store
from remit.policy.dogwood.timepoints import Signature

WORK_BOUND: Final = 200_000  # rows that one question or one event looks at


class Shared:
    """What the monitors of a plan share."""

    def __init__(self, digest: str, bodies: Sequence[StoredBody], leaves: Mapping[str, LeafForm]) -> None:
        self.digest = digest
        self.bodies = bodies
        self.leaves = leaves
        self.blank: Sequence[Store] = tuple(body.store() for body in bodies)
        # Those that any event changes, if only by not being one of theirs; and by event, all that it changes.
        self.always: dict[int, None] = {}
        for number, body in enumerate(bodies):
            if body.identity is None or body.about.kind != "latest":
                self.always[number] = None
        self.watching: dict[Signature, dict[int, None]] = {}
        for number, body in enumerate(bodies):
            if body.identity is not None and body.about.kind == "latest":
                self.watching.setdefault(body.identity, dict(self.always))[number] = None


class Watch:
    """A `Monitor` (`remit.policy.dogwood.history`). Not for use by several threads at once.

    `bound`: rows held by all stores, and events held by the interpreter. `steps`: rows looked at by the last call.
    """

    def __init__(self, shared: Shared, replayed: Interpreter | None, bound: int) -> None:
        self.steps = 0
        self._digest = shared.digest
        self._bodies = shared.bodies
        self._leaves = shared.leaves
        self._always = shared.always
        self._watching = shared.watching
        self._replayed = replayed
        self._bound = bound
        self._number = 0
        self._at: int | None = None
        # A store that holds nothing is the one that all histories share: most hold little of what policies watch.
        self._blank = shared.blank
        self._stores = list(shared.blank)
        self._held = 0
        self._looked_at: Moment | None = None  # a decision's own event is asked about, and then observed
        self._due: list[tuple[int, int]] = []  # a heap: until when nothing leaves the window of which store

    @property
    def size(self) -> int:
        """How many rows the stores hold."""
        return self._held

    def observe(self, event: Event) -> None:
        """Takes an event that happened. Raises `Exceeded` and changes nothing where the bound is reached."""
        moment = self._moment(event)
        rows: dict[int, Rows] = {}
        held = self._held
        for number in moment.changed:
            found = moment.pending(number)
            if found or self._stores[number] is not self._blank[number]:
                rows[number] = found
                held += len(found)
        self.steps = moment.worked
        if held > self._bound:
            self._check_bound(rows, event.at)
        if self._replayed is not None:
            self._replayed.observe(event)
        self._expire(event.at)
        stamp = (self._number, event.at)
        for number, found in rows.items():
            self._commit(number, found, stamp)
        self._number += 1
        self._at = event.at

    def evaluate(self, request: Request, event: Event, names: frozenset[str]) -> dict[str, bool]:
        """The leaves of these names at `event`, which is the decision's own and the last; changes nothing.

        Raises `Exceeded` where a bound is reached.
        """
        moment = self._moment(event)
        known: dict[int, Hashable] = {}
        found: dict[str, bool] = {}
        for name in names:
            leaf = self._leaves.get(name)
            if leaf is None:
                continue
            slots: list[Any] = [None] * leaf.slots
            for slot, number, read in leaf.parameters:
                if number not in known:
                    known[number] = read(request)
                slots[slot] = known[number]
            found[name] = leaf.holds(slots, moment)
        self.steps = moment.worked
        if others := names - found.keys():
            if self._replayed is None:
                raise KeyError(min(others))
            found |= self._replayed.evaluate(request, event, others)
        return found

    def dump(self) -> bytes:
        """The whole state; the same state gives the same bytes."""
        replayed = b"" if self._replayed is None else self._replayed.dump()
        stores = [(number, snapshots.form_of(store)) for number, store in enumerate(self._stores) if store.size]
        return snapshots.written(self._digest, self._number, self._at or 0, stores, replayed)

    def load(self, data: bytes) -> None:
        """Takes a state into a new monitor; `ValueError` for bytes that `dump` of this plan did not give."""
        number, at, forms, replayed = snapshots.read(data, self._digest)
        if replayed and self._replayed is None:
            raise ValueError("this is no stored state of a monitor")
        for which, form in snapshots.in_order(forms, len(self._bodies)):
            body = self._bodies[which]
            store = self._stores[which] = body.store()
            snapshots.fill(store, form, body.columns, number, at)
        if self._replayed is not None:
            self._replayed.load(replayed)
        self._number, self._at = number, at if number else None
        self._held = sum(store.size for store in self._stores)
        latest = ((store.due(), n) for n, store in enumerate(self._stores) if isinstance(store, Latest) and store.rows)
        self._due = sorted((due, number) for due, number in latest if due is not None)

    def _commit(self, number: int, rows: Rows, stamp: Stamp) -> None:
        store = self._stores[number]
        before = store.size
        if not rows and not before:
            return  # what it held has just left the window
        if not before:
            store = self._stores[number] = self._bodies[number].store()
            if isinstance(store, Latest):
                heappush(self._due, (stamp[1] + store.window, number))
        store.commit(rows, stamp)
        self._held += store.size - before
        if not store.size:
            self._stores[number] = self._blank[number]

    def _moment(self, event: Event) -> Moment:
        if self._at is not None and event.at < self._at:
            raise ValueError("an event of a history is earlier than the one before it")
        looked_at = self._looked_at
        if looked_at is None or looked_at.event is not event or looked_at.number != self._number:
            identity = (event.type, event.action, event.kind)
            changed = self._watching.get(identity, self._always)
            looked_at = self._looked_at = Moment(event, self._number, self._stores, self._bodies, changed, WORK_BOUND)
        looked_at.begin()
        return looked_at

    def _check_bound(self, rows: Mapping[int, Rows], now: int) -> None:
        held = self.size
        for number, found in rows.items():
            store = self._stores[number]
            held += store.added(found) if isinstance(store, Latest) else len(found) - store.size
        over = held - self._bound
        for store in self._stores:
            if over > 0 and isinstance(store, Latest):
                over -= store.leaving(now, over)
        if over > 0:
            raise Exceeded(f"the state of a history's temporal conditions is more than {self._bound} rows")

    def _expire(self, now: int) -> None:
        while self._due and self._due[0][0] < now:
            number = self._due[0][1]
            store = self._stores[number]
            self._held -= store.expire(now)  # type: ignore[union-attr]  # it is a `Latest`
            due = store.due()  # type: ignore[union-attr]
            if due is None:
                heappop(self._due)
                self._stores[number] = self._blank[number]
            else:
                heapreplace(self._due, (due, number))
