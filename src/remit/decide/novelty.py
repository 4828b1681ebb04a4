"""`context.novelty`: how unusual an action is for its workload, by what that has learned (docs/design/drift.md).

0 is habitual, 100 was never seen. A workload with little history is said to be learning; its numbers are the same, so
that a policy decides what they mean then. Computed at the time of the decision, from the records alone.
"""

from __future__ import annotations

from typing import Any

from remit.decide.habits import NEVER_SEEN, Habit, Terms
from remit.decide.session import Session
from remit.decide.world import Life


def novelty_facts(
    life: Life, session: Session, workload: str, action: str, host: str | None, now: int, terms: Terms
) -> dict[str, Any]:
    """`context.novelty` of one action; `host` is its destination, None for an action without one.

    An age is the number of days since the item was first learned; it is missing for what never was.
    """
    habits, today = life.habits, life.today(now)
    days = habits.days
    step = (session.last.get(workload, ""), action)
    found: dict[str, Any] = {"days": days, "isLearning": days < terms.learning_days}
    _put(found, "tool", habits.tools.get(action), today, terms)
    _put(found, "step", habits.steps.get(step), today, terms)
    if host is not None:
        _put(found, "destination", habits.destinations.get(host), today, terms)
    return found


def _put(found: dict[str, Any], name: str, habit: Habit | None, today: int, terms: Terms) -> None:
    if habit is None:
        found[name] = NEVER_SEEN
    else:
        found[name] = habit.novelty(today, terms)
        found[name + "Age"] = max(0, today - habit.first)
