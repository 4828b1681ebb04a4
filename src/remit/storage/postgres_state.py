"""Keeps a world up to date with streams that other processes append to.

Of each stream in memory the number and the hash of the record up to which it is known are kept. What was appended
since is applied record by record, never the whole again. The hashes tell whether it is still the same history: after a
restore, or a failover that lost commits, a stream is forgotten and read anew, with an alarm.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

import asyncpg

from remit.decide.world import ADMINISTRATION, Replayed, World
from remit.ledger.record import Record, decode_record, leaf_hash
from remit.storage.postgres_hand import Hand, Head
from remit.storage.reveal import reveal
from remit.storage.sealing import KEY_BYTES, unseal

log = logging.getLogger("remit.storage")

Opened = dict[tuple[str, int], list[tuple[str, bytes]]]


class Misfit(Exception):
    """Records that don't follow what is known of their stream, or that state can't take."""


@dataclass(slots=True)
class _Page:
    """What one call of `enter` returned."""

    clock: int = 0
    latest: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
    records: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    openings: Opened = field(default_factory=dict)


class Followed:
    """The streams of a world that are in memory, each up to some record."""

    def __init__(self) -> None:
        self.world: World  # set by whoever makes both
        self._known: dict[str, tuple[int, str]] = {}  # number and leaf hash ("": not known)
        self._staged: dict[str, list[Replayed]] = {}

    def holds(self, stream: str) -> bool:
        """Whether the stream's state is in memory, up to some record."""
        return stream in self._known

    def known(self, stream: str) -> int:
        """The number of the last record that is known of a stream."""
        known = self._known.get(stream)
        return known[0] if known else 0

    def identities(self) -> list[str]:
        """The streams of identities that are in memory."""
        return [stream for stream in self._known if stream.startswith("identity/")]

    def advance(self, heads: Iterable[tuple[str, Head]]) -> None:
        """Own entries, which the world has taken already."""
        for stream, head in heads:
            self._known[stream] = (head.n, head.leaf)

    def forget(self, streams: Iterable[str]) -> None:
        """Drops what is known of these streams."""
        streams = tuple(streams)
        for stream in streams:
            self._known.pop(stream, None)
        self.world.drop(streams)

    def renew(self, streams: Iterable[str]) -> None:
        """Lets sessions and histories be read anew, some of whose personal values were erased."""
        spaces = ("session/", "workload/")
        streams = [stream for stream in streams if stream.startswith(spaces) and self.holds(stream)]
        self.world.renew(streams)
        self.forget(streams)

    def forget_lives(self) -> None:
        """Lets identities and administration be read anew; until then they can be glanced at as they were."""
        for stream in (*self.identities(), ADMINISTRATION):
            self._known.pop(stream, None)

    def trim(self) -> None:
        """Bounds the sessions in memory."""
        for stream in self.world.trim():
            self._known.pop(stream, None)

    def replay(self, stream: str) -> list[Replayed]:
        """What the world replays: records that were fetched for it; none of a stream that has none."""
        return self._staged.pop(stream, [])

    def take(self, rows: Sequence[asyncpg.Record], asked: dict[str, int], hand: Hand, locked: Set[str]) -> set[str]:
        """Takes one page of `enter` into the world; returns the streams of which there is more to fetch.

        `asked` are the numbers after which records were asked for. Only the heads of locked streams can tell that the
        database's history is not the one that is known: the others may be older than what is known.
        """
        page = _read(rows)
        hand.clock, hand.latest = page.clock, max(hand.latest, page.latest)
        hand.heads |= page.heads
        for stream in asked.keys() & locked - page.heads.keys():
            if self.holds(stream):
                self._misfits(stream, Misfit("the stream is gone from the database"), hand)
        behind = set()
        for stream, head in page.heads.items():
            try:
                if stream in locked and self._is_another(stream, head):
                    raise Misfit("the database has another history than the one that was read before")
                if self._continues(stream, asked):
                    self._advance(stream, head, page)
                    if self.known(stream) == asked[stream] < head.n:
                        raise Misfit(f"record {asked[stream] + 1} is missing")
            except Exception as error:  # noqa: BLE001 - whatever it is, the other streams go on
                self._misfits(stream, error, hand)
            if self.known(stream) < head.n and stream not in hand.broken:
                behind.add(stream)
        return behind

    def _misfits(self, stream: str, error: Exception, hand: Hand) -> None:
        """Forgets the stream, to read it from its first record on; what does not fit then is broken."""
        log.critical("ALARM the records of %s don't fit: %s", stream, error, exc_info=error)
        if stream in hand.doubted or not self.holds(stream):
            hand.broken[stream] = error
        hand.doubted.add(stream)
        self.forget((stream,))

    def _continues(self, stream: str, asked: dict[str, int]) -> bool:
        """Whether the records of a page go on from what is known: it may have been forgotten since they were asked."""
        return stream in asked and self.known(stream) >= asked[stream]

    def _is_another(self, stream: str, head: Head) -> bool:
        number, leaf = self._known.get(stream, (0, ""))
        return number > head.n or (number == head.n and leaf not in ("", head.leaf))

    def _advance(self, stream: str, head: Head, page: _Page) -> None:
        is_life = stream.startswith("identity/")
        known = self._known.get(stream)
        number, leaf = known or (0, "")
        replayed: list[Replayed] = []
        data = b""
        for n, data in page.records.get(stream, ()):
            if n <= number:
                continue
            record = decode_record(data)
            if not is_life and (n != number + 1 or (leaf and record.prev != leaf)):
                raise Misfit(f"record {n} does not follow record {number} as it is known")
            replayed.append(_replayed(record, page.openings.get((stream, n), [])))
            number, leaf = n, ""
        if known is None and (replayed or is_life):
            self._staged[stream] = replayed
            self.world.load(stream)
        else:
            for kind, body, at in replayed:
                self.world.apply(stream, kind, body, at)
                if kind == "erasure":
                    self.renew(name for name, _, _ in body["openings"])
        if is_life:
            number = max(number, head.n)  # its other records change no state
        if number == head.n:
            self._known[stream] = (number, head.leaf)
        elif replayed:
            self._known[stream] = (number, leaf_hash(data))


def _read(rows: Sequence[asyncpg.Record]) -> _Page:
    page = _Page()
    for what, stream, n, t, due, name, data in rows:
        if what == "r":
            page.records.setdefault(stream, []).append((n, data))
        elif what == "h":
            page.heads[stream] = Head(n, name, t, due)
        elif what == "o":
            opened = unseal(data[:KEY_BYTES], stream, n, name, data[KEY_BYTES:])
            if opened is not None:
                page.openings.setdefault((stream, n), []).append((name, opened[1]))
        else:
            page.clock, page.latest = t, due
    return page


def _replayed(record: Record, opened: list[tuple[str, bytes]]) -> Replayed:
    return record.kind, reveal(record.body, opened), record.t
