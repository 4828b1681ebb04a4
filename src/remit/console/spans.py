"""Times and spans as people read them in a story."""

from __future__ import annotations

from datetime import datetime

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"))


def span(ms: int) -> str:
    """How long, in at most two units: `85 ms`, `3.2 s`, `4 min 10 s`, `2 d 3 h`."""
    if ms < 1000:
        return f"{max(ms, 0)} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    parts = []
    for size, name in _UNITS:
        if ms >= size:
            parts.append(f"{ms // size} {name}")
            ms %= size
    if len(parts) < 2 and ms >= 1000:
        parts.append(f"{ms // 1000} s")
    return " ".join(parts[:2])


def clock(ms: int, *, fine: bool = True) -> str:
    """Local time of day, with milliseconds; the number where no calendar has it."""
    try:
        text = datetime.fromtimestamp(ms / 1000).strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(ms)
    return f"{text}.{ms % 1000:03d}" if fine else text


def day(ms: int) -> str:
    """The local date."""
    try:
        return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return ""
