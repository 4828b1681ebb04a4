"""The stores that leaves need, and the leaves as chains that look rows up in them.

The body of a temporal operator is evaluated once, at its own event, when nothing of a later request is known. So each
parameter is a column there, which fields of predicates bind (`input.user: context.input.user` keeps a row for each
user). What no field binds, a comparison such as `amount > context.input.limit`, waits until the question, which is
exact where it says the same at every timepoint; its columns are kept until then. All other columns are projected away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from remit.policy.dogwood.ast import (
    And,
    Comparison,
    Condition,
    Count,
    Exists,
    Formerly,
    Leaf,
    Not,
    Predicate,
    Previous,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Window,
)
from remit.policy.dogwood.extent import conditions
from remit.policy.dogwood.monitor.bodies import StoredBody
from remit.policy.dogwood.monitor.forms import (
    NONE,
    Absent,
    Break,
    Columns,
    Compared,
    Form,
    Group,
    Held,
    Lasting,
    Replayed,
    Some,
    Tally,
    columns,
    flat,
    is_parameter,
    stores,
)
from remit.policy.dogwood.monitor.parameters import Parameters, Read, reader, uses
from remit.policy.dogwood.monitor.renaming import canonical
from remit.policy.dogwood.monitor.schedule import arranged, produced
from remit.policy.dogwood.monitor.steps import About, Check, Compiler, Indexing
from remit.policy.dogwood.monitor.stores import key_at
from remit.policy.dogwood.timepoints import Signature

Tallied = Term | Tally


class Layout:
    """Grows with each leaf; the same body is one store, whoever asks."""

    def __init__(self) -> None:
        self.parameters = Parameters()
        self.bodies: list[StoredBody] = []
        self._abouts: list[About] = []
        self._numbers: dict[str, int] = {}
        self._indexed: list[Indexing] = []

    def leaf(self, leaf: Leaf) -> LeafForm:
        """A leaf over the stores; `Replayed` if it has no incremental form, and then nothing was added."""
        stores, indexed = len(self.bodies), len(self._indexed)
        condition = self.parameters.named(leaf.condition, {})
        try:
            lowering = _Lowering(self, uses(condition))
            return self._compiled(Group(tuple(lowering.members(condition))), lowering.kept)
        except Replayed:
            self._forget(stores, indexed)
            raise

    def _forget(self, stores: int, indexed: int) -> None:
        for indexing in self._indexed[indexed:]:
            indexing.wanted.pop()
        for body in self.bodies[stores:]:
            del self._numbers[body.key]
        del self._indexed[indexed:], self.bodies[stores:], self._abouts[stores:]

    def _compiled(self, group: Group, kept: Sequence[tuple[str, Window, list[str]]]) -> LeafForm:
        read = sorted(name for name in _parameters(group))
        bound = frozenset(read)
        if arranged(group.members, bound)[1]:
            raise Replayed("something in it is known only once something else in it is")
        compiler = Compiler(self._abouts)
        holds = compiler.holds(group, bound)
        terms = {name: term for term, name in self.parameters.terms.items()}
        parameters = [(compiler.slot(name), int(name[1:]), reader(terms[name])) for name in read]
        told = tuple(self._told(terms, *each) for each in kept)
        return LeafForm(holds, len(compiler.slots), tuple(parameters), self.reached(stores(group)), told)

    def _told(self, terms: Mapping[str, Term], kind: str, window: Window, names: Sequence[str]) -> Kept:
        values = [terms[name] if is_parameter(name) else Var(name.partition("%")[0]) for name in names]
        timepoints = [name for name in names if name in self.parameters.timepoints]
        others = [value for name, value in zip(names, values, strict=True) if name not in timepoints]
        return Kept(kind, window, tuple(others), bool(timepoints))

    def store(self, kind: str, window: int, body: Sequence[Form], names: Sequence[str], *, is_wide: bool) -> Held:
        """The rows of a body, kept in a store of this kind."""
        form, ordered = canonical(body, names)
        key = repr((kind, window, form, ordered))
        number = self._numbers.get(key)
        if number is None:
            compiler = Compiler(self._abouts)
            find = compiler.either(Group(form), NONE)
            row = key_at(tuple(map(compiler.slot, ordered)))
            about = About(kind, window, Indexing(self._indexed))
            reads = self.reached(stores(Group(form)))
            number = self._numbers[key] = len(self.bodies)
            self._abouts.append(about)
            self.bodies.append(
                StoredBody(about, key, _identity(form), is_wide, reads, find, len(compiler.slots), len(ordered), row)
            )
        return Held(number, tuple(names))

    def reached(self, numbers: Iterable[int]) -> frozenset[int]:
        """These stores and those that they look into."""
        found = frozenset(numbers)
        return found.union(*(self.bodies[number].reads for number in found))

    def about(self, held: Held) -> StoredBody:
        """What a store is about."""
        return self.bodies[held.store]


@dataclass(frozen=True)
class Kept:
    """What a temporal operator of a leaf keeps: a row for each different value of these, in the author's terms."""

    kind: str  # of the store: "latest", "last", "runs"
    window: Window
    values: tuple[Term, ...]  # what the request is asked for, and variables
    is_each: bool  # each timepoint is a row of its own


@dataclass(frozen=True)
class LeafForm:
    """A leaf as it is asked."""

    holds: Check
    slots: int
    parameters: tuple[tuple[int, int, Read], ...]  # the slot of each, its number, and how it is read of a request
    stores: frozenset[int]
    kept: tuple[Kept, ...]


