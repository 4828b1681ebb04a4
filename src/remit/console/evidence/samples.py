"""Which records stand for a figure: a choice that nobody can make in their own favour.

Each record that a figure counts has a rank: `SHA-256(seed || figure || 0x00 || leaf hash)`. The records of the lowest
ranks are shown. The seed is the root of the checkpoint that the pack rests on, which is settled only when all records
are, and may have a word of the auditor in it; whoever holds the records can repeat the
choice (docs/design/evidence.md).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from remit.storage.reader import Stored

MOST: Final = 10  # of one figure
USUAL: Final = 3


class Candidate(NamedTuple):
    """A record that may be shown: its leaf hash, and the record where it is at hand."""

    leaf: bytes
    stored: Stored | None = None
    id: str = ""  # by which it is found, where it is not


def seed_of(root: bytes, challenge: str) -> bytes:
    """The seed: over a root (or, where nothing is published, the hash of the last record) and the auditor's word."""
    return hashlib.sha256(b"remit evidence samples v1\n" + root + challenge.encode()).digest()


def leaf_of(data: bytes) -> bytes:
    """The Merkle leaf hash of a record's bytes (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def lowest(seed: bytes, figure: str, candidates: Iterable[Candidate], most: int) -> list[Candidate]:
    """The candidates with the lowest ranks for this figure, the lowest first; of one record, once."""
    chooser = Chooser(seed, most)
    for each in candidates:
        chooser.offer(figure, each)
    return chooser.chosen(figure)


class Chooser:
    """Keeps the lowest ranks of each figure while candidates stream by."""

    def __init__(self, seed: bytes, most: int) -> None:
        self._seed = seed
        self._most = most
        self._kept: dict[str, list[tuple[int, Candidate]]] = {}  # a heap, the highest rank on top
        self._begun: dict[str, Any] = {}  # by figure: the hash of what comes before a leaf

    def offer(self, figure: str, candidate: Candidate) -> None:
        """One more record that the figure counts."""
        if not self._most:
            return
        begun = self._begun.get(figure)
        if begun is None:
            begun = self._begun[figure] = hashlib.sha256(self._seed + figure.encode() + b"\x00")
        ranked = begun.copy()
        ranked.update(candidate.leaf)
        rank = -int.from_bytes(ranked.digest(), "big")
        heap = self._kept.setdefault(figure, [])
        if len(heap) == self._most and rank <= heap[0][0]:
            return
        # Ranks of different records differ, so that candidates are never compared.
        if all(kept[0] != rank for kept in heap):
            (heapq.heappush if len(heap) < self._most else heapq.heapreplace)(heap, (rank, candidate))

    def chosen(self, figure: str) -> list[Candidate]:
        """Those that were chosen, the lowest rank first."""
        return [
            candidate for _, candidate in sorted(self._kept.get(figure, ()), reverse=True, key=lambda item: item[0])
        ]
