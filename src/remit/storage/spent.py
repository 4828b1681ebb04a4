"""Where the time of batches goes: seconds of each step since the start, for operators and benches."""

from __future__ import annotations

import time
from typing import Final

# In the order in which a batch goes through them.
STEPS: Final = ("prepare", "lock", "decide", "append", "commit")


class Spent:
    """The clock of one store; one batch at a time."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STEPS, 0.0)
        self._batches = 0
        self._works = 0
        self._last = 0.0

    def begin(self, works: int) -> None:
        """A batch of so many works begins."""
        self._batches += 1
        self._works += works
        self._last = time.perf_counter()

    def done(self, step: str) -> None:
        """This step has ended, and the next one begins."""
        now = time.perf_counter()
        self._seconds[step] += now - self._last
        self._last = now

    def gauges(self) -> dict[str, float]:
        """`batches`, `batch_works`, and `batch_<step>_seconds` of each step."""
        seconds = {f"batch_{step}_seconds": round(spent, 6) for step, spent in self._seconds.items()}
        return {"batches": self._batches, "batch_works": self._works, **seconds}
