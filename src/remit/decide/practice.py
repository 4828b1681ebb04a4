"""Records what a workload has practised: the lessons of a while as one `practice` record a day of theirs.

Runs now and then and at the stop, for one workload at a time, so that its stream is locked rarely. What waits is taken
once: if it can't be recorded it is lost, which makes the workload's actions newer than they are, never more usual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from remit.decide.habits import TASKS_A_DAY, Step, day_of, practice_body
from remit.decide.lessons import Lesson
from remit.decide.sequence import Entry
from remit.decide.sequence import Step as Work
from remit.decide.session import Item
from remit.decide.world import Life, World, identity_stream

ITEMS: Final = 64  # in one record: names are long, and a record is bounded


class Practice:
    """The work that records the lessons of one workload; its answer is the number of records. It may be run again."""

    def __init__(self, workload: str, lessons: Mapping[str, Lesson]) -> None:
        self._workload = workload
        self._lessons = lessons

    def __call__(self, world: World, now: int) -> Work[int]:
        """The records of what was learned, a day and at most `ITEMS` items each."""
        stream = identity_stream(self._workload)
        world.expect((stream,))
        life = world.life(self._workload)
        if life is None or life.stopped_on is not None:
            return Work(0)  # SECURITY: what led up to a quarantine teaches nothing, nor does what comes in it
        learned = [
            lesson
            for decision, lesson in self._lessons.items()
            if lesson.at >= life.active_since and world.is_completed(lesson.stream, decision)
        ]
        bodies = [
            practice_body(self._workload, day, *part)
            for day, items in sorted(_by_day(learned).items())
            for part in _parts(_missing(items, life, day))
        ]
        return Work(len(bodies), tuple(Entry(stream, "practice", body) for body in bodies))


def _by_day(lessons: Iterable[Lesson]) -> dict[int, Counter[Item]]:
    days: dict[int, Counter[Item]] = {}
    for lesson in lessons:
        days.setdefault(day_of(lesson.at), Counter()).update(lesson.items)
    return days


def _missing(items: Mapping[Item, int], life: Life, day: int) -> list[tuple[Item, int]]:
    """What this day still lacks: an item gains nothing from more task trees a day than count."""
    own = day - life.stopped_days
    found = []
    for item, tasks in sorted(items.items()):
        habit = life.habits.find(item[1], item[2], item[3])
        tasks = min(tasks, TASKS_A_DAY - (habit.on(own) if habit is not None else 0))
        if tasks > 0:
            found.append((item, tasks))
    return found


def _parts(items: list[tuple[Item, int]]) -> Iterable[tuple[dict[str, int], dict[Step, int], dict[str, int]]]:
    for start in range(0, len(items), ITEMS):
        tools: dict[str, int] = {}
        steps: dict[Step, int] = {}
        destinations: dict[str, int] = {}
        for (_, kind, before, name), tasks in items[start : start + ITEMS]:
            if kind == "tool":
                tools[name] = tasks
            elif kind == "step":
                steps[before, name] = tasks
            else:
                destinations[name] = tasks
        yield tools, steps, destinations
