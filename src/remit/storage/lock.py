"""An exclusive lock on a folder's database: one sequencer, whoever opens it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from remit.core.errors import Conflict


class FolderLock:
    """Holds an advisory lock (flock) on `path` until released or until the process ends."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Gives the lock back; once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
