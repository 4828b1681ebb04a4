"""What reads records, also while services write them; changes nothing. One contract, fulfilled for each storage.

Records have a place, `seq`, in the order in which they were appended. With several writers a record may become visible
after one with a later place, because its commit took longer; within one stream that never happens. `Tail` therefore
misses nothing, and gives each record once, in the order in which they can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, Self

from remit.ledger.record import Record, decode_record


class Stored(NamedTuple):
    """One stored record: its place in the database, its stream and number, its bytes."""

    seq: int
    stream: str
    n: int
    data: bytes

    @property
    def record(self) -> Record:
        """The record in the bytes."""
        return decode_record(self.data)


class Tail(Protocol):
    """What is appended from some moment on."""

    def fresh(self) -> list[Stored]:
        """The records that could not be seen yet when this was last asked; `Unavailable` as the reader's methods."""
        ...


class Reader(Protocol):
    """A read-only view of the records; a context manager, for one thread at a time.

    Opening raises `NotFound("no_records")` when there is no database, or nothing of Remit in it; every method raises
    `Unavailable("records_unreadable")` when it can't be read. What one iterator gives is one snapshot, and so is what
    is asked while it is open, where the storage has snapshots (PostgreSQL).
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def records(self, *, kinds: tuple[str, ...] = (), last: int | None = None) -> Iterator[Stored]:
        """All records, or those of some kinds, in the order in which they were appended; or the `last` ones."""
        ...

    def backwards(self, kinds: tuple[str, ...]) -> Iterator[Stored]:
        """All records of these kinds, the last one first."""
        ...

    def tail(self, kinds: tuple[str, ...]) -> Tail:
        """What is appended of these kinds from now on."""
        ...

    def at(self, places: Sequence[int]) -> list[Stored]:
        """The records at these places, in the order given; places without one are left out."""
        ...

    def after(self, place: int, most: int) -> list[Stored]:
        """At most `most` records behind a place, in order, of those that can be seen now."""
        ...

    def settled(self) -> int:
        """A place up to which nothing can come up any more, for what is asked after this.

        The more often it is asked, the nearer it is to the last place. Not while an iterator is open.
        """
        ...

    def by_stream(self) -> Iterator[tuple[str, int, bytes]]:
        """All records, stream by stream (in the order of their names' code points): (stream, number, bytes)."""
        ...

    def stream(self, name: str) -> Iterator[Stored]:
        """The records of one stream."""
        ...

    def find(self, key: str) -> Stored | None:
        """The record of a decision or the opening of a task by its id."""
        ...

    def keys_ending(self, end: str, most: int = 5) -> list[str]:
        """The ids of decisions and tasks that end so; at most `most`."""
        ...

    def openings(self, stream: str, n: int) -> list[tuple[str, bytes, bytes]]:
        """The openings of one record that are still kept: (pointer, salt, canonical JSON of the value)."""
        ...

    def broken(self, stream: str, n: int) -> list[str]:
        """The pointers of openings of one record that are there and don't open: swapped, changed, or without a key."""
        ...

    def opened(self, subject: str = "") -> Iterator[tuple[str, int, str, bytes]]:
        """All openings that open, or those of one subject, stream by stream: (stream, n, pointer, canonical value)."""
        ...

    def personal(self) -> int:
        """How many openings are kept."""
        ...

    def texts(self) -> Iterator[tuple[str, str]]:
        """The kept texts by digest."""
        ...

    def text(self, digest: str) -> str | None:
        """One kept text, or None."""
        ...

    def count(self) -> int:
        """How many records there are."""
        ...

    def damage(self) -> list[str]:
        """What the database itself says is wrong with it; nothing when it is in order."""
        ...
