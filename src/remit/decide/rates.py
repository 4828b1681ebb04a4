"""Rates before the pipeline: a token bucket for each workload, bounded in number."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

BUCKETS: Final = 10_000


class Rates:
    """Admits `burst` at once and `per_second` sustained, for each name. Monotonic time; used from one thread."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def change(self, per_second: float, burst: int) -> None:
        """Other rates from now on; what each has used up stays used up."""
        self._per_second, self._burst = per_second, float(burst)

    def admit(self, name: str, cost: float = 1.0) -> bool:
        """Whether one more may pass now; takes it if so. What costs more than a burst costs all of it."""
        cost = min(cost, self._burst)
        now = self._clock()
        level, at = self._buckets.pop(name, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_second)
        admitted = level >= cost
        self._buckets[name] = (level - cost if admitted else level, now)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        return admitted
