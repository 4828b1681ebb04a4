"""What completed actions taught, until it is recorded: one summary now and then, not a record for each call.

An outcome stands in a session's stream, a habit in its workload's. If each outcome were appended to both, all sessions
of a workload would wait for one another. This is no state that decides: what is lost here (a restart, a failed commit)
was not learned, so that the workload's actions look newer than they are, never more usual.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from remit.core import bounds
from remit.decide.session import Item


class Lesson(NamedTuple):
    """The items that one outcome was the first of its task tree to complete."""

    stream: str  # of the session
    at: int  # ms
    items: tuple[Item, ...]


class Lessons:
    """The lessons that are not recorded yet, by workload and decision."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, Lesson]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def note(self, workload: str, decision: str, lesson: Lesson) -> None:
        """Takes what the outcome of a decision teaches, in place of what was taken for it before."""
        waiting = self._waiting.setdefault(workload, {})
        self._count -= decision in waiting
        waiting.pop(decision, None)
        if lesson.items and self._count < bounds.LESSONS:
            waiting[decision] = lesson
            self._count += 1

    def workloads(self) -> list[str]:
        """Whom something waits for."""
        return [workload for workload, waiting in self._waiting.items() if waiting]

    def take(self, workload: str) -> dict[str, Lesson]:
        """All that waits for one workload, by decision; it no longer waits then."""
        found = self._waiting.pop(workload, {})
        self._count -= len(found)
        return found

    def forget(self, streams: Iterable[str]) -> None:
        """Drops what was learned in these sessions: its outcomes may never have become durable."""
        gone = set(streams)
        for waiting in self._waiting.values():
            for decision in [decision for decision, lesson in waiting.items() if lesson.stream in gone]:
                del waiting[decision]
                self._count -= 1
