"""Recurrence rules beside dateutil's, an independent implementation, and beside the examples of RFC 5545."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from dateutil.rrule import rrulestr  # type: ignore[import-untyped]
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from remit.core.errors import DocumentError
from remit.decide.calendars.lines import Property
from remit.decide.calendars.recurrence import Rule, occurrences, parse_rule

START = datetime(2026, 1, 1, 9, 30)
END = datetime(2200, 1, 1)


def rule(text: str, start: datetime, *, of_zone: bool = False) -> Rule:
    return parse_rule(Property("RRULE", text, {}, Path("w.ics"), 1), start, of_zone=of_zone)


def days(text: str, start: str, count: int) -> list[str]:
    first = datetime.fromisoformat(start)
    found = occurrences(rule(text, first), first, first, END)
    return [local.strftime("%Y-%m-%d") for local in islice(found, count)]


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1996-11-05T09:00",
         "1996-11-05 2000-11-07 2004-11-02"),
        ("FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04T09:00", "1997-09-04 1997-10-07 1997-11-06"),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29T09:00",
         "1997-09-29 1997-10-30 1997-11-27 1997-12-30 1998-01-29"),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998-02-13T09:00", "1998-02-13 1998-03-13 1998-11-13 1999-08-13"),
        ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "1997-09-13T09:00", "1997-09-13 1997-10-11 1997-11-08"),
        ("FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU", "1997-09-07T09:00", "1997-09-07 1997-09-28 1997-11-02 1997-11-30"),
        ("FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-28T09:00", "1997-09-28 1997-10-29 1997-11-28 1997-12-29"),
        ("FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,200", "1997-01-01T09:00", "1997-01-01 1997-04-10 1997-07-19"),
        ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19T09:00", "1997-05-19 1998-05-18 1999-05-17"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1997-05-12T09:00", "1997-05-12 1998-05-11 1999-05-17"),
        ("FREQ=YEARLY;BYWEEKNO=20", "1997-05-12T09:00", "1997-05-12 1998-05-11 1999-05-17"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05T09:00", "1997-08-05 1997-08-10 1997-08-19"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05T09:00", "1997-08-05 1997-08-17 1997-08-19"),
        ("FREQ=MONTHLY;BYMONTHDAY=15,30", "2007-01-15T09:00", "2007-01-15 2007-01-30 2007-02-15 2007-03-15 2007-03-30"),
        ("FREQ=YEARLY", "2024-02-29T09:00", "2024-02-29 2028-02-29 2032-02-29"),
    ],
)  # fmt: skip
def test_examples_of_the_standard(text: str, start: str, expected: str) -> None:
    wanted = expected.split()
    assert days(text, start, len(wanted)) == wanted


def test_times_of_a_day() -> None:
    start = datetime(1997, 9, 2, 9, 0)
    found = occurrences(rule("FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,20,40", start), start, start, END)
    wanted = ["09:00", "09:20", "09:40", "10:00", "10:20", "10:40", "09:00"]
    assert [local.strftime("%H:%M") for local in islice(found, 7)] == wanted


def test_a_rule_that_never_comes_ends_at_once() -> None:
    never = rule("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", START, of_zone=True)
    assert list(occurrences(never, START, START, START + timedelta(days=800))) == []


def parts(name: str, values: st.SearchStrategy[int], size: int = 3) -> st.SearchStrategy[str]:
    return st.one_of(
        st.just(""),
        st.lists(values, min_size=1, max_size=size).map(lambda found: f";{name}={','.join(map(str, found))}"),
    )


def signed(highest: int) -> st.SearchStrategy[int]:
    return st.integers(-highest, highest).filter(bool)


WEEKDAYS = st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"])


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    text = f"FREQ={frequency};INTERVAL={draw(st.integers(1, 5))}"
    text += draw(parts("BYMONTH", st.integers(1, 12)))
    # dateutil takes the intersection where some weekdays have a number and some have none; RFC 5545 the union.
    ordinals = signed(5).map(str) if frequency in ("MONTHLY", "YEARLY") and draw(st.booleans()) else st.just("")
    chosen = draw(st.lists(st.builds(str.__add__, ordinals, WEEKDAYS), max_size=3))
    if frequency != "WEEKLY":
        text += draw(parts("BYMONTHDAY", signed(31), 6))
    if frequency == "YEARLY" and not any(len(day) > 2 for day in chosen):
        text += draw(parts("BYYEARDAY", signed(366), 6))
        if weeks := draw(parts("BYWEEKNO", signed(53), 6)):
            # dateutil gives the whole week where there is no weekday; RFC 5545 takes the start's.
            text += weeks
            chosen = chosen or ["MO"]
            # dateutil counts weeks by the calendar year, which differs where years are left out.
            text = text.replace(text.split(";")[1], "INTERVAL=1")
    if chosen:
        text += ";BYDAY=" + ",".join(chosen)
    text += draw(parts("BYHOUR", st.integers(0, 23), 2)) + draw(parts("BYMINUTE", st.integers(0, 59), 2))
    # In the first week, dateutil counts positions from the start's day on; RFC 5545 in the whole week.
    if ";BY" in text and frequency != "WEEKLY":
        text += draw(parts("BYSETPOS", signed(6), 2))
    return text + f";WKST={draw(WEEKDAYS)}"


@settings(max_examples=400, deadline=None)
@given(rules(), st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)), st.integers(0, 1500), st.integers(1, 800))
def test_the_same_as_dateutil(text: str, start: datetime, after: int, length: int) -> None:
    start = start.replace(microsecond=0)
    ours = rule(text, start, of_zone=True)
    low = start + timedelta(days=after)
    high = low + timedelta(days=length)
    # dateutil goes on to the year 9999 for a rule that never comes again.
    assume(next(occurrences(ours, start, high, high + timedelta(days=4000)), None))
    expected = []
    for local in rrulestr(text, dtstart=start):
        if local >= high:
            break
        if local >= low:
            expected.append(local)
    assert list(occurrences(ours, start, low, high)) == expected


@settings(deadline=None)
@given(rules(), st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)))
def test_expansion_may_begin_anywhere(text: str, start: datetime) -> None:
    start = start.replace(microsecond=0)
    found = rule(text, start, of_zone=True)
    high = start + timedelta(days=1000)
    everything = list(occurrences(found, start, start, high))
    assert everything == sorted(set(everything))
    for days_later in (0, 1, 8, 100, 400, 999):
        low = start + timedelta(days=days_later, hours=3)
        assert list(occurrences(found, start, low, high)) == [local for local in everything if local >= low]


@given(st.text(max_size=60), st.booleans())
def test_any_text_gives_a_rule_or_a_document_error(text: str, all_day: bool) -> None:
    item = Property("RRULE", text, {}, Path("w.ics"), 1)
    try:
        parse_rule(item, START, all_day=all_day)
    except DocumentError:
        return
