"""Time: integer milliseconds since 1970, UTC, passed in where it is needed."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]


def system_clock() -> int:
    """The system's time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
