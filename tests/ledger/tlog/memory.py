"""A published log in memory, from entries and a signer."""

from __future__ import annotations

from collections.abc import Sequence

from remit.core.errors import NotFound
from remit.ledger.tlog import tiles
from remit.ledger.tlog.checkpoint import Checkpoint
from remit.ledger.tlog.merkle import leaf_hash
from remit.ledger.tlog.note import Signer, signed_note
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Frontier, Tile


class MemoryLog:
    """The files of a log, by path; a `Source`."""

    def __init__(self, entries: Sequence[bytes], signer: Signer, *witnesses: Signer) -> None:
        self.files: dict[str, bytes] = {}
        frontier = Frontier()
        for entry in entries:
            self.files |= {tile.path: data for tile, data in frontier.append(leaf_hash(entry))}
        self.files |= {tile.path: data for tile, data in frontier.partial()}
        for start in range(0, len(entries), WIDTH):
            bundle = entries[start : start + WIDTH]
            self.files[Tile(ENTRIES, start // WIDTH, len(bundle)).path] = tiles.encode_bundle(bundle)
        self.checkpoint = Checkpoint(signer.key.name, len(entries), frontier.root())
        lines = [each.sign(self.checkpoint.text, time=1_800_000_000) for each in (signer, *witnesses)]
        self.files[CHECKPOINT] = signed_note(self.checkpoint.text, lines).encode()

    def read(self, path: str, most: int) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise NotFound("log_file_missing", path) from None
