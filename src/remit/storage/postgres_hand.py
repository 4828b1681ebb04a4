"""What a batch of works has at hand, and what each work turns out to lack.

A work is synchronous and storage is not: what it reads must be locked and up to date before it runs. It says what it
needs as far as that is known (`Needs`); what it lacks ends the run with `NotAtHand`, and it runs again in the next
batch, with more. The works beside it go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from remit.core.errors import RemitError
from remit.decide.sequence import Needs, Unreadable, Work
from remit.decide.world import EVERYBODY
from remit.ledger.record import check_stream

RUNS: Final = 24  # of one work; one that lacks something new each time is refused


class Head(NamedTuple):
    """The last record of a stream, and when time alone may next change what follows from it (ms)."""

    n: int
    leaf: str
    t: int
    due: int | None


NO_RECORD: Final = Head(0, "", 0, None)


class NotAtHand(Unreadable):
    """The work needs more than its batch has; `due` is how many sessions it may be given that are due."""

    def __init__(
        self,
        *,
        reads: Iterable[str] = (),
        appends: Iterable[str] = (),
        keys: Iterable[str] = (),
        due: int = 0,
        writes: bool = False,
    ) -> None:
        super().__init__("storage_unavailable", "a stream is not at hand", "try again")
        self.reads = tuple(reads)
        self.appends = tuple(appends)
        self.keys = tuple(keys)
        self.due = due
        self.writes = writes


class Job:
    """One work on its way: what it is known to need, and its answer."""

    __slots__ = (
        "answered",
        "appends",
        "due",
        "found",
        "future",
        "given",
        "keys",
        "reads",
        "recorded",
        "result",
        "runs",
        "work",
        "writes",
    )

    def __init__(self, work: Work[Any], needs: Needs, future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.reads = set(needs.reads)
        self.appends = set(needs.appends)
        self.keys = set(needs.keys)
        self.found: dict[str, str | None] = {}  # the streams of keys
        self.due = 0
        self.given: list[str] | None = None  # roots of sessions that are due
        self.writes = needs.records
        self.runs = 0
        self.result: Any = None
        self.answered = False
        self.recorded = False  # it had entries when it was answered

    def lacks(self, missing: NotAtHand) -> None:
        """Takes down what the work needs beside what it said."""
        self.reads.update(missing.reads)
        self.appends.update(missing.appends)
        self.keys.update(missing.keys)
        self.due = missing.due or self.due
        self.writes = self.writes or missing.writes or bool(missing.appends or missing.keys or missing.due)


@dataclass(slots=True)
class Hand:
    """What one batch has at hand: streams that are up to date and, where it writes, locked until it commits."""

    writes: bool
    streams: set[str] = field(default_factory=set)
    exclusive: set[str] = field(default_factory=set)
    everybody: bool = False
    heads: dict[str, Head] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)  # streams whose records did not fit what was known of them
    broken: dict[str, Exception] = field(default_factory=dict)  # and those whose records don't fit each other
    clock: int = 0  # ms; the database's, read when the locks were had
    latest: int = 0  # ms; of all batches that were committed before
    job: Job | None = None

    @classmethod
    def of(cls, jobs: Iterable[Job], *, writes: bool) -> Hand:
        """What these works are known to need."""
        hand = cls(writes)
        for job in jobs:
            hand.exclusive.update(filter(is_stream, job.appends))
            hand.streams.update(filter(is_stream, job.reads))
            hand.everybody = hand.everybody or EVERYBODY in job.reads
        hand.streams |= hand.exclusive
        return hand

    def locks(self) -> dict[str, bool]:
        """The names to lock; True: exclusively. Whoever reads everybody excludes others who do."""
        names = dict.fromkeys(self.streams, False) | dict.fromkeys(self.exclusive, True)
        return names | {EVERYBODY: True} if self.everybody else names


def is_stream(name: str) -> bool:
    """Whether there can be such a stream; of others there is nothing to lock and nothing to read."""
    try:
        check_stream(name)
    except RemitError:
        return False
    return True


def is_key(text: str) -> bool:
    """Whether a record can have such a key; the database takes no others."""
    return text.isascii() and text.isprintable()
