"""What a change of policies would have changed, in words and as rows."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from remit.console.rows import name_of
from remit.console.screen import moment

Category = Literal["newly denied", "newly permitted", "changed", "not comparable"]
CATEGORIES: Final[tuple[Category, ...]] = ("newly denied", "newly permitted", "changed", "not comparable")
TITLES: Final = (("workload", "workloads"), ("task", "tasks"), ("action", "actions"), ("policy", "policies"))


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What was, or would be, said."""

    effect: Literal["permit", "deny"]
    reason: str
    message: str = ""
    policies: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One decision that would be another one, or can't be compared."""

    category: Category
    id: str
    at: int  # ms
    stream: str
    n: int
    action: str
    workload: str
    task: str
    intent: str
    before: Side
    after: Side | None = None  # None: not comparable
    why: str = ""  # it is not comparable
    times: int = 1  # with identical denials that were only counted


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one workload, task, action or policy, the calls of each category."""

    name: str
    counts: dict[str, int]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration would have changed."""

    config: str  # digest of the configuration that judged
    cascade: bool
    first: int  # ms, of the first decision looked at; 0 without any
    last: int
    decisions: int  # calls, with identical denials
    unchanged: int
    elsewhere: int  # of the unchanged: denied for what no configuration of policies changes
    counts: dict[str, int]  # by category
    why: dict[str, int]  # of those that are not comparable
    workloads: tuple[Counts, ...]
    tasks: tuple[Counts, ...]
    actions: tuple[Counts, ...]
    policies: tuple[Counts, ...]  # that would decide, or decided and would not
    changes: tuple[Change, ...]
    omitted: int = 0  # changes that are counted and not told one by one


def headline(found: Replayed) -> str:
    """The one sentence: what the change would have denied and permitted."""
    denied, permitted = found.counts["newly denied"], found.counts["newly permitted"]
    if not found.decisions:
        return "there are no recorded decisions to compare"
    period = f"of {calls(found.decisions)} {period_of(found)}"
    if not denied and not permitted:
        return (
            f"this change would have denied nothing that was permitted, and permitted nothing that was denied, {period}"
        )
    said = [f"denied {calls(denied)} that {_were(denied)} permitted"] if denied else []
    said += [f"permitted {calls(permitted)} that {_were(permitted)} denied"] if permitted else []
    return f"this change would have {', and '.join(said)}, {period}"


def calls(number: int) -> str:
    """`1 call`, `12 calls`."""
    return f"{number:,} call{'' if number == 1 else 's'}"


def period_of(found: Replayed) -> str:
    """The time from the first to the last decision that was looked at."""
    return f"from {moment(found.first)} to {moment(found.last)}"


def question(found: Replayed) -> str:
    """Which question is answered."""
    if found.cascade:
        return (
            "Each call is judged with the history that there would have been: what would have been denied spends and "
            "completes nothing. What would have been permitted has no outcome."
        )
    return "Each call is judged as it was made, with history as it happened."


def tables(found: Replayed) -> list[tuple[str, tuple[Counts, ...]]]:
    """The breakdowns, by what they are called."""
    return [(title, getattr(found, field)) for title, field in TITLES]


def name_in(title: str, name: str) -> str:
    """A row's name as people know it."""
    return name_of(name) if title == "workload" else name


def cells(counts: Counts) -> list[str]:
    """The figures of a row, in the order of `CATEGORIES`; nothing for none."""
    return [f"{counts.counts[each]:,}" if each in counts.counts else "" for each in CATEGORIES]


def difference(change: Change) -> str:
    """What was said, and what would be."""
    if change.after is None:
        return f"{side(change.before)}; not comparable: {change.why}"
    return f"{side(change.before)} → {side(change.after)}"


def side(said: Side) -> str:
    """One answer in short."""
    if said.effect == "permit":
        return "permit"
    policies = f" ({', '.join(said.policies[:3])}{', …' if len(said.policies) > 3 else ''})" if said.policies else ""
    return f"{said.reason}{policies}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
