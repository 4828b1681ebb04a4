"""The legality rules that need no schema: which temporal conditions can be monitored at all.

Dogwood guide, chapter 08, section 5.4. A condition that passes is about finitely many values at every time: it is
closed, each variable is bound before it is used, and each part depends on what happened. In order:

1. aggregates stand where they may, and bind what they use (WF-Agg-…); `exists` binds what it names (WF-Exists);
2. within `&&`, what binds a variable stands before what uses it (WF-Demands);
3. no variable is left open (WF-Closed);
4. each part looks at events (WF-TpDep-…).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from remit.policy.dogwood.ast import (
    And,
    ArrayTerm,
    Binder,
    Comparison,
    Condition,
    Count,
    Exists,
    Formerly,
    Not,
    Predicate,
    Previous,
    Since,
    Sum,
    Term,
    Tp,
    Var,
)
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.variables import (
    NONE,
    aggregates,
    bound_by,
    conjuncts,
    free,
    free_in,
    parts,
    restricted,
    walk,
)

_RESERVED: Final = frozenset({"principal", "action", "resource", "context"})
_BIND: Final = "bind it with a field (`…{{ input.f: {0} }}`), with `tp({0})`, or with `(count …) == {0}`"


def check(condition: Condition) -> None:
    """Raises `Mistake` for the first rule that the condition of a leaf breaks; macros are expanded before."""
    _check_binders(condition, NONE)
    _check_order(condition, NONE)
    for name in sorted(free(condition)):
        raise Mistake(
            _place(condition, name),
            f"nothing binds the variable `{name}`",
            f"write `exists ({name}: Type). (…)` around its uses, or `*` where any value will do",
        )
    _check_varies(condition)


# --- 1. binders and aggregates ------------------------------------------------------------------------------


def _check_binders(condition: Condition, bound: frozenset[str]) -> None:
    if isinstance(condition, Exists):
        _check_name(condition.binder.name, condition.binder.at)
        if condition.binder.name not in restricted(condition.body):
            raise Mistake(
                condition.binder.at,
                f"nothing within the `exists` limits `{condition.binder.name}` to values that occurred",
                _BIND.format(condition.binder.name) + ", not within a negation",
            )
        bound = bound | {condition.binder.name}
    elif isinstance(condition, Tp):
        _check_name(condition.name, condition.at)
    elif isinstance(condition, Predicate):
        for argument in condition.arguments:
            _check_no_aggregate(argument.value)
            if isinstance(argument.value, ArrayTerm):
                raise Mistake(
                    argument.value.at, "a field can't be compared with a list", "name one value, or read `context`"
                )
    elif isinstance(condition, Comparison):
        for term in (condition.left, condition.right):
            if isinstance(term, Count | Sum):
                _check_aggregate(term, bound)
            else:
                _check_no_aggregate(term)
    for part in conjuncts(condition) if isinstance(condition, And) else parts(condition):
        _check_binders(part, bound)


def _check_name(name: str, at: int) -> None:
    if name in _RESERVED:
        raise Mistake(at, f"`{name}` is a reserved word, not a name for a variable", "give the variable another name")


def _check_no_aggregate(term: Term) -> None:
    if isinstance(term, Count | Sum):
        word = "count" if isinstance(term, Count) else "sum"
        raise Mistake(
            term.at,
            f"`{word}` stands where only a plain value may",
            f"compare it: `({word} …) == n`, and use `n` here",
        )
    if isinstance(term, ArrayTerm):
        for item in term.items:
            _check_no_aggregate(item)


def _check_aggregate(term: Count | Sum, bound: frozenset[str]) -> None:
    names = [binder.name for binder in term.binders]
    for binder in term.binders:
        _check_name(binder.name, binder.at)
    if isinstance(term, Sum) and term.summed not in names:
        raise Mistake(
            term.at,
            f"`sum {term.summed}` adds up what its `for` does not name ({_named(term.binders)})",
            f"write `sum {term.summed} for ({term.summed}: Long), …`",
        )
    used = free(term.body)
    for name in sorted(used - bound - set(names)):
        raise Mistake(
            _place(term.body, name),
            f"the variable `{name}` is bound neither by `for` ({_named(term.binders)}) nor around it",
            f"add `({name}: Type)` to `for`, or write `*` where any value will do",
        )
    limited = restricted(term.body)
    for binder in term.binders:
        if binder.name not in used:
            raise Mistake(
                binder.at,
                f"`{binder.name}` stands in `for`, and the condition behind `where` does not use it",
                f"leave it out, or {_BIND.format(binder.name)}",
            )
        if binder.name not in limited:
            raise Mistake(
                binder.at,
                f"nothing behind `where` limits `{binder.name}` to values that occurred",
                _BIND.format(binder.name) + ", not within a negation or left of a `since`",
            )
    _check_binders(term.body, bound | set(names))


def _named(binders: Iterable[Binder]) -> str:
    return ", ".join(f"`{binder.name}`" for binder in binders)


# --- 2. order -----------------------------------------------------------------------------------------------


def _check_order(condition: Condition, bound: frozenset[str]) -> None:
    """Walks a chain from left to right; `bound` holds what stands bound before it."""
    for conjunct in conjuncts(condition):
        _check_demands(conjunct, bound)
        _check_within(conjunct, bound)
        bound = bound | restricted(conjunct)


def _check_demands(conjunct: Condition, bound: frozenset[str]) -> None:
    """That what this member of a chain uses, and does not bind itself, is bound before."""
    if isinstance(conjunct, Comparison):
        name = bound_by(conjunct)
        if name is None:
            _check_filter(conjunct, free(conjunct), bound)
            return
        value = conjunct.right if conjunct.left == Var(name) else conjunct.left
        for unmet in sorted(free_in(value) - bound):
            raise Mistake(
                _place(conjunct, unmet),
                f"the aggregate that binds `{name}` reads `{unmet}`, which nothing before it binds",
                f"write what binds `{unmet}` before it",
            )
    elif isinstance(conjunct, Not):
        _check_filter(conjunct, free(conjunct), bound)
    elif isinstance(conjunct, Since):
        for unmet in sorted(free(conjunct.left) - restricted(conjunct.right) - bound):
            raise Mistake(
                _place(conjunct.left, unmet),
                f"the left side of `since` uses `{unmet}`, which neither its right side nor anything before binds",
                f"bind `{unmet}` on the right of the `since`, or before it",
            )
    elif isinstance(conjunct, Formerly | Previous) and not isinstance(conjunct.body, And):
        _check_demands(conjunct.body, bound)
    elif isinstance(conjunct, Exists) and not isinstance(conjunct.body, And):
        _check_demands(conjunct.body, bound - {conjunct.binder.name})


def _check_filter(conjunct: Condition, used: frozenset[str], bound: frozenset[str]) -> None:
    for unmet in sorted(used - bound):
        what = "a negation" if isinstance(conjunct, Not) else "a comparison"
        raise Mistake(
            _place(conjunct, unmet),
            f"{what} uses the variable `{unmet}` before it is bound",
            f"write what binds `{unmet}` (an event, `tp`, or an equality) before it",
        )


def _check_within(conjunct: Condition, bound: frozenset[str]) -> None:
    """The chains within one member, each with what is bound where it stands."""
    if isinstance(conjunct, Not):
        if isinstance(conjunct.body, And):
            _check_order(conjunct.body, bound)
        else:
            _check_within(conjunct.body, bound)
    elif isinstance(conjunct, Formerly | Previous):
        _check_order(conjunct.body, bound)
    elif isinstance(conjunct, Since):
        _check_order(conjunct.left, bound | restricted(conjunct.right))
        _check_order(conjunct.right, bound)
    elif isinstance(conjunct, Exists):
        _check_order(conjunct.body, bound - {conjunct.binder.name})
    for aggregate in aggregates(conjunct):
        _check_order(aggregate.body, bound - {binder.name for binder in aggregate.binders})


# --- 4. what depends on events ------------------------------------------------------------------------------


def _check_varies(condition: Condition) -> None:
    names = _bound_by_events(condition)
    for conjunct in conjuncts(condition):
        if not _varies(conjunct, names):
            raise Mistake(
                conjunct.at,
                "this part does not depend on what happened",
                "move it out of `temporal { … }`, into a `when { … }` of its own",
            )


def _varies(condition: Condition, names: frozenset[str]) -> bool:
    """Whether the value can differ between events while the request stays the same."""
    if isinstance(condition, Comparison):
        for aggregate in aggregates(condition):
            own = {aggregate.summed} if isinstance(aggregate, Sum) else NONE
            _check_body(aggregate.body, names | own, "the condition behind `where`")
        return _term_varies(condition.left, names) or _term_varies(condition.right, names)
    if isinstance(condition, Not):
        return _varies(condition.body, names)
    if isinstance(condition, And):
        found = [_varies(each, names) for each in conjuncts(condition)]  # each, for what is wrong within it
        return any(found)
    if isinstance(condition, Formerly | Previous):
        _check_body(condition.body, names, f"what `{type(condition).__name__.lower()}` looks for")
    elif isinstance(condition, Since):
        _check_body(condition.left, names, "the left side of `since`")
        _check_body(condition.right, names, "the right side of `since`")
    elif isinstance(condition, Exists):
        _check_body(condition.body, names | {condition.binder.name}, "the condition behind `exists`")
    return True


def _check_body(body: Condition, names: frozenset[str], what: str) -> None:
    if not _varies(body, names):
        raise Mistake(body.at, f"{what} does not depend on what happened", "name an event in it, or `tp(…)`")


def _term_varies(term: Term, names: frozenset[str]) -> bool:
    if isinstance(term, Var):
        return term.name in names
    if isinstance(term, ArrayTerm):
        return any(_term_varies(item, names) for item in term.items)
    return isinstance(term, Count | Sum)


def _bound_by_events(condition: Condition) -> frozenset[str]:
    """The variables that fields of events bind, outside of negations and aggregates."""
    found: set[str] = set()
    waiting = [condition]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Predicate):
            found |= restricted(each)
        elif not isinstance(each, Not):
            waiting += parts(each)
    return frozenset(found)


# --- places -------------------------------------------------------------------------------------------------


def _place(condition: Condition, name: str) -> int:
    """Where the condition first uses the variable."""
    for each in walk(condition):
        if isinstance(each, Tp) and each.name == name:
            return each.at
        operands = (
            [argument.value for argument in each.arguments]
            if isinstance(each, Predicate)
            else [each.left, each.right]
            if isinstance(each, Comparison)
            else []
        )
        for term in operands:
            if isinstance(term, Var) and term.name == name:
                return term.at if term.at >= 0 else each.at
            if isinstance(term, ArrayTerm) and name in free_in(term):
                return term.at
    return condition.at
