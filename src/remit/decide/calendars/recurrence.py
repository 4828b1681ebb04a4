"""Recurrence rules (RFC 5545, section 3.3.10): parsed strictly, expanded between two local times.

Expansion starts at the wanted time, not at the rule's first occurrence, and looks at each day once, so that its cost
is that of the days asked for, whatever the rule says. Rules repeat daily or more seldom: `BYHOUR` and `BYMINUTE` of
a daily rule say what an hourly one would.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import MAXYEAR, date, datetime, time, timedelta
from itertools import product
from typing import Final, Literal

from remit.decide.calendars.lines import Property

Frequency = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]

COUNT: Final = 10_000
INTERVAL: Final = 10_000
STARTS_A_DAY: Final = 96
_WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_INTEGER = re.compile(r"[+-]?[0-9]{1,5}")
_UNTIL = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})(Z)?)?")
_PARTS: Final = frozenset(
    {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYSECOND", "BYMINUTE", "BYHOUR"}
    | {"BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One RRULE with what it takes from its start; empty sets limit nothing."""

    frequency: Frequency
    interval: int = 1
    count: int = 0
    until: datetime | None = None  # inclusive: UTC, or the last day where the event is of whole days
    months: frozenset[int] = frozenset()
    month_days: frozenset[int] = frozenset()
    year_days: frozenset[int] = frozenset()
    week_numbers: frozenset[int] = frozenset()
    weekdays: frozenset[tuple[int, int]] = frozenset()  # (ordinal or 0, 0 for Monday)
    times: tuple[time, ...] = (time(),)
    positions: tuple[int, ...] = ()
    week_start: int = 0


def parse_rule(item: Property, start: datetime, *, all_day: bool = False, of_zone: bool = False) -> Rule:
    """Reads an RRULE whose first occurrence is `start` (local); a `DocumentError` at its line otherwise.

    Refuses what RFC 5545 calls undefined or forbids, since two readers would open a window at two times: unknown
    and repeated parts, `COUNT` with `UNTIL`, parts that do not go with the frequency, and a `DTSTART` that the rule
    does not generate (which a time zone's may be: `of_zone`).
    """
    parts = _split(item)
    rule = Rule(
        frequency=_frequency(item, parts),
        interval=_number(item, parts, "INTERVAL", INTERVAL) or 1,
        count=_number(item, parts, "COUNT", COUNT),
        until=_until(item, parts, all_day),
        months=_set(item, parts, "BYMONTH", 1, 12),
        month_days=_set(item, parts, "BYMONTHDAY", 1, 31, signed=True),
        year_days=_set(item, parts, "BYYEARDAY", 1, 366, signed=True),
        week_numbers=_set(item, parts, "BYWEEKNO", 1, 53, signed=True),
        weekdays=_weekdays(item, parts),
        times=_times(item, parts, start, all_day),
        positions=tuple(sorted(_set(item, parts, "BYSETPOS", 1, 366, signed=True))),
        week_start=_week_start(item, parts),
    )
    _check_combination(item, rule)
    rule = _completed(rule, start)
    if not of_zone and next(occurrences(rule, start, start, start + timedelta(seconds=1)), None) != start:
        raise item.error("`DTSTART` is not an occurrence of `RRULE`", "move `DTSTART` to the first occurrence")
    return rule


def occurrences(rule: Rule, start: datetime, low: datetime, high: datetime) -> Iterator[datetime]:
    """Local times of the occurrences from `low` (inclusive) to `high` (exclusive), ascending.

    `count` and `until` are not applied. Looks at each day between once, and at most a year more.
    """
    low = max(low, start)
    for days in _periods(rule, start, low, high):
        found = [datetime.combine(day, at) for day in days for at in rule.times]
        if rule.positions:
            size = len(found)
            chosen = {p - 1 if p > 0 else size + p for p in rule.positions}
            found = [found[i] for i in sorted(chosen) if 0 <= i < size]
        for local in found:
            if local >= high:
                return
            if local >= low:
                yield local


