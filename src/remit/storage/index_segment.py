"""One file of the index: the postings of a range of places, never changed after it was written.

    magic · length and CRC-32 of the head · head · times · by field: values · by value: a bitmap of rows

A row is the low 16 bits of a record's place; a file holds rows of one block of 65,536 places. The head says where the
other pieces stand, with the CRC-32 of each; what is read is checked, so that a damaged file is noticed, never believed.
Bitmaps are Roaring bitmaps in their portable format.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar
from zlib import crc32

import msgspec
from pyroaring import BitMap

from remit.ledger.record import KINDS, leaf_hash
from remit.storage.index_facts import FIELDS, Facts, Term
from remit.storage.reader import Stored

BLOCK_BITS: Final = 16
BLOCK: Final = 1 << BLOCK_BITS  # places
_LOW: Final = BLOCK - 1
_GRAIN_BITS: Final = 8  # times are known of 256 places together
_GRAIN: Final = 1 << _GRAIN_BITS
# Another format, or other facts that are taken from a record (then the number changes): another index.
_MAGIC: Final = b"remit-index 2 %08x\n" % crc32(repr((FIELDS, sorted(KINDS))).encode())
_FRAME: Final = struct.Struct("<II")
_COUNT: Final = struct.Struct("<I")
_PIECE: Final = struct.Struct("<III")
_SEPARATOR: Final = b"\x00"  # in a list of values; within one it is written as U+10FFFF
_NUL: Final = "\x00"
_FIRST: Final = 4096  # bytes that are read at once: the head, in most cases

Piece = tuple[int, int, int]  # offset behind the head, length, CRC-32
Pause = Callable[[], None]
T = TypeVar("T")


class Damaged(Exception):
    """A file of the index is not what was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"`{path}` is damaged")
        self.path = path


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What a file covers: the places from `start` up to `end`, which it does not include."""

    start: int
    end: int
    rows: int
    last: int  # the last place with a record, 0 for none,
    leaf: str  # and that record's hash: by it the file is known to belong to these records
    oldest: int  # ms, of all its records
    newest: int
    times: Piece
    fields: dict[str, Piece]


_head: Final = msgspec.msgpack.Decoder(Head)
_times: Final = msgspec.msgpack.Decoder(list[tuple[int, int, int]])


class Builder:
    """Collects the terms of records, in any order, and writes them down."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self._rows = 0
        self._last: Stored | None = None
        self._times: dict[int, tuple[int, int]] = {}
        self._terms: defaultdict[Term, list[int]] = defaultdict(list)

    def add(self, stored: Stored, facts: Facts) -> None:
        """Takes one record in."""
        row, at = stored.seq & _LOW, facts.at
        self._rows += 1
        if self._last is None or stored.seq > self._last.seq:
            self._last = stored
        before = self._times.get(row >> _GRAIN_BITS)
        if before is None:
            self._times[row >> _GRAIN_BITS] = (at, at)
        elif not before[0] <= at <= before[1]:
            self._times[row >> _GRAIN_BITS] = (min(before[0], at), max(before[1], at))
        terms = self._terms
        for term in facts.terms:
            terms[term].append(row)

    def encode(self, pause: Pause = lambda: None) -> bytes:
        """The bytes of the file."""
        postings: dict[str, dict[str, BitMap]] = {}
        for (field, value), rows in self._terms.items():
            postings.setdefault(field, {})[value] = BitMap(rows)
            pause()
        last = (self._last.seq, leaf_hash(self._last.data)) if self._last is not None else (0, "")
        return _encode(self.start, self.end, self._rows, last, self._times, postings, pause)


