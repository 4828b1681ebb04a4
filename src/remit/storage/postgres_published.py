"""Which records of a PostgreSQL database are published, for those who only read them: one look, then by need."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from remit.core.errors import NotFound
from remit.storage.address import Address
from remit.storage.postgres_reader import PostgresReader

BLOCK: Final = 4_096  # records whose places are read at once
KEPT: Final = 64  # blocks
MOST: Final = 100_000  # places behind the published ones that are looked through

_AGREED: Final = "SELECT size, settled FROM agreed"
_PLACED: Final = """
SELECT min(seq) FROM (SELECT seq FROM places WHERE place >= $1 ORDER BY place LIMIT $2) pending
"""
_UNPLACED: Final = """
SELECT r.seq FROM records r WHERE r.seq > $1 AND NOT EXISTS (SELECT FROM places p WHERE p.seq = r.seq)
ORDER BY r.seq LIMIT 1
"""
_PLACES: Final = "SELECT seq, place FROM places WHERE seq BETWEEN $1 AND $2 AND place < $3"
_TIME: Final = "SELECT t FROM records WHERE seq = $1"


class Waiting(NamedTuple):
    """The records that are not published: how many, and when the first of them was recorded (ms; 0: there is none)."""

    number: int
    since: int


class PostgresPublished:
    """What is published as all processes agreed on it, at the moment of the first look."""

    def __init__(self, address: Address) -> None:
        """Raises as a reader does; a database without a log has an empty one."""
        self._address = address
        self._blocks: OrderedDict[int, dict[int, int]] = OrderedDict()
        self.size = 0
        self._first: int | None = None  # no record before this one is pending; None: none is
        with PostgresReader(address) as reader:
            try:
                row = reader._row(_AGREED)
            except NotFound:  # it was never prepared for it
                row = None
            if row is None:
                asked: list[tuple[str, tuple[int, ...]]] = [("SELECT min(seq) FROM records", ())]
            else:
                self.size = int(row[0])
                asked = [(_PLACED, (self.size, MOST)), (_UNPLACED, (int(row[1]),))]
            found = [each[0] for sql, values in asked if (each := reader._row(sql, *values)) is not None]
            self._first = min((int(seq) for seq in found if seq is not None), default=None)

    def is_pending(self, seq: int) -> bool:
        """Whether the record is not published."""
        return self._first is not None and seq >= self._first and self.place_of(seq) is None

    def place_of(self, seq: int) -> int | None:
        """Its place in the published log."""
        if not self.size:
            return None
        number = seq // BLOCK
        if number not in self._blocks:
            with PostgresReader(self._address) as reader:
                rows = reader._fetch(_PLACES, number * BLOCK, number * BLOCK + BLOCK - 1, self.size)
            self._blocks[number] = {int(row[0]): int(row[1]) for row in rows}
            if len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[number].get(seq)

    def waiting(self) -> Waiting:
        """How much is pending."""
        with PostgresReader(self._address) as reader:
            count = reader.count() - self.size
            row = reader._row(_TIME, self._first) if self._first is not None else None
        return Waiting(max(0, count), int(row[0]) if row and count > 0 else 0)
