"""Rewrites each event that a condition asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from remit.policy.dogwood.ast import (
    And,
    Argument,
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
)
from remit.policy.dogwood.events.derivation import Events, Signature

_Change = Callable[[Predicate, Signature], tuple[Argument, ...]]


def inject(condition: Condition, events: Events) -> Condition:
    """The condition with each pin as one more field of each event, whatever the author wrote about that field.

    So a pin can be narrowed by what is written, never loosened (Dogwood guide, chapter 08, section 4.5).
    """
    return _rewritten(condition, events, _pinned)


def emitted(condition: Condition, events: Events) -> Condition:
    """The condition in the words of Remit's own events; a schema may give fields other names and other places.

    It must have been checked before.
    """
    return _rewritten(condition, events, _at_source)


def _pinned(predicate: Predicate, signature: Signature) -> tuple[Argument, ...]:
    # SECURITY: appended even where the author wrote the field: a written value must not replace the pin.
    return (*predicate.arguments, *(Argument(pin.path, pin.value, predicate.at) for pin in signature.pins))


def _at_source(predicate: Predicate, signature: Signature) -> tuple[Argument, ...]:
    leaves = signature.leaves
    return tuple(
        replace(each, path=leaves[each.path].source) if each.path in leaves else each for each in predicate.arguments
    )


def _rewritten(condition: Condition, events: Events, change: _Change) -> Condition:
    if isinstance(condition, Predicate):
        signature = events.signature(condition.type, condition.action, condition.kind)
        return condition if signature is None else replace(condition, arguments=change(condition, signature))
    if isinstance(condition, And | Since):
        left, right = (_rewritten(each, events, change) for each in (condition.left, condition.right))
        return replace(condition, left=left, right=right)
    if isinstance(condition, Not | Formerly | Previous | Exists):
        return replace(condition, body=_rewritten(condition.body, events, change))
    if isinstance(condition, Comparison):
        sides = (_in_term(each, events, change) for each in (condition.left, condition.right))
        return replace(condition, left=next(sides), right=next(sides))
    return condition


def _in_term(term: Term, events: Events, change: _Change) -> Term:
    return replace(term, body=_rewritten(term.body, events, change)) if isinstance(term, Count | Sum) else term
