"""In which order the members of a chain are evaluated, so that each finds bound what it needs.

What reads its columns only, or looks one row up, goes before what enumerates rows. `&&` has no order in its meaning:
what the author wrote first may come later.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from remit.policy.dogwood.ast import ArrayTerm, Predicate, Tp, Var
from remit.policy.dogwood.monitor.forms import (
    NONE,
    Absent,
    Columns,
    Compared,
    Form,
    Group,
    Held,
    Lasting,
    Some,
    Tally,
    columns,
    of_terms,
)

_LOOKED_UP, _ENUMERATED = 3, 6
_KNOWN: Final = 1 << 14  # answers that are kept, because members within members are asked again and again


def arranged(members: Iterable[Form], bound: Columns) -> tuple[list[Form], list[Form], Columns]:
    """The members in order, those that never find bound what they need, and what is bound at the end."""
    waiting, order = list(members), []
    while waiting:
        ready = [(cost, number) for number, form in enumerate(waiting) if (cost := _cost(form, bound)) is not None]
        if not ready:
            break
        form = waiting.pop(min(ready)[1])
        order.append(form)
        bound |= produced(form, bound) or NONE
    return order, waiting, bound


@lru_cache(maxsize=_KNOWN)
def produced(form: Form, bound: Columns) -> Columns | None:
    """The columns that a form has bound after it; `None` where it needs more than is bound."""
    match form:
        case Predicate():
            values = [argument.value for argument in form.arguments]
            if of_terms(value for value in values if isinstance(value, ArrayTerm)) - bound:
                return None
            return of_terms(values)
        case Tp(name):
            return frozenset({name})
        case Compared():
            return _of_comparison(form, bound)
        case Absent(body):
            if columns(body) - bound:
                return None
            return NONE if _all_of(body, bound) is not None else None
        case Some(binders, body):
            found = _all_of(body, bound)
            return None if found is None else found - set(binders)
        case Held():
            return frozenset(form.columns)
        case Lasting(anchor):
            anchored = frozenset(anchor.columns)
            return None if columns(form) - anchored - bound else anchored


def binds(form: Compared, bound: Columns) -> str | None:
    """The variable that an equality binds."""
    if form.op != "==":
        return None
    left = isinstance(form.left, Var) and form.left.name not in bound
    right = isinstance(form.right, Var) and form.right.name not in bound
    if left == right:
        return None
    side = form.left if left else form.right
    return side.name if isinstance(side, Var) else None


def _of_comparison(form: Compared, bound: Columns) -> Columns | None:
    name = binds(form, bound)
    made = NONE if name is None else frozenset({name})
    for side in (form.left, form.right):
        if isinstance(side, Tally) and _all_of(side.body, bound) is None:
            return None
    return None if columns(form) - made - bound else made


def _all_of(body: Group, bound: Columns) -> Columns | None:
    _, stuck, after = arranged(body.members, bound)
    return None if stuck else after - bound


def _cost(form: Form, bound: Columns) -> int | None:
    made = produced(form, bound)
    if made is None:
        return None
    match form:
        case Predicate():
            return 0
        case Tp():
            return 1
        case Compared(_, left, right):
            return _LOOKED_UP + 1 if isinstance(left, Tally) or isinstance(right, Tally) else 2
        case Held() | Lasting():
            return _ENUMERATED + len(made - bound) if made - bound else _LOOKED_UP
        case Absent():
            return _LOOKED_UP
        case Some():
            return _LOOKED_UP + 2
