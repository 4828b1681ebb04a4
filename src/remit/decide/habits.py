"""What one workload is used to doing, as a fold over the `practice` records of its stream (docs/design/drift.md).

It is learned by the day: an item (a tool, a step from one tool to the next, a destination) gains at most one day's
weight a day, by the number of task trees in which it was completed. Days are those on which the workload was not in
quarantine. All numbers are integers, so that whoever has the records computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from remit.core import bounds

DAY_MS: Final = 86_400_000
TASKS_A_DAY: Final = 3  # more task trees on one day add nothing
NEVER_SEEN: Final = 100
_WEIGHTS: Final = (0, 50, 75, 100)  # of a day, by the number of task trees
_UNIT: Final = 1024  # weights are kept in these parts, so that halving loses little
_DIGIT: Final = 2  # bits that hold 0 to `TASKS_A_DAY`
_KEPT: Final = (1 << _DIGIT * bounds.HABIT_DAYS) - 1
_ODD: Final = _KEPT // 3  # the lower bit of each digit

Name = TypeVar("Name", str, tuple[str, str])
Step = tuple[str, str]  # from one action ("" at the beginning of a session) to the next


def day_of(ms: int) -> int:
    """The UTC day of a time, as a number since 1970."""
    return ms // DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How habits are counted; `[novelty]` in remit.toml sets them."""

    half_life_days: int = 30  # after so many days a lesson weighs half
    habit_days: int = 5  # so many full days, all of them recent, make something habitual
    learning_days: int = 7  # a workload that learned on fewer days is learning


@dataclass(slots=True)
class Habit:
    """On which days one item was completed, and in how many task trees, for the last `bounds.HABIT_DAYS` days."""

    first: int  # the day on which it was first learned
    last: int  # the day on which it was last learned
    past: int = 0  # a digit of two bits for each day, the lowest one for `last`
    _known: tuple[int, Terms, int] | None = field(default=None, compare=False, repr=False)

    def learn(self, day: int, tasks: int) -> None:
        """Adds task trees to a day; at most `TASKS_A_DAY` count, and days before those that are kept do not."""
        if day > self.last:
            # A gap beyond what is kept empties it; so long a shift would only cost memory.
            self.past = self.past << _DIGIT * (day - self.last) & _KEPT if day - self.last < bounds.HABIT_DAYS else 0
            self.last = day
        place = _DIGIT * (self.last - day)
        had = self.past >> place & TASKS_A_DAY
        self.past = (self.past + (min(TASKS_A_DAY, had + tasks) - had << place)) & _KEPT
        self.first = min(self.first, day)
        self._known = None

    def on(self, day: int) -> int:
        """The task trees of one day; 0 for a day that is not kept."""
        return self.past >> _DIGIT * (self.last - day) & TASKS_A_DAY if day <= self.last else 0

    @property
    def days(self) -> int:
        """The number of days on which it was learned, of those that are kept."""
        return ((self.past | self.past >> 1) & _ODD).bit_count()

    def by_day(self) -> list[tuple[int, int]]:
        """The days that are kept and the task trees of each, the first day first."""
        found = []
        day, past = self.last, self.past
        while past:
            if tasks := past & TASKS_A_DAY:
                found.append((day, tasks))
            day, past = day - 1, past >> _DIGIT
        return found[::-1]

    def novelty(self, today: int, terms: Terms) -> int:
        """From 0, habitual, to 99; computed once a day."""
        known = self._known
        if known is None or known[0] != today or known[1] is not terms:
            known = self._known = (today, terms, _novelty(self, today, terms))
        return known[2]


