"""Which variables a temporal condition uses, which it binds, and the conditions and terms within one.

Dogwood guide, chapter 08, section 5.4: `restricted` is RR there, `free` is fv.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.policy.dogwood.ast import (
    And,
    ArrayTerm,
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
    Wildcard,
)

NONE: frozenset[str] = frozenset()


def conjuncts(condition: Condition) -> list[Condition]:
    """The members of a chain of `&&`, from left to right; of anything else it is the one member."""
    found: list[Condition] = []
    waiting = [condition]
    while waiting:
        each = waiting.pop()
        if isinstance(each, And):
            waiting += (each.right, each.left)
        else:
            found.append(each)
    return found


def parts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions directly within; those of an aggregate are `terms`' to find."""
    if isinstance(condition, And | Since):
        return (condition.left, condition.right)
    if isinstance(condition, Not | Formerly | Previous | Exists):
        return (condition.body,)
    return ()


def terms(condition: Condition) -> Iterator[Term]:
    """The terms of this one condition, those within arrays too."""
    waiting: list[Term] = []
    if isinstance(condition, Predicate):
        waiting = [argument.value for argument in reversed(condition.arguments)]
    elif isinstance(condition, Comparison):
        waiting = [condition.right, condition.left]
    while waiting:
        term = waiting.pop()
        yield term
        if isinstance(term, ArrayTerm):
            waiting += reversed(term.items)


def aggregates(condition: Condition) -> Iterator[Count | Sum]:
    """The aggregates that are operands of this comparison."""
    if isinstance(condition, Comparison):
        for term in (condition.left, condition.right):
            if isinstance(term, Count | Sum):
                yield term


def walk(condition: Condition) -> Iterator[Condition]:
    """The condition and all within it, in the order of the text, the bodies of aggregates too."""
    waiting = [condition]
    while waiting:
        each = waiting.pop()
        yield each
        waiting += reversed([*parts(each), *(aggregate.body for aggregate in aggregates(each))])


def free(condition: Condition) -> frozenset[str]:
    """The variables that nothing within the condition binds."""
    if isinstance(condition, Tp):
        return frozenset([condition.name])
    if isinstance(condition, Predicate):
        return NONE.union(*(free_in(argument.value) for argument in condition.arguments))
    if isinstance(condition, Comparison):
        return free_in(condition.left) | free_in(condition.right)
    if isinstance(condition, Exists):
        return free(condition.body) - {condition.binder.name}
    if isinstance(condition, And):
        return NONE.union(*(free(each) for each in conjuncts(condition)))
    return NONE.union(*(free(each) for each in parts(condition)))


def free_in(term: Term) -> frozenset[str]:
    """The variables of a term that it does not bind itself."""
    if isinstance(term, Var):
        return frozenset([term.name])
    if isinstance(term, ArrayTerm):
        return NONE.union(*(free_in(item) for item in term.items))
    if isinstance(term, Count | Sum):
        return free(term.body) - {binder.name for binder in term.binders}
    return NONE


def restricted(condition: Condition) -> frozenset[str]:
    """The variables that a positive part of the condition binds to finitely many values.

    A negation restricts nothing, at any depth; a `since` restricts what its right side does.
    """
    if isinstance(condition, Predicate):
        return frozenset(argument.value.name for argument in condition.arguments if isinstance(argument.value, Var))
    if isinstance(condition, Tp):
        return frozenset([condition.name])
    if isinstance(condition, Comparison):
        name = bound_by(condition)
        return NONE if name is None else frozenset([name])
    if isinstance(condition, And):
        return NONE.union(*(restricted(each) for each in conjuncts(condition)))
    if isinstance(condition, Formerly | Previous):
        return restricted(condition.body)
    if isinstance(condition, Since):
        return restricted(condition.right)
    if isinstance(condition, Exists):
        return restricted(condition.body) - {condition.binder.name}
    return NONE


def bound_by(comparison: Comparison) -> str | None:
    """The variable that an equality binds: one side is the variable alone, the other a value."""
    if comparison.op != "==":
        return None
    for side, other in ((comparison.left, comparison.right), (comparison.right, comparison.left)):
        if isinstance(side, Var) and not isinstance(other, Var | Wildcard):
            return side.name
    return None
