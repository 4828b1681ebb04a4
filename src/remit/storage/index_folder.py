"""The index of the records: a folder of files that can be deleted at any time, each made from the records alone.

Files are named by the places that they cover, written under another name first, and never changed. Those that follow
each other from the first place on, the larger ones before the smaller, are the index; what is missing or damaged is
made again. Whoever writes makes the same files from the same records, so that nobody needs to agree with anybody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from remit.core.errors import Unavailable

_NAME: Final = re.compile(r"([0-9a-f]{12})-([0-9a-f]{12})\.rows")


class Range(NamedTuple):
    """A file, and the places that it covers: from `start` up to `end`, which it does not include."""

    start: int
    end: int
    path: Path


class IndexFolder:
    """The files of one index."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ranges(self) -> list[Range]:
        """The files that make the index, from the first place on without a gap."""
        chain: list[Range] = []
        largest = {each.start: each for each in sorted(self._files(), key=lambda each: each.end)}
        place = 0
        while (found := largest.get(place)) is not None:
            chain.append(found)
            place = found.end
        return chain

    def size(self) -> int:
        """The bytes that all files take."""
        return sum(_size(each.path) for each in self._files())

    def write(self, start: int, end: int, data: bytes) -> None:
        """A new file; `Unavailable("index_unwritable")` when it can't be written."""
        path = self.path / f"{start:012x}-{end:012x}.rows"
        new = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            # Not flushed: after a power cut a file that is not whole is noticed, and made again.
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
            new.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise _unwritable(self.path, error) from None

    def remove(self, paths: Sequence[Path]) -> None:
        """Takes files away; who has them open can still read them."""
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unwritable(self.path, error) from None

    def tidy(self) -> None:
        """Removes what is no part of the index: merged parts, what is behind a gap, and what was left half written."""
        kept = {each.path for each in self.ranges()}
        with contextlib.suppress(OSError):
            self.remove([path for path in self.path.iterdir() if path not in kept and path.name != "lock"])

    def clear(self) -> None:
        """Removes everything."""
        self.remove([each.path for each in self._files()])

    def remove_from(self, place: int) -> None:
        """Removes every file that covers anything from this place on."""
        self.remove([each.path for each in self._files() if each.end > place])

    @contextlib.contextmanager
    def locked(self, *, wait: bool) -> Iterator[bool]:
        """Whether this process alone may write now; others only wait for each other so that none works in vain."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)

    def _files(self) -> list[Range]:
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError:
            return []  # what can't be read is looked for in the records
        found = [(match, self.path / name) for name in names if (match := _NAME.fullmatch(name))]
        every = [Range(int(match[1], 16), int(match[2], 16), path) for match, path in found]
        return [each for each in every if each.start < each.end]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "index_unwritable",
        f"the index at `{path}` can't be written: {error.strerror or error}",
        "make room, or give this user the folder; the index can be deleted at any time",
    )