def _novelty(habit: Habit, today: int, terms: Terms) -> int:
    weight = sum(
        _halved(_WEIGHTS[tasks] * _UNIT, max(0, today - day), terms.half_life_days) for day, tasks in habit.by_day()
    )
    # What was ever learned is not like what never was, however long ago.
    return min(NEVER_SEEN - 1, max(0, NEVER_SEEN - weight // (terms.habit_days * _UNIT)))


def _halved(weight: int, age: int, half_life: int) -> int:
    """The weight after `age` days: halved with every half-life, and in a straight line between."""
    halvings, rest = divmod(age, half_life)
    return (weight >> halvings) * (2 * half_life - rest) // (2 * half_life)


@dataclass(slots=True)
class Habits:
    """All that one workload has learned. At a bound of items nothing new is learned, so it stays novel."""

    tools: dict[str, Habit] = field(default_factory=dict)
    steps: dict[Step, Habit] = field(default_factory=dict)
    destinations: dict[str, Habit] = field(default_factory=dict)
    anything: Habit | None = None

    def practise(self, body: Mapping[str, Any], day: int) -> None:
        """Takes one `practice` record into the state; `day` is its day as this workload counts days."""
        for name, tasks in body["tools"].items():
            _learn(self.tools, name, day, tasks)
        for before, following in body["steps"].items():
            for name, tasks in following.items():
                _learn(self.steps, (before, name), day, tasks)
        for name, tasks in body["destinations"].items():
            _learn(self.destinations, name, day, tasks)
        if self.anything is None:
            self.anything = Habit(day, day)
        self.anything.learn(day, 1)

    def forget(self, body: Mapping[str, Any]) -> None:
        """Takes one `forgotten` record into the state."""
        if body["everything"]:
            self.tools, self.steps, self.destinations, self.anything = {}, {}, {}, None
            return
        tools = set(body["tools"])
        for name in tools:
            self.tools.pop(name, None)
        for step in [step for step in self.steps if not tools.isdisjoint(step)]:
            del self.steps[step]
        for name in body["destinations"]:
            self.destinations.pop(name, None)

    def find(self, kind: str, before: str, name: str) -> Habit | None:
        """What was learned of one item (`session.Item`), or None."""
        if kind == "step":
            return self.steps.get((before, name))
        return (self.tools if kind == "tool" else self.destinations).get(name)

    @property
    def days(self) -> int:
        """The number of days on which anything was learned, of those that are kept."""
        return self.anything.days if self.anything is not None else 0


def _learn(known: dict[Name, Habit], name: Name, day: int, tasks: int) -> None:
    habit = known.get(name)
    if habit is None:
        if len(known) >= bounds.HABITS and not _make_room(known, day):
            return
        habit = known[name] = Habit(day, day)
    habit.learn(day, tasks)


def _make_room(known: dict[Name, Habit], day: int) -> bool:
    """Drops what was last learned so long ago that none of its days would be kept."""
    old = [name for name, habit in known.items() if day - habit.last >= bounds.HABIT_DAYS]
    for name in old:
        del known[name]
    return bool(old)


def practice_body(
    workload: str, day: int, tools: Mapping[str, int], steps: Mapping[Step, int], destinations: Mapping[str, int]
) -> dict[str, Any]:
    """The body of a `practice` record (docs/design/records.md)."""
    nested: dict[str, dict[str, int]] = {}
    for (before, name), tasks in steps.items():
        nested.setdefault(before, {})[name] = tasks
    return {"day": day, "destinations": dict(destinations), "id": workload, "steps": nested, "tools": dict(tools)}


def told(habits: Habits, workload: str, shift: int) -> Iterator[dict[str, Any]]:
    """The habits as bodies of `practice` records, one a day, each `shift` days later: what a copy learns again."""
    tools, destinations = _by_day(habits.tools), _by_day(habits.destinations)
    steps = _by_day(habits.steps)
    days = {day for day, _ in habits.anything.by_day()} if habits.anything is not None else set[int]()
    for day in sorted({*tools, *steps, *destinations, *days}):
        parts = (tools.get(day, {}), steps.get(day, {}), destinations.get(day, {}))
        yield practice_body(workload, day + shift, *parts)


def _by_day(known: Mapping[Name, Habit]) -> dict[int, dict[Name, int]]:
    days: dict[int, dict[Name, int]] = {}
    for name, habit in known.items():
        for day, tasks in habit.by_day():
            days.setdefault(day, {})[name] = tasks
    return days
