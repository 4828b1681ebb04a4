"""Puts the pins of an event schema on every event that a condition asks for (Dogwood guide, chapter 08, 4.5)."""

from __future__ import annotations

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
from remit.policy.dogwood.events.derivation import Events


def inject(condition: Condition, events: Events) -> Condition:
    """The condition with each pin as one more field of each event, whatever the author wrote about that field.

    So a pin can be narrowed by what is written, never loosened.
    """
    if isinstance(condition, Predicate):
        signature = events.signature(condition.type, condition.action, condition.kind)
        if signature is None or not signature.pins:
            return condition
        # SECURITY: appended even where the author wrote the field: a written value must not replace the pin.
        pinned = tuple(Argument(pin.path, pin.value, condition.at) for pin in signature.pins)
        return replace(condition, arguments=condition.arguments + pinned)
    if isinstance(condition, And | Since):
        return replace(condition, left=inject(condition.left, events), right=inject(condition.right, events))
    if isinstance(condition, Not | Formerly | Previous | Exists):
        return replace(condition, body=inject(condition.body, events))
    if isinstance(condition, Comparison):
        return replace(condition, left=_in_term(condition.left, events), right=_in_term(condition.right, events))
    return condition


def _in_term(term: Term, events: Events) -> Term:
    return replace(term, body=inject(term.body, events)) if isinstance(term, Count | Sum) else term
