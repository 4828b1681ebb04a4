"""Proofs made ahead: while one request is under way, the next one is signed."""

from __future__ import annotations

import asyncio
from typing import Final

from remit.core.clock import Clock
from remit.identity.holder import Holder

READY_MS: Final = 10_000  # a proof made ahead is sent within this time; services accept 30 seconds


class ReadyProofs:
    """At most one fresh proof for each of the paths that are used all the time (`POST`). Each is sent once."""

    def __init__(self, holder: Holder, origin: str, clock: Clock, paths: tuple[str, ...]) -> None:
        self._holder = holder
        self._origin = origin
        self._clock = clock
        self._paths = frozenset(paths)
        self._ready: dict[str, tuple[int, str, dict[str, str]]] = {}

    def take(self, method: str, path: str) -> dict[str, str]:
        """The headers for one request now. Needs a running loop."""
        now = self._clock()
        if method != "POST" or path not in self._paths:
            return self._holder.headers(method, self._origin + path, now)
        made, svid, headers = self._ready.pop(path, (0, "", {}))
        asyncio.get_running_loop().call_soon(self._make, path)
        # SECURITY: the proof is bound to the SVID that it was made with.
        if headers and svid == self._holder.svid and 0 <= now - made < READY_MS:
            return headers
        return self._holder.headers(method, self._origin + path, now)

    def clear(self) -> None:
        """Forgets what was made ahead."""
        self._ready.clear()

    def _make(self, path: str) -> None:
        if path not in self._ready:
            now = self._clock()
            headers = self._holder.headers("POST", self._origin + path, now)
            self._ready[path] = (now, self._holder.svid, headers)
