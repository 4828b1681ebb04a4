"""Whether a service can decide and record now: what `GET /readyz` says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from remit.storage.port import Store
from remit.storage.shared import SharedStore

FAILING_SECONDS: Final = 5.0


class Readiness:
    """Not ready while the database of several processes does not answer, and for a while after a failed commit.

    Nor once `wrong` says that the records are not what was written.

    Only for a while: whoever is not ready is asked nothing, and nothing would show that it has recovered.
    """

    def __init__(
        self, store: Store, clock: Callable[[], float] = time.monotonic, wrong: Callable[[], str] = lambda: ""
    ) -> None:
        self._store = store
        self._wrong = wrong
        self._clock = clock
        self._commits, self._failed = self._counts()
        self._since = 0.0

    def __call__(self) -> str:
        """Why not; empty when it is ready."""
        if wrong := self._wrong():
            return wrong
        if isinstance(self._store, SharedStore) and (why := self._store.why_not()):
            return why
        commits, failed = self._counts()
        if failed > self._failed:
            self._since = self._clock() + FAILING_SECONDS
        elif commits > self._commits:
            self._since = 0.0
        self._commits, self._failed = commits, failed
        return "records could not be stored a moment ago" if self._clock() < self._since else ""

    def _counts(self) -> tuple[float, float]:
        gauges = self._store.gauges()
        return gauges["commits"], gauges["failed_commits"]
