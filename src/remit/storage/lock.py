"""An exclusive lock on a folder's database: one sequencer, whoever opens it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from remit.core.errors import Conflict, Unavailable


class FolderLock:
    """Holds an advisory lock (flock) on `path` until released or until the process ends.

    `Conflict("folder_in_use")` when another process holds it; `Unavailable` when there can be no such file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            why = (error.strerror or "unknown").lower()
            raise Unavailable(
                "storage_unavailable", f"can't lock `{path.name}`: {why}", "free space, or make the folder writable"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            # SECURITY: two sequencers on one database would each decide on half of the history.
            raise Conflict(
                "folder_in_use",
                f"another process (pid {owner}) has this folder",
                "connect to it with `remit.connect()`, or stop it first",
            ) from None
        with contextlib.suppress(OSError):  # on a full disk, the lock is held all the same, by nobody known
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    @staticmethod
    def holder(path: Path) -> int | None:
        """The process that holds the lock on `path` now (0: it is not known which), or None when nobody does."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            return int(owner) if owner.isdecimal() else 0
        else:
            return None
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Gives the lock back; once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
