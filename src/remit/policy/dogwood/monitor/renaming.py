"""Bodies of stores with columns named by their order, so that the same body is the same store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from remit.policy.dogwood.ast import ArrayTerm, Predicate, Term, Tp, Var
from remit.policy.dogwood.monitor.forms import (
    Absent,
    Break,
    Compared,
    Form,
    Group,
    Held,
    Lasting,
    Some,
    Tally,
)


def canonical(members: Sequence[Form], names: Sequence[str]) -> tuple[tuple[Form, ...], list[str]]:
    """The members and the names of the kept columns, renamed."""
    renamed = _Renamed()
    return tuple(map(renamed.form, members)), [renamed.name(name) for name in names]


class _Renamed:
    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, name: str) -> str:
        return self._names.setdefault(name, f"c{len(self._names)}")

    def names(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(map(self.name, names))

    def group(self, group: Group) -> Group:
        return Group(tuple(map(self.form, group.members)))

    def held(self, held: Held) -> Held:
        return Held(held.store, self.names(held.columns))

    def form(self, form: Form) -> Form:
        match form:
            case Predicate(arguments=arguments):
                given = tuple(replace(each, value=self.term(each.value)) for each in arguments)
                return replace(form, arguments=given)
            case Tp(name):
                return Tp(self.name(name))
            case Compared(op, left, right):
                return Compared(op, self.operand(left), self.operand(right))
            case Absent(body):
                return Absent(self.group(body))
            case Some(binders, body):
                return Some(self.names(binders), self.group(body))
            case Held():
                return self.held(form)
            case Lasting(anchor, breaks):
                return Lasting(self.held(anchor), tuple(map(self.ending, breaks)))

    def ending(self, each: Break) -> Break:
        held = None if each.held is None else self.held(each.held)
        return Break(held, each.is_run, self.group(each.filters), self.names(each.local))

    def operand(self, term: Term | Tally) -> Term | Tally:
        if isinstance(term, Tally):
            summed = None if term.summed is None else self.name(term.summed)
            return Tally(self.names(term.binders), summed, self.group(term.body))
        return self.term(term)

    def term(self, term: Term) -> Term:
        match term:
            case Var(name):
                return Var(self.name(name))
            case ArrayTerm(items):
                return ArrayTerm(tuple(map(self.term, items)))
        return term
