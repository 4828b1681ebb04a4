"""The meaning of temporal conditions, evaluated as it is written down (Dogwood guide, chapters 04 and 08).

A condition at a timepoint and under some bindings is a relation: rows that bind its other variables. It holds if there
is a row.

| condition | rows |
|---|---|
| predicate | one, if the event is this one and has all the fields, with these values; an absent one never matches |
| `tp(t)` | one, binding or checking the timepoint's number |
| `a == x`, x unbound | one, binding x; none if a has no value |
| other comparisons, `!φ` | one that binds nothing, or none |
| `φ && ψ` | those of φ, each with those of ψ under it |
| `formerly`, `previous` | those of the body at each timepoint in the window, at the one before |
| `φ since ψ` | those of ψ at a timepoint in the window, if φ holds under them at every later one |
| `exists (x: T). φ` | those of φ without x |

An operand has no value if it reads what the request lacks; then a comparison is false, also `!=`; `!` of it is true.
`==` is Cedar's (`1`, `"1"` and `true` differ; sets have no order; decimals compare by number), and `<` is for integers
alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from remit.policy.compiled.values import LONG_MAX, LONG_MIN, equal, key
from remit.policy.dogwood.ast import (
    And,
    Argument,
    Comparison,
    Condition,
    Count,
    Exists,
    Formerly,
    Not,
    Operator,
    Predicate,
    Previous,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Wildcard,
    Window,
)
from remit.policy.dogwood.history import Exceeded, Request
from remit.policy.dogwood.terms import free, value_of
from remit.policy.dogwood.timepoints import ABSENT, Layout, Signature, Timepoints

Bindings = Mapping[str, Any]

_NOTHING_BOUND: Final[Sequence[Bindings]] = ({},)
_NONE: Final[Sequence[Bindings]] = ()
_UNBOUND: Final = ("unbound",)


class Run:
    """One question: the request, the history with the request's own event as the last, and the work that is left."""

    def __init__(self, history: Timepoints, request: Request, work: int) -> None:
        self.history = history
        self.request = request
        self.known: dict[Hashable, Any] = {}
        self._bound = self._left = work

    def work(self, amount: int = 1) -> None:
        """Counts steps; `Exceeded` if that is too many."""
        self._left -= amount
        if self._left < 0:
            raise Exceeded(f"a temporal condition took more than {self._bound} steps")


