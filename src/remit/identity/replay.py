"""Which proofs were used already (RFC 9449 section 11.1), bounded in memory and per key."""

from __future__ import annotations

from hashlib import sha256
from threading import Lock

from remit.core.errors import Unauthenticated, Unavailable


class ReplayCache:
    """Remembers each proof until it is too old to be accepted anyway. Safe to share between threads.

    `capacity` bounds all entries and `per_key` those of one key, so that one caller can't fill it for the others.
    Nothing is ever forgotten early: at a bound new proofs are refused.
    """

    def __init__(self, *, capacity: int, per_key: int) -> None:
        self._capacity = capacity
        self._per_key = per_key
        self._seen: set[bytes] = set()
        self._count: dict[str, int] = {}
        self._expiring: dict[int, dict[str, list[bytes]]] = {}  # second after which they are forgotten -> key
        self._forgotten = 0  # the latest second that was forgotten
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, key: str, jti: str) -> bool:
        """Whether this proof is remembered: a cheap look before the signature is verified; `use` decides."""
        return _mark(key, jti) in self._seen

    def use(self, key: str, jti: str, *, until: int, now: int) -> None:
        """Remembers the proof until the time `until` (ms), or refuses it.

        Raises `Unauthenticated`: `proof_replayed`, or `proof_stale` when its time was forgotten already (the clock
        went back); `Unavailable("proof_memory_full")` at a bound.
        """
        mark, second = _mark(key, jti), until // 1000 + 1
        with self._lock:
            self._forget(now // 1000)
            # SECURITY: a clock that goes back must not bring forgotten proofs to life.
            if second <= self._forgotten:
                raise Unauthenticated("proof_stale", "the proof is too old", "make a fresh proof")
            if mark in self._seen:
                raise replayed()
            count = self._count.get(key, 0)
            # SECURITY: full means refuse; to forget an entry early would accept its proof again.
            if len(self._seen) >= self._capacity or count >= self._per_key:
                raise Unavailable(
                    "proof_memory_full", "too many requests with fresh proofs at once", "wait a few seconds and retry"
                )
            self._seen.add(mark)
            self._count[key] = count + 1
            self._expiring.setdefault(second, {}).setdefault(key, []).append(mark)

    def _forget(self, second: int) -> None:
        """Drops what expired before `second`; each entry is touched once, and most calls touch none."""
        if second - 1 <= self._forgotten:
            return
        for past in [other for other in self._expiring if other < second]:
            for key, marks in self._expiring.pop(past).items():
                self._seen.difference_update(marks)
                self._count[key] -= len(marks)
                if not self._count[key]:
                    del self._count[key]
        self._forgotten = second - 1


def replayed() -> Unauthenticated:
    """The refusal of a proof that was used before."""
    return Unauthenticated("proof_replayed", "the proof was used before", "make a fresh proof for each request")


def _mark(key: str, jti: str) -> bytes:
    # A thumbprint has no dot, so no two pairs run together.
    return sha256(f"{key}.{jti}".encode("utf-8", "surrogatepass")).digest()[:16]
