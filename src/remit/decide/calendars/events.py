"""Events of a calendar (RFC 5545, section 3.6.1) as series of openings.

Where the standard leaves a choice, the reading that opens less is taken: only confirmed events open, nothing is
guessed about a rule, and an exception that misses its occurrence by time or zone is an error.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from remit.core.errors import DocumentError
from remit.decide.calendars.lines import Component, Property, parse_components
from remit.decide.calendars.recurrence import Rule, occurrences, parse_rule
from remit.decide.calendars.values import Length, Moment, Places, parse_length
from remit.decide.calendars.zones import UTC_ZONE, Zones

COUNTED: Final = timedelta(days=20 * 366)  # how far a COUNT may reach
LONGEST: Final = timedelta(days=366)  # of an event that recurs by a rule
_DAY: Final = timedelta(days=1)
_DAY_MS: Final = 86_400_000
_EPOCH = datetime(1970, 1, 1)


@dataclass(slots=True)
class Allowance:
    """What the calendars of a folder may still hold, so that the work on them is bounded."""

    rules: int = 128
    starts_a_day: int = 512
    dates: int = 5_000  # RDATE, EXDATE and overrides
    events: int = 10_000

    def take(self, where: Property | Component, **amounts: int) -> None:
        for name, amount in amounts.items():
            left = getattr(self, name) - amount
            if left < 0:
                raise where.error(f"the calendars hold too many {name.replace('_', ' ')}", "remove what is past")
            setattr(self, name, left)


class Single(NamedTuple):
    """One opening: start and end in ms, and the local day on which it starts."""

    start: int
    end: int
    day: datetime


@dataclass(frozen=True, slots=True)
class Series:
    """The openings of one event: those of its rule, and single ones."""

    start: Moment
    length: Length
    rule: Rule | None = None
    last: datetime | None = None  # local start of the last occurrence, where COUNT or a whole-day UNTIL says it
    until: int = 2**62  # ms; no occurrence starts later
    single: tuple[Single, ...] = ()  # by start
    without: frozenset[int] = frozenset()  # starts that an exception took away
    without_days: frozenset[datetime] = frozenset()  # local days that an exception took away

    def openings(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """(start, end) in ms of every opening that touches `low` to `high`; unordered, more may be among them."""
        for moment in self._starts(low, high, self.length.about):
            if not self._is_without(moment.instant, moment.day):
                yield moment.instant, self.length.end(moment)
        for one in self.single:
            if not self._is_without(one.start, one.day):
                yield one.start, one.end

    def starts_near(self, instant: int) -> list[int]:
        """Starts of occurrences less than a day from `instant`, exceptions included."""
        starts = [moment.instant for moment in self._starts(instant - _DAY_MS, instant + _DAY_MS, _DAY)]
        begin = bisect_left(self.single, instant - _DAY_MS, key=_start)
        end = bisect_left(self.single, instant + _DAY_MS, key=_start)
        starts += [one.start for one in self.single[begin:end]]
        return [start for start in starts if abs(start - instant) < _DAY_MS]

    def _starts(self, low: int, high: int, about: timedelta) -> Iterator[Moment]:
        if self.rule is None:
            return
        # Two days more on both sides make up for any zone's offset.
        early = _EPOCH + timedelta(milliseconds=low) - about - 2 * _DAY
        late = _EPOCH + timedelta(milliseconds=high) + 2 * _DAY
        for local in occurrences(self.rule, self.start.local, early, late):
            if self.last is not None and local > self.last:
                return
            moment = Moment(local, self.start.zone, self.start.whole_day)
            if moment.instant <= self.until:
                yield moment

    def _is_without(self, start: int, day: datetime) -> bool:
        return start in self.without or day in self.without_days


def _start(one: Single) -> int:
    return one.start


def _single(start: Moment, length: Length) -> Single:
    return Single(start.instant, length.end(start), start.day)


def parse_calendars(text: str, path: Path, allowance: Allowance) -> list[Series]:
    """The series of a file's confirmed events; a `DocumentError` at the line of the first mistake or doubt."""
    series: list[Series] = []
    calendars = parse_components(text, path)
    if not any(calendar.name == "VCALENDAR" for calendar in calendars):
        raise DocumentError("the file holds no calendar", path=path, next_step="begin it with `BEGIN:VCALENDAR`")
    for calendar in calendars:
        if calendar.name != "VCALENDAR":
            raise calendar.error(f"`{calendar.name[:40]}` stands outside of a calendar")
        _check_calendar(calendar)
        series += _of_calendar(calendar, _places(calendar), allowance)
    return series


