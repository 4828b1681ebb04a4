"""Waits for a project's files to change: they are looked at, so that it works on every file system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from remit.core.settings import FILE

FOLDERS: Final = ("catalogue", "intents", "policies", "entities", "windows", "tests")
LOOK_SECONDS: Final = 0.25
QUIET_SECONDS: Final = 0.3  # for which nothing more changes, before it is said
FILES: Final = 20_000
Marks = dict[str, tuple[int, int]]  # by path: time of change and size


def marks(root: Path) -> Marks:
    """How the project's files stand now; those that come and go meanwhile are left out."""
    found: Marks = {}
    for path in _files(root):
        try:
            status = path.stat()
        except OSError:
            continue
        found[str(path)] = (status.st_mtime_ns, status.st_size)
        if len(found) >= FILES:
            break
    return found


def changes(
    root: Path,
    before: Marks,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[frozenset[str], Marks]:
    """Waits until files differ from `before` and then stay as they are for a moment: which changed, and how all stand.

    An editor writes several files, or one in several steps: that is one change.
    """
    known, seen, since = before, frozenset[str](), 0.0
    while True:
        sleep(LOOK_SECONDS)
        now = marks(root)
        fresh = frozenset(path for path in now.keys() | known.keys() if now.get(path) != known.get(path))
        if fresh:
            seen, known, since = seen | fresh, now, clock()
        elif seen and clock() - since >= QUIET_SECONDS:
            different = frozenset(path for path in seen if now.get(path) != before.get(path))
            if different:
                return different, now
            seen = frozenset()


def _files(root: Path) -> Iterator[Path]:
    yield root / FILE
    for name in FOLDERS:
        for folder, below, files in os.walk(root / name):
            below[:] = sorted(each for each in below if not each.startswith("."))
            yield from (Path(folder) / file for file in files if not file.startswith(".") and not file.endswith("~"))
