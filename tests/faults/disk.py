"""A disk's journal (recorder.c), and every state that a power cut could have left behind.

What a power cut keeps, as Linux file systems with a metadata journal promise it:

1. Data of a file is there once the file was flushed after it was written. Before that, any part of it may be there,
   in sectors of 512 bytes.
2. Names (made, renamed, removed) are there in the order in which they were changed: up to some moment that is not
   before the last flush of a folder, or of a file that was new.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

SECTOR: Final = 512
_HEAD: Final = struct.Struct("<cIqI")

How = Literal["kept", "lost", "torn"]  # what was not flushed: all of it, nothing of it, any part of it


@dataclass(frozen=True)
class Change:
    """One change: `kind` is c(reate), w(rite), t(runcate), s(ync), r(ename), l(ink) or u(nlink)."""

    kind: str
    path: str
    offset: int
    data: bytes


def read_journal(journal: Path, root: Path) -> list[Change]:
    """The changes, with paths below `root` ("" is the root itself)."""
    data = journal.read_bytes()
    found: list[Change] = []
    place = 0
    below = f"{root.resolve()}/"
    while place < len(data):
        kind, path_length, offset, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        path = data[place : place + path_length].decode()
        place += path_length
        change = data[place : place + length]
        place += length
        if kind in (b"r", b"l"):
            change = change.decode().removeprefix(below).encode()
        found.append(Change(kind.decode(), (path + "/").removeprefix(below).removesuffix("/"), offset, change))
    return found


@dataclass
class _File:
    """One file, under whatever name: what is certainly on the disk, and what was written since."""

    flushed: bytearray = field(default_factory=bytearray)
    since: list[Change] = field(default_factory=list)

    def content(self, how: How, chance: random.Random) -> bytes:
        found = bytearray(self.flushed)
        for change in self.since:
            if how == "lost" or (how == "torn" and chance.random() < 0.3):
                continue
            if change.kind == "t":
                _resize(found, change.offset)
            elif how == "torn" and chance.random() < 0.3:
                for start in range(0, len(change.data), SECTOR):
                    if chance.random() < 0.5:
                        _write(found, change.offset + start, change.data[start : start + SECTOR])
            else:
                _write(found, change.offset, change.data)
        return bytes(found)


class Disk:
    """The files below one root after some changes."""

    def __init__(self, start: Path) -> None:
        """Begins with what stands in the folder `start`, all of it flushed."""
        self._names: dict[str, _File] = {}  # as the process sees them
        self._certain: dict[str, _File] = {}  # as they are after the last change of names that is on the disk
        self._moves: list[Change] = []  # changes of names since
        self._made: dict[int, _File] = {}  # which file each creation among them made
        for path in sorted(start.rglob("*")):
            if path.is_file() and not path.name.endswith("-shm"):
                self._names[str(path.relative_to(start))] = _File(bytearray(path.read_bytes()))
        self._certain = dict(self._names)

    def apply(self, change: Change) -> None:
        """Takes the next change."""
        if change.kind in ("c", "r", "l", "u"):
            self._moves.append(change)
            if change.kind == "c":
                self._made[id(change)] = _File()
            _move(self._names, change, self._made)
            return
        file = self._names.get(change.path)
        if change.kind == "s":
            self._flush(change.path, file)
        elif file is not None:
            file.since.append(change)

    def left(self, how: How, chance: random.Random) -> dict[str, bytes]:
        """The files that a power cut leaves here, by path."""
        names = dict(self._certain)
        kept = {"kept": len(self._moves), "lost": 0, "torn": chance.randint(0, len(self._moves))}[how]
        for change in self._moves[:kept]:
            _move(names, change, self._made)
        return {path: file.content(how, chance) for path, file in names.items()}

    def _flush(self, path: str, file: _File | None) -> None:
        if file is None:  # a folder: its names are on the disk, and so is what was done to names before
            last = max((n for n, move in enumerate(self._moves) if _folder(move) == path or path == ""), default=-1)
        else:
            for change in file.since:
                if change.kind == "t":
                    _resize(file.flushed, change.offset)
                else:
                    _write(file.flushed, change.offset, change.data)
            file.since.clear()
            made = (n for n, move in enumerate(self._moves) if self._made.get(id(move)) is file)
            last = max(made, default=-1)
        for change in self._moves[: last + 1]:
            _move(self._certain, change, self._made)
        del self._moves[: last + 1]


def states(start: Path, changes: list[Change]) -> Iterator[tuple[int, Disk]]:
    """The disk before the first change, and after each one; the same object, which goes on."""
    disk = Disk(start)
    yield 0, disk
    for number, change in enumerate(changes, 1):
        disk.apply(change)
        yield number, disk


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    """Writes files below a new folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)


def _move(names: dict[str, _File], change: Change, made: dict[int, _File]) -> None:
    if change.kind == "c":
        names[change.path] = made[id(change)]
    elif change.kind == "u":
        names.pop(change.path, None)
    elif change.path in names:
        names[change.data.decode()] = names[change.path]
        if change.kind == "r":
            del names[change.path]


def _folder(move: Change) -> str:
    path = move.data.decode() if move.kind in ("r", "l") else move.path
    return path.rpartition("/")[0]


def _write(into: bytearray, offset: int, data: bytes) -> None:
    if len(into) < offset:
        into.extend(bytes(offset - len(into)))
    into[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))