class Segment:
    """One file, open for reading; every method raises `Damaged` when what it reads is not what was written."""

    def __init__(self, path: Path) -> None:
        """Raises `FileNotFoundError` where it was replaced by a larger one meanwhile."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError:
            raise Damaged(path) from None
        try:
            self.head = self._read_head()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @property
    def base(self) -> int:
        """The place of row 0."""
        return (self.head.end - 1) & ~_LOW

    def values(self, field: str) -> dict[str, Piece]:
        """The values of the field, each with where its rows stand."""
        pieces, names = self._values(field)
        try:
            values = names.decode(errors="surrogatepass").split(_NUL)[1:-1]
            return dict(zip(values, _PIECE.iter_unpack(pieces), strict=True))
        except ValueError:
            raise Damaged(self.path) from None

    def named(self, field: str, name: str, *, ends: bool) -> list[Piece]:
        """Where the rows of one value stand, or with `ends` of those values that end with a slash and the name.

        Faster than `values`: the list is searched as the bytes that it is.
        """
        pieces, names = self._values(field)
        wanted = _name(name) + _SEPARATOR
        found: list[Piece] = []
        at = names.find(wanted)
        while at > 0:
            before = names[at - 1 : at]
            if before == _SEPARATOR or (ends and before == b"/"):
                found.append(_PIECE.unpack_from(pieces, _PIECE.size * (names.count(_SEPARATOR, 0, at) - 1)))
            at = names.find(wanted, at + 1)
        return found

    def _values(self, field: str) -> tuple[bytes, bytes]:
        """The pieces of the field's values, and their names between separators."""
        piece = self.head.fields.get(field)
        if piece is None:
            return b"", _SEPARATOR
        data = self._read(piece)
        end = _COUNT.size + _COUNT.unpack_from(data)[0] * _PIECE.size
        return data[_COUNT.size : end], data[end:]

    def rows(self, pieces: Sequence[Piece]) -> BitMap:
        """The rows that have any of these values."""
        found = [self._bitmap(piece) for piece in pieces]
        return BitMap.union(*found) if len(found) > 1 else found[0] if found else BitMap()

    def within(self, since: int, until: int | None) -> tuple[BitMap, BitMap]:
        """Rows whose records are of that time, and rows of which that is open."""
        certain, open_ = BitMap(), BitMap()
        for grain, oldest, newest in self.times():
            if newest < since or (until is not None and oldest >= until):
                continue
            inside = oldest >= since and (until is None or newest < until)
            (certain if inside else open_).add_range(grain << _GRAIN_BITS, (grain + 1) << _GRAIN_BITS)
        return certain, open_

    def times(self) -> list[tuple[int, int, int]]:
        """Of each group of 256 rows: its number, and the least and the greatest time of its records."""
        return self._decoded(_times, self.head.times)

    def check(self) -> None:
        """Reads everything."""
        self.times()
        for field in self.head.fields:
            for piece in self.values(field).values():
                self._bitmap(piece)

    def _bitmap(self, piece: Piece) -> BitMap:
        data = self._read(piece)
        try:
            return BitMap.deserialize(data)
        except (ValueError, RuntimeError):
            raise Damaged(self.path) from None

    def _decoded(self, decoder: msgspec.msgpack.Decoder[T], piece: Piece) -> T:
        try:
            return decoder.decode(self._read(piece))
        except ValueError:
            raise Damaged(self.path) from None

    def _read(self, piece: Piece) -> bytes:
        offset, length, crc = piece
        data = self._at(self._body + offset, length)
        if len(data) != length or crc32(data) != crc:
            raise Damaged(self.path)
        return data

    def _at(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._fd, length, offset)
        except (OSError, OverflowError):
            raise Damaged(self.path) from None

    def _read_head(self) -> Head:
        first = self._at(0, _FIRST)
        begin = len(_MAGIC) + _FRAME.size
        if not first.startswith(_MAGIC) or len(first) < begin:
            raise Damaged(self.path)
        length, crc = _FRAME.unpack_from(first, len(_MAGIC))
        self._body = begin + length
        data = first[begin : self._body]
        if len(data) < length:
            data += self._at(len(first), length - len(data))
        if len(data) != length or crc32(data) != crc:
            raise Damaged(self.path)
        try:
            return _head.decode(data)
        except ValueError:
            raise Damaged(self.path) from None


def _name(value: str) -> bytes:
    return value.replace(_NUL, "\U0010ffff").encode(errors="surrogatepass")


def merge(parts: Sequence[Segment], pause: Pause = lambda: None) -> bytes:
    """One file for the ranges of several, which follow each other within one block."""
    postings: dict[str, dict[str, BitMap]] = {}
    times: dict[int, tuple[int, int]] = {}
    for part in parts:
        times |= {grain: (oldest, newest) for grain, oldest, newest in part.times()}
        for field in part.head.fields:
            found = postings.setdefault(field, {})
            for value, piece in part.values(field).items():
                rows = part.rows([piece])
                if value in found:
                    found[value] |= rows
                else:
                    found[value] = rows
                pause()
    heads = [part.head for part in parts]
    last = max((head.last, head.leaf) for head in heads)
    return _encode(heads[0].start, heads[-1].end, sum(head.rows for head in heads), last, times, postings, pause)


def _encode(
    start: int,
    end: int,
    rows: int,
    last: tuple[int, str],
    times: dict[int, tuple[int, int]],
    postings: dict[str, dict[str, BitMap]],
    pause: Pause,
) -> bytes:
    body = bytearray()

    def put(data: bytes) -> Piece:
        body.extend(data)
        return len(body) - len(data), len(data), crc32(data)

    fields: dict[str, Piece] = {}
    for field, values in postings.items():
        placed: dict[str, Piece] = {}
        for value, bitmap in values.items():
            bitmap.run_optimize()
            placed[value] = put(bitmap.serialize())
            pause()
        names = _SEPARATOR.join([b"", *map(_name, placed), b""])
        pieces = b"".join([_PIECE.pack(*piece) for piece in placed.values()])
        fields[field] = put(_COUNT.pack(len(placed)) + pieces + names)
    grains = [(grain, *times[grain]) for grain in sorted(times)]
    head = msgspec.msgpack.encode(
        Head(
            start=start,
            end=end,
            rows=rows,
            last=last[0],
            leaf=last[1],
            oldest=min((oldest for _, oldest, _ in grains), default=0),
            newest=max((newest for _, _, newest in grains), default=0),
            times=put(msgspec.msgpack.encode(grains)),
            fields=fields,
        )
    )
    return _MAGIC + _FRAME.pack(len(head), crc32(head)) + head + bytes(body)
