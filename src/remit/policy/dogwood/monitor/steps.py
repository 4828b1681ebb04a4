"""Forms as Python functions over slots, one a column: each finds the rows of a form at a timepoint.

`Check`: there is one row at most, and the columns that it binds are in their slots when it gives true.
`Find`: gives once for each row, with its columns in their slots.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Failed, call, key
from remit.policy.dogwood.ast import (
    ArrayTerm,
    Constant,
    DecimalTerm,
    EntityTerm,
    Predicate,
    Term,
    Tp,
    Var,
    Wildcard,
)
from remit.policy.dogwood.monitor.forms import (
    Absent,
    Break,
    Columns,
    Compared,
    Form,
    Group,
    Held,
    Lasting,
    Some,
    Tally,
    flat,
)
from remit.policy.dogwood.monitor.moment import Moment
from remit.policy.dogwood.monitor.schedule import arranged, binds, produced
from remit.policy.dogwood.monitor.stores import Row, key_at

Slots = list[Any]
Check = Callable[[Slots, Moment], bool]
Find = Callable[[Slots, Moment], Iterator[None]]
Value = Callable[[Slots, Moment], Any]
Step = tuple[Check | None, Find | None]  # one of them

_COMPARE: Final[dict[str, Callable[[int, int], bool]]] = {
    "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__,
}  # fmt: skip


@dataclass
class Indexing:
    """Which indexes the questions about a store need; each `(positions, summed)` once, by its number."""

    journal: list[Indexing]  # those of a layout, each as often as something was added
    wanted: list[tuple[tuple[int, ...], int | None]] = field(default_factory=list)

    def number(self, positions: Sequence[int], summed: int | None = None) -> int:
        """The number of this index."""
        wanted = (tuple(positions), summed)
        if wanted not in self.wanted:
            self.wanted.append(wanted)
            self.journal.append(self)
        return self.wanted.index(wanted)


@dataclass(frozen=True)
class About:
    """What steps know of a store."""

    kind: str  # "latest", "last" or "runs"
    window: int
    indexing: Indexing


class Compiler:
    """Makes the functions of one chain: a leaf's, or the body of a store."""

    def __init__(self, stores: Sequence[About]) -> None:
        self._stores = stores
        self.slots: dict[str, int] = {}

    def slot(self, name: str) -> int:
        """Where a column is."""
        return self.slots.setdefault(name, len(self.slots))

    def holds(self, group: Group, bound: Columns) -> Check:
        """Whether the group has a row."""
        steps = self._steps(group, bound)
        if all(check for check, _ in steps):
            return _all([check for check, _ in steps if check])
        found = _chain(steps)

        def holds(slots: Slots, moment: Moment) -> bool:
            return any(True for _ in found(slots, moment))

        return holds

    def rows(self, group: Group, bound: Columns) -> Find:
        """The rows of the group, perhaps some of them twice."""
        return _chain(self._steps(group, bound))

    def either(self, group: Group, bound: Columns) -> Step:
        """A check where the group can have one row at most, else its rows."""
        steps = self._steps(group, bound)
        if all(check for check, _ in steps):
            return _all([check for check, _ in steps if check]), None
        return None, _chain(steps)

    def _steps(self, group: Group, bound: Columns) -> list[Step]:
        order, stuck, _ = arranged(group.members, bound)
        if stuck:
            raise AssertionError("a chain was not arranged before")
        steps = []
        for form in order:
            steps.append(self._step(form, bound))
            bound |= produced(form, bound) or frozenset()
        return steps

    def _step(self, form: Form, bound: Columns) -> Step:
        match form:
            case Predicate():
                return self._predicate(form, bound), None
            case Tp(name):
                return self._timepoint(name, is_bound=name in bound), None
            case Compared():
                return self._comparison(form, bound), None
            case Absent(body):
                there = self.holds(body, bound)
                return (lambda slots, moment: not there(slots, moment)), None
            case Some(binders, body):
                if (produced(form, bound) or frozenset()) - set(binders) <= bound:
                    return self.holds(body, bound), None
                return None, self.rows(body, bound)
            case Held():
                return self._held(form, bound)
            case Lasting():
                return self._lasting(form, bound)

    # --- at this timepoint ----------------------------------------------------------------------------------

    def _predicate(self, form: Predicate, bound: Columns) -> Check:
        identity = (form.type, form.action, form.kind)
        there, equal, bind = [], [], []
        for argument in form.arguments:
            value = argument.value
            if isinstance(value, Wildcard):
                there.append(argument.path)
            elif isinstance(value, Var) and value.name not in bound:
                bind.append((argument.path, self.slot(value.name)))
                bound |= {value.name}
            else:
                equal.append((argument.path, self._value(value)))

        def matches(slots: Slots, moment: Moment) -> bool:
            if moment.identity != identity:
                return False
            for path in there:
                if moment.field(path) is None:
                    return False
            for path, slot in bind:
                found = moment.field(path)
                if found is None:
                    return False
                slots[slot] = found
            for path, value in equal:
                found = moment.field(path)
                if found is None or found != value(slots, moment):
                    return False
            return True

        return matches

    def _timepoint(self, name: str, *, is_bound: bool) -> Check:
        slot = self.slot(name)
        if is_bound:
            return lambda slots, moment: bool(slots[slot] == moment.number)

        def bind(slots: Slots, moment: Moment) -> bool:
            slots[slot] = moment.number
            return True

        return bind

    def _comparison(self, form: Compared, bound: Columns) -> Check:
        name = binds(form, bound)
        if name is not None:
            is_left = isinstance(form.left, Var) and form.left.name == name
            value, slot = self._operand(form.right if is_left else form.left, bound), self.slot(name)

            def bind(slots: Slots, moment: Moment) -> bool:
                slots[slot] = value(slots, moment)
                return slots[slot] is not None

            return bind
        left, right = self._operand(form.left, bound), self._operand(form.right, bound)
        if form.op in ("==", "!="):
            wanted = form.op == "=="

            def equal(slots: Slots, moment: Moment) -> bool:
                one, other = left(slots, moment), right(slots, moment)
                return one is not None and other is not None and (one == other) is wanted

            return equal
        compare = _COMPARE[form.op]

        def ordered(slots: Slots, moment: Moment) -> bool:
            one, other = left(slots, moment), right(slots, moment)
            return type(one) is int and type(other) is int and compare(one, other)

        return ordered

    def _operand(self, term: Term | Tally, bound: Columns) -> Value:
        return self._tally(term, bound) if isinstance(term, Tally) else self._value(term)

    def _value(self, term: Term) -> Value:
        match term:
            case Var(name):
                slot = self.slot(name)
                return lambda slots, _: slots[slot]
            case ArrayTerm(items):
                return _array([self._value(item) for item in items])
        constant = constant_of(term)
        return lambda _slots, _moment: constant

    # --- counting -------------------------------------------------------------------------------------------

    def _tally(self, tally: Tally, bound: Columns) -> Value:
        members = flat(tally.body.members)
        if len(members) == 1 and isinstance(members[0], Held) and self._is_running(members[0], tally, bound):
            return self._running(members[0], tally, bound)
        found = self.rows(tally.body, bound)
        row_of = self._row_of(tally.binders)
        summed = None if tally.summed is None else tally.binders.index(tally.summed)

        def count(slots: Slots, moment: Moment) -> int:
            rows = {row_of(slots) for _ in found(slots, moment)}
            if summed is None:
                return len(rows)
            return _clamped(sum(each for row in rows if type(each := row[summed]) is int))

        return count

    def _is_running(self, held: Held, tally: Tally, bound: Columns) -> bool:
        free = [name for name in held.columns if name not in bound]
        distinct = len(set(held.columns)) == len(held.columns)
        return self._stores[held.store].kind == "latest" and distinct and set(free) == set(tally.binders)

    def _running(self, held: Held, tally: Tally, bound: Columns) -> Value:
        """The number and the sum are kept, as rows come and leave the window."""
        about, number = self._stores[held.store], held.store
        positions = tuple(at for at, name in enumerate(held.columns) if name in bound)
        keyed, key_of = self._row_of([held.columns[at] for at in positions]), key_at(positions)
        summed = None if tally.summed is None else held.columns.index(tally.summed)
        index, window = about.indexing.number(positions, summed), about.window

        def count(slots: Slots, moment: Moment) -> int:
            store = moment.stores[number]
            wanted = keyed(slots)
            cutoff = moment.at - window
            rows, total = store.within(index, wanted, cutoff)  # type: ignore[union-attr]  # it is a `Latest`
            for row in moment.pending(number):
                if key_of(row) == wanted:
                    known = store.rows.get(row)
                    if known is None or known[1] < cutoff:  # type: ignore[index]
                        rows += 1
                        total += store.indexes[index].amount(row)  # type: ignore[union-attr]
            return rows if summed is None else _clamped(total)

        return count

    # --- in the stores --------------------------------------------------------------------------------------

    def _held(self, form: Held, bound: Columns) -> Step:
        if bound.issuperset(form.columns):
            return self._row(form), None
        return None, self._rows(form, bound)

    def _row(self, form: Held) -> Check:
        number, row_of = form.store, self._row_of(form.columns)
        about = self._stores[number]
        window = about.window
        if about.kind == "last":

            def was_there(slots: Slots, moment: Moment) -> bool:
                store = moment.stores[number]
                row = row_of(slots)
                return row in store.rows and store.at >= moment.at - window  # type: ignore[union-attr]

            return was_there

        def is_there(slots: Slots, moment: Moment) -> bool:
            row = row_of(slots)
            found: Any = moment.stores[number].rows.get(row)
            return (found is not None and found[1] >= moment.at - window) or row in moment.pending(number)

        return is_there

    def _rows(self, form: Held, bound: Columns) -> Find:
        enumerated = self._enumerated(form, bound)

        def rows(slots: Slots, moment: Moment) -> Iterator[None]:
            for _ in enumerated(slots, moment):
                yield

        return rows

    def _enumerated(self, form: Held, bound: Columns) -> Callable[[Slots, Moment], Iterator[int]]:
        """The numbers of the latest timepoints of the rows that agree with what is bound, the latest first."""
        about, number = self._stores[form.store], form.store
        positions = tuple(at for at, name in enumerate(form.columns) if name in bound)
        keyed, key_of = self._row_of([form.columns[at] for at in positions]), key_at(positions)
        free = [(at, self.slot(name)) for at, name in enumerate(form.columns) if name not in bound]
        index, window, is_last = about.indexing.number(positions), about.window, about.kind == "last"

        def enumerated(slots: Slots, moment: Moment) -> Iterator[int]:
            wanted = keyed(slots)
            cutoff = moment.at - window
            store: Any = moment.stores[number]
            if not is_last:
                for row in moment.pending(number):
                    if key_of(row) == wanted:
                        moment.work()
                        for at, slot in free:
                            slots[slot] = row[at]
                        yield moment.number
            bucket = store.indexes[index].buckets.get(wanted)
            for row in reversed(bucket.rows) if bucket else ():
                moment.work()
                stamp = (0, store.at) if is_last else store.rows[row]
                if stamp[1] < cutoff:
                    return
                for at, slot in free:
                    slots[slot] = row[at]
                yield stamp[0]

        return enumerated

    # --- since ----------------------------------------------------------------------------------------------

    def _lasting(self, form: Lasting, bound: Columns) -> Step:
        anchor = form.anchor
        known = bound | set(anchor.columns)
        unbroken = [self._unbroken(each, known) for each in form.breaks]
        if not bound.issuperset(anchor.columns):
            enumerated = self._enumerated(anchor, bound)

            def find(slots: Slots, moment: Moment) -> Iterator[None]:
                for then in enumerated(slots, moment):
                    if then == moment.number or all(each(slots, moment, then) for each in unbroken):
                        yield

            return None, find
        number, row_of, window = anchor.store, self._row_of(anchor.columns), self._stores[anchor.store].window

        def check(slots: Slots, moment: Moment) -> bool:
            row = row_of(slots)
            if row in moment.pending(number):
                return True
            stamp: Any = moment.stores[number].rows.get(row)
            if stamp is None or stamp[1] < moment.at - window:
                return False
            return all(each(slots, moment, stamp[0]) for each in unbroken)

        return check, None

    def _unbroken(self, each: Break, bound: Columns) -> Callable[[Slots, Moment, int], bool]:
        if each.held is None:
            holds = self.holds(each.filters, bound)
            return lambda slots, moment, then: holds(slots, moment)
        if each.is_run:
            return self._running_since(each.held)
        if not each.filters.members:
            return self._never_since(each.held)
        bound -= set(each.local)
        enumerated = self._enumerated(each.held, bound)
        passes = self.holds(each.filters, bound | set(each.held.columns))

        def never(slots: Slots, moment: Moment, then: int) -> bool:
            for number in enumerated(slots, moment):
                if number <= then:
                    return True
                if passes(slots, moment):
                    return False
            return True

        return never

    def _never_since(self, held: Held) -> Callable[[Slots, Moment, int], bool]:
        number, row_of = held.store, self._row_of(held.columns)

        def never(slots: Slots, moment: Moment, then: int) -> bool:
            row = row_of(slots)
            stamp: Any = moment.stores[number].rows.get(row)
            return (stamp is None or stamp[0] <= then) and row not in moment.pending(number)

        return never

    def _running_since(self, held: Held) -> Callable[[Slots, Moment, int], bool]:
        number, row_of = held.store, self._row_of(held.columns)

        def running(slots: Slots, moment: Moment, then: int) -> bool:
            row = row_of(slots)
            if row not in moment.pending(number):
                return False
            began: Any = moment.stores[number].rows.get(row, moment.number)
            return bool(began <= then + 1)

        return running

    def _row_of(self, names: Sequence[str]) -> Callable[[Slots], Row]:
        return key_at(tuple(map(self.slot, names)))


