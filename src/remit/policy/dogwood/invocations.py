"""Calls of information providers: what they are given, read off their text (Dogwood guide, chapter 05).

An argument is known before policies are evaluated, so it is a constant, or a path of what was asked: never a sum, a
choice, or what Remit itself keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from remit.policy.dogwood import conditions, lexer
from remit.policy.dogwood.ast import ArrayTerm, Constant, ContextTerm, DecimalTerm, ScopeTerm, Term
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.text import Token

ROOT: Final = "input"  # of the context: all that providers are given of it

Given = Constant | DecimalTerm | ContextTerm | ScopeTerm | ArrayTerm


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`: a provider's, or of one of its methods."""

    name: str
    arguments: tuple[Term, ...]
    at: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a provider: policies read its value as `context.providers["<name>"]`."""

    name: str  # "<policy id>/<number in the policy>"
    function: str  # `Strings::Matches`
    arguments: tuple[Term, ...]
    methods: tuple[Call, ...] = ()  # applied to its result, one after the other
    at: int = field(default=-1, compare=False)

    @property
    def pipeline(self) -> str:
        """The functions it goes through: all of the same have the same type."""
        return ".".join([self.function, *(method.name for method in self.methods)])


def read_arguments(several: Sequence[Sequence[Token]]) -> tuple[Term, ...]:
    """What a provider is given. Raises `Mistake`."""
    return tuple(_argument(found) for found in several)


def _argument(found: Sequence[Token]) -> Term:
    while len(found) > 2 and found[0].text == "(" and lexer.closing(found, 0) == len(found) - 1:
        found = found[1:-1]
    first = found[0]
    if first.kind == "number" and len(found) == 1:
        return Constant(_long(first), first.start)
    if first.text == "-" and len(found) == 2 and found[1].kind == "number":
        return Constant(_long(Token("number", f"-{found[1].text}", first.start)), first.start)
    if first.kind == "string" and len(found) == 1:
        return Constant(lexer.string(first), first.start)
    if first.text in ("true", "false") and len(found) == 1:
        return Constant(first.text == "true", first.start)
    if first.text == "decimal" and len(found) == 4:
        term = conditions.parse_term(found, found[-1].end)
        if isinstance(term, DecimalTerm):
            return term
    if first.text == "[" and lexer.closing(found, 0) == len(found) - 1:
        items: list[Term] = []
        start = 1
        for place in _commas(found):
            if place == start:
                if place != len(found) - 1:
                    raise Mistake(found[place].start, "something is missing before the `,`")
                break
            items.append(_argument(found[start:place]))
            start = place + 1
        return ArrayTerm(tuple(items), first.start)
    if first.text in ("context", "principal", "resource"):
        return _path(found)
    raise Mistake(
        first.start,
        "a provider takes constants and fields of the request only",
        "pass `context.input.…`, `principal.…`, `resource.…` or literals, and calculate in the provider",
    )


def _path(found: Sequence[Token]) -> Term:
    """`context.input.a["b"]`."""
    first = found[0]
    path: list[str] = []
    place = 1
    while place < len(found):
        if found[place].text == "." and place + 1 < len(found) and found[place + 1].kind == "word":
            path.append(found[place + 1].text)
            place += 2
        elif [token.kind for token in found[place : place + 3]] == ["other", "string", "other"] and (
            found[place].text == "[" and found[place + 2].text == "]"
        ):
            path.append(lexer.string(found[place + 1]))
            place += 3
        else:
            raise Mistake(
                found[place].start,
                f"`{found[place].text[:40]}` can't stand in a provider's argument",
                "pass a field, and calculate in the provider",
            )
    if first.text == "context":
        if not path or path[0] != ROOT or len(path) < 2:
            # SECURITY: providers run before the facts of tasks and sessions are fixed for this decision.
            raise Mistake(
                first.start,
                "of the context, a provider sees fields of `context.input` only",
                "pass `context.input.<field>`, and test what Remit keeps in the policy itself",
            )
        return ContextTerm(tuple(path), first.start)
    if not path:
        raise Mistake(first.start, f"a provider takes a field of `{first.text}`", f"such as `{first.text}.id`")
    root: Literal["principal", "resource"] = "principal" if first.text == "principal" else "resource"
    return ScopeTerm(root, tuple(path), first.start)


def _commas(found: Sequence[Token]) -> list[int]:
    """The places of the commas of a set, and of its end."""
    places: list[int] = []
    place = 1
    while place < len(found) - 1:
        if found[place].text in ("(", "[", "{"):
            place = lexer.closing(found, place)
        elif found[place].text == ",":
            places.append(place)
        place += 1
    return [*places, len(found) - 1]


def _long(token: Token) -> int:
    if len(token.text) > 20 or not -(1 << 63) <= int(token.text) < 1 << 63:
        raise Mistake(token.start, "the number is outside of 64 bits")
    return int(token.text)
