"""Why a temporal condition holds or does not: each part with its value, where it was looked at, and its witnesses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from remit.policy.dogwood.ast import Comparison, Condition, Term
from remit.policy.dogwood.relations import (
    Aggregate,
    AndNode,
    Bindings,
    ComparisonNode,
    ExistsNode,
    FormerlyNode,
    Node,
    NotNode,
    Operand,
    PredicateNode,
    PreviousNode,
    Run,
    SinceNode,
    operand_value,
)
from remit.policy.dogwood.timepoints import ABSENT, Signature

WITNESSES: Final = 20  # named of one part
REQUEST_ID: Final = ("requestId",)


@dataclass(frozen=True, slots=True)
class Witness:
    """An event of the history. Of those that no predicate names, it is only known when they were."""

    number: int  # among all timepoints of the history, from 0
    at: int
    signature: Signature | None  # the action's type, its name, the kind of event
    request: str | None  # the `requestId`, if there is one
    is_decision: bool  # it is the event of the decision itself


@dataclass(frozen=True, slots=True)
class Compared:
    """An operand of a comparison: its value, None without one."""

    term: Term
    value: Any
    witnesses: tuple[Witness, ...] = ()  # of an aggregate


@dataclass(frozen=True, slots=True)
class Part:
    """A condition where it was looked at."""

    condition: Condition
    holds: bool
    where: Witness
    bindings: tuple[tuple[str, Any], ...]  # what its variables stood for
    witnesses: tuple[Witness, ...] = ()  # at most `WITNESSES`, the latest first; of one that does not hold, none
    operands: tuple[Compared, ...] = ()  # of a comparison
    parts: tuple[Part, ...] = ()  # those that say most about the value; a part that was not looked at is not there
    looked_at: int | None = None  # of `formerly` and `since`: at how many events in the window the body could hold


class Explanation:
    """Explains conditions at the last timepoint of a run."""

    def __init__(self, run: Run, signatures: tuple[Signature, ...], id_places: tuple[int, ...]) -> None:
        self._run = run
        self._signatures = signatures
        self._id_places = id_places
        self._decision = run.history.end - 1

    def part(self, node: Node, at: int, bindings: Bindings) -> Part:
        """The node at a timepoint, and what is within it."""
        self._run.work()
        holds = node.holds(self._run, at, bindings)
        parts, looked_at = self._parts(node, at, bindings, holds)
        found = self._witnesses(node, at, bindings) if holds else iter(())
        return Part(
            condition=node.condition,
            holds=holds,
            where=self._witness(at),
            bindings=tuple((name, bindings[name]) for name in node.names if name in bindings),
            witnesses=self._named(found),
            operands=self._operands(node, at, bindings),
            parts=parts,
            looked_at=looked_at,
        )

    def _parts(self, node: Node, at: int, bindings: Bindings, holds: bool) -> tuple[tuple[Part, ...], int | None]:
        run = self._run
        match node:
            case AndNode():
                return self._both(node, at, bindings), None
            case NotNode():
                return (self.part(node.body, at, bindings),), None
            case ExistsNode():
                return (self._some(node, at, bindings),), None
            case PreviousNode() if at > run.history.first:
                return (self.part(node.body, at - 1, bindings),), None
            case FormerlyNode():
                then = next((then for then in node.timepoints(run, at) if node.body.holds(run, then, bindings)), None)
                return self._at_one(node.body, then, node.timepoints(run, at), bindings)
            case SinceNode():
                return self._since(node, at, bindings)
        return (), None

    def _both(self, node: AndNode, at: int, bindings: Bindings) -> tuple[Part, ...]:
        rows = node.left.rows(self._run, at, bindings)
        if not rows:
            return (self.part(node.left, at, bindings),)
        good = (row for row in rows if node.right.holds(self._run, at, {**bindings, **row}))
        row = next(good, rows[0])
        under = {**bindings, **row}
        return self.part(node.left, at, under), self.part(node.right, at, under)

    def _some(self, node: ExistsNode, at: int, bindings: Bindings) -> Part:
        outer = {name: value for name, value in bindings.items() if name != node.name}
        rows = node.body.rows(self._run, at, outer)
        return self.part(node.body, at, {**outer, **rows[0]} if rows else outer)

    def _at_one(
        self, body: Node, then: int | None, where: Iterator[int], bindings: Bindings
    ) -> tuple[tuple[Part, ...], int]:
        """At the latest timepoint where it holds, else the latest where it could have."""
        could = list(where)
        if then is None and could:
            then = could[0]
        return (() if then is None else (self.part(body, then, bindings),)), len(could)

    def _since(self, node: SinceNode, at: int, bindings: Bindings) -> tuple[tuple[Part, ...], int]:
        run = self._run
        anchor = next(node.anchors(run, at, bindings), None)
        if anchor is not None:
            then, row = anchor
            return (self.part(node.right, then, {**bindings, **row}),), len(list(node.timepoints(run, at)))
        could = list(node.timepoints(run, at))
        held = next((then for then in could if node.right.holds(run, then, bindings)), None)
        if held is None:
            return self._at_one(node.right, None, iter(could), bindings)
        under = {**bindings, **node.right.rows(run, held, bindings)[0]}
        broken = node.broken(run, node.first(run, at), at, under)
        return (self.part(node.right, held, under), self.part(node.left, broken, under)), len(could)

    def _operands(self, node: Node, at: int, bindings: Bindings) -> tuple[Compared, ...]:
        match node, node.condition:
            case ComparisonNode(), Comparison(_, left, right):
                sides = ((left, node.left), (right, node.right))
                return tuple(self._operand(term, operand, at, bindings) for term, operand in sides)
        return ()

    def _operand(self, term: Term, operand: Operand, at: int, bindings: Bindings) -> Compared:
        value = operand_value(operand, self._run, at, bindings)
        if not isinstance(operand, Aggregate):
            return Compared(term, value)
        outer = {name: each for name, each in bindings.items() if name not in operand.binders}
        return Compared(term, value, self._named(self._witnesses(operand.body, at, outer)))

    # --- witnesses ---

    def _witnesses(self, node: Node, at: int, bindings: Bindings) -> Iterator[int]:
        """The events that predicates in it matched, in what makes it hold; not those under a negation."""
        run = self._run
        run.work()
        match node:
            case PredicateNode():
                if node.holds(run, at, bindings):
                    yield at
            case AndNode():
                for row in node.rows(run, at, bindings):
                    under = {**bindings, **row}
                    yield from self._witnesses(node.left, at, under)
                    yield from self._witnesses(node.right, at, under)
            case FormerlyNode():
                for then in node.timepoints(run, at):
                    yield from self._witnesses(node.body, then, bindings)
            case PreviousNode():
                if node.holds(run, at, bindings):
                    yield from self._witnesses(node.body, at - 1, bindings)
            case SinceNode():
                for then, row in node.anchors(run, at, bindings):
                    yield from self._witnesses(node.right, then, {**bindings, **row})
            case ExistsNode():
                outer = {name: value for name, value in bindings.items() if name != node.name}
                for row in node.body.rows(run, at, outer):
                    yield from self._witnesses(node.body, at, {**outer, **row})
            case ComparisonNode():
                for operand in (node.left, node.right):
                    if isinstance(operand, Aggregate):
                        outer = {name: value for name, value in bindings.items() if name not in operand.binders}
                        yield from self._witnesses(operand.body, at, outer)

    def _named(self, found: Iterator[int]) -> tuple[Witness, ...]:
        distinct: dict[int, None] = {}
        for number in found:
            distinct.setdefault(number)
            if len(distinct) == WITNESSES:
                break
        return tuple(map(self._witness, sorted(distinct, reverse=True)))

    def _witness(self, number: int) -> Witness:
        history = self._run.history
        place = history.signature(number)
        request = None
        if place >= 0:
            request = history.fields(number)[self._id_places[place]]
        return Witness(
            number,
            history.at(number),
            self._signatures[place] if place >= 0 else None,
            request if request is not ABSENT and type(request) is str else None,
            number == self._decision,
        )
