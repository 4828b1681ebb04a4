"""Tiles: the tree and its entries as static files (c2sp.org/tlog-tiles).

A tile has up to 256 consecutive hashes of one level; level `L` of tiles holds the nodes of level `8 * L` of the tree.
An entry bundle has the entries of one tile of level 0, each behind its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.errors import InvalidInput
from remit.ledger.tlog.merkle import HASH_BYTES, Node, root_of

WIDTH: Final = 256
HEIGHT: Final = 8
LEVELS: Final = 64
ENTRY_BYTES: Final = 65_535  # of the longest entry: its length is a uint16
CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = -1  # the level under which entry bundles stand

_PATH: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of the log: `level` (or `ENTRIES`), `index`, and how many hashes or entries it has (1 to 256)."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's prefix."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        steps = [digits[place : place + 3] for place in range(0, len(digits), 3)]
        index = "/".join([*(f"x{step}" for step in steps[:-1]), steps[-1]])
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{index}{partial}"


def tile_at(path: str) -> Tile | None:
    """The tile that stands at a path; None for anything else, such as a second spelling of one."""
    match = _PATH.fullmatch(path) if len(path) <= 64 else None
    if match is None:
        return None
    level = ENTRIES if match[1] == "entries" else int(match[1])
    found = Tile(level, int(match[2].replace("x", "").replace("/", "")), int(match[3] or WIDTH))
    # SECURITY: one tile has one path, so that nobody is shown another tile under another spelling.
    return found if level < LEVELS and found.width <= WIDTH and found.path == path else None


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree of `size` entries, without the bundles, level by level."""
    for level in range(LEVELS):
        count = size >> (HEIGHT * level)
        if not count:
            return
        for index in range(count // WIDTH):
            yield Tile(level, index)
        if count % WIDTH:
            yield Tile(level, count // WIDTH, count % WIDTH)


def bundles_of(size: int) -> Iterator[Tile]:
    """All entry bundles of a tree of `size` entries."""
    for index in range(size // WIDTH):
        yield Tile(ENTRIES, index)
    if size % WIDTH:
        yield Tile(ENTRIES, size // WIDTH, size % WIDTH)


def width_of(level: int, index: int, size: int) -> int:
    """How many hashes the tile has in a tree of `size` entries; 0 when it is not there."""
    return max(0, min(WIDTH, (size >> (HEIGHT * max(level, 0))) - index * WIDTH))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle; `InvalidInput` when there are too many entries, or one is too long."""
    if len(entries) > WIDTH or any(len(entry) > ENTRY_BYTES for entry in entries):
        raise InvalidInput("bundle_invalid", "a bundle has at most 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle; `InvalidInput` for any other bytes."""
    entries: list[bytes] = []
    place = 0
    while place < len(data):
        end = place + 2 + int.from_bytes(data[place : place + 2], "big")
        if end > len(data) or place + 2 > len(data) or len(entries) == width:
            break
        entries.append(data[place + 2 : end])
        place = end
    if len(entries) != width or place != len(data):
        raise InvalidInput("bundle_invalid", f"the bundle does not hold {width} entries and nothing else")
    return entries


def cut_bundle(data: bytes, width: int) -> bytes:
    """The bundle of the first `width` entries of a bundle; `InvalidInput` where it has fewer."""
    place = 0
    for _ in range(width):
        place += 2 + int.from_bytes(data[place : place + 2], "big")
        if place > len(data):
            raise InvalidInput("bundle_invalid", f"the bundle does not hold {width} entries")
    return data[:place]


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """The `width` hashes of a tile; `InvalidInput` for any other number of bytes."""
    if len(data) != width * HASH_BYTES:
        raise InvalidInput("tile_invalid", f"the tile does not hold {width} hashes and nothing else")
    return [data[place : place + HASH_BYTES] for place in range(0, len(data), HASH_BYTES)]


def node_reader(size: int, read: Callable[[Tile], Sequence[bytes]]) -> Node:
    """The nodes of a tree of `size` entries, from its tiles; `read` gives the hashes of one and may cache them."""

    def node(level: int, index: int) -> bytes:
        row, rest = divmod(level, HEIGHT)
        first = index << rest  # of the nodes in the tile's row that are below this one
        tile = Tile(row, first // WIDTH, width_of(row, first // WIDTH, size))
        start = first % WIDTH
        below = read(tile)[start : start + (1 << rest)]
        if len(below) != 1 << rest:
            raise InvalidInput("tile_invalid", f"`{tile.path}` is too short")
        return root_of(below)

    return node


class Frontier:
    """The right edge of a growing tree: what its partial tiles hold, row by row."""

    def __init__(self, size: int = 0, rows: Sequence[Sequence[bytes]] = ()) -> None:
        """`rows` are the hashes of the partial tile of each level (see `edge_of`)."""
        self.size = size
        self.rows: list[list[bytes]] = [list(row) for row in rows]

    def append(self, leaf: bytes) -> list[tuple[Tile, bytes]]:
        """Takes one more leaf hash; returns the tiles that are full now, with their bytes."""
        full: list[tuple[Tile, bytes]] = []
        self.size += 1
        hash_, level = leaf, 0
        while True:
            if level == len(self.rows):
                self.rows.append([])
            row = self.rows[level]
            row.append(hash_)
            if len(row) < WIDTH:
                return full
            index = (self.size >> (HEIGHT * (level + 1))) - 1
            full.append((Tile(level, index), b"".join(row)))
            hash_ = root_of(row)
            row.clear()
            level += 1

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles of the tree as it is now, with their bytes."""
        return [
            (Tile(level, self.size >> (HEIGHT * (level + 1)), len(row)), b"".join(row))
            for level, row in enumerate(self.rows)
            if row
        ]

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        # What the rows below hold is smaller than one subtree of this row, and stands to the right of all of them.
        rest: list[bytes] = []
        for row in self.rows:
            if row or rest:
                rest = [root_of([*row, *rest])]
        return root_of(rest)


def edge_of(size: int) -> list[Tile]:
    """The partial tiles that a `Frontier` of `size` is made of, one for each level; width 0 where there is none."""
    found = []
    level = 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        found.append(Tile(level, count // WIDTH, count % WIDTH))
        level += 1
    return found