# --- functions of functions -------------------------------------------------------------------------------------


def _all(checks: Sequence[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def holds(slots: Slots, moment: Moment) -> bool:
        for check in checks:  # noqa: SIM110 - a generator costs as much as the checks
            if not check(slots, moment):
                return False
        return True

    return holds


def _chain(steps: Sequence[Step]) -> Find:
    found: Find = _once
    for check, find in reversed(steps):
        found = _checked(check, found) if check else _found(find, found)  # type: ignore[arg-type]  # one of them
    return found


def _once(_slots: Slots, _moment: Moment) -> Iterator[None]:
    yield


def _checked(check: Check, rest: Find) -> Find:
    def found(slots: Slots, moment: Moment) -> Iterator[None]:
        if check(slots, moment):
            yield from rest(slots, moment)

    return found


def _found(find: Find, rest: Find) -> Find:
    def found(slots: Slots, moment: Moment) -> Iterator[None]:
        for _ in find(slots, moment):
            yield from rest(slots, moment)

    return found


def _array(items: Sequence[Value]) -> Value:
    def array(slots: Slots, moment: Moment) -> Hashable:
        keys = [item(slots, moment) for item in items]
        return None if None in keys else ("set", frozenset(keys))

    return array


def _clamped(total: int) -> int:
    return max(LONG_MIN, min(LONG_MAX, total))


def constant_of(term: Term) -> Hashable:
    """The key of a term that reads nothing; `None` where it has no value."""
    match term:
        case Constant(value):
            return key(value)
        case EntityTerm(of, name):
            return key(Entity((of, name)))
        case DecimalTerm(text):
            try:
                return key(call("decimal", text))
            except Failed:
                return None
    return None