def _periods(rule: Rule, start: datetime, low: datetime, high: datetime) -> Iterator[list[date]]:
    """The matching days of each period of the rule, beginning with the period that `low` falls into."""
    first, last = start.date(), high.date()
    match rule.frequency:
        case "DAILY" | "WEEKLY":
            step = rule.interval * (7 if rule.frequency == "WEEKLY" else 1)
            if rule.frequency == "WEEKLY":
                first -= timedelta(days=(first.weekday() - rule.week_start) % 7)
            span = 7 if rule.frequency == "WEEKLY" else 1
            begin = first.toordinal() + max(0, (low.date() - first).days // step) * step
            for ordinal in range(begin, min(last.toordinal(), date.max.toordinal() - 7) + 1, step):
                days = [date.fromordinal(ordinal + i) for i in range(span)]
                yield [day for day in days if _matches(rule, day)]
        case "MONTHLY":
            months = (low.year - first.year) * 12 + low.month - first.month
            index = first.year * 12 + first.month - 1 + max(0, months // rule.interval) * rule.interval
            while index <= last.year * 12 + last.month - 1 and index < MAXYEAR * 12:
                yield _month(rule, index // 12, index % 12 + 1)
                index += rule.interval
        case "YEARLY":
            year = first.year + max(0, (low.year - first.year) // rule.interval) * rule.interval
            while year <= min(last.year, MAXYEAR - 1):
                yield [day for month in sorted(rule.months) or range(1, 13) for day in _month(rule, year, month)]
                year += rule.interval


def _month(rule: Rule, year: int, month: int) -> list[date]:
    if rule.months and month not in rule.months:
        return []
    length = monthrange(year, month)[1]
    return [day for day in (date(year, month, n) for n in range(1, length + 1)) if _matches(rule, day)]


def _matches(rule: Rule, day: date) -> bool:
    if rule.months and day.month not in rule.months:
        return False
    if rule.month_days:
        length = monthrange(day.year, day.month)[1]
        if day.day not in rule.month_days and day.day - length - 1 not in rule.month_days:
            return False
    if rule.year_days:
        number, length = _day_of_year(day)
        if number not in rule.year_days and number - length - 1 not in rule.year_days:
            return False
    if rule.week_numbers:
        week, weeks = _week_of_year(day, rule.week_start)
        if week not in rule.week_numbers and week - weeks - 1 not in rule.week_numbers:
            return False
    return not rule.weekdays or _matches_weekday(rule, day)


def _matches_weekday(rule: Rule, day: date) -> bool:
    weekday = day.weekday()
    if (0, weekday) in rule.weekdays:
        return True
    if rule.frequency not in ("MONTHLY", "YEARLY"):
        return False
    if rule.frequency == "MONTHLY" or rule.months:
        number, length = day.day, monthrange(day.year, day.month)[1]
    else:
        number, length = _day_of_year(day)
    nth, from_end = (number - 1) // 7 + 1, (length - number) // 7 + 1
    return (nth, weekday) in rule.weekdays or (-from_end, weekday) in rule.weekdays


def _day_of_year(day: date) -> tuple[int, int]:
    return day.toordinal() - date(day.year, 1, 1).toordinal() + 1, 366 if isleap(day.year) else 365


def _week_of_year(day: date, week_start: int) -> tuple[int, int]:
    """The number of the week that `day` is in, and how many weeks its year has (week 1 has at least 4 days)."""
    ordinal, year = day.toordinal(), day.year
    begin = _first_week(year, week_start)
    if ordinal < begin:
        year, begin = year - 1, _first_week(year - 1, week_start)
    elif year < MAXYEAR and ordinal >= (following := _first_week(year + 1, week_start)):
        year, begin = year + 1, following
    weeks = (_first_week(year + 1, week_start) - begin) // 7
    return (ordinal - begin) // 7 + 1, weeks


def _first_week(year: int, week_start: int) -> int:
    fourth = date(year, 1, 4).toordinal()
    return fourth - (date(year, 1, 4).weekday() - week_start) % 7


def _completed(rule: Rule, start: datetime) -> Rule:
    """What a rule does not say about the day, it takes from its start (section 3.3.10)."""
    if rule.week_numbers and not rule.weekdays:
        return replace(rule, weekdays=frozenset({(0, start.weekday())}))
    if rule.month_days or rule.year_days or rule.week_numbers or rule.weekdays:
        return rule
    if rule.frequency == "YEARLY":
        return replace(rule, months=rule.months or frozenset({start.month}), month_days=frozenset({start.day}))
    if rule.frequency == "MONTHLY":
        return replace(rule, month_days=frozenset({start.day}))
    if rule.frequency == "WEEKLY":
        return replace(rule, weekdays=frozenset({(0, start.weekday())}))
    return rule


def _check_combination(item: Property, rule: Rule) -> None:
    if rule.count and rule.until:
        raise item.error("`COUNT` and `UNTIL` stand together", "keep one of them")
    if rule.year_days and rule.frequency != "YEARLY":
        raise item.error("`BYYEARDAY` is for yearly rules")
    if rule.week_numbers and rule.frequency != "YEARLY":
        raise item.error("`BYWEEKNO` is for yearly rules")
    if rule.month_days and rule.frequency == "WEEKLY":
        raise item.error("`BYMONTHDAY` does not go with weekly rules")
    if any(ordinal for ordinal, _ in rule.weekdays) and (rule.frequency in ("DAILY", "WEEKLY") or rule.week_numbers):
        raise item.error("a number before a weekday is for monthly and yearly rules")


def _split(item: Property) -> dict[str, str]:
    parts: dict[str, str] = {}
    for text in item.value.split(";"):
        name, equals, value = text.partition("=")
        name = name.upper()
        if not equals or name not in _PARTS or not value:
            raise item.error(f"`{text[:40]}` is not a part of a rule", "see RFC 5545, section 3.3.10")
        if name in parts:
            raise item.error(f"`{name}` stands twice", "keep one of them")
        parts[name] = value.upper()
    return parts


def _frequency(item: Property, parts: dict[str, str]) -> Frequency:
    match parts.get("FREQ"):
        case "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY" as frequency:
            return frequency
        case "SECONDLY" | "MINUTELY" | "HOURLY":
            # SECURITY: such a rule has more occurrences than anyone can look at.
            raise item.error("a window repeats daily or more seldom", "use `FREQ=DAILY` with `BYHOUR` and `BYMINUTE`")
        case _:
            raise item.error(
                "the rule has no frequency that is known", "add `FREQ=DAILY`, `WEEKLY`, `MONTHLY` or `YEARLY`"
            )


def _number(item: Property, parts: dict[str, str], name: str, highest: int) -> int:
    if name not in parts:
        return 0
    if not _INTEGER.fullmatch(parts[name]) or not 1 <= int(parts[name]) <= highest:
        raise item.error(f"`{name}` is not a number between 1 and {highest}")
    return int(parts[name])


def _set(
    item: Property, parts: dict[str, str], name: str, lowest: int, highest: int, *, signed: bool = False
) -> frozenset[int]:
    if name not in parts:
        return frozenset()
    numbers: set[int] = set()
    for text in parts[name].split(",", 2 * 366):
        number = int(text) if _INTEGER.fullmatch(text) else None
        if number is None or not lowest <= (abs(number) if signed else number) <= highest:
            raise item.error(f"`{name}` holds something else than numbers from {lowest} to {highest}")
        numbers.add(number)
    return frozenset(numbers)


def _weekdays(item: Property, parts: dict[str, str]) -> frozenset[tuple[int, int]]:
    if "BYDAY" not in parts:
        return frozenset()
    days: set[tuple[int, int]] = set()
    for text in parts["BYDAY"].split(",", 2 * 366):
        match = _DAY.fullmatch(text)
        ordinal = int(match[1]) if match and match[1] else 0
        if match is None or (match[1] and not 1 <= abs(ordinal) <= 53):
            raise item.error("`BYDAY` holds something else than weekdays", "write `MO,TU` or `1MO,-1FR`")
        days.add((ordinal, _WEEKDAYS.index(match[2])))
    return frozenset(days)


def _week_start(item: Property, parts: dict[str, str]) -> int:
    if parts.get("WKST", "MO") not in _WEEKDAYS:
        raise item.error("`WKST` is not a weekday")
    return _WEEKDAYS.index(parts.get("WKST", "MO"))


def _times(item: Property, parts: dict[str, str], start: datetime, all_day: bool) -> tuple[time, ...]:
    names = ("BYHOUR", "BYMINUTE", "BYSECOND")
    if all_day and any(name in parts for name in names):
        raise item.error("an event of whole days has no time of day", "remove `BYHOUR`, `BYMINUTE` and `BYSECOND`")
    hours = _set(item, parts, "BYHOUR", 0, 23) or {start.hour}
    minutes = _set(item, parts, "BYMINUTE", 0, 59) or {start.minute}
    seconds = _set(item, parts, "BYSECOND", 0, 59) or {start.second}
    if len(hours) * len(minutes) * len(seconds) > STARTS_A_DAY:
        raise item.error(f"the rule starts more than {STARTS_A_DAY} times a day")
    return tuple(time(*at) for at in product(sorted(hours), sorted(minutes), sorted(seconds)))


def _until(item: Property, parts: dict[str, str], all_day: bool) -> datetime | None:
    if "UNTIL" not in parts:
        return None
    match = _UNTIL.fullmatch(parts["UNTIL"])
    wanted = "write `UNTIL` as a date" if all_day else "write `UNTIL` in UTC, as `20261231T230000Z`"
    if match is None or all_day != (match[4] is None) or (not all_day and match[7] is None):
        raise item.error("`UNTIL` does not go with `DTSTART`", wanted)
    try:
        return datetime(*(int(part) for part in match.groups()[:6] if part))  # type: ignore[arg-type]  # six numbers
    except ValueError:
        raise item.error("`UNTIL` is not a date", wanted) from None
