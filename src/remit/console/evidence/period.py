"""The period of a pack: from a time, which is in it, to a time, which is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from remit.core.errors import InvalidInput

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NEXT: Final = "write a day (`2026-10-01`, which begins at midnight UTC) or a time (`2026-10-01T00:00:00+02:00`)"


class Period(NamedTuple):
    """Milliseconds since 1970, UTC: `start` is in the period, `end` is the first moment after it."""

    start: int
    end: int

    def has(self, at: int) -> bool:
        """Whether a time is in it."""
        return self.start <= at < self.end

    @property
    def days(self) -> float:
        """How long it is."""
        return (self.end - self.start) / 86_400_000


def period_of(from_: str, to: str) -> Period:
    """The period that `--from` and `--to` name; `InvalidInput` where there is none."""
    period = Period(moment_of(from_, "--from"), moment_of(to, "--to"))
    if period.end <= period.start:
        raise InvalidInput(
            "period_empty",
            f"the period ends at {shown(period.end)}, and begins at {shown(period.start)}",
            "`--to` is the first moment after the period: for October, `--from 2026-10-01 --to 2026-11-01`",
        )
    return period


def moment_of(text: str, option: str) -> int:
    """One end of a period in ms; a day is its midnight UTC, and a time says its zone."""
    text = text.strip()
    if len(text) > 40:
        raise InvalidInput("period_invalid", f"`{option}` is no time", _NEXT)
    try:
        read = datetime.fromisoformat(text)
        if _DAY.fullmatch(text):
            read = read.replace(tzinfo=UTC)
        if read.tzinfo is None:
            # A pack must not depend on the zone of the machine that made it.
            raise InvalidInput("time_without_zone", f"`{option} {text}` does not say its time zone", f"write `{text}Z`")
        ms = round(read.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidInput("period_invalid", f"`{option} {text}` is no time", _NEXT) from None
    if ms < 0:
        raise InvalidInput("period_invalid", f"`{option} {text}` is before 1970", _NEXT)
    return ms


def shown(ms: int) -> str:
    """A time in UTC, to the second where it is whole: `2026-10-01T00:00:00Z`; the number where no calendar has it."""
    try:
        read = datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
    return read.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
