"""What conditions look at: which fields of which events, and how far back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from remit.policy.dogwood.ast import (
    And,
    Comparison,
    Condition,
    Count,
    Exists,
    Formerly,
    Not,
    Path,
    Predicate,
    Previous,
    Since,
    Sum,
)
from remit.policy.dogwood.timepoints import Signature


def conditions(condition: Condition) -> Iterator[Condition]:
    """The condition and all within it, also within aggregates."""
    yield condition
    match condition:
        case And(left, right) | Since(left, _, right):
            yield from conditions(left)
            yield from conditions(right)
        case Not(body) | Formerly(_, body) | Previous(_, body) | Exists(_, body):
            yield from conditions(body)
        case Comparison(_, first, second):
            for term in (first, second):
                if isinstance(term, Count | Sum):
                    yield from conditions(term.body)


def layout_of(all_conditions: Iterable[Condition]) -> dict[Signature, tuple[Path, ...]]:
    """The fields that predicates name, by signature of the event."""
    named: dict[Signature, set[Path]] = {}
    for condition in all_conditions:
        for each in conditions(condition):
            if isinstance(each, Predicate):
                fields = named.setdefault((each.type, each.action, each.kind), set())
                fields.update(argument.path for argument in each.arguments)
    return {signature: tuple(sorted(fields)) for signature, fields in named.items()}


def reach_of(condition: Condition) -> int:
    """How far back in milliseconds a condition can look from where it stands."""
    match condition:
        case Formerly(window, body) | Previous(window, body):
            return window.ms + reach_of(body)
        case Since(left, window, right):
            return window.ms + max(reach_of(left), reach_of(right))
        case And(left, right):
            return max(reach_of(left), reach_of(right))
        case Not(body) | Exists(_, body):
            return reach_of(body)
        case Comparison(_, first, second):
            return max((reach_of(term.body) for term in (first, second) if isinstance(term, Count | Sum)), default=0)
    return 0
