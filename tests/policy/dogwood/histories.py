"""Conditions that are accepted, histories and requests, all by chance and about few values, so that they meet."""

from __future__ import annotations

import random
from dataclasses import replace
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

    def likely(self, name: str = "p/0") -> Leaf:
        """A leaf of the kinds that policies are written with, about the events that are the most frequent."""
        condition = self._kind()
        while self.chance.random() < 0.25:
            condition = ast.And(condition, self._kind())
        acceptance.check(condition)
        return Leaf(name, condition)

    def _kind(self) -> Condition:
        chance, one, other = self.chance, self._frequent, self._frequent
        a, b = ast.Var("a"), ast.Var("b")
        match chance.randrange(20):
            case 0:
                return self._maybe_not(self._formerly(one()))
            case 1:
                return self._maybe_not(ast.Previous(self._window(), one()))
            case 2 | 3:
                return self._since(ast.Not(other()), one())
            case 4:
                return self._since(ast.And(ast.Not(other()), ast.Not(self._frequent())), one())
            case 5:
                return self._since(other(), one())
            case 6:
                return self._since(self._formerly(other()), one())
            case 7:
                return self._number(ast.Count((_binder("t"),), self._formerly(ast.And(one(), ast.Tp("t")))))
            case 8:
                return self._number(ast.Count((_binder("a"),), self._formerly(one(amount=a))))
            case 9:
                body = self._formerly(ast.And(one(amount=a), ast.Tp("t")))
                return self._number(ast.Sum("a", (_binder("a"), _binder("t")), body))
            case 10:
                body = self._formerly(one(user=b, amount=a))
                if chance.random() < 0.5:
                    return self._exists_b(self._number(ast.Sum("a", (_binder("a"),), body)))
                return self._number(ast.Sum("a", (_binder("a"), _binder("b")), body))
            case 11:
                body = ast.And(one(amount=a), self._about_amount(a))
                return ast.Exists(_binder("a"), self._formerly(body))
            case 12:
                broken = ast.Exists(_binder("a"), ast.And(other(amount=a), self._about_amount(a)))
                return self._since(ast.Not(broken), one())
            case 13:
                both = ast.And(self._formerly(one(user=b)), self._maybe_not(self._formerly(other(user=b))))
                return ast.Exists(_binder("b"), both)
            case 14:
                return ast.Exists(_binder("b"), self._since(ast.Not(other(user=b)), one(user=b)))
            case 15:
                both = ast.And(
                    ast.Previous(self._window(), one(user=b)), self._maybe_not(self._formerly(other(user=b)))
                )
                return ast.Exists(_binder("b"), both)
            case 16:
                body = ast.And(one(), ast.Not(self._frequent(user=ast.Constant("ada"))))
                return self._formerly(body)
            case 17:
                inside = ast.Exists(_binder("a"), ast.And(one(amount=a), self._about_amount(a)))
                return self._maybe_not(self._formerly(inside))
            case 18:
                event = one(user=b, amount=a)
                caller = ast.Argument(("callerPrincipal",), ast.ScopeTerm("principal"))
                event = replace(event, arguments=(*event.arguments, caller))
                body = self._formerly(ast.And(event, ast.Tp("t")))
                return self._number(ast.Sum("a", (_binder("t"), _binder("a"), _binder("b")), body))
            case 19:
                body = ast.And(one(), self._maybe_not(self._formerly(other(user=ast.Constant("ada")))))
                return self._formerly(body)
        inner = chance.choice((self._formerly, lambda each: ast.Previous(self._window(), each)))(one())
        return chance.choice((self._formerly, lambda each: ast.Previous(self._window(), each)))(inner)

    def _exists_b(self, body: Condition) -> Condition:
        return ast.Exists(_binder("b"), ast.And(self._formerly(self._frequent(user=ast.Var("b"))), body))

    def _number(self, term: Term) -> Condition:
        op = self.chance.choice(("<", "<=", ">", ">=", "==", "!="))
        return ast.Comparison(op, term, ast.Constant(self.chance.randrange(6)))

    def _about_amount(self, variable: ast.Var) -> Condition:
        op = self.chance.choice(("<", ">", "==", "!="))
        return ast.Comparison(op, variable, ast.ContextTerm(("input", "amount")))

    def _formerly(self, body: Condition) -> Condition:
        return ast.Formerly(self._window(), body)

    def _since(self, left: Condition, right: Condition) -> Condition:
        return ast.Since(left, self._window(), right)

    def _maybe_not(self, condition: Condition) -> Condition:
        return ast.Not(condition) if self.chance.random() < 0.3 else condition

    def _window(self) -> ast.Window:
        return self.chance.choice(_WINDOWS[:3])

    def _frequent(self, **wanted: Term) -> ast.Predicate:
        chance = self.chance
        if "user" not in wanted and chance.random() < 0.6:
            wanted["user"] = ast.ContextTerm(("input", "user"))
        arguments = tuple(ast.Argument(("input", name), term) for name, term in wanted.items())
        return ast.Predicate(ACTION, chance.choice(("read", "read", "pay")), "request", arguments)

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
    """Events in the order of their times, many at the same; in half of them requests to read are the most frequent."""
    at, events = 1_000_000, []
    frequent = 0.8 * (chance.random() < 0.5)
    for _ in range(length):
        at += chance.choice((0, 0, 500, 1_000, 1_000, 2_000, 5_000))
        if chance.random() < 0.03:
            at += 70_000
        made = event(chance, at)
        if chance.random() < frequent:
            made = replace(made, action=chance.choice(("read", "read", "read", "pay")), kind="request")
        events.append(made)
    return events


def event(chance: random.Random, at: int) -> Event:
    """One event, some of whose fields are absent, or are of another type."""
    values: dict[tuple[str, ...], Any] = {
        ("input", "user"): chance.choice(USERS),
        ("input", "amount"): chance.randrange(4),
        ("output", "ok"): chance.random() < 0.5,
        ("callerPrincipal",): Entity(("Remit::Workload", chance.choice(("w1", "w2")))),
        ("input", "tags"): Set(chance.choice((("ada",), ("bob", "ada"), ("ada", "bob"), ("ada", "cy")))),
    }
    fields = {path: value for path, value in values.items() if chance.random() < 0.9}
    if chance.random() < 0.1:
        fields["input", "amount"] = chance.choice(("2", True, Entity(("Remit::Workload", "w1"))))
    return Event(ACTION, chance.choice(ACTIONS), chance.choice(KINDS), at, fields)


def request(chance: random.Random) -> Request:
    """A request about the same values."""
    inputs: dict[str, Any] = {"user": chance.choice(USERS), "amount": chance.randrange(4)}
    if chance.random() < 0.1:
        del inputs["user"]
    principal = Entity(("Remit::Workload", chance.choice(("w1", "w2"))))
    return Request(principal, Entity(("Remit::Server", "crm")), {"input": inputs})


def _binder(name: str) -> ast.Binder:
    return ast.Binder(name, {"t": "Timepoint", "b": "String"}.get(name, "Long"))


def _all(condition: Condition) -> list[Condition]:
    from remit.policy.dogwood.extent import conditions

    return list(conditions(condition))


def _bound(condition: Condition) -> frozenset[str]:
    from remit.policy.dogwood.variables import restricted

    return restricted(condition)
