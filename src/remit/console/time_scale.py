"""Where moments stand on a picture's time axis: long pauses are drawn short, so that what happened has room.

Agents act in bursts, with minutes or days between them: on an even axis all marks of a burst would be one. Here a
pause's width grows with the logarithm of its length, and each event has at least `room` to itself while there is any.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from math import log2
from typing import Final, NamedTuple

PAUSE_MS: Final = 30_000  # what is shown as a pause
_UNIT_MS: Final = 250
_SHARE: Final = 0.8  # of the width that events may take before pauses get any


class Pause(NamedTuple):
    """A time in which nothing happened, and where it is drawn."""

    left: float
    right: float
    ms: int


class TimeScale:
    """An axis from `left` to `right` over these moments (ms)."""

    def __init__(self, moments: Iterable[float], left: float, right: float, room: float) -> None:
        self._moments = sorted(set(moments)) or [0]
        self.left, self.right = left, right
        gaps = [after - before for before, after in zip(self._moments, self._moments[1:], strict=False)]
        width = right - left
        base = min(room, _SHARE * width / len(gaps)) if gaps else 0
        weights = [log2(1 + gap / _UNIT_MS) for gap in gaps]
        rest = (width - base * len(gaps)) / (sum(weights) or 1)
        self._at = [left]
        for weight in weights:
            self._at.append(self._at[-1] + base + rest * weight)
        self.room = base  # that each moment has at least; 0 where there is only one

    def __call__(self, ms: float) -> float:
        """Where a moment stands; between two known ones in proportion, and never outside."""
        index = bisect_right(self._moments, ms) - 1
        if index < 0:
            return self.left
        if index >= len(self._moments) - 1:
            return self._at[-1]
        before, after = self._moments[index], self._moments[index + 1]
        return self._at[index] + (self._at[index + 1] - self._at[index]) * (ms - before) / (after - before)

    def pauses(self, least: float) -> list[Pause]:
        """Pauses of half a minute or more that are drawn at least so wide."""
        found = []
        for index, (before, after) in enumerate(zip(self._moments, self._moments[1:], strict=False)):
            left, right = self._at[index], self._at[index + 1]
            if after - before >= PAUSE_MS and right - left >= least:
                found.append(Pause(left, right, round(after - before)))
        return found

    def ticks(self, apart: float) -> list[tuple[float, int]]:
        """Places for the time of day, at known moments and at least so far apart."""
        found: list[tuple[float, int]] = []
        at = self.left
        while at <= self.right and len(found) < 64:
            index = bisect_left(self._at, at)
            if index >= len(self._at):
                break
            found.append((self._at[index], int(self._moments[index])))
            at = self._at[index] + apart
        return found
