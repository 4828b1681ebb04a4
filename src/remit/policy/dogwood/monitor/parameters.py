"""Conditions with a name of its own for each variable, and a column for each thing that they read of the request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, Final

from remit.policy.compiled.values import key
from remit.policy.dogwood.ast import (
    And,
    ArrayTerm,
    Binder,
    Comparison,
    Condition,
    ContextTerm,
    Count,
    Exists,
    Formerly,
    Not,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
)
from remit.policy.dogwood.history import Request
from remit.policy.dogwood.terms import value_of
from remit.policy.dogwood.timepoints import ABSENT, within

Names = Mapping[str, str]
Read = Callable[[Request], Hashable]

_NOTHING: Final[Mapping[str, Any]] = {}


class Parameters:
    """What conditions read of requests: each different term once, by its column."""

    def __init__(self) -> None:
        self.terms: dict[Term, str] = {}
        self.timepoints: set[str] = set()  # the variables that are numbers of timepoints
        self._variables = 0

    def named(self, condition: Condition, names: Names) -> Condition:
        """The condition with columns in place of variables and of what it reads of the request."""
        match condition:
            case Predicate(arguments=arguments):
                given = tuple(replace(each, value=self._term(each.value, names)) for each in arguments)
                return replace(condition, arguments=given)
            case Tp(name):
                self.timepoints.add(names.get(name, name))
                return Tp(names.get(name, name))
            case Comparison(op, left, right):
                return Comparison(op, self._term(left, names), self._term(right, names))
            case And(left_side, right_side):
                return And(self.named(left_side, names), self.named(right_side, names))
            case Not(body):
                return Not(self.named(body, names))
            case Formerly(window, body):
                return Formerly(window, self.named(body, names))
            case Previous(window, body):
                return Previous(window, self.named(body, names))
            case Since(left_side, window, right_side):
                return Since(self.named(left_side, names), window, self.named(right_side, names))
            case Exists(binder, body):
                (bound,), inner = self._bind((binder,), names)
                return Exists(bound, self.named(body, inner))

    def _term(self, term: Term, names: Names) -> Term:
        match term:
            case Var(name):
                return Var(names.get(name, name))
            case ContextTerm() | ScopeTerm():
                return self._parameter(term)
            case ArrayTerm(items):
                if any(isinstance(item, ContextTerm | ScopeTerm | ArrayTerm) for item in items):
                    return self._parameter(term)
                return ArrayTerm(tuple(self._term(item, names) for item in items))
            case Count(binders, body):
                bound, inner = self._bind(binders, names)
                return Count(bound, self.named(body, inner))
            case Sum(summed, binders, body):
                bound, inner = self._bind(binders, names)
                return Sum(inner[summed], bound, self.named(body, inner))
        return term

    def _parameter(self, term: Term) -> Term:
        return Var(self.terms.setdefault(term, f"${len(self.terms)}"))

    def _bind(self, binders: tuple[Binder, ...], names: Names) -> tuple[tuple[Binder, ...], Names]:
        made = []
        for binder in binders:
            made.append(Binder(f"{binder.name}%{self._variables}", binder.type))
            self._variables += 1
        fresh = {binder.name: each.name for binder, each in zip(binders, made, strict=True)}
        return tuple(made), {**names, **fresh}


def reader(term: Term) -> Read:
    """A function that reads a term of a request: what its value compares by, `None` where there is none."""
    if isinstance(term, ContextTerm):
        path = term.path
        return lambda request: _compared(within(request.context, path))
    return lambda request: _compared(value_of(term, request, _NOTHING))


def _compared(value: Any) -> Hashable:
    if type(value) is str:
        return value
    return None if value is ABSENT else key(value)


def uses(condition: Condition) -> Counter[str]:
    """How often each column is read; what a `count` or `sum` is about is read there too."""
    found: Counter[str] = Counter()
    match condition:
        case Predicate(arguments=arguments):
            for argument in arguments:
                found += _of_term(argument.value)
        case Tp(name):
            found[name] += 1
        case Comparison(_, left, right):
            found += _of_term(left) + _of_term(right)
        case And(left_side, right_side) | Since(left_side, _, right_side):
            found += uses(left_side) + uses(right_side)
        case Not(body) | Formerly(_, body) | Previous(_, body) | Exists(_, body):
            found += uses(body)
    return found


def _of_term(term: Term) -> Counter[str]:
    match term:
        case Var(name):
            return Counter([name])
        case ArrayTerm(items):
            return sum(map(_of_term, items), Counter())
        case Count(binders, body) | Sum(_, binders, body):
            return uses(body) + Counter(binder.name for binder in binders)
    return Counter()
