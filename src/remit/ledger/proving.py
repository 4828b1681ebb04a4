"""Makes the proofs of a receipt from a published log: its checkpoint, its bundles and its tiles."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from remit.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from remit.ledger.receipt import Entry, entry_of
from remit.ledger.tlog import tiles
from remit.ledger.tlog.checkpoint import open_checkpoint
from remit.ledger.tlog.merkle import inclusion_proof, leaf_hash
from remit.ledger.tlog.note import NOTE_BYTES, VerifierKey
from remit.ledger.tlog.proof import Proof, verify_proof
from remit.ledger.tlog.source import Source, read_entries, read_hashes
from remit.ledger.tlog.tiles import CHECKPOINT, ENTRIES, WIDTH, Tile, width_of

_TILES: Final = 64  # kept while one receipt is made


class Prover:
    """Proves entries of one log under the checkpoint that it had when this was made."""

    def __init__(self, source: Source, log: VerifierKey) -> None:
        """Raises `RemitError` where there is no checkpoint of this log."""
        self._source = source
        self._log = log
        self._signed = open_checkpoint(source.read(CHECKPOINT, NOTE_BYTES), log)
        self.size = self._signed.checkpoint.size
        self._hashes = lru_cache(_TILES)(self._read_tile)
        self._node = tiles.node_reader(self.size, self._hashes)

    def prove(self, place: int, data: bytes) -> Entry:
        """The entry at `place` (from 0), which must be `data`, with its proof.

        `Unavailable("record_pending")` where the log does not reach so far yet, `Conflict("log_differs")` where it has
        something else there, or its tiles do not lead to the root that it signed.
        """
        if place >= self.size:
            raise Unavailable(
                "record_pending",
                f"the record is not in the published log yet: its place is {place}, and {self.size} entries are",
                "try again in a second, while the service runs (`remit up`)",
            )
        bundle = Tile(ENTRIES, place // WIDTH, width_of(0, place // WIDTH, self.size))
        try:
            differs = read_entries(self._source, bundle)[place % WIDTH] != data
        except NotFound:
            differs = False  # it was archived: its hash stands in the tiles, which the proof is made of
        # SECURITY: a receipt that does not verify would be taken for evidence against whoever shows it.
        if differs:
            raise _differs(f"place {place} of the log is another entry than the record")
        proof = Proof(place, tuple(inclusion_proof(place, self.size, self._node)), self._signed.data)
        try:
            verify_proof(proof, leaf_hash(data), self._log)
        except InvalidInput:
            raise _differs("its tiles do not fit its checkpoint") from None
        return entry_of(data, proof.encode())

    def _read_tile(self, tile: Tile) -> list[bytes]:
        return read_hashes(self._source, tile)


def _differs(why: str) -> Conflict:
    return Conflict(
        "log_differs", f"the log does not hold what was recorded: {why}", "`remit verify` says what is wrong"
    )