def _check_calendar(calendar: Component) -> None:
    for name, allowed in (("VERSION", ("2.0",)), ("CALSCALE", ("", "GREGORIAN")), ("METHOD", ("", "PUBLISH"))):
        item = calendar.one(name)
        if (item.value.upper() if item else "") not in allowed:
            wanted = f"write `{name}:{allowed[-1]}`"
            raise (item or calendar).error(f"the calendar's `{name}` is missing or not one that opens windows", wanted)


def _places(calendar: Component) -> Places:
    declared: dict[str, Component] = {}
    for part in calendar.parts("VTIMEZONE"):
        name = part.one("TZID")
        if name is None or name.value in declared:
            raise part.error("the time zone has no `TZID`, or one that stands twice")
        declared[name.value] = part
    zones = Zones(declared)
    default = calendar.one("X-WR-TIMEZONE")
    return Places(zones, zones.named(default.value, default) if default is not None else None)


def _of_calendar(calendar: Component, places: Places, allowance: Allowance) -> list[Series]:
    masters: dict[str, Component] = {}
    overrides: dict[str, list[Component]] = {}
    alone: list[Component] = []
    for event in calendar.parts("VEVENT"):
        allowance.take(event, events=1)
        uid, instance = event.one("UID"), event.one("RECURRENCE-ID")
        if instance is not None:
            if uid is None:
                raise event.error("an event with `RECURRENCE-ID` has no `UID`", "add the `UID` of its series")
            overrides.setdefault(uid.value, []).append(event)
        elif uid is None:
            alone.append(event)
        elif uid.value in masters:
            # SECURITY: of two events with one UID, one program shows the first and another the last.
            raise uid.error("two events have this `UID`", "give each its own, or add `RECURRENCE-ID` to an exception")
        else:
            masters[uid.value] = event
    series: list[Series] = []
    for event in alone:
        series += _opened(event, _series(event, [], places, allowance))
    for name, event in masters.items():
        exceptions = overrides.pop(name, [])
        series += _opened(event, _series(event, exceptions, places, allowance))
        # A series that is not confirmed takes its exceptions with it.
        singles = [_override(exception, places) for exception in exceptions]
        series += [one for one in singles if one is not None and _is_confirmed(event)]
    for exceptions in overrides.values():
        _instances(exceptions, places)
        series += [one for one in (_override(exception, places) for exception in exceptions) if one is not None]
    return series


def _opened(event: Component, series: Series) -> list[Series]:
    return [series] if _is_confirmed(event) else []


def _is_confirmed(event: Component) -> bool:
    status = event.one("STATUS")
    match status.value.upper() if status is not None else "CONFIRMED":
        case "CONFIRMED":
            return True
        case "CANCELLED" | "TENTATIVE":
            return False
    raise (status or event).error("the status is not one that an event has", "write `CONFIRMED` or `CANCELLED`")


def _series(event: Component, overrides: list[Component], places: Places, allowance: Allowance) -> Series:
    start, length = _span(event, places)
    if (unknown := event.one("EXRULE")) is not None:
        # SECURITY: taken for an unknown property, it would be ignored, and what it closes would be open.
        raise unknown.error("`EXRULE` is not supported", "use `EXDATE`")
    item = event.one("RRULE")
    rule = None
    if item is not None:
        allowance.take(item, rules=1)
        if length.about > LONGEST:
            raise item.error("an event that recurs lasts longer than a year")
        rule = parse_rule(item, start.local, all_day=start.whole_day)
        allowance.take(item, starts_a_day=len(rule.times))
    single = [] if rule else [_single(start, length)]
    for dates in event.all("RDATE"):
        single += _added(dates, start, length, places, allowance)
    series = Series(start, length, rule, single=tuple(sorted(single)))
    if rule is not None and item is not None:
        series = _ended(series, rule, item)
    return _without(series, event, overrides, places, allowance)


def _ended(series: Series, rule: Rule, item: Property) -> Series:
    start, last, until = series.start, None, series.until
    if rule.count:
        counted = list(islice(occurrences(rule, start.local, start.local, start.local + COUNTED), rule.count))
        if len(counted) < rule.count:
            raise item.error("`COUNT` reaches further than 20 years", "use `UNTIL`")
        last = counted[-1]
    elif rule.until is not None and start.whole_day:
        last = rule.until
    elif rule.until is not None:
        until = UTC_ZONE.instant(rule.until)
    return Series(start, series.length, rule, last, until, series.single)


