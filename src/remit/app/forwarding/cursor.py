"""Up to which record a receiver has them all: one small file each, and one process that sends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from remit.core.errors import Conflict, InvalidInput, Unavailable
from remit.ledger.record import leaf_hash
from remit.storage.reader import Reader, Stored


class Cursor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything up to `place` was received; `leaf` is the leaf hash of the record there."""

    place: Annotated[int, msgspec.Meta(ge=0)] = 0
    leaf: str = ""
    at: int = 0  # ms, when it was received


class CursorFile:
    """The cursor of one receiver."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Cursor:
        """Where it stands; the beginning where there is none yet. `InvalidInput` for a file that is something else."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Cursor)
        except FileNotFoundError:
            return Cursor()
        except (msgspec.MsgspecError, ValueError):
            raise InvalidInput(
                "cursor_invalid",
                f"`{self._path.name}` is no cursor",
                "say where to go on: `remit forward rewind NAME --to start|now`",
            ) from None
        except OSError as error:
            raise _unwritable(error) from error

    def write(self, cursor: Cursor) -> None:
        """Replaces it, durably."""
        temporary = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(cursor))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise _unwritable(error) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else sends to this receiver; `Conflict("forward_busy")` when somebody does."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                name = self._path.stem
                raise Conflict(
                    "forward_busy", f"another process forwards to `{name}` now", "the service does so while it runs"
                ) from None
            yield
        finally:
            os.close(descriptor)


def check_continues(cursor: Cursor, reader: Reader) -> None:
    """`Conflict("cursor_foreign")` where the record at the cursor is not the one that was sent."""
    if not cursor.place:
        return
    found = reader.at([cursor.place])
    # SECURITY: after a restore, going on by number alone would leave records out, and nobody would know.
    if not found or leaf_hash(found[0].data) != cursor.leaf:
        raise Conflict(
            "cursor_foreign",
            "the record that was sent last is not in these records",
            "they were restored or are another's: `remit forward rewind NAME --to start` sends all of them",
        )


def cursor_at(stored: Stored, now: int) -> Cursor:
    """The cursor behind a record."""
    return Cursor(stored.seq, leaf_hash(stored.data), now)


def _unwritable(error: OSError) -> Unavailable:
    why = (error.strerror or "unknown").lower()
    return Unavailable("cursor_unavailable", f"a cursor can't be read or written: {why}", "check `.remit/forward`")