def seen(bindings: Bindings, names: Iterable[str]) -> tuple[Hashable, ...]:
    """What two bindings share exactly if they say the same of these names."""
    return tuple(key(bindings[name]) if name in bindings else _UNBOUND for name in names)


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """A condition, prepared. `occurs`: at a timepoint of another signature it has no rows; None: at any it could."""

    condition: Condition
    free: frozenset[str]
    names: tuple[str, ...]  # the same, in order
    occurs: frozenset[int] | None = None

    def rows(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        """What it binds beyond the bindings, without doubles."""
        if all(name in bindings for name in self.names):
            return _NOTHING_BOUND if self.holds(run, at, bindings) else _NONE
        return self.found(run, at, bindings)

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        """Whether there is a row."""
        return bool(self.found(run, at, bindings))

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        """The rows, where something is not bound yet."""
        return _NOTHING_BOUND if self.holds(run, at, bindings) else _NONE

    def known(self, at: int, bindings: Bindings) -> Hashable:
        """What the answer depends on."""
        return self, at, *seen(bindings, self.names)


@dataclass(frozen=True, eq=False, kw_only=True)
class PredicateNode(Node):
    signature: int
    arguments: tuple[tuple[int, Term], ...]  # the field's place in the layout

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        run.work()
        if run.history.signature(at) != self.signature:
            return _NONE
        fields = run.history.fields(at)
        new: dict[str, Any] = {}
        for place, term in self.arguments:
            value = fields[place]
            if value is ABSENT:
                return _NONE
            if type(term) is Wildcard:
                continue
            if type(term) is Var and term.name not in bindings and term.name not in new:
                new[term.name] = value
                continue
            wanted = new[term.name] if type(term) is Var and term.name in new else value_of(term, run.request, bindings)
            if wanted is ABSENT or not equal(wanted, value):
                return _NONE
        return (new,)

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        return bool(self.found(run, at, bindings))


@dataclass(frozen=True, eq=False, kw_only=True)
class TpNode(Node):
    name: str

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        return self.name not in bindings or equal(bindings[self.name], at)

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        return ({self.name: at},)


@dataclass(frozen=True, eq=False, kw_only=True)
class Aggregate:
    """`count` or `sum`, prepared."""

    binders: tuple[str, ...]
    summed: int | None  # its place among the binders
    body: Node
    names: tuple[str, ...]  # the variables that it reads from outside

    def value(self, run: Run, at: int, bindings: Bindings) -> int:
        """How many rows, or their sum: exact, and at most as far from 0 as a Long goes."""
        known = (self, at, *seen(bindings, self.names))
        if known not in run.known:
            run.known[known] = self._value(run, at, bindings)
        value: int = run.known[known]
        return value

    def _value(self, run: Run, at: int, bindings: Bindings) -> int:
        outer = {name: value for name, value in bindings.items() if name not in self.binders}
        rows = self.body.rows(run, at, outer)
        run.work(len(rows))
        distinct = {seen(row, self.binders) for row in rows}
        if self.summed is None:
            return len(distinct)
        values = (row[self.summed] for row in distinct)
        return max(LONG_MIN, min(LONG_MAX, sum(value for value in values if type(value) is int)))


Operand = Term | Aggregate


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonNode(Node):
    op: Operator
    left: Operand
    right: Operand

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        if self._binds(bindings) is not None:
            return bool(self.found(run, at, bindings))
        left, right = operand_value(self.left, run, at, bindings), operand_value(self.right, run, at, bindings)
        if left is ABSENT or right is ABSENT:
            return False
        return _compare(self.op, left, right)

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        binding = self._binds(bindings)
        if binding is None:
            return _NOTHING_BOUND if self.holds(run, at, bindings) else _NONE
        name, other = binding
        value = operand_value(other, run, at, bindings)
        return _NONE if value is ABSENT else ({name: value},)

    def _binds(self, bindings: Bindings) -> tuple[str, Operand] | None:
        if self.op != "==":
            return None
        left = type(self.left) is Var and self.left.name not in bindings
        right = type(self.right) is Var and self.right.name not in bindings
        if left == right:
            return None
        variable, other = (self.left, self.right) if left else (self.right, self.left)
        return variable.name, other  # type: ignore[union-attr]  # one of them is a variable


def operand_value(operand: Operand, run: Run, at: int, bindings: Bindings) -> Any:
    """The value of an operand of a comparison; `ABSENT` without."""
    run.work()
    if isinstance(operand, Aggregate):
        return operand.value(run, at, bindings)
    return value_of(operand, run.request, bindings)


def _compare(op: Operator, left: Any, right: Any) -> bool:
    if op in ("==", "!="):
        return equal(left, right) is (op == "==")
    if type(left) is not int or type(right) is not int:
        return False
    match op:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
    return left >= right


@dataclass(frozen=True, eq=False, kw_only=True)
class AndNode(Node):
    left: Node
    right: Node

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        return any(self.right.holds(run, at, {**bindings, **row}) for row in self.left.rows(run, at, bindings))

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        made: list[Bindings] = []
        for row in self.left.rows(run, at, bindings):
            more = self.right.rows(run, at, {**bindings, **row})
            run.work(len(more))
            made.extend({**row, **each} for each in more)
        return made


@dataclass(frozen=True, eq=False, kw_only=True)
class NotNode(Node):
    body: Node

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        return not self.body.holds(run, at, bindings)


@dataclass(frozen=True, eq=False, kw_only=True)
class FormerlyNode(Node):
    window: Window
    body: Node

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        known = self.known(at, bindings)
        if known not in run.known:
            run.known[known] = any(self.body.holds(run, then, bindings) for then in self.timepoints(run, at))
        return bool(run.known[known])

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        known = ("rows", *seen(bindings, self.names), at, self)
        if known not in run.known:
            rows = (row for then in self.timepoints(run, at) for row in self.body.rows(run, then, bindings))
            run.known[known] = _distinct(run, rows, self.names)
        found: Sequence[Bindings] = run.known[known]
        return found

    def timepoints(self, run: Run, at: int) -> Iterator[int]:
        """Where the body could hold, the latest first."""
        first = run.history.since(run.history.at(at) - self.window.ms, at + 1)
        return _candidates(run, self.body, first, at)


@dataclass(frozen=True, eq=False, kw_only=True)
class PreviousNode(Node):
    window: Window
    body: Node

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        return self._is_within(run, at) and self.body.holds(run, at - 1, bindings)

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        return self.body.rows(run, at - 1, bindings) if self._is_within(run, at) else _NONE

    def _is_within(self, run: Run, at: int) -> bool:
        run.work()
        history = run.history
        return at > history.first and history.at(at) - history.at(at - 1) <= self.window.ms


@dataclass(frozen=True, eq=False, kw_only=True)
class SinceNode(Node):
    left: Node
    window: Window
    right: Node

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        known = self.known(at, bindings)
        if known not in run.known:
            run.known[known] = any(True for _ in self.anchors(run, at, bindings))
        return bool(run.known[known])

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        return _distinct(run, (row for _, row in self.anchors(run, at, bindings)), self.names)

    def anchors(self, run: Run, at: int, bindings: Bindings) -> Iterator[tuple[int, Bindings]]:
        """Each timepoint and row from which the left side held ever since, the latest first."""
        first = self.first(run, at)
        for then in self.timepoints(run, at):
            for row in self.right.rows(run, then, bindings):
                if then >= self.broken(run, first, at, {**bindings, **row}):
                    yield then, row

    def first(self, run: Run, at: int) -> int:
        """The first timepoint of the window."""
        return run.history.since(run.history.at(at) - self.window.ms, at + 1)

    def timepoints(self, run: Run, at: int) -> Iterator[int]:
        """Where the right side could hold, the latest first."""
        return _candidates(run, self.right, self.first(run, at), at)

    def broken(self, run: Run, first: int, at: int, bindings: Bindings) -> int:
        """The last timepoint after `first` at which the left side does not hold; `first` if it holds at all."""
        known = ("broken", *seen(bindings, self.left.names), first, at, self)
        if known not in run.known:
            run.known[known] = self._broken(run, first, at, bindings)
        number: int = run.known[known]
        return number

    def _broken(self, run: Run, first: int, at: int, bindings: Bindings) -> int:
        where: Iterable[int] = range(at, first, -1)
        if type(self.left) is NotNode:
            # Where what is negated can't hold, the left side does.
            where = _candidates(run, self.left.body, first + 1, at)
        for then in where:
            run.work()
            if not self.left.holds(run, then, bindings):
                return then
        return first


@dataclass(frozen=True, eq=False, kw_only=True)
class ExistsNode(Node):
    name: str
    body: Node

    def holds(self, run: Run, at: int, bindings: Bindings) -> bool:
        known = self.known(at, bindings)
        if known not in run.known:
            run.known[known] = self.body.holds(run, at, self._outer(bindings))
        return bool(run.known[known])

    def found(self, run: Run, at: int, bindings: Bindings) -> Sequence[Bindings]:
        rows = self.body.rows(run, at, self._outer(bindings))
        others = ({name: value for name, value in row.items() if name != self.name} for row in rows)
        return _distinct(run, others, self.names)

    def _outer(self, bindings: Bindings) -> Bindings:
        # A variable of the same name further out is another one.
        return {name: value for name, value in bindings.items() if name != self.name}


def _candidates(run: Run, node: Node, first: int, last: int) -> Iterator[int]:
    if node.occurs is None:
        return iter(range(last, first - 1, -1))
    return reversed(run.history.named(node.occurs, first, last))


def _distinct(run: Run, rows: Iterable[Bindings], names: Sequence[str]) -> Sequence[Bindings]:
    found: dict[Hashable, Bindings] = {}
    for row in rows:
        run.work()
        found.setdefault(seen(row, names), row)
    return tuple(found.values())


# --- preparing ------------------------------------------------------------------------------------------------


@dataclass
class Preparation:
    """Makes nodes of conditions, for histories of one layout."""

    layout: Layout
    signatures: Mapping[Signature, int] = field(init=False)

    def __post_init__(self) -> None:
        self.signatures = {signature: number for number, signature in enumerate(sorted(self.layout))}

    def node(self, condition: Condition) -> Node:
        """The condition, prepared."""
        names = free(condition)
        common: dict[str, Any] = {"condition": condition, "free": names, "names": tuple(sorted(names))}
        match condition:
            case Predicate(of, action, kind, arguments):
                signature = self.signatures[of, action, kind]
                common["occurs"] = frozenset({signature})
                return PredicateNode(
                    **common, signature=signature, arguments=self._arguments((of, action, kind), arguments)
                )
            case Tp(name):
                return TpNode(**common, name=name)
            case Comparison(op, left, right):
                return ComparisonNode(**common, op=op, left=self._operand(left), right=self._operand(right))
            case And(left_side, right_side):
                first, second = self.node(left_side), self.node(right_side)
                return AndNode(**common, occurs=_both(first, second), left=first, right=second)
            case Not(body):
                return NotNode(**common, body=self.node(body))
            case Formerly(window, body):
                return FormerlyNode(**common, window=window, body=self.node(body))
            case Previous(window, body):
                return PreviousNode(**common, window=window, body=self.node(body))
            case Since(left_side, window, right_side):
                return SinceNode(**common, left=self.node(left_side), window=window, right=self.node(right_side))
            case Exists(binder, body):
                inner = self.node(body)
                return ExistsNode(**common, occurs=inner.occurs, name=binder.name, body=inner)

    def _arguments(self, signature: Signature, arguments: Sequence[Argument]) -> tuple[tuple[int, Term], ...]:
        paths = list(self.layout[signature])
        return tuple((paths.index(argument.path), argument.value) for argument in arguments)

    def _operand(self, term: Term) -> Operand:
        if not isinstance(term, Count | Sum):
            return term
        binders = tuple(binder.name for binder in term.binders)
        summed = binders.index(term.summed) if isinstance(term, Sum) else None
        body = self.node(term.body)
        return Aggregate(binders=binders, summed=summed, body=body, names=tuple(sorted(body.free - set(binders))))


def _both(left: Node, right: Node) -> frozenset[int] | None:
    if left.occurs is None:
        return right.occurs
    return left.occurs if right.occurs is None else left.occurs & right.occurs
