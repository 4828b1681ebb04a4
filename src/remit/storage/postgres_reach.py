"""Lets a running work reach what its batch has at hand, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from remit.decide.world import EVERYBODY
from remit.storage.postgres_hand import Hand, Job, NotAtHand, is_key, is_stream
from remit.storage.postgres_state import Followed, Misfit


class Reach:
    """Fulfils `remit.decide.world.Access`. Outside a batch anything may be looked at; nothing is decided on it."""

    def __init__(self, state: Followed) -> None:
        self._state = state
        self._hand: Hand | None = None
        self._job: Job | None = None
        self._back: dict[str, int] = {}  # roots of sessions that were due and not done, and when to try again (ms)

    @contextmanager
    def within(self, hand: Hand) -> Iterator[None]:
        """For the works of one batch; nothing else runs meanwhile."""
        self._hand = hand
        try:
            yield
        finally:
            self._hand = self._job = None

    def runs(self, job: Job) -> None:
        """The work whose turn it is."""
        self._job = job

    def given_back(self, now: int) -> list[str]:
        """The roots that were given back and may be tried again by now; once."""
        found = [root for root, until in self._back.items() if until <= now]
        for root in found:
            del self._back[root]
        return found

    def read(self, stream: str) -> None:
        """Lets the work use a stream that is up to date; raises `Misfit` for one whose records don't fit."""
        hand = self._hand
        if hand is None:
            return
        if stream == EVERYBODY:
            if not hand.everybody:
                raise NotAtHand(reads=(stream,))
        elif stream in hand.broken:
            raise Misfit(f"the records of {stream} don't fit") from hand.broken[stream]
        elif stream not in hand.streams:
            if is_stream(stream):
                raise NotAtHand(reads=(stream,))
        elif stream in hand.heads and not self._state.holds(stream):
            raise NotAtHand(reads=(stream,))  # it was forgotten since

    def append(self, streams: Iterable[str]) -> None:
        """Lets the work append to streams that are locked for it."""
        if self._hand is not None:
            missing = [each for each in streams if each not in self._hand.exclusive and is_stream(each)]
            if missing:
                raise NotAtHand(appends=missing)

    def count(self) -> None:
        """Lets the work count where it will not be run again."""
        if self._hand is not None and not self._hand.writes:
            raise NotAtHand(writes=True)

    def due(self, most: int) -> list[str]:
        """The roots that were given to this work."""
        if self._job is None or self._job.given is None:
            raise NotAtHand(due=most)
        return self._job.given

    def postpone(self, roots: Iterable[str], until: int) -> None:
        """Takes roots back."""
        self._back.update((root, until) for root in roots)

    def find(self, key: str) -> str | None:
        """The stream of the record that has a key, as it was looked up for this work."""
        if self._job is None or not is_key(key):
            return None
        if key not in self._job.found:
            raise NotAtHand(keys=(key,))
        return self._job.found[key]
