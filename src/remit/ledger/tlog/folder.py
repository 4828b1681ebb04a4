"""A log in a folder: tiles, entry bundles and the checkpoint as static files, written so that a crash loses nothing.

1. Full bundles and tiles, then the partial ones of the new size; each under its final name at once (rename), and
   flushed to the disk, with the folders that hold them.
2. The checkpoint, in the same way: from here on the new entries are published.
3. Partial tiles whose full tile is published are removed (c2sp.org/tlog-tiles, partial tiles).

What stands in the folder is derived from the records: after a crash the entries since the last checkpoint are written
again, the same ones in the same order.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from remit.core.errors import Conflict, InvalidInput, Unavailable
from remit.ledger.tlog import tiles
from remit.ledger.tlog.checkpoint import Checkpoint, Signed, open_checkpoint
from remit.ledger.tlog.merkle import EMPTY, leaf_hash
from remit.ledger.tlog.note import NOTE_BYTES, Signer, VerifierKey, signed_note
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Frontier, Tile

_PARTIAL_NAME: Final = ".new"


class Disk:
    """The writes of a log, one method each, so that a test can cut them off at any point."""

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file under a temporary name, flushes it, and gives it its name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + _PARTIAL_NAME)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)

    def flush(self, folder: Path) -> None:
        """Makes the names in a folder durable."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, folder: Path) -> None:
        """Removes a folder of partial tiles."""
        shutil.rmtree(folder, ignore_errors=True)


