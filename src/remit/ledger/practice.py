"""What workloads are said to have practised, and why Remit acted by itself, against what the sessions show.

Identities are read before sessions: what they claim waits here until the sessions have shown it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from remit.core import bounds
from remit.ledger import bodies
from remit.ledger.findings import Report

DAY_MS: Final = 86_400_000
# What was completed: ("tool" | "step" | "destination", the tool before a step, name).
Item = tuple[str, str, str]


@dataclass(slots=True)
class Claimed:
    """In how many task trees an item is said to have been completed on one day, and the last record that says so."""

    tasks: int = 0
    n: int = 0
    shown: int = 0


@dataclass(slots=True)
class Caused:
    """A record that names a decision as its cause."""

    stream: str
    n: int
    t: int
    subject: str


@dataclass(slots=True)
class Practised:
    """Claims of all workloads by day, and decisions that are named as causes; both wait for the sessions."""

    claims: dict[tuple[str, int, Item], Claimed] = field(default_factory=dict)
    first: dict[tuple[str, Item], int] = field(default_factory=dict)  # when it was first said to be practised, in ms
    causes: dict[str, list[Caused]] = field(default_factory=dict)

    def claim(self, owner: str, body: bodies.Practice, t: int, n: int) -> str:
        """Takes a `practice` record; why it can't be true, or ""."""
        if body.id != owner:
            return f"it is about `{body.id}`, whose stream this is not"
        if body.day > t // DAY_MS:
            return f"it tells of {_date(body.day)}, a day that had not come"
        for item, tasks in _items(body):
            claimed = self.claims.setdefault((owner, body.day, item), Claimed())
            claimed.tasks, claimed.n = claimed.tasks + tasks, n
            self.first.setdefault((owner, item), t)
        return ""

    def show(self, workload: str, t: int, items: Iterable[Item]) -> None:
        """A session shows that these items were completed, each for the first time in its task tree.

        A clock may have gone back a little at midnight: what is recorded just after it may belong to the day before.
        """
        days = (t // DAY_MS, (t - bounds.CLOCK_BACK_MS) // DAY_MS)
        for item in items:
            several = [claimed for day in days if (claimed := self.claims.get((workload, day, item))) is not None]
            if several:
                next((each for each in several if each.shown < each.tasks), several[0]).shown += 1

    def unlearned(self, workload: str, t: int, facts: Mapping[str, Any], items: Iterable[Item]) -> str:
        """Why the novelty that a decision at `t` states can't be, or ""."""
        for kind in ("tool", "step", "destination"):
            value = facts.get(kind, 100 if kind == "destination" else None)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100:
                return f"its novelty of the {kind} is no number from 0 to 100"
        for item in items:
            if facts[item[0]] < 100 and self.first.get((workload, item), t + 1) > t:
                return f"it calls {_said(item)} {facts[item[0]]} novel, and nothing was practised of it before"
        return ""

    def cause(self, decision: str, caused: Caused) -> None:
        """A record names a decision as its cause."""
        self.causes.setdefault(decision, []).append(caused)

    def decided(self, decision: str, subject: str, t: int, report: Report) -> None:
        """Compares a decision with the records that name it."""
        for caused in self.causes.pop(decision, ()):
            if caused.subject != subject:
                report.find("causes", caused.stream, caused.n, f"it names `{decision}`, a decision about `{subject}`")
            elif caused.t < t:
                report.find("causes", caused.stream, caused.n, f"it names `{decision}`, which was decided only later")

    def finish(self, report: Report) -> None:
        """What no session has shown."""
        for (workload, day, item), claimed in self.claims.items():
            report.made("practice")
            if claimed.tasks > claimed.shown:
                trees = "1 task tree" if claimed.tasks == 1 else f"{claimed.tasks} task trees"
                said = f"{_said(item)} in {trees} on {_date(day)}, and the sessions show"
                message = f"with this it has practised {said} {claimed.shown}"
                report.find("practice", f"identity/{workload}", claimed.n, message)
        for decision, several in self.causes.items():
            for caused in several:
                report.find("causes", caused.stream, caused.n, f"it names `{decision}`, a decision that is not here")


def _items(body: bodies.Practice) -> Iterable[tuple[Item, int]]:
    yield from ((("tool", "", name), tasks) for name, tasks in body.tools.items())
    yield from ((("destination", "", name), tasks) for name, tasks in body.destinations.items())
    for before, following in body.steps.items():
        yield from ((("step", before, name), tasks) for name, tasks in following.items())


def _said(item: Item) -> str:
    kind, before, name = item
    if kind == "step":
        return f"the step from {f'`{before[:80]}`' if before else 'the beginning'} to `{name[:80]}`"
    return f"the {kind} `{name[:80]}`"


def _date(day: int) -> str:
    try:
        return f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"day {day}"
