"""What was recorded, in the order of time: an installation's records, an export, or a published log with its archive.

Personal values stand in an installation's records only, as long as they are kept; everywhere else their commitments
do. Nothing is verified here: `remit verify` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from remit.core.errors import InvalidInput, NotFound
from remit.ledger.concealed import MARKS
from remit.ledger.export import MANIFEST, Export, open_export
from remit.ledger.record import Record, decode_record
from remit.ledger.tlog.source import BUNDLE_BYTES, FolderSource, WithArchives
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Tile, decode_bundle
from remit.storage.reader import Reader, Stored
from remit.storage.reveal import reveal

CHECKPOINT_BYTES: Final = 1 << 16
_COMMITTED: Final = MARKS[0]


class Recording(NamedTuple):
    """One record as state takes it: what is kept of its personal values stands in it."""

    stream: str
    n: int
    kind: str
    t: int  # ms
    body: dict[str, Any]
    conceals: bool  # whether a personal value in it is not known


class Recordings(Protocol):
    """Records to be replayed."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def records(self) -> Iterator[Recording]:
        """All of them, in order of time, and within a stream in its own order."""
        ...


class Installed:
    """The records of an installation."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.count = reader.count()

    def records(self) -> Iterator[Recording]:
        """As `Recordings.records`."""
        for stored in self._reader.records():
            yield recording_of(self._reader, stored)


class Exported:
    """The records of an export, sorted by time."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self.count = sum(entry.records for entry in export.manifest.streams)

    def records(self) -> Iterator[Recording]:
        """As `Recordings.records`."""
        found: list[tuple[int, int, str, int, bytes]] = []
        for entry in self._export.manifest.streams:
            # What is known of identities comes before what they did in the same millisecond.
            rank = 1 if entry.name.startswith("session/") else 0
            for line in self._export.lines(entry):
                if not line.complete:
                    raise _unreadable(f"a record of `{entry.name[:80]}` is cut off")
                record = decode_record(line.data)
                found.append((record.t, rank, record.stream, record.n, line.data))
        for *_, data in sorted(found):
            yield _plain(data)


class Logged:
    """The entries of a published log, and of its archive where that is given; or those of an archive alone."""

    def __init__(self, log: Path, archives: Sequence[Path] = ()) -> None:
        self._source = WithArchives(FolderSource(log), [FolderSource(path) for path in archives])
        self._size = _size(self._source.read(CHECKPOINT, CHECKPOINT_BYTES))
        self._first, self._end = self._extent()
        self.count = self._end - self._first

    def records(self) -> Iterator[Recording]:
        """As `Recordings.records`; those of one stream are in order, and others nearly so."""
        found: list[tuple[int, int, bytes]] = []
        for place in range(self._first // WIDTH, -(-self._end // WIDTH)):
            for entry in self._bundle(place):
                found.append((decode_record(entry).t, len(found), entry))
        for *_, data in sorted(found):
            yield _plain(data)

    def _extent(self) -> tuple[int, int]:
        """The entries that are here: a log whose old entries are elsewhere lacks the first, an archive the last."""
        bundles = range(-(-self._size // WIDTH))
        present = [place for place in bundles if self._has(place)]
        if not present:
            raise NotFound("log_file_missing", "there are no entries of a log here", "name its folder, or an export")
        if len(present) != present[-1] - present[0] + 1:
            raise _unreadable("entries in the middle of the log are missing")
        return present[0] * WIDTH, min(self._size, (present[-1] + 1) * WIDTH)

    def _has(self, place: int) -> bool:
        try:
            self._bundle(place)
        except NotFound:
            return False
        return True

    def _bundle(self, place: int) -> list[bytes]:
        width = min(WIDTH, self._size - place * WIDTH)
        tile = Tile(ENTRIES, place) if width == WIDTH else Tile(ENTRIES, place, width)
        return decode_bundle(self._source.read(tile.path, BUNDLE_BYTES), width)


def recording_of(reader: Reader, stored: Stored) -> Recording:
    """A record of an installation, with the personal values that are kept."""
    body = stored.record.body
    if _COMMITTED in stored.data:
        body = reveal(body, [(path, value) for path, _, value in reader.openings(stored.stream, stored.n)])
    return _recording(stored.record, body, stored.data)


def recordings_of(folder: Path, archives: Sequence[Path] = ()) -> Recordings:
    """The records of an export, of a published log or of an archive; `InvalidInput` for any other folder."""
    if (folder / MANIFEST).is_file():
        return Exported(open_export(folder))
    if (folder / CHECKPOINT).is_file():
        return Logged(folder, archives)
    raise InvalidInput(
        "records_unknown",
        f"`{folder}` is neither an export nor a published log",
        "`remit log export DIR` writes an export; the log's folder has a `checkpoint`",
    )


def _plain(data: bytes) -> Recording:
    record = decode_record(data)
    return _recording(record, reveal(record.body, []), data)


def _recording(record: Record, body: dict[str, Any], data: bytes) -> Recording:
    conceals = _COMMITTED in data and _COMMITTED in msgspec.json.encode(body)
    return Recording(record.stream, record.n, record.kind, record.t, body, conceals)


def _size(checkpoint: bytes) -> int:
    """How many entries a checkpoint says there are; its signature is `remit verify`'s to check."""
    lines = checkpoint.split(b"\n")
    if len(lines) < 3 or not lines[1].isdigit() or len(lines[1]) > 18:
        raise _unreadable("the checkpoint says no size")
    return int(lines[1])


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput("records_unreadable", f"the records can't be read: {why}", "`remit verify` says what is wrong")
