"""Conditions that are accepted, histories and requests, all by chance and about few values, so that they meet."""

from __future__ import annotations

import random
from typing import Any, Final

from remit.policy.compiled.values import Entity, Set
from remit.policy.dogwood import acceptance, ast
from remit.policy.dogwood.ast import Condition, Leaf, Term
from remit.policy.dogwood.history import Event, Request
from remit.policy.dogwood.mistakes import Mistake

ACTION: Final = "Remit::Action"
ACTIONS: Final = ("read", "pay", "ask")
KINDS: Final = ("request", "response")
USERS: Final = ("ada", "bob", "cy")
FIELDS: Final = (("input", "user"), ("input", "amount"), ("output", "ok"), ("callerPrincipal",), ("input", "tags"))
_WINDOWS: Final = (ast.Window(2, "s"), ast.Window(5, "s"), ast.Window(12, "s"), ast.Window(1, "m"))


class Conditions:
    """Makes conditions from a source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._names = 0

    def leaf(self, name: str = "p/0") -> Leaf:
        """An accepted leaf, with at least one temporal operator."""
        while True:
            condition = self._chain(3, frozenset())
            if not any(isinstance(each, ast.Formerly | ast.Previous | ast.Since) for each in _all(condition)):
                continue
            try:
                acceptance.check(condition)
            except Mistake:
                continue
            return Leaf(name, condition)

    def _chain(self, depth: int, bound: frozenset[str]) -> Condition:
        made = self._member(depth, bound)
        for _ in range(self.chance.choice((0, 0, 1, 1, 2))):
            made = ast.And(made, self._member(depth, bound | _bound(made)))
        return made

    def _member(self, depth: int, bound: frozenset[str]) -> Condition:
        chance = self.chance
        if depth <= 0:
            return self._simple(bound)
        match chance.randrange(13):
            case 0 | 1 | 2:
                return ast.Formerly(chance.choice(_WINDOWS), self._chain(depth - 1, bound))
            case 3:
                return ast.Previous(chance.choice(_WINDOWS), self._chain(depth - 1, bound))
            case 4 | 5:
                right = self._chain(depth - 1, bound)
                left = self._chain(depth - 2, bound | _bound(right))
                if chance.random() < 0.6:
                    left = ast.Not(left)
                return ast.Since(left, chance.choice(_WINDOWS), right)
            case 6 | 7:
                return self._exists(depth, bound)
            case 8 | 9:
                return self._tally(depth, bound)
            case 10:
                return ast.Not(self._chain(depth - 1, bound))
        return self._simple(bound)

    def _exists(self, depth: int, bound: frozenset[str]) -> Condition:
        name = self._name()
        return ast.Exists(ast.Binder(name, "String"), self._chain(depth, bound - {name} | {f"?{name}"}))

    def _tally(self, depth: int, bound: frozenset[str]) -> Condition:
        chance = self.chance
        names = tuple(self._name() for _ in range(chance.choice((1, 1, 2))))
        inner = bound - set(names) | {f"?{name}" for name in names}
        body: Condition = self._chain(depth - 1, inner)
        if chance.random() < 0.7:
            parts: Condition = self._predicate(inner)
            for name in names:
                if chance.random() < 0.6:
                    parts = ast.And(parts, ast.Tp(name))
            if chance.random() < 0.3:
                parts = ast.And(parts, self._member(depth - 2, inner | _bound(parts)))
            body = ast.Formerly(chance.choice(_WINDOWS), parts)
        binders = tuple(ast.Binder(name, "Long") for name in names)
        term: Term = ast.Count(binders, body)
        if chance.random() < 0.4:
            term = ast.Sum(names[0], binders, body)
        other: Term = ast.Constant(chance.randrange(4))
        if chance.random() < 0.2:
            other = ast.ContextTerm(("input", "amount"))
        op = chance.choice(("<", "<=", ">", ">=", "==", "!="))
        return ast.Comparison(op, term, other)

    def _simple(self, bound: frozenset[str]) -> Condition:
        kind = self.chance.randrange(10)
        if kind == 0:
            return ast.Not(self._predicate(bound))
        if kind == 1:
            return ast.Comparison(
                self.chance.choice(("<", "<=", ">", ">=", "==", "!=")), self._term(bound), self._term(bound)
            )
        if kind == 2 and (free := [name[1:] for name in bound if name.startswith("?")]):
            return ast.Tp(self.chance.choice(free))
        return self._predicate(bound)

    def _predicate(self, bound: frozenset[str]) -> ast.Predicate:
        chance = self.chance
        fields = chance.sample(FIELDS, chance.choice((0, 1, 1, 2)))
        arguments = tuple(ast.Argument(path, self._term(bound)) for path in fields)
        return ast.Predicate(ACTION, chance.choice(ACTIONS), chance.choice(KINDS), arguments)

    def _term(self, bound: frozenset[str]) -> Term:
        chance = self.chance
        names = sorted({name.removeprefix("?") for name in bound})
        if names and chance.random() < 0.5:
            return ast.Var(chance.choice(names))
        return chance.choice(
            (
                ast.ContextTerm(("input", "user")), ast.ContextTerm(("input", "user")),
                ast.ContextTerm(("input", "amount")), ast.ContextTerm(("nowhere",)), ast.ScopeTerm("principal"),
                ast.ScopeTerm("principal", ("id",)), ast.Constant("ada"), ast.Constant(2), ast.Constant(True),
                ast.Wildcard(), ast.EntityTerm("Remit::Workload", "w1"), ast.DecimalTerm("1.50"),
                ast.ArrayTerm((ast.Constant("ada"), ast.ContextTerm(("input", "user")))),
                ast.ArrayTerm((ast.Constant("ada"), ast.Constant("bob"))),
            )
        )  # fmt: skip

    def _name(self) -> str:
        # Also the same one again: then it shadows.
        self._names += self.chance.random() < 0.7
        return f"v{self._names}"


def trace(chance: random.Random, length: int) -> list[Event]:
    """Events in the order of their times, many at the same."""
    at, events = 1_000_000, []
    for _ in range(length):
        at += chance.choice((0, 0, 500, 1_000, 1_000, 2_000, 5_000))
        if chance.random() < 0.03:
            at += 70_000
        events.append(event(chance, at))
    return events


def event(chance: random.Random, at: int) -> Event:
    """One event, some of whose fields are absent."""
    values: dict[tuple[str, ...], Any] = {
        ("input", "user"): chance.choice(USERS),
        ("input", "amount"): chance.randrange(4),
        ("output", "ok"): chance.random() < 0.5,
        ("callerPrincipal",): Entity(("Remit::Workload", chance.choice(("w1", "w2")))),
        ("input", "tags"): Set(chance.choice((("ada",), ("bob", "ada"), ("ada", "bob"), ("ada", "cy")))),
    }
    fields = {path: value for path, value in values.items() if chance.random() < 0.9}
    return Event(ACTION, chance.choice(ACTIONS), chance.choice(KINDS), at, fields)


def request(chance: random.Random) -> Request:
    """A request about the same values."""
    inputs: dict[str, Any] = {"user": chance.choice(USERS), "amount": chance.randrange(4)}
    if chance.random() < 0.1:
        del inputs["user"]
    principal = Entity(("Remit::Workload", chance.choice(("w1", "w2"))))
    return Request(principal, Entity(("Remit::Server", "crm")), {"input": inputs})


def _all(condition: Condition) -> list[Condition]:
    from remit.policy.dogwood.extent import conditions

    return list(conditions(condition))


def _bound(condition: Condition) -> frozenset[str]:
    from remit.policy.dogwood.variables import restricted

    return restricted(condition)
