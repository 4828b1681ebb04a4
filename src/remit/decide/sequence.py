"""Decide and append are one step per stream, in one order.

A `Work` runs alone, in the sequencer: it reads the world, returns its answer and the entries to append. The entries
are taken into the world at once, so that the next work sees them; the answer is given only after they are durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from remit.core.errors import Unavailable
from remit.decide.world import World

T = TypeVar("T")

# (path, salt, value) of each personal value that a record only commits to.
Opening = tuple[str, bytes, Any]


class Unreadable(Unavailable):
    """State could not be read from storage: whatever is being decided is refused, and nothing of it is recorded."""


# Where an opening stands: stream, number of the record, pointer.
Place = tuple[str, int, str]


class Erased(msgspec.Struct, frozen=True):
    """What an entry takes away from storage: single openings, and all that is sealed under these keys, with the keys.

    Entries before it in the same order are reached, also those that are not durable yet; entries after it are not.
    """

    openings: tuple[Place, ...] = ()
    keys: tuple[int, ...] = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which openings are looked for: a subject's, or these places, or those of what ended before `before` (ms).

    `before` looks at some streams after `after`, in the order of their names.
    """

    subject: str = ""
    places: tuple[Place, ...] = ()
    before: int = 0
    after: str = ""
    most: int = 2_000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Openings that are kept, and the keys of the subject that was asked for."""

    places: tuple[Place, ...] = ()
    keys: tuple[int, ...] = ()
    more: bool = False  # there are more than were asked for
    after: str = ""  # where to go on; "" at the end


class Entry(msgspec.Struct, frozen=True):
    """One record to append: `body` is what state keeps, `recorded` what the record says (personal values concealed)."""

    stream: str
    kind: str
    body: dict[str, Any]
    key: str = ""  # an id to find the record by
    recorded: dict[str, Any] | None = None  # None: the body, as it is
    openings: tuple[Opening, ...] = ()
    subject: str = ""  # whom the openings are about; "": the owner of the stream
    erases: Erased | None = None


class Step(msgspec.Struct, Generic[T], frozen=True):
    """What a work came to: its answer, and the entries that must be durable before the answer is given."""

    answer: T
    entries: tuple[Entry, ...] = ()
    durable: bool = True  # False: answer once sequenced; the entries follow in the same order


Work = Callable[[World, int], Step[T]]


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The streams that a work is known to use, for storage that has to lock or fetch them first.

    A hint that saves time: what it names in vain costs a lock, what it lacks makes the work run twice.
    """

    reads: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()  # read as well
    keys: tuple[str, ...] = ()  # ids of records: the streams that have them are appended to
    records: bool = True  # False: it promises nothing, and needs no lock as long as it has no entries


NOTHING_KNOWN: Final = Needs()


class Sequencer(Protocol):
    """Where works run one at a time and their entries become durable; storage fulfils it.

    `run` raises what the work raised, or `Unavailable` when the entries could not be made durable (then the world
    is as if the work had not run), when the clock moved back by more than `bounds.CLOCK_BACK_MS`, or when closed;
    `TooLarge` or `InvalidInput` when an entry does not fit a record.

    A work must let `Unreadable` through: it may mean that a stream is not at hand yet, and that the work runs again
    once it is. So a work changes nothing but through its entries, or can be run again all the same.
    """

    async def run(self, work: Work[T], needs: Needs = NOTHING_KNOWN) -> T:
        """The work's answer, after its entries are durable."""
        ...

    async def kept(self, wanted: Wanted) -> Kept:
        """Which openings there are; nothing that is not durable yet. Raises `Unavailable` as `run` does."""
        ...

    def keep_text(self, digest: str, text: str) -> None:
        """Stores the text of a policy, an intent or a catalogue under its digest; durable with the next commit."""
        ...

    def renew(self, streams: Iterable[str]) -> None:
        """What the world says must be read again (`World.watch`) is, before it is used."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """What an operator watches: `queue_depth`, `commits`, `failed_commits`, and more where there is more."""
        ...
