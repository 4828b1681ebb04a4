"""How often each workload was refused of late, in this process: what the risk signal `denials` rises from.

This is no state that decides by itself: the signal is a record. Each refusal is counted where it was decided, once, so
that several processes never count the same one; a restart begins to count anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WORKLOADS: Final = 10_000  # that were refused last


class Refusals:
    """The times of the last refusals of each workload, by what tells one question from another."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, OrderedDict[object, int]] = OrderedDict()

    def note(self, workload: str, question: object, now: int, *, most: int, since: int) -> int:
        """Counts a refusal, and returns how many there were after `since`; at most `most` are remembered.

        A question that is counted again, because its work was run again, counts once.
        """
        times = self._times.setdefault(workload, OrderedDict())
        self._times.move_to_end(workload)
        if len(self._times) > WORKLOADS:
            self._times.popitem(last=False)
        times.setdefault(question, now)
        while times and (len(times) > most or next(iter(times.values())) <= since):
            times.popitem(last=False)
        return len(times)

    def clear(self, workload: str) -> None:
        """Forgets a workload's refusals: they led to a signal, or a person looked at them."""
        self._times.pop(workload, None)
