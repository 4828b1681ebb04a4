"""A log in a folder: tiles, entry bundles and the checkpoint as static files, written so that a crash loses nothing.

1. Full bundles and tiles, then the partial ones of the new size; each under its final name at once (rename), and
   flushed to the disk, with the folders that hold them.
2. The checkpoint, in the same way: from here on the new entries are published.
3. Partial tiles whose full tile is published are removed (c2sp.org/tlog-tiles, partial tiles).

What stands in the folder is derived from the records: after a crash the entries since the last checkpoint are written
again, the same ones in the same order; a folder that was lost is built again. One process at a time writes a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from remit.core.errors import Conflict, InvalidInput, Unavailable
from remit.ledger.tlog import tiles
from remit.ledger.tlog.checkpoint import Checkpoint, Signed, open_checkpoint
from remit.ledger.tlog.merkle import EMPTY, Node, consistency_proof, leaf_hash, range_hash
from remit.ledger.tlog.note import NOTE_BYTES, Signer, VerifierKey, signed_note
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Frontier, Tile, node_reader

LOCK: Final = ".lock"
_PARTIAL_NAME: Final = ".new"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


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
    """The log of one signer in one folder, and the only writer of it: until `close`, or the end of the process."""

    def __init__(self, folder: Path, signer: Signer, disk: Disk | None = None) -> None:
        """Goes on from what stands in the folder, or begins an empty log.

        `Conflict("log_in_use")` while another writer has the folder; `InvalidInput` where the checkpoint is not of this
        signer or a tile does not fit it; `Unavailable` where the folder can't be read.
        """
        self.folder = folder
        self._signer = signer
        self._disk = disk or Disk()
        self._bundle: list[bytes] = []  # the entries of the partial bundle
        self._touched: dict[Path, None] = {}  # folders that were written to and not flushed
        self._replaced: list[Tile] = []  # full tiles whose partial ones are not removed
        self._is_stale = True
        self._hold = Hold(folder)
        try:
            with contextlib.suppress(FileNotFoundError):
                (folder / (CHECKPOINT + _PARTIAL_NAME)).unlink()
            self.checkpoint = Checkpoint(signer.key.name, 0, EMPTY)
            self._frontier = Frontier()
            self._sealed = 0
            self.resume()
        except OSError as error:
            self.close()
            raise _unavailable(error) from error
        except BaseException:
            self.close()
            raise

    @property
    def key(self) -> VerifierKey:
        """Whose log it is."""
        return self._signer.key

    @property
    def size(self) -> int:
        """How many entries are published."""
        return self.checkpoint.size

    @property
    def staged(self) -> int:
        """How many entries it would have if all that was appended were published."""
        return self._frontier.size

    def close(self) -> None:
        """Lets another writer have the folder."""
        self._hold.release()

    def resume(self) -> bool:
        """Before anything is written: compares what is in memory with the folder, which alone is believed.

        True when somebody else changed the folder: it was lost, or another copy was put in its place. Then, and after
        a failure, what was appended and not published is forgotten. Raises as opening does.
        """
        try:
            self._hold.renew()
            there = published(self.folder, self._signer.key)
            standing = there.checkpoint if there else Checkpoint(self._signer.key.name, 0, EMPTY)
            changed = standing != self.checkpoint
            if changed or self._is_stale:
                self._is_stale = True
                self.checkpoint = standing
                self._frontier = self._read_edge()
                self._sealed = standing.size
                self._touched, self._replaced = {}, []
                self._is_stale = False
        except OSError as error:
            raise _unavailable(error) from error
        return changed

    def reset(self) -> None:
        """Forgets what was appended and not published."""
        self._is_stale = True
        self.resume()

    def check_continues(self, entries: Iterable[bytes]) -> None:
        """Checks that the last published entries are these (the tail of the records, of any length).

        `Conflict("log_forked")` when they are not: the records were restored from an older copy, or are another's.
        """
        if not self.size:
            return
        last = Tile(0, (self.size - 1) // WIDTH, (self.size - 1) % WIDTH + 1)  # bundles may be archived, tiles are not
        try:
            tail = tiles.decode_tile(self._read(last), last.width)
        except OSError as error:
            raise _unavailable(error) from error
        wanted = [leaf_hash(entry) for entry in entries][-len(tail) :]
        if tail[len(tail) - len(wanted) :] != wanted:
            raise forked("the records are not those that the published log ends with")

    def extend(self, entries: Sequence[bytes]) -> Checkpoint:
        """Publishes `entries` after those that are there; returns the new checkpoint once it is durable.

        `Unavailable` when it can't be written: then nothing is published, and the next call begins anew.
        """
        if not entries:
            return self.checkpoint
        self.resume()
        if self.staged != self.size:
            self.reset()
        self.append(entries)
        self.publish(self.sign(self.seal()))
        return self.checkpoint

    def append(self, entries: Sequence[bytes]) -> None:
        """Takes entries and writes what is full by them; nothing is published by it.

        `Unavailable` when it can't be written: then what was appended and not published is forgotten (`resume`).
        """
        with self._writing():
            for entry in entries:
                full = self._frontier.append(leaf_hash(entry))
                self._bundle.append(entry)
                if len(self._bundle) == WIDTH:
                    bundle = Tile(ENTRIES, self._frontier.size // WIDTH - 1)
                    self._write(bundle, tiles.encode_bundle(self._bundle))
                    self._bundle = []
                for tile, data in full:
                    self._write(tile, data)

    def seal(self) -> Checkpoint:
        """Writes the partial tiles of what was appended, flushes everything, and returns what is to be signed."""
        size = self._frontier.size
        if size != self._sealed:
            with self._writing():
                if self._bundle:
                    self._write(Tile(ENTRIES, size // WIDTH, len(self._bundle)), tiles.encode_bundle(self._bundle))
                for tile, data in self._frontier.partial():
                    self._write(tile, data)
                for folder in self._touched:
                    self._disk.flush(folder)
            self._touched = {}
            self._sealed = size
        return Checkpoint(self._signer.key.name, size, self._frontier.root())

    def sign(self, checkpoint: Checkpoint, lines: Sequence[str] = ()) -> bytes:
        """The checkpoint as a note, signed by the log, with the lines of witnesses."""
        return signed_note(checkpoint.text, [self._signer.sign(checkpoint.text), *lines]).encode()

    def publish(self, note: bytes) -> None:
        """Writes the checkpoint over what was sealed; from here on its entries are published.

        `Conflict`: `log_forked` when it is not of these entries, `log_ahead` when more are published already.
        """
        checkpoint = open_checkpoint(note, self._signer.key).checkpoint
        if checkpoint != Checkpoint(self._signer.key.name, self._sealed, self._frontier.root()):
            raise forked("the checkpoint is not of the entries that the records have")
        with self._writing():
            # SECURITY: a checkpoint never goes back; nobody else writes while this one holds the folder.
            there = published(self.folder, self._signer.key)
            if there and there.checkpoint.size == checkpoint.size and there.checkpoint != checkpoint:
                raise forked("the folder has a checkpoint over other entries")
            if there and there.checkpoint.size > checkpoint.size:
                raise Conflict(
                    "log_ahead",
                    f"the folder has {there.checkpoint.size} entries, and this checkpoint {checkpoint.size}",
                    "look who else writes the folder of the log",
                )
            self._disk.write(self.folder / CHECKPOINT, note)
            self._disk.flush(self.folder)
            self.checkpoint = checkpoint
            for tile in self._replaced:
                self._disk.remove(self.folder / (tile.path + ".p"))
            self._replaced = []

    def cosign(self, lines: Sequence[str]) -> None:
        """Publishes the present checkpoint with the lines of witnesses, which the caller has verified."""
        self.publish(self.sign(self.checkpoint, lines))

    def prove(self, old: int) -> list[bytes]:
        """What shows that the first `old` entries are how what was sealed begins; `ValueError` for more than it has."""
        return consistency_proof(old, self._sealed, self._nodes())

    def root_at(self, size: int) -> bytes:
        """The root over the first entries, at most as many as were sealed."""
        return range_hash(0, size, self._nodes())

    def ahead(self) -> Frontier:
        """A copy of the tree's edge, to see what root other entries would lead to."""
        return Frontier(self._frontier.size, self._frontier.rows)

    def keep_text(self, digest: str, text: bytes) -> None:
        """Publishes a text that records name by its digest, below `texts/`; one that is there already stays.

        `InvalidInput("digest_invalid")` for what is no SHA-256 in hex.
        """
        # SECURITY: whoever can write the database must not choose where this writes.
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput("digest_invalid", "a text is kept under something else than a digest", "report it")
        path = self.folder / "texts" / digest
        if path.exists():
            return
        try:
            self._disk.write(path, text)
            self._disk.flush(path.parent)
            self._disk.flush(self.folder)
        except OSError as error:
            raise _unavailable(error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What is in memory may be ahead of the folder after a failure: then only the folder is believed."""
        self._is_stale = True
        try:
            yield
        except OSError as error:
            raise _unavailable(error) from error
        self._is_stale = False

    def _write(self, tile: Tile, data: bytes) -> None:
        path = self.folder / tile.path
        self._disk.write(path, data)
        for parent in _below(path.parent, self.folder):
            self._touched[parent] = None
        if tile.width == WIDTH:
            self._replaced.append(tile)

    def _nodes(self) -> Node:
        return node_reader(self._sealed, lambda tile: tiles.decode_tile(self._read(tile), tile.width))

    def _read_edge(self) -> Frontier:
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


class Hold:
    """An exclusive lock on a log's folder (flock on `.lock` in it), until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing; `Conflict("log_in_use")`, `Unavailable`."""
        self._folder = folder
        self._release: Callable[[], object] = _nothing
        self._inode = 0
        self.renew()

    def renew(self) -> None:
        """Takes the lock again where its file is another one by now: somebody removed the folder."""
        path = self._folder / LOCK
        with contextlib.suppress(FileNotFoundError):
            if self._inode and path.stat().st_ino == self._inode:
                return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise _unavailable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            # SECURITY: two writers of one folder would each overwrite the other's checkpoint.
            raise Conflict(
                "log_in_use",
                f"another process (pid {owner}) writes the log in `{self._folder}`",
                "give each process a folder of its own (`[ledger] folder`), or stop the other one",
            ) from None
        with contextlib.suppress(OSError):  # on a full disk, the lock is held all the same, by nobody known
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._release()
        self._inode = os.fstat(descriptor).st_ino
        self._release = weakref.finalize(self, os.close, descriptor)

    def release(self) -> None:
        """Gives the lock back; more than once does nothing."""
        self._release()
        self._inode = 0


def _nothing() -> None:
    pass


def published(folder: Path, key: VerifierKey) -> Signed | None:
    """The checkpoint that stands in a folder, verified; None where there is none yet."""
    try:
        with (folder / CHECKPOINT).open("rb") as file:
            return open_checkpoint(file.read(NOTE_BYTES + 1), key)
    except FileNotFoundError:
        return None


def forked(why: str) -> Conflict:
    """The refusal to go on with a log that has another history than the records."""
    return Conflict(
        "log_forked",
        why,
        "restore the newest copy of the records; never publish a second history under one key",
    )


def _below(path: Path, top: Path) -> Iterable[Path]:
    """The folders from `path` up to and with `top`."""
    yield path
    while path != top:
        path = path.parent
        yield path


def _unavailable(error: OSError) -> Unavailable:
    why = (error.strerror or "unknown").lower()
    return Unavailable("log_unavailable", f"the log can't be written or read: {why}", "free space, or check the folder")
