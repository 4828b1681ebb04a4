"""Second keys: a history has one key, and an event schema may pin more fields that tell events apart.

What such a pin hides matches nothing, so that most conditions hold just as if it were not there. Those that look at
*every* event of a history are others: they are refused, because they would see what the pin hides (Dogwood guide,
chapter 03, on universal symmetric pins).
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.policy.dogwood.ast import And, Condition, Exists, Formerly, Not, Predicate, Previous, Since
from remit.policy.dogwood.events.derivation import Pinned
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.variables import conjuncts, walk


def check(condition: Condition, second: Sequence[Pinned]) -> None:
    """Raises `Mistake` at the first part of a condition to which an event that these pins hide would matter."""
    if not second:
        return
    for each in walk(condition):
        if isinstance(each, Previous):
            what = "`previous` looks"
        elif isinstance(each, Formerly) and not _is_anchored(each.body):
            what = "`formerly` without an event in it looks"
        elif isinstance(each, Since) and not (
            _is_anchored(each.right) and isinstance(each.left, Not) and _is_anchored(each.left.body)
        ):
            what = "this `since` looks"
        else:
            continue
        pins = ", ".join(f"`{pin}`" for pin in second)
        raise Mistake(
            each.at,
            f"{what} at every event of the history, those that {pins} hides too",
            "ask for an event with `formerly`, or leave that pin out of the event schema",
        )


def _is_anchored(condition: Condition) -> bool:
    """Whether it can hold only where one of its events is, at that very point."""
    if isinstance(condition, And):
        return any(_is_anchored(each) for each in conjuncts(condition))
    if isinstance(condition, Exists):
        return _is_anchored(condition.body)
    return isinstance(condition, Predicate)
