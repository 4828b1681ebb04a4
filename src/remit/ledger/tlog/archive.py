"""Moves old entries of a published log elsewhere; the log says so, signed (c2sp.org/tlog-tiles, pruning).

1. Only full bundles of published entries, from the first one on and never the last one: afterwards the log lacks the
   first so many entries.
2. Each is what its tile of level 0 says, before it goes anywhere.
3. It is written to the archive under the same path, flushed, read back and compared.
4. The log states, signed, how many entries are archived, and the root over them.
5. SECURITY: only then is a bundle removed from the log's folder. Tiles stay: no root and no proof needs the entries.

Cut off at any point, the next call goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from remit.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from remit.ledger.tlog import tiles
from remit.ledger.tlog.archived import ARCHIVED, Archived, read_archived
from remit.ledger.tlog.checkpoint import Checkpoint
from remit.ledger.tlog.folder import Disk, published
from remit.ledger.tlog.merkle import leaf_hash, range_hash
from remit.ledger.tlog.note import Signer, signed_note
from remit.ledger.tlog.source import BUNDLE_BYTES, FolderSource, read_hashes
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Tile

STEP: Final = 256  # bundles that are copied before their statement is made


class Moved(NamedTuple):
    """What a call archived: entries and their bytes, and how many entries are archived in all."""

    entries: int
    bytes: int
    total: int


class _Time(msgspec.Struct):
    t: int


_read_time = msgspec.json.Decoder(_Time).decode


class Archiving:
    """The archiving of one log's folder into another folder."""

    def __init__(self, folder: Path, into: Path, signer: Signer, disk: Disk | None = None) -> None:
        """`InvalidInput` where `into` is the log's own folder, or in it; `NotFound` where nothing is published."""
        if into.resolve().is_relative_to(folder.resolve()):
            raise InvalidInput("archive_invalid", "the archive is in the log's own folder", "name another folder")
        signed = published(folder, signer.key)
        if signed is None:
            raise NotFound("log_not_published", "nothing is published yet", "start the service: `remit up`")
        self._folder = folder
        self._into = into
        self._signer = signer
        self._disk = disk or Disk()
        self._signed = signed
        self._source = FolderSource(folder)
        self._hashes = lru_cache(64)(lambda tile: read_hashes(self._source, tile))
        self._stated = read_archived(self._source, signer.key)

    @property
    def checkpoint(self) -> Checkpoint:
        """What is published."""
        return self._signed.checkpoint

    def run(self, before: int, progress: Callable[[int, int], None] = lambda *_: None) -> Moved:
        """Archives what is older than `before` (ms); `progress` is told bundles done, and bundles at most.

        `Conflict("archive_differs")` where the archive has something else under a path, and `InvalidInput`
        (`log_damaged`) for a bundle that is not what its tile says: nothing is removed then that is not archived.
        """
        entries = size = 0
        step: list[Tile] = []
        most = self._most()
        try:
            for tile, data in self._old(before):
                self._keep(tile, data)
                entries, size = entries + WIDTH, size + len(data)
                step.append(tile)
                if len(step) == STEP:
                    self._let_go(step)
                    step = []
                progress(tile.index + 1, most)
            if step:
                self._let_go(step)
        except OSError as error:
            why = (error.strerror or "unknown").lower()
            raise Unavailable(
                "archive_unavailable", f"it can't be archived: {why}", "free space, or check DIR"
            ) from error
        progress(most, most)
        return Moved(entries, size, self._stated.size if self._stated else 0)

    def _most(self) -> int:
        """How many bundles may go: never the last one, full or not, which a start compares with the records."""
        return max(0, self.checkpoint.size - 1) // WIDTH

    def _old(self, before: int) -> Iterator[tuple[Tile, bytes]]:
        """1 and 2. The bundles that are still here and whose entries are all older, up to the first that is not."""
        stated = self._stated.size if self._stated else 0
        for index in range(self._most()):
            tile = Tile(ENTRIES, index)
            try:
                data = self._source.read(tile.path, BUNDLE_BYTES)
            except NotFound:
                if (index + 1) * WIDTH <= stated:
                    continue
                raise
            entries = tiles.decode_bundle(data, WIDTH)
            if [leaf_hash(entry) for entry in entries] != self._hashes(Tile(0, index)):
                raise InvalidInput(
                    "log_damaged", f"`{tile.path}` is not what the tree has there", "restore it from a copy of the log"
                )
            if not all(_is_older(entry, before) for entry in entries):
                return
            yield tile, data

    def _keep(self, tile: Tile, data: bytes) -> None:
        """3. Copies a bundle, unless it is there already."""
        path = self._into / tile.path
        if not path.exists():
            self._disk.write(path, data)
        if path.read_bytes() != data:
            raise Conflict(
                "archive_differs",
                f"the archive has something else as `{tile.path}`",
                "use a folder of its own for each log; look what happened to this one",
            )

    def _let_go(self, step: list[Tile]) -> None:
        """4 and 5."""
        folders = {parent for tile in step for parent in (self._into / tile.path).parents}
        for folder in sorted(folders):
            if folder.is_relative_to(self._into):
                self._disk.flush(folder)
        size = max((step[-1].index + 1) * WIDTH, self._stated.size if self._stated else 0)
        node = tiles.node_reader(self.checkpoint.size, self._hashes)
        stated = Archived(self.checkpoint.origin, size, range_hash(0, size, node))
        note = signed_note(stated.text, [self._signer.sign(stated.text)]).encode()
        # Whoever has the archive alone finds in it what it is.
        for where, name, content in (
            (self._into, ARCHIVED, note),
            (self._into, CHECKPOINT, self._signed.data),
            (self._folder, ARCHIVED, note),
        ):
            self._disk.write(where / name, content)
            self._disk.flush(where)
        self._stated = stated
        for tile in step:
            os.unlink(self._folder / tile.path)
        for folder in {(self._folder / tile.path).parent for tile in step}:
            self._disk.flush(folder)


def _is_older(entry: bytes, before: int) -> bool:
    try:
        return _read_time(entry).t < before
    except (ValueError, RecursionError):
        return False  # what has no time stays