def _without(
    series: Series, event: Component, overrides: list[Component], places: Places, allowance: Allowance
) -> Series:
    allowance.take(event, dates=len(overrides))
    taken = _instances(overrides, places)
    for item in event.all("EXDATE"):
        values = item.value.split(",")
        allowance.take(item, dates=len(values))
        taken += [(item, places.moment(item, value)) for value in values]
    instants: set[int] = set()
    days: set[datetime] = set()
    for item, moment in taken:
        if moment.whole_day:
            days.add(moment.local)
        elif series.start.whole_day:
            raise item.error(f"`{item.name}` is a time, and the event is of whole days", "write it as a date")
        else:
            near = series.starts_near(moment.instant)
            if near and moment.instant not in near:
                # SECURITY: an exception in the wrong zone would leave open what it is meant to close.
                raise item.error(f"`{item.name}` misses an occurrence by less than a day", "check its time and zone")
            instants.add(moment.instant)
    return Series(
        series.start, series.length, series.rule, series.last, series.until, series.single,
        frozenset(instants), frozenset(days),
    )  # fmt: skip


def _instances(overrides: list[Component], places: Places) -> list[tuple[Property, Moment]]:
    """Which occurrence each override replaces."""
    found: list[tuple[Property, Moment]] = []
    seen: set[tuple[bool, int]] = set()
    for event in overrides:
        item = event.one("RECURRENCE-ID")
        if item is None:
            continue
        if "RANGE" in item.params:
            raise item.error(
                "an exception for all later occurrences is not supported", "end the series and begin another"
            )
        moment = places.moment(item, item.value)
        if (key := (moment.whole_day, moment.instant)) in seen:
            raise item.error("two events replace the same occurrence", "keep one of them")
        seen.add(key)
        found.append((item, moment))
    return found


def _override(event: Component, places: Places) -> Series | None:
    for name in ("RRULE", "RDATE", "EXDATE", "EXRULE"):
        if found := event.all(name):
            raise found[0].error(f"an exception can't have `{name}`", "remove it")
    start, length = _span(event, places)
    return Series(start, length, single=(_single(start, length),)) if _is_confirmed(event) else None


def _added(item: Property, start: Moment, length: Length, places: Places, allowance: Allowance) -> list[Single]:
    values = item.value.split(",")
    allowance.take(item, dates=len(values))
    added: list[Single] = []
    for value in values:
        first, slash, end = value.partition("/")
        if bool(slash) != (item.param("VALUE").upper() == "PERIOD"):
            raise item.error("`RDATE` is not of the type that `VALUE` says", "add `;VALUE=PERIOD`, or remove it")
        moment = places.moment(item, first)
        if moment.whole_day != start.whole_day or (moment.whole_day and slash):
            raise item.error("`RDATE` and `DTSTART` are not both dates or both times")
        added.append(_single(moment, _period_length(item, moment, end, places) if slash else length))
    return added


def _period_length(item: Property, start: Moment, end: str, places: Places) -> Length:
    if end.startswith(("P", "+P")):
        return parse_length(item, end)
    ms = places.moment(item, end).instant - start.instant
    if ms <= 0:
        raise item.error("the period ends before it begins")
    return Length(timedelta(), ms)


def _span(event: Component, places: Places) -> tuple[Moment, Length]:
    """When an event begins and how long it lasts: by DTEND exactly so long, by DURATION in days and exact time."""
    first, end, duration = event.one("DTSTART"), event.one("DTEND"), event.one("DURATION")
    if first is None:
        raise event.error("the event has no `DTSTART`", "add it")
    start = places.moment(first, first.value)
    if end is not None and duration is not None:
        raise duration.error("the event has both `DTEND` and `DURATION`", "keep one of them")
    if duration is not None:
        length = parse_length(duration, duration.value)
        if start.whole_day and length.ms:
            raise duration.error("an event of whole days lasts days or weeks", "write `P1D`")
        return start, length
    if end is None:
        if start.whole_day:
            return start, Length(_DAY, 0)
        raise event.error("the event has no length, so that it opens nothing", "add `DTEND` or `DURATION`")
    last = places.moment(end, end.value)
    if last.whole_day != start.whole_day:
        raise end.error("`DTSTART` and `DTEND` are not both dates or both times")
    if last.instant <= start.instant:
        raise end.error("the event ends before it begins", "`DTEND` is the first moment that is closed again")
    if start.whole_day:
        return start, Length(last.local - start.local, 0)
    return start, Length(timedelta(), last.instant - start.instant)