class _Lowering:
    """One leaf: its members over stores. `total`: how often each column is read in all of it."""

    def __init__(self, layout: Layout, total: Counter[str]) -> None:
        self._layout = layout
        self._total = total
        self.kept: list[tuple[str, Window, list[str]]] = []

    def members(self, condition: Condition) -> list[Form]:
        match condition:
            case Predicate() | Tp():
                return [condition]
            case And(left, right):
                return self.members(left) + self.members(right)
            case Comparison(op, left, right):
                return [Compared(op, self._operand(left), self._operand(right))]
            case Not(body):
                return [Absent(Group(tuple(self.members(body))))]
            case Exists(binder, body):
                return [Some((binder.name,), Group(tuple(self.members(body))))]
            case Formerly(window, body):
                return self._stored("latest", window, body)
            case Previous(window, body):
                return self._stored("last", window, body)
            case Since(left, window, right):
                return self._since(left, window, right)

    def _operand(self, term: Term) -> Tallied:
        if not isinstance(term, Count | Sum):
            return term
        body = Group(tuple(self.members(term.body)))
        return Tally(tuple(binder.name for binder in term.binders), getattr(term, "summed", None), body)

    def _stored(self, kind: str, window: Window, body: Condition) -> list[Form]:
        held, delayed, local = self._kept(kind, window, body)
        return _with(held, delayed, local)

    def _kept(self, kind: str, window: Window, body: Condition) -> tuple[Held, list[Form], tuple[str, ...]]:
        """The store of a body, what waits until the question, and the columns that are kept for that alone."""
        order, delayed, bound = _evaluated(flat(self.members(body)))
        inside = uses(body)
        outside = {name for name in bound if is_parameter(name) or self._total[name] > inside[name]}
        later = NONE.union(*map(columns, delayed))
        names = sorted(bound & (outside | later))
        self.kept.append((kind, window, names))
        held = self._layout.store(kind, window.ms, order, names, is_wide=self._is_wide(order, names))
        # What the delayed members bind or compare is of this operator alone, unless something else reads it too.
        local = {name for name in later if not is_parameter(name) and self._total[name] <= inside[name]}
        return held, delayed, tuple(sorted(local))

    def _is_wide(self, order: Sequence[Form], names: Sequence[str]) -> bool:
        bound: Columns = NONE
        wide: list[Columns] = []
        for form in order:
            made = produced(form, bound) or NONE
            if isinstance(form, Held | Lasting) and made - bound and self._is_many(form):
                wide.append(made)
            bound |= made
        if wide and (len(wide) > 1 or not wide[0].issuperset(names)):
            raise Replayed("it pairs what happened at one time with what happened at others")
        return bool(wide)

    def _is_many(self, form: Held | Lasting) -> bool:
        held = form.anchor if isinstance(form, Lasting) else form
        body = self._layout.about(held)
        return body.about.kind == "latest" or body.is_wide

    def _since(self, left: Condition, window: Window, right: Condition) -> list[Form]:
        anchor, delayed, local = self._kept("latest", window, right)
        breaks = tuple(self._break(each, window) for each in _conjuncts(left))
        return _with(Lasting(anchor, breaks), delayed, local)

    def _break(self, condition: Condition, window: Window) -> Break:
        if not _has_events(condition):
            return Break(None, filters=Group(tuple(self.members(condition))))
        is_negative = isinstance(condition, Not)
        body = condition.body if isinstance(condition, Not) else condition
        held, delayed, local = self._kept("latest" if is_negative else "runs", window, body)
        if delayed and not is_negative:
            raise Replayed("what must hold at every event compares it with the request")
        if delayed and self._layout.about(held).is_wide:
            raise Replayed("what must not happen compares what happened at several times with the request")
        return Break(held, is_run=not is_negative, filters=Group(tuple(delayed)), local=local)


def _with(form: Form, delayed: list[Form], local: tuple[str, ...]) -> list[Form]:
    if not delayed:
        return [form]
    group = Group((form, *delayed))
    return [Some(local, group)] if local else list(group.members)


def _evaluated(members: list[Form]) -> tuple[list[Form], list[Form], Columns]:
    """The members in order, and those that wait until the question."""
    order, stuck, bound = arranged(_possible(members), NONE)
    for each in stuck:
        if not _is_timeless(each):
            raise Replayed("it asks at each event for something of the request that no field of an event tells")
    return order, stuck, bound


def _possible(members: list[Form]) -> list[Form]:
    """Without `!` of another event than the one that this timepoint must be: it always holds."""
    events = {(each.type, each.action, each.kind) for each in members if isinstance(each, Predicate)}
    if not events:
        return members

    def is_void(form: Form) -> bool:
        if not isinstance(form, Absent):
            return False
        inner = {(each.type, each.action, each.kind) for each in flat(form.body.members) if isinstance(each, Predicate)}
        return bool(inner - events)

    return [each for each in members if not is_void(each)]


def _is_timeless(form: Form) -> bool:
    """Whether it says the same at every timepoint."""
    match form:
        case Compared(_, left, right):
            return not isinstance(left, Tally) and not isinstance(right, Tally)
        case Absent(body) | Some(_, body):
            return all(map(_is_timeless, body.members))
    return False


def _has_events(condition: Condition) -> bool:
    """Whether it can differ from one timepoint to another."""
    return any(isinstance(each, Predicate | Tp | Formerly | Previous | Since) for each in conditions(condition))


def _identity(members: Iterable[Form]) -> Signature | None:
    for each in members:
        if isinstance(each, Predicate):
            return each.type, each.action, each.kind
    return None


def _conjuncts(condition: Condition) -> list[Condition]:
    if isinstance(condition, And):
        return _conjuncts(condition.left) + _conjuncts(condition.right)
    if isinstance(condition, Not) and isinstance(condition.body, Not):
        return _conjuncts(condition.body.body)
    return [condition]


def _parameters(group: Group) -> Columns:
    return frozenset(name for name in columns(group) if is_parameter(name))