class LogFolder:
    """The log of one signer in one folder, and the only writer of it."""

    def __init__(self, folder: Path, signer: Signer, disk: Disk | None = None) -> None:
        """Goes on from what stands in the folder, or begins an empty log.

        `InvalidInput` where the checkpoint is not of this signer or a tile does not fit it; `Unavailable` where the
        folder can't be read.
        """
        self.folder = folder
        self._signer = signer
        self._disk = disk or Disk()
        self._bundle: list[bytes] = []  # the entries of the partial bundle
        try:
            self._disk_is_ours()
            signed = published(folder, signer.key)
            self.checkpoint = signed.checkpoint if signed else Checkpoint(signer.key.name, 0, EMPTY)
            self._frontier = self._resume()
            self._is_stale = False
        except OSError as error:
            raise _unavailable(error) from error

    @property
    def size(self) -> int:
        """How many entries are published."""
        return self.checkpoint.size

    def check_continues(self, entries: Iterable[bytes]) -> None:
        """Checks that the last published entries are these (the tail of the records, of any length).

        `Conflict("log_ahead")` when they are not: the records were restored from an older copy, or are another's.
        """
        wanted = list(entries)[-len(self._bundle) :] if self._bundle else []
        if self._bundle[len(self._bundle) - len(wanted) :] != wanted:
            raise Conflict(
                "log_forked",
                "the records are not those that the published log ends with",
                "restore the newest copy of the records; never publish a second history under one key",
            )

    def extend(self, entries: Sequence[bytes]) -> Checkpoint:
        """Publishes `entries` after those that are there; returns the new checkpoint once it is durable.

        `Unavailable` when it can't be written: then nothing is published, and the next call begins anew.
        """
        if not entries:
            return self.checkpoint
        try:
            if self._is_stale:
                self._frontier = self._resume()
            # What is in memory may be ahead of the folder after a failure: then only the folder is believed.
            self._is_stale = True
            extended = self._extend(entries)
        except OSError as error:
            raise _unavailable(error) from error
        self._is_stale = False
        return extended

    def keep_text(self, digest: str, text: bytes) -> None:
        """Publishes a text that records name by its digest, below `texts/`; one that is there already stays."""
        path = self.folder / "texts" / digest
        if path.exists():
            return
        try:
            self._disk.write(path, text)
            self._disk.flush(path.parent)
        except OSError as error:
            raise _unavailable(error) from error

    def cosign(self, lines: Sequence[str]) -> None:
        """Publishes the present checkpoint with the lines of witnesses, which the caller has verified."""
        self._write_checkpoint([self._signer.sign(self.checkpoint.text), *lines])

    def _extend(self, entries: Sequence[bytes]) -> Checkpoint:
        touched: dict[Path, None] = {}
        replaced: list[Tile] = []

        def write(tile: Tile, data: bytes) -> None:
            path = self.folder / tile.path
            self._disk.write(path, data)
            for parent in _below(path.parent, self.folder):
                touched[parent] = None
            if tile.width == WIDTH:
                replaced.append(tile)

        for entry in entries:
            full = self._frontier.append(leaf_hash(entry))
            self._bundle.append(entry)
            if len(self._bundle) == WIDTH:
                write(Tile(ENTRIES, self._frontier.size // WIDTH - 1), tiles.encode_bundle(self._bundle))
                self._bundle = []
            for tile, data in full:
                write(tile, data)
        if self._bundle:
            last = Tile(ENTRIES, self._frontier.size // WIDTH, len(self._bundle))
            write(last, tiles.encode_bundle(self._bundle))
        for tile, data in self._frontier.partial():
            write(tile, data)
        for folder in touched:
            self._disk.flush(folder)
        checkpoint = Checkpoint(self._signer.key.name, self._frontier.size, self._frontier.root())
        self._write_checkpoint([self._signer.sign(checkpoint.text)], checkpoint)
        self.checkpoint = checkpoint
        for tile in replaced:
            self._disk.remove(self.folder / (tile.path + ".p"))
        return checkpoint

    def _write_checkpoint(self, lines: Sequence[str], checkpoint: Checkpoint | None = None) -> None:
        text = (checkpoint or self.checkpoint).text
        self._disk.write(self.folder / CHECKPOINT, signed_note(text, lines).encode())
        self._disk.flush(self.folder)

    def _resume(self) -> Frontier:
        """The right edge of the tree, read back and checked against the checkpoint's root."""
        size = self.checkpoint.size
        rows = [tiles.decode_tile(self._read(tile), tile.width) if tile.width else [] for tile in tiles.edge_of(size)]
        frontier = Frontier(size, rows)
        last = Tile(ENTRIES, size // WIDTH, size % WIDTH)
        self._bundle = tiles.decode_bundle(self._read(last), last.width) if last.width else []
        # SECURITY: going on from a tile that was changed would sign a history that nobody recorded.
        if frontier.root() != self.checkpoint.root:
            raise InvalidInput(
                "log_damaged", "the tiles do not have the root of the checkpoint", "restore the folder of the log"
            )
        if [leaf_hash(entry) for entry in self._bundle] != (rows[0] if rows else []):
            raise InvalidInput(
                "log_damaged", "the last entries are not those of the tree", "restore the folder of the log"
            )
        return frontier

    def _read(self, tile: Tile) -> bytes:
        with (self.folder / tile.path).open("rb") as file:
            return file.read(WIDTH * (tiles.ENTRY_BYTES + 2) + 1)

    def _disk_is_ours(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (self.folder / (CHECKPOINT + _PARTIAL_NAME)).unlink()


def published(folder: Path, key: VerifierKey) -> Signed | None:
    """The checkpoint that stands in a folder, verified; None where there is none yet."""
    try:
        with (folder / CHECKPOINT).open("rb") as file:
            return open_checkpoint(file.read(NOTE_BYTES + 1), key)
    except FileNotFoundError:
        return None


def _below(path: Path, top: Path) -> Iterable[Path]:
    """The folders from `path` up to and with `top`."""
    yield path
    while path != top:
        path = path.parent
        yield path


def _unavailable(error: OSError) -> Unavailable:
    why = (error.strerror or "unknown").lower()
    return Unavailable("log_unavailable", f"the log can't be written or read: {why}", "free space, or check the folder")
