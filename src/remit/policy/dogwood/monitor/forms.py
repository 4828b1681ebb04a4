"""Conditions as monitors see them: chains of members over columns, in which temporal operators are looked up in stores.

A column is a variable, under a name of its own in the whole leaf, or a parameter (`$0`, `$1`, …): something that the
condition reads of the request under decision, known only when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from remit.policy.dogwood.ast import ArrayTerm, Operator, Predicate, Term, Tp, Var

Columns = frozenset[str]
NONE: Columns = frozenset()


class Replayed(Exception):
    """A condition has no incremental form with a state linear in its events: the interpreter answers it."""


@dataclass(frozen=True, slots=True)
class Group:
    """All of these."""

    members: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """`!`: none of these rows."""

    body: Group


@dataclass(frozen=True, slots=True)
class Some:
    """`exists`."""

    binders: tuple[str, ...]
    body: Group


@dataclass(frozen=True, slots=True)
class Held:
    """A row of a store that its window still holds; columns in the order of the store's."""

    store: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Break:
    """What a `since` needs after its anchor: `is_run` that `held` was there at every timepoint, else that it never was.

    Without `held`: that `filters` hold, unless the anchor is this timepoint. With it, only its rows that pass them
    count; `local` are the columns that such a row binds for them.
    """

    held: Held | None
    is_run: bool = False
    filters: Group = Group(())
    local: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lasting:
    """`since`: an anchor after which nothing broke."""

    anchor: Held
    breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """`count` or `sum`."""

    binders: tuple[str, ...]
    summed: str | None
    body: Group


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison."""

    op: Operator
    left: Term | Tally
    right: Term | Tally


Form = Predicate | Tp | Compared | Absent | Some | Held | Lasting


def is_parameter(column: str) -> bool:
    """Whether it is of the request and no variable."""
    return column.startswith("$")


def of_terms(terms: Iterable[Term | Tally]) -> Columns:
    """The columns that terms read."""
    found: set[str] = set()
    for term in terms:
        if isinstance(term, Var):
            found.add(term.name)
        elif isinstance(term, ArrayTerm):
            found |= of_terms(term.items)
        elif isinstance(term, Tally):
            found |= columns(term.body) - set(term.binders)
    return frozenset(found)


def columns(form: Form | Group) -> Columns:
    """The columns of a form that it does not bind itself."""
    match form:
        case Group(members):
            return NONE.union(*map(columns, members))
        case Predicate():
            return of_terms(argument.value for argument in form.arguments)
        case Tp(name):
            return frozenset({name})
        case Compared(_, left, right):
            return of_terms((left, right))
        case Absent(body):
            return columns(body)
        case Some(binders, body):
            return columns(body) - set(binders)
        case Held():
            return frozenset(form.columns)
        case Lasting(anchor, breaks):
            return NONE.union(anchor.columns, *map(_of_break, breaks))


def _of_break(each: Break) -> Columns:
    held = each.held.columns if each.held else ()
    return (columns(each.filters) | set(held)) - set(each.local)


def stores(form: Form | Group) -> frozenset[int]:
    """The stores that a form looks into itself."""
    match form:
        case Group(members):
            return frozenset().union(*map(stores, members))
        case Compared(_, left, right):
            return frozenset().union(*(stores(side.body) for side in (left, right) if isinstance(side, Tally)))
        case Absent(body) | Some(_, body):
            return stores(body)
        case Held(number):
            return frozenset({number})
        case Lasting(anchor, breaks):
            held = {each.held.store for each in breaks if each.held is not None}
            return frozenset({anchor.store}).union(held, *(stores(each.filters) for each in breaks))
    return frozenset()


def flat(forms: Iterable[Form]) -> list[Form]:
    """The members with those of every `exists`, whose variables have names of their own anyway."""
    found: list[Form] = []
    for form in forms:
        if isinstance(form, Some):
            found += flat(form.body.members)
        else:
            found.append(form)
    return found
