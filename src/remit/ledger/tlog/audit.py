"""Audits a whole published log: every entry, every tile, nothing sampled.

1. The checkpoint is signed by the log, and by enough witnesses.
2. Every bundle holds its entries; every hash of the tiles of level 0 is that of its entry.
3. Every hash of a higher tile is that of the full tile below it.
4. The last tiles together have the checkpoint's root.
5. An earlier checkpoint, where one is given, is of the same log, and its root is that of the first entries.
6. Entries that the log states to be archived, and that are not there, are counted in `unread`; their hashes stand in
   the tiles, and the root over them is the one of that statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from remit.core.errors import NotFound, RemitError
from remit.ledger.tlog import tiles
from remit.ledger.tlog.archived import Archived, read_archived
from remit.ledger.tlog.checkpoint import Checkpoint, Signed, open_checkpoint
from remit.ledger.tlog.merkle import EMPTY, leaf_hash, node_hash, root_of
from remit.ledger.tlog.note import NOTE_BYTES, VerifierKey
from remit.ledger.tlog.source import Source, read_entries, read_hashes
from remit.ledger.tlog.tiles import CHECKPOINT, WIDTH, Tile

Found = Callable[[str, int, str], None]  # check, number of the entry (or -1), what is wrong


class CompactRoot:
    """The root over a growing number of leaf hashes, in memory that grows with its logarithm."""

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[bytes] = []  # of complete subtrees, the largest first

    def append(self, leaf: bytes) -> None:
        """Takes one more leaf hash."""
        place = self.size
        while place & 1:
            leaf = node_hash(self._nodes.pop(), leaf)
            place >>= 1
        self._nodes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over what was taken so far."""
        nodes = self._nodes.copy()
        if not nodes:
            return EMPTY
        found = nodes.pop()
        while nodes:
            found = node_hash(nodes.pop(), found)
        return found


@dataclass
class Audit:
    """The audit of one log; `entries` makes all checks on its way, and tells `found` what is wrong."""

    source: Source
    log: VerifierKey
    found: Found
    witnesses: Sequence[VerifierKey] = ()
    quorum: int = 0
    earlier: bytes = b""  # a checkpoint that was kept from before
    checks: dict[str, int] = field(default_factory=dict)  # how often each check was made
    unread: int = 0  # entries that the log states to be archived, and that were not there
    _full: dict[int, int] = field(default_factory=dict)  # tiles above level 0 that were full so far

    def checkpoint(self) -> Signed:
        """1. The log's newest checkpoint; raises `RemitError` when there is none that can be trusted."""
        signed = open_checkpoint(self.source.read(CHECKPOINT, NOTE_BYTES), self.log, self.witnesses, self.quorum)
        self._made("checkpoint")
        return signed

    def entries(self, checkpoint: Checkpoint) -> Iterator[tuple[int, bytes]]:
        """2 to 5. Every entry with its number, in order, whatever is found wrong with it."""
        known = self._known()
        archived = self._archived(checkpoint)
        size = checkpoint.size
        whole = CompactRoot()
        rows: list[list[bytes]] = []  # of each level: the hashes of the tile under way
        if known is not None and known.size > size:
            self.found("history", -1, f"an earlier checkpoint had {known.size} entries, this one has {size}")
        for tile in tiles.bundles_of(size):
            hashes = self._hashes(Tile(0, tile.index, tile.width))
            first = tile.index * WIDTH
            unread = self.unread
            for place, entry in enumerate(self._bundle(tile, archived.size if archived else 0)):
                if entry is None:
                    # What it was is not known; its hash says what it must have been.
                    leaf = hashes[place] if hashes else EMPTY
                else:
                    leaf = leaf_hash(entry)
                    if hashes and leaf != hashes[place]:
                        self.found("entries", first + place, "the entry is not the one that the tree has here")
                    yield first + place, entry
                whole.append(leaf)
                self._grow(rows, leaf)
                if known is not None and whole.size == known.size:
                    self._compare(known, whole)
            if archived is not None and whole.size == archived.size and whole.root() != archived.root:
                self.found("archived", archived.size - 1, "the first entries are not those that the log has archived")
            self._made("entries", tile.width - (self.unread - unread))
        for level, row in enumerate(rows):
            if row:
                self._compare_tile(Tile(level, full_tiles(size, level), len(row)), row)
        if whole.root() != checkpoint.root:
            self.found("root", -1, "the entries do not have the root that the checkpoint says")
        self._made("root")

    def _grow(self, rows: list[list[bytes]], leaf: bytes) -> None:
        """Takes a leaf hash into the rows; every tile above level 0 that is full is compared with the published one."""
        level, hash_ = 0, leaf
        while True:
            if level == len(rows):
                rows.append([])
            row = rows[level]
            row.append(hash_)
            if len(row) < WIDTH:
                return
            if level:
                self._compare_tile(Tile(level, self._full.setdefault(level, 0)), row)
                self._full[level] += 1
            hash_ = root_of(row)
            row.clear()
            level += 1

    def _compare_tile(self, tile: Tile, row: Sequence[bytes]) -> None:
        if tile.level == 0:
            return  # compared hash by hash with its entries
        hashes = self._hashes(tile)
        if hashes and hashes != list(row):
            self.found("tiles", -1, f"`{tile.path}` is not what the entries below it make")

    def _hashes(self, tile: Tile) -> list[bytes]:
        self._made("tiles")
        try:
            return read_hashes(self.source, tile)
        except RemitError as error:
            self.found("tiles", -1, f"`{tile.path}`: {error.message}")
            return []

    def _bundle(self, tile: Tile, archived: int) -> Sequence[bytes | None]:
        try:
            return read_entries(self.source, tile)
        except RemitError as error:
            if isinstance(error, NotFound) and (tile.index + 1) * WIDTH <= archived:
                # SECURITY: only what the log itself has signed to be archived may be missing; it is counted.
                self.unread += tile.width
                return [None] * tile.width
            self.found("entries", tile.index * WIDTH, f"`{tile.path}`: {error.message}")
            return [None] * tile.width

    def _archived(self, checkpoint: Checkpoint) -> Archived | None:
        try:
            stated = read_archived(self.source, self.log)
        except RemitError as error:
            self.found("archived", -1, f"the statement of what is archived: {error.message}")
            return None
        if stated is not None:
            self._made("archived")
            if stated.size > checkpoint.size:
                self.found("archived", -1, f"{stated.size} entries are archived, and the log has {checkpoint.size}")
                return None
        return stated

    def _known(self) -> Checkpoint | None:
        if not self.earlier:
            return None
        try:
            return open_checkpoint(self.earlier, self.log).checkpoint
        except RemitError as error:
            self.found("history", -1, f"the earlier checkpoint: {error.message}")
            return None

    def _compare(self, known: Checkpoint, whole: CompactRoot) -> None:
        self._made("history")
        if whole.root() != known.root:
            # SECURITY: two histories under one key: the proof that the log was forked.
            self.found("history", known.size - 1, "the first entries are not those that the earlier checkpoint signed")

    def _made(self, check: str, times: int = 1) -> None:
        self.checks[check] = self.checks.get(check, 0) + times


def full_tiles(size: int, level: int) -> int:
    """How many full tiles a level has in a tree of `size` entries: the index of its partial one."""
    return (size >> (tiles.HEIGHT * level)) // WIDTH
