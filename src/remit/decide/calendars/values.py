"""Dates, times and durations of iCalendar properties (RFC 5545, sections 3.3.4 to 3.3.9), read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from remit.decide.calendars.lines import Property
from remit.decide.calendars.zones import UTC_ZONE, Zone, Zones

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2199
_MOMENT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})(Z?))?")
_DURATION = re.compile(
    r"\+?P(?:(?P<weeks>[0-9]{1,4})W|(?:(?P<days>[0-9]{1,5})D)?"
    r"(?:T(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,7})M)?(?:(?P<seconds>[0-9]{1,8})S)?)?)"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A DATE or DATE-TIME: the naive local time, its zone, and whether it is a whole day."""

    local: datetime
    zone: Zone
    whole_day: bool

    @property
    def instant(self) -> int:
        """Milliseconds since 1970, UTC; the first moment of a whole day."""
        return self.zone.instant(self.local)

    @property
    def day(self) -> datetime:
        """Local midnight of the day on which it falls."""
        return self.local.replace(hour=0, minute=0, second=0)


@dataclass(frozen=True, slots=True)
class Length:
    """How long something lasts: whole local days first, then exact milliseconds (section 3.3.6)."""

    days: timedelta
    ms: int

    def end(self, start: Moment) -> int:
        """The instant at which what begins at `start` ends."""
        return start.zone.instant(start.local + self.days) + self.ms

    @property
    def about(self) -> timedelta:
        return self.days + timedelta(milliseconds=self.ms)


@dataclass(frozen=True, slots=True)
class Places:
    """What the times of one calendar are local to; without `default`, a time must name its zone."""

    zones: Zones
    default: Zone | None

    def moment(self, item: Property, text: str) -> Moment:
        """Reads one value of `item`; a `DocumentError` at its line when it is not a moment or its zone is unclear."""
        match = _MOMENT.fullmatch(text)
        if match is None:
            raise item.error(f"`{item.name}` is not a date or time", "write `20260329` or `20260329T020000`")
        try:
            local = datetime(*(int(part) for part in match.groups()[:6] if part))  # type: ignore[arg-type]  # six numbers
        except ValueError:
            raise item.error(f"`{item.name}` is a date or time that does not exist") from None
        if not _FIRST_YEAR <= local.year <= _LAST_YEAR:
            raise item.error(f"`{item.name}` is not between the years {_FIRST_YEAR} and {_LAST_YEAR}")
        whole_day = match[4] is None
        if item.param("VALUE").upper() not in ("", "PERIOD", "DATE" if whole_day else "DATE-TIME"):
            raise item.error(f"`{item.name}` is not of the type that `VALUE` says")
        return Moment(local, self._zone(item, whole_day, match[7] == "Z"), whole_day)

    def _zone(self, item: Property, whole_day: bool, utc: bool) -> Zone:
        if "TZID" in item.params:
            # SECURITY: with both, one program takes UTC and another the zone, and the window opens at two times.
            if utc or whole_day:
                raise item.error("`TZID` does not go with a date or with `Z`", "keep one of them")
            return self.zones.named(item.param("TZID"), item)
        if utc:
            return UTC_ZONE
        if self.default is not None:
            return self.default
        if whole_day:
            return UTC_ZONE
        raise item.error("the time has no zone", "add `;TZID=Europe/Berlin` or `Z`, or `X-WR-TIMEZONE` to the calendar")


def parse_length(item: Property, text: str) -> Length:
    """Reads a DURATION of more than nothing."""
    match = _DURATION.fullmatch(text)
    parts = {name: int(value) for name, value in match.groupdict().items() if value} if match else {}
    if not any(parts.values()) or text.endswith("T"):
        raise item.error(f"`{item.name}` is not a duration of more than nothing", "write `PT2H` or `P1D`")
    days = timedelta(weeks=parts.get("weeks", 0), days=parts.get("days", 0))
    seconds = parts.get("hours", 0) * 3600 + parts.get("minutes", 0) * 60 + parts.get("seconds", 0)
    if days + timedelta(seconds=seconds) > timedelta(days=20 * 366):
        raise item.error(f"`{item.name}` is longer than 20 years")
    return Length(days, seconds * 1000)
