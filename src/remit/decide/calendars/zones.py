"""Time zones of a calendar: IANA names, zones that the file declares (VTIMEZONE), and Windows names.

Local times become instants as RFC 5545, section 3.3.5 says: a time that occurs twice is the first one, and a time
that a change of the clock skips is read with the offset before the change.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ical.tzif.extended_timezones import EXTENDED_TIMEZONES

from remit.decide.calendars.lines import Component, Property
from remit.decide.calendars.recurrence import Rule, occurrences, parse_rule

ZONES: Final = 16  # declared zones that a file may use
OBSERVANCES: Final = 256  # of one declared zone, and 16 of them with a rule
ONSETS: Final = 4_096
_RULES: Final = 16
_LAST_YEAR: Final = 2070
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_MS = timedelta(milliseconds=1)
_IANA = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
_OFFSET = re.compile(r"([+-])([0-9]{2})([0-5][0-9])([0-5][0-9])?")
_LOCAL = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})")
# Names that mean something else on each machine.
_NOT_ZONES: Final = frozenset({"localtime", "Factory", "posixrules"})


class Zone(Protocol):
    """Tells the instant of a local time."""

    def instant(self, local: datetime) -> int:
        """Milliseconds since 1970, UTC, of a naive local time."""


class NamedZone:
    """A zone of the IANA database."""

    __slots__ = ("_info",)

    def __init__(self, info: ZoneInfo) -> None:
        self._info = info

    def instant(self, local: datetime) -> int:
        return (local.replace(tzinfo=self._info, fold=0) - _EPOCH) // _MS


class DeclaredZone:
    """A zone that a file declares: the offset before any change, and changes as (from this local time, offset)."""

    __slots__ = ("_before", "_offsets", "_since")

    def __init__(self, before: timedelta, changes: list[tuple[datetime, timedelta]]) -> None:
        self._before = before
        self._since = [since for since, _ in changes]
        self._offsets = [offset for _, offset in changes]

    def instant(self, local: datetime) -> int:
        at = bisect_right(self._since, local)
        return (local - (self._offsets[at - 1] if at else self._before) - _NAIVE_EPOCH) // _MS


class Zones:
    """Resolves the TZIDs of one calendar; declared zones are read when they are used."""

    def __init__(self, declared: Mapping[str, Component]) -> None:
        self._declared = declared
        self._read: dict[str, Zone] = {}

    def named(self, name: str, where: Property) -> Zone:
        """The zone of that name; a `DocumentError` at `where` when there is none.

        An IANA name means the IANA zone, whatever the file declares under it.
        """
        if (zone := _iana(name)) is not None:
            return zone
        if name in self._read:
            return self._read[name]
        if name in self._declared:
            if len(self._read) >= ZONES:
                raise where.error(f"the calendar uses more than {ZONES} zones of its own")
            self._read[name] = _declared(self._declared[name])
            return self._read[name]
        if (iana := EXTENDED_TIMEZONES.get(name)) is not None and (zone := _iana(iana)) is not None:
            return zone
        raise where.error(
            f"there is no time zone `{name[:80]}`", "use an IANA name such as `Europe/Berlin`, or add its VTIMEZONE"
        )


class _Utc:
    def instant(self, local: datetime) -> int:
        return (local - _NAIVE_EPOCH) // _MS


UTC_ZONE: Final[Zone] = _Utc()


@lru_cache(maxsize=1024)
def _iana(name: str) -> Zone | None:
    if name in ("UTC", "Etc/UTC", "GMT"):
        return UTC_ZONE
    if not _IANA.fullmatch(name) or len(name) > 64 or name in _NOT_ZONES or name.startswith(("right/", "posix/")):
        return None
    try:
        return NamedZone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _declared(component: Component) -> Zone:
    """Reads a VTIMEZONE (section 3.6.5): yearly rules in one month, dates, and the offsets before and after."""
    observances = [part for part in component.components if part.name in ("STANDARD", "DAYLIGHT")]
    ruled = sum(1 for part in observances if part.all("RRULE"))
    if not observances or len(observances) > OBSERVANCES or ruled > _RULES:
        raise component.error("the time zone has no observance or too many", "use an IANA name instead")
    changes: list[tuple[datetime, timedelta, timedelta]] = []  # UTC, offset before, offset after
    for part in observances:
        before, after = _offset(part, "TZOFFSETFROM"), _offset(part, "TZOFFSETTO")
        for onset in _onsets(part, before):
            changes.append((onset - before, before, after))
        if len(changes) > ONSETS:
            raise component.error("the time zone changes too often", "use an IANA name instead")
    changes.sort()
    # A local time belongs to the new offset once it can't be read with the one before.
    return DeclaredZone(changes[0][1], [(at + max(before, after), after) for at, before, after in changes])


def _onsets(part: Component, before: timedelta) -> list[datetime]:
    item = part.one("DTSTART")
    if item is None:
        raise part.error("the observance has no `DTSTART`", "add it")
    start = _local(item, item.value)
    dates = [_local(item, value) for item in part.all("RDATE") for value in item.value.split(",")]
    text = part.one("RRULE")
    if text is None:
        return [start, *dates]
    rule = parse_rule(text, start, of_zone=True)
    if rule.frequency != "YEARLY" or len(rule.months) != 1 or rule.count or len(rule.times) != 1:
        raise text.error("a time zone changes yearly, in one month", "use an IANA name instead")
    return [*(_bounded(rule, start, before) or [start]), *dates]


def _bounded(rule: Rule, start: datetime, before: timedelta) -> list[datetime]:
    low = max(start, datetime(1970, 1, 1))
    onsets = occurrences(rule, start, low, datetime(_LAST_YEAR, 1, 1))
    return [onset for onset in onsets if rule.until is None or onset - before <= rule.until]


def _offset(part: Component, name: str) -> timedelta:
    item = part.one(name)
    match = _OFFSET.fullmatch(item.value) if item is not None else None
    if item is None or match is None or int(match[2]) > 23:
        raise (item or part).error(f"`{name}` is missing or not an offset", "write `+0100`")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]), seconds=int(match[4] or 0))
    return -offset if match[1] == "-" else offset


def _local(item: Property, text: str) -> datetime:
    match = _LOCAL.fullmatch(text)
    try:
        if match is None or item.param("TZID"):
            raise ValueError
        local = datetime(*(int(part) for part in match.groups()))  # type: ignore[arg-type]  # six numbers
        if not 1600 <= local.year <= 2200:
            raise ValueError
    except ValueError:
        raise item.error(f"`{item.name}` of an observance is not a local time", "write `20260329T020000`") from None
    return local
