"""Change windows: what RFC 5545 says is open, at the edges of daylight saving time and with exceptions."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.canonical import sha256
from remit.core.errors import DocumentError
from remit.decide.calendars.events import Allowance, parse_calendars
from remit.decide.windows import Windows

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def calendar(*events: str, head: str = "") -> str:
    body = "".join(f"BEGIN:VEVENT\nDTSTAMP:20260101T000000Z\n{event}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test\n{head}{body}END:VCALENDAR\n"


def windows(*events: str, head: str = "") -> Windows:
    text = calendar(*events, head=head)
    return Windows({"w": parse_calendars(text, Path("windows/w.ics"), Allowance())}, {"w": text})


def fails(*events: str, head: str = "") -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        windows(*events, head=head)
    return caught.value


def at(text: str, zone: str = "UTC") -> int:
    local = datetime.fromisoformat(text)
    aware = local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))
    return int(aware.timestamp()) * 1000


def is_open(found: Windows, text: str, zone: str = "UTC") -> bool:
    return "w" in found.open_at(at(text, zone))


def edges(found: Windows, since: str, until: str) -> list[str]:
    """When the window opens and closes between two days, UTC, found by asking at every minute."""
    now, end, changes = at(since), at(until), list[str]()
    before = "w" in found.open_at(now)
    while now < end:
        after = "w" in found.open_at(now)
        if after != before:
            mark = "+" if after else "-"
            changes.append(mark + datetime.fromtimestamp(now / 1000, UTC).strftime("%m-%dT%H:%M"))
            before = after
        now += 60_000
    return changes


def test_a_weekly_window_in_a_zone() -> None:
    found = windows(
        f"UID:1\nDTSTART;TZID={BERLIN}:20260107T220000\nDTEND;TZID={BERLIN}:20260108T020000\nRRULE:FREQ=WEEKLY"
    )
    assert edges(found, "2026-01-07", "2026-01-10") == ["+01-07T21:00", "-01-08T01:00"]
    assert is_open(found, "2026-01-07T22:00:00", BERLIN)
    assert not is_open(found, "2026-01-08T02:00:00", BERLIN)
    # In summer, the same local time is an hour earlier.
    assert is_open(found, "2026-07-01T20:00:00")
    assert not is_open(found, "2026-06-30T20:00:00")


def test_berlin_spring_forward_skips_the_start() -> None:
    """02:30 does not exist on 29 March 2026: it is read with the offset before, as 03:30 summer time."""
    found = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20260327T023000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=4")
    assert edges(found, "2026-03-27", "2026-03-31") == [
        "+03-27T01:30", "-03-27T02:30", "+03-28T01:30", "-03-28T02:30",
        "+03-29T01:30", "-03-29T02:30", "+03-30T00:30", "-03-30T01:30",
    ]  # fmt: skip


def test_berlin_fall_back_opens_the_first_time() -> None:
    """02:30 occurs twice on 25 October 2026: the first one counts, an hour lasts an hour."""
    found = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20261024T023000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3")
    assert edges(found, "2026-10-24", "2026-10-27") == [
        "+10-24T00:30", "-10-24T01:30", "+10-25T00:30", "-10-25T01:30", "+10-26T01:30", "-10-26T02:30",
    ]  # fmt: skip


def test_new_york_spring_forward() -> None:
    found = windows(f"UID:1\nDTSTART;TZID={NEW_YORK}:20260307T023000\nDURATION:PT30M\nRRULE:FREQ=DAILY;COUNT=3")
    assert edges(found, "2026-03-07", "2026-03-10") == [
        "+03-07T07:30", "-03-07T08:00", "+03-08T07:30", "-03-08T08:00", "+03-09T06:30", "-03-09T07:00",
    ]  # fmt: skip


def test_new_york_fall_back() -> None:
    found = windows(f"UID:1\nDTSTART;TZID={NEW_YORK}:20261031T013000\nDURATION:PT30M\nRRULE:FREQ=DAILY;COUNT=3")
    assert edges(found, "2026-10-31", "2026-11-03") == [
        "+10-31T05:30", "-10-31T06:00", "+11-01T05:30", "-11-01T06:00", "+11-02T06:30", "-11-02T07:00",
    ]  # fmt: skip


def test_dtend_fixes_an_exact_length_and_duration_a_nominal_one() -> None:
    """Section 3.8.5.3: across a change of the clock, DTEND keeps hours, and a DURATION in days keeps the local time."""
    exact = windows(
        f"UID:1\nDTSTART;TZID={BERLIN}:20260321T200000\nDTEND;TZID={BERLIN}:20260322T200000\nRRULE:FREQ=WEEKLY;COUNT=2"
    )
    assert edges(exact, "2026-03-28", "2026-03-30") == ["+03-28T19:00", "-03-29T19:00"]
    nominal = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20260321T200000\nDURATION:P1D\nRRULE:FREQ=WEEKLY;COUNT=2")
    assert edges(nominal, "2026-03-28", "2026-03-30") == ["+03-28T19:00", "-03-29T18:00"]
    hours = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20260321T200000\nDURATION:PT24H\nRRULE:FREQ=WEEKLY;COUNT=2")
    assert edges(hours, "2026-03-28", "2026-03-30") == ["+03-28T19:00", "-03-29T19:00"]


def test_whole_days_are_days_of_the_calendar() -> None:
    event = "UID:1\nDTSTART;VALUE=DATE:20260329\nDTEND;VALUE=DATE:20260330"
    assert edges(windows(event), "2026-03-28", "2026-03-31") == ["+03-29T00:00", "-03-30T00:00"]
    berlin = windows(event, head=f"X-WR-TIMEZONE:{BERLIN}\n")
    assert edges(berlin, "2026-03-28", "2026-03-31") == ["+03-28T23:00", "-03-29T22:00"]
    alone = windows("UID:1\nDTSTART;VALUE=DATE:20260329\nRRULE:FREQ=YEARLY;COUNT=2")
    assert edges(alone, "2026-03-28", "2026-03-31") == ["+03-29T00:00", "-03-30T00:00"]
    assert is_open(alone, "2027-03-29T12:00:00")
    assert not is_open(alone, "2028-03-29T12:00:00")


def test_exdate_closes_one_occurrence() -> None:
    event = f"UID:1\nDTSTART;TZID={BERLIN}:20260105T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY\n"
    for exdate in (
        f"EXDATE;TZID={BERLIN}:20260107T100000",
        "EXDATE:20260107T090000Z",
        f"EXDATE;TZID={NEW_YORK}:20260107T040000",
        "EXDATE;VALUE=DATE:20260107",
    ):
        found = windows(event + exdate)
        assert edges(found, "2026-01-06", "2026-01-09") == [
            "+01-06T09:00", "-01-06T10:00", "+01-08T09:00", "-01-08T10:00",
        ]  # fmt: skip


def test_an_exception_that_misses_is_refused() -> None:
    event = f"UID:1\nDTSTART;TZID={BERLIN}:20260105T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY\n"
    assert "misses an occurrence" in fails(event + "EXDATE:20260107T100000Z").message
    moved = "UID:1\nRECURRENCE-ID:20260107T100000Z\nDTSTART:20260107T150000Z\nDURATION:PT1H"
    error = fails(event.strip(), moved)
    assert "misses an occurrence" in error.message
    assert error.line == 14
    # Long before and long after the series it excludes nothing, and does no harm.
    windows(event.replace("DAILY", "DAILY;COUNT=2") + "EXDATE:20250101T000000Z,20270101T000000Z")


def test_an_override_moves_one_occurrence_whatever_its_zone() -> None:
    event = f"UID:1\nDTSTART;TZID={BERLIN}:20260105T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3"
    for instance in (f";TZID={BERLIN}:20260106T100000", ":20260106T090000Z"):
        moved = f"UID:1\nRECURRENCE-ID{instance}\nDTSTART:20260106T200000Z\nDURATION:PT2H"
        expected = ["+01-05T09:00", "-01-05T10:00", "+01-06T20:00", "-01-06T22:00", "+01-07T09:00", "-01-07T10:00"]
        assert edges(windows(event, moved), "2026-01-05", "2026-01-08") == expected
        assert edges(windows(moved, event), "2026-01-05", "2026-01-08") == expected


def test_what_is_not_confirmed_does_not_open() -> None:
    event = f"UID:1\nDTSTART;TZID={BERLIN}:20260105T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2"
    assert is_open(windows(event + "\nSTATUS:CONFIRMED"), "2026-01-05T09:30:00")
    instance = "UID:1\nRECURRENCE-ID:20260105T090000Z\nDTSTART:20260105T090000Z\nDURATION:PT1H"
    cancelled = f"{instance}\nSTATUS:CANCELLED"
    assert edges(windows(event, cancelled), "2026-01-05", "2026-01-08") == ["+01-06T09:00", "-01-06T10:00"]
    for status in ("CANCELLED", "TENTATIVE"):
        assert edges(windows(f"{event}\nSTATUS:{status}", instance), "2026-01-05", "2026-01-08") == []
    assert "the status is not one" in fails(event + "\nSTATUS:OPEN").message


def test_rdate_adds_times_and_periods() -> None:
    found = windows(
        "UID:1\nDTSTART:20260105T100000Z\nDURATION:PT1H\nRDATE:20260106T120000Z,20260107T120000Z\n"
        f"RDATE;VALUE=PERIOD;TZID={BERLIN}:20260108T100000/PT30M,20260108T120000/20260108T121500\nEXDATE:20260106T120000Z"
    )
    assert edges(found, "2026-01-05", "2026-01-09") == [
        "+01-05T10:00", "-01-05T11:00", "+01-07T12:00", "-01-07T13:00",
        "+01-08T09:00", "-01-08T09:30", "+01-08T11:00", "-01-08T11:15",
    ]  # fmt: skip


def test_until_is_inclusive() -> None:
    found = windows(
        f"UID:1\nDTSTART;TZID={BERLIN}:20260328T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260330T080000Z"
    )
    assert edges(found, "2026-03-29", "2026-04-01") == ["+03-29T08:00", "-03-29T09:00", "+03-30T08:00", "-03-30T09:00"]
    found = windows("UID:1\nDTSTART;VALUE=DATE:20260328\nRRULE:FREQ=DAILY;UNTIL=20260329")
    assert edges(found, "2026-03-27", "2026-04-01") == ["+03-28T00:00", "-03-30T00:00"]


DECLARED = """\
BEGIN:VTIMEZONE
TZID:Our Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def test_a_declared_zone_is_like_the_named_one() -> None:
    event = "UID:1\nDTSTART;TZID={}:20260320T023000\nDURATION:PT30M\nRRULE:FREQ=DAILY"
    declared, named = windows(event.format("Our Time"), head=DECLARED), windows(event.format(BERLIN))
    for day in ("2026-03-28", "2026-10-24", "2030-03-30", "2030-10-26"):
        end = (datetime.fromisoformat(day) + timedelta(days=3)).date().isoformat()
        found = edges(declared, day, end)
        assert found == edges(named, day, end)
        assert len(found) == 6


def test_a_declared_zone_does_not_change_an_iana_one() -> None:
    head = DECLARED.replace("Our Time", BERLIN).replace("+0200", "+0900").replace("+0100", "+0800")
    found = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20260105T100000\nDURATION:PT1H", head=head)
    assert edges(found, "2026-01-05", "2026-01-06") == ["+01-05T09:00", "-01-05T10:00"]


def test_windows_names_of_zones_are_known() -> None:
    found = windows("UID:1\nDTSTART;TZID=W. Europe Standard Time:20260105T100000\nDURATION:PT1H")
    assert edges(found, "2026-01-05", "2026-01-06") == ["+01-05T09:00", "-01-05T10:00"]


def test_a_window_made_by_hand_with_folded_lines() -> None:
    text = calendar("UID:1\nSUMMARY:a very\n  long line\nDTSTART:2026010\n 5T100000Z\nDURATION:PT1H").replace(
        "\n", "\r\n"
    )
    found = Windows({"w": parse_calendars("\ufeff" + text, Path("w.ics"), Allowance())}, {"w": text})
    assert is_open(found, "2026-01-05T10:30:00")


EVENT = "UID:1\nDTSTART:20260105T100000Z\nDURATION:PT1H"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("UID:1\nDURATION:PT1H", "no `DTSTART`"),
        ("UID:1\nDTSTART:20260105T100000Z", "has no length"),
        ("UID:1\nDTSTART:20260105T100000\nDURATION:PT1H", "the time has no zone"),
        (f"UID:1\nDTSTART;TZID={BERLIN}:20260105T100000Z\nDURATION:PT1H", "`TZID` does not go with"),
        ("UID:1\nDTSTART;TZID=Mars/Base:20260105T100000\nDURATION:PT1H", "no time zone `Mars/Base`"),
        ("UID:1\nDTSTART;TZID=../../etc/passwd:20260105T100000\nDURATION:PT1H", "no time zone"),
        ("UID:1\nDTSTART;TZID=localtime:20260105T100000\nDURATION:PT1H", "no time zone"),
        ("UID:1\nDTSTART:20260230T100000Z\nDURATION:PT1H", "does not exist"),
        ("UID:1\nDTSTART:19260105T100000Z\nDURATION:PT1H", "not between the years"),
        ("UID:1\nDTSTART:99991231T235959Z\nDURATION:PT1H", "not between the years"),
        ("UID:1\nDTSTART;VALUE=DATE:20260105T100000Z\nDURATION:PT1H", "not of the type that `VALUE` says"),
        ("UID:1\nDTSTART:tomorrow\nDURATION:PT1H", "not a date or time"),
        (EVENT + "\nDTSTART:20260105T120000Z", "`DTSTART` stands twice"),
        (EVENT + "\nDTEND:20260105T120000Z", "both `DTEND` and `DURATION`"),
        (EVENT.replace("PT1H", "-PT1H"), "not a duration"),
        (EVENT.replace("PT1H", "PT0S"), "not a duration"),
        (EVENT.replace("PT1H", "P"), "not a duration"),
        (EVENT.replace("PT1H", "P1DT"), "not a duration"),
        (EVENT.replace("PT1H", "P99999999999999W"), "not a duration"),
        (EVENT.replace("PT1H", "P9999W"), "longer than 20 years"),
        ("UID:1\nDTSTART:20260105T100000Z\nDTEND:20260105T100000Z", "ends before it begins"),
        ("UID:1\nDTSTART:20260105T100000Z\nDTEND;VALUE=DATE:20260106", "not both dates or both times"),
        ("UID:1\nDTSTART;VALUE=DATE:20260105\nDURATION:PT1H", "lasts days or weeks"),
        (EVENT + "\nRRULE:FREQ=SECONDLY", "daily or more seldom"),
        (EVENT + "\nRRULE:FREQ=MINUTELY;COUNT=3", "daily or more seldom"),
        (EVENT + "\nRRULE:FREQ=HOURLY;INTERVAL=6", "daily or more seldom"),
        (EVENT + "\nRRULE:FREQ=FORTNIGHTLY", "no frequency that is known"),
        (EVENT + "\nRRULE:INTERVAL=2", "no frequency that is known"),
        (EVENT + "\nRRULE:FREQ=DAILY;", "not a part of a rule"),
        (EVENT + "\nRRULE:FREQ=DAILY;SKIP=OMIT", "not a part of a rule"),
        (EVENT + "\nRRULE:FREQ=DAILY;FREQ=YEARLY", "`FREQ` stands twice"),
        (EVENT + "\nRRULE:FREQ=DAILY;COUNT=3;UNTIL=20260109T100000Z", "stand together"),
        (EVENT + "\nRRULE:FREQ=DAILY;COUNT=10001", "`COUNT` is not a number between"),
        (EVENT + "\nRRULE:FREQ=DAILY;COUNT=0", "`COUNT` is not a number between"),
        (EVENT + "\nRRULE:FREQ=DAILY;COUNT=9000", "further than 20 years"),
        (EVENT + "\nRRULE:FREQ=DAILY;INTERVAL=0", "`INTERVAL` is not a number between"),
        (EVENT + "\nRRULE:FREQ=DAILY;INTERVAL=99999999999", "`INTERVAL` is not a number between"),
        (EVENT + "\nRRULE:FREQ=DAILY;UNTIL=20260109", "`UNTIL` does not go with"),
        (EVENT + "\nRRULE:FREQ=DAILY;UNTIL=20260109T100000", "`UNTIL` does not go with"),
        (EVENT + "\nRRULE:FREQ=DAILY;UNTIL=20260132T100000Z", "`UNTIL` is not a date"),
        (EVENT + "\nRRULE:FREQ=WEEKLY;BYDAY=1MO", "number before a weekday"),
        (EVENT + "\nRRULE:FREQ=WEEKLY;BYMONTHDAY=5", "does not go with weekly"),
        (EVENT + "\nRRULE:FREQ=MONTHLY;BYYEARDAY=5", "for yearly rules"),
        (EVENT + "\nRRULE:FREQ=MONTHLY;BYWEEKNO=2", "for yearly rules"),
        (EVENT + "\nRRULE:FREQ=MONTHLY;BYMONTHDAY=0", "numbers from 1 to 31"),
        (EVENT + "\nRRULE:FREQ=DAILY;BYHOUR=24", "numbers from 0 to 23"),
        (EVENT + "\nRRULE:FREQ=DAILY;BYDAY=XX", "something else than weekdays"),
        (EVENT + "\nRRULE:FREQ=DAILY;WKST=XX", "`WKST` is not a weekday"),
        (EVENT + "\nRRULE:FREQ=WEEKLY;BYDAY=TU", "not an occurrence of `RRULE`"),
        (EVENT + "\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "not an occurrence of `RRULE`"),
        (EVENT + "\nRRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", "`RRULE` stands twice"),
        (EVENT + "\nRRULE:FREQ=DAILY\nEXRULE:FREQ=WEEKLY", "`EXRULE` is not supported"),
        (EVENT + "\nRDATE;VALUE=DATE:20260106", "not both dates or both times"),
        (EVENT + "\nRDATE:20260106T100000Z/PT1H", "not of the type that `VALUE` says"),
        (EVENT + "\nRDATE;VALUE=PERIOD:20260106T100000Z/20260106T090000Z", "ends before it begins"),
        (EVENT + "\nEXDATE:soon", "not a date or time"),
        ("UID:1\nDTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY\nEXDATE:20260106T000000Z", "the event is of whole days"),
        ("UID:1\nDTSTART;VALUE=DATE:20260105\nRRULE:FREQ=DAILY;BYHOUR=3", "has no time of day"),
        (EVENT + "\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260105T100000Z", "for all later occurrences"),
        (EVENT + "\nRECURRENCE-ID:20260105T100000Z\nRRULE:FREQ=DAILY", "an exception can't have `RRULE`"),
        (EVENT.removeprefix("UID:1\n") + "\nRECURRENCE-ID:20260105T100000Z", "has no `UID`"),
        ("UID:1\nDTSTART:20260105T100000Z\nDURATION:P400D\nRRULE:FREQ=DAILY", "longer than a year"),
    ],
)  # fmt: skip
def test_a_doubtful_event_is_refused_at_its_line(event: str, message: str) -> None:
    error = fails(event)
    assert message in error.message
    assert 4 <= error.line <= 4 + 2 + event.count("\n")
    assert error.path == "windows/w.ics"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no calendar"),
        ("BEGIN:VCALENDAR\n", "has no end"),
        ("BEGIN:VCALENDAR\nEND:VEVENT\n", "ends nothing"),
        ("END:VCALENDAR\n", "ends nothing"),
        ("VERSION:2.0\n", "outside of a calendar"),
        (" VERSION:2.0\n", "continues nothing"),
        ("BEGIN:VCARD\nEND:VCARD\n", "holds no calendar"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", "`VERSION` is missing"),
        ("BEGIN:VCALENDAR\nVERSION:1.0\nEND:VCALENDAR\n", "`VERSION` is missing or not one"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:CANCEL\nEND:VCALENDAR\n", "`METHOD` is missing or not one"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\nCALSCALE:HEBREW\nEND:VCALENDAR\n", "`CALSCALE` is missing or not one"),
        ("BEGIN:VCALENDAR\nVERSION 2.0\nEND:VCALENDAR\n", "not an iCalendar line"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\x00\nEND:VCALENDAR\n", "not an iCalendar line"),
        ("BEGIN:VCALENDAR\n" * 5000 + "END:VCALENDAR\n" * 5000, "nested too deeply"),
        ("\n" * 60_000, "more than 50000 lines"),
        ("X" * 1_100_000, "larger than"),
    ],
)
def test_a_file_that_is_no_calendar_is_refused(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_calendars(text, Path("w.ics"), Allowance())
    assert message in caught.value.message


def test_two_events_with_one_uid_are_refused() -> None:
    assert "two events have this `UID`" in fails(EVENT, EVENT).message
    override = EVENT + "\nRECURRENCE-ID:20260105T100000Z"
    assert "replace the same occurrence" in fails(EVENT, override, override).message
    assert "replace the same occurrence" in fails(override, override).message


def test_a_zone_that_never_changes_and_one_that_lies() -> None:
    head = "BEGIN:VTIMEZONE\nTZID:Z\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0300\nTZOFFSETTO:+0300\n"
    end = "END:STANDARD\nEND:VTIMEZONE\n"
    event = "UID:1\nDTSTART;TZID=Z:20260105T100000\nDURATION:PT1H"
    assert edges(windows(event, head=head + end), "2026-01-05", "2026-01-06") == ["+01-05T07:00", "-01-05T08:00"]
    for line in ("RRULE:FREQ=DAILY", "RRULE:FREQ=YEARLY;BYMONTH=2,3;BYMONTHDAY=1", "RDATE:x"):
        assert fails(event, head=head + line + "\n" + end).line == 10
    # Feb 30 never comes, which takes the library 0.2 s and more to find out.
    started = time.perf_counter()
    windows(event, head=head + "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\n" + end)
    assert time.perf_counter() - started < 0.2


def test_a_folder(tmp_path: Path) -> None:
    assert Windows.load(tmp_path / "none").open_at(at("2026-01-05")) == frozenset()
    (tmp_path / "deploys.ics").write_text(calendar(EVENT))
    (tmp_path / "empty.ics").write_text(calendar())
    (tmp_path / "notes.txt").write_text("not a calendar")
    found = Windows.load(tmp_path)
    assert found.names == {"deploys", "empty"}
    assert found.open_at(at("2026-01-05T10:00:00")) == {"deploys"}
    assert found.open_at(at("2026-01-05T11:00:00")) == frozenset()
    assert found.digest in found.texts
    assert all(sha256(text.encode()) == digest for digest, text in found.texts.items())
    assert calendar(EVENT) in found.texts.values()
    for name in ("a b.ics", "Deploys.ICS"):
        (tmp_path / name).write_text(calendar())
        with pytest.raises(DocumentError, match="can't name a window"):
            Windows.load(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "latin.ics").write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentError, match="UTF-8"):
        Windows.load(tmp_path)


def test_next_open() -> None:
    found = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20260107T220000\nDURATION:PT4H\nRRULE:FREQ=WEEKLY;COUNT=3")
    assert found.next_open("w", at("2026-01-07T00:00:00")) == at("2026-01-07T21:00:00")
    assert found.next_open("w", at("2026-01-07T22:00:00")) == at("2026-01-07T22:00:00")
    assert found.next_open("w", at("2026-01-08T01:00:00")) == at("2026-01-14T21:00:00")
    assert found.next_open("w", at("2026-01-22T01:00:00")) is None
    assert found.next_open("other", at("2026-01-07T00:00:00")) is None
    assert found.next_open("w", -1) is None


def test_time_may_go_back_and_far() -> None:
    found = windows(f"UID:1\nDTSTART;TZID={BERLIN}:20260107T220000\nDURATION:PT4H\nRRULE:FREQ=WEEKLY")
    for text in ("2026-01-07T22:00:00", "2031-01-08T22:00:00", "2026-01-07T22:00:00", "2099-01-07T22:00:00"):
        assert is_open(found, text)
    for now in (-1, 0, 2**63, -(2**63), 10**30):
        assert found.open_at(now) == frozenset()


def test_windows_that_overlap_and_meet_are_one() -> None:
    found = windows(
        "UID:1\nDTSTART:20260105T100000Z\nDURATION:PT1H",
        "UID:2\nDTSTART:20260105T103000Z\nDURATION:PT1H",
        "UID:3\nDTSTART:20260105T113000Z\nDURATION:PT1H",
    )
    assert edges(found, "2026-01-05", "2026-01-06") == ["+01-05T10:00", "-01-05T12:30"]


def test_a_long_window_that_began_long_ago_is_open() -> None:
    found = windows("UID:1\nDTSTART:20200101T000000Z\nDTEND:20300101T000000Z")
    assert is_open(found, "2026-01-05T10:00:00")
    found = windows("UID:1\nDTSTART;VALUE=DATE:20200101\nDURATION:P300D\nRRULE:FREQ=YEARLY")
    assert is_open(found, "2026-10-20T10:00:00")
    assert not is_open(found, "2026-11-20T10:00:00")


def test_asking_is_fast() -> None:
    texts = {
        f"w{i}": calendar(f"UID:1\nDTSTART;TZID={BERLIN}:20260105T{i:02}0000\nDURATION:PT1H\nRRULE:FREQ=DAILY")
        for i in range(20)
    }
    found = Windows({name: parse_calendars(text, Path("w.ics"), Allowance()) for name, text in texts.items()}, texts)
    now = at("2026-06-01T12:00:00")
    found.open_at(now)
    started = time.perf_counter()
    for i in range(10_000):
        found.open_at(now + i)
    assert (time.perf_counter() - started) / 10_000 < 5e-6


def test_threads_get_whole_answers() -> None:
    found = windows("UID:1\nDTSTART:20260105T100000Z\nDURATION:PT12H\nRRULE:FREQ=DAILY")
    wrong: list[int] = []

    def ask(offset: int) -> None:
        for day in range(0, 1000, 13):
            now = at("2026-02-01T11:00:00") + day * 86_400_000 + offset
            if (found.open_at(now) == {"w"}) != (offset == 0):
                wrong.append(now)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in (0, 12 * 3_600_000, 0, 13 * 3_600_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "events",
    [
        [f"{EVENT}\nRRULE:FREQ=DAILY;BYHOUR={','.join(map(str, range(24)))};BYMINUTE={','.join(map(str, range(60)))}"],
        [
            f"UID:{i}\nDTSTART:20260105T100000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY;BYYEARDAY=5;COUNT=18"
            for i in range(3000)
        ],
        [EVENT + "\nRRULE:FREQ=YEARLY;BYYEARDAY=5\nEXDATE:" + ",".join(["20260105T100000Z"] * 50_000)],
        [EVENT + "\nRDATE:" + ",".join(["20260105T100000Z"] * 50_000)],
        [EVENT, *(f"{EVENT}\nRECURRENCE-ID:20260106T{i // 3600:02}{i // 60 % 60:02}{i % 60:02}Z" for i in range(6000))],
        ["UID:1\nX:" + "y" * 900_000],
        ["UID:1" + "\nCOMMENT:" * 40_000],
    ],
    ids=["starts a day", "rules", "exceptions", "dates", "overrides", "a long line", "lines"],
)
def test_hostile_files_take_bounded_time(events: list[str]) -> None:
    started = time.perf_counter()
    with pytest.raises(DocumentError):
        windows(*events)
    assert time.perf_counter() - started < 5


def test_the_most_that_is_allowed_takes_bounded_time() -> None:
    rule = "RRULE:FREQ=YEARLY;BYDAY=MO;COUNT=1000"
    events = [f"UID:{i}\nDTSTART:20260105T100000Z\nDURATION:PT1H\n{rule}" for i in range(128)]
    exdates = ",".join((datetime(2026, 1, 5, 10) + timedelta(weeks=i)).strftime("%Y%m%dT%H%M%SZ") for i in range(900))
    events[0] += f"\nEXDATE:{exdates}"
    started = time.perf_counter()
    found = windows(*events)
    found.open_at(at("2026-06-01T12:00:00"))
    assert time.perf_counter() - started < 20
    assert is_open(found, "2026-06-01T10:30:00")


KNOWN = """\
BEGIN:VEVENT|END:VEVENT|BEGIN:VTIMEZONE|END:VTIMEZONE|TZID:Z|BEGIN:STANDARD|END:STANDARD|TZOFFSETFROM:+0100
TZOFFSETTO:+0200|UID:1|UID:2|STATUS:CANCELLED|DURATION:PT1H|DURATION:P1D|DTSTART;TZID=Europe/Berlin:20260329T023000
DTSTART:20260105T100000Z|DTSTART;VALUE=DATE:20260105|DTSTART;TZID=Z:20260329T023000|DTSTART:19700329T020000
DTEND:20260105T110000Z|DTEND;VALUE=DATE:20260107|RECURRENCE-ID:20260105T100000Z|EXDATE:20260106T100000Z
RDATE:20260106T100000Z|X-WR-TIMEZONE:UTC|RRULE:FREQ=DAILY|RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
RRULE:FREQ=WEEKLY;COUNT=3| folded"""
RULES = st.builds(
    "RRULE:FREQ={};{}={}".format,
    st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    st.sampled_from(["BYDAY", "BYMONTHDAY", "BYSETPOS", "BYWEEKNO", "BYHOUR", "COUNT", "INTERVAL", "UNTIL"]),
    st.one_of(st.integers().map(str), st.sampled_from(["MO", "-1FR", "1,2", "20270101T000000Z", "20270101"])),
)
KNOWN_LINES = st.sampled_from(KNOWN.replace("\n", "|").split("|"))
EVENTS = st.lists(st.one_of(KNOWN_LINES, RULES), max_size=5).map(
    lambda lines: "\n".join(
        ["BEGIN:VEVENT", *(line for line in lines if line[:5] not in ("BEGIN", "END:V")), "END:VEVENT"]
    )
)
LINES = st.lists(st.one_of(KNOWN_LINES, RULES, EVENTS, st.text(max_size=20)), max_size=14).map("\n".join)


@given(st.binary(max_size=400))
def test_any_bytes_give_windows_or_a_document_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.mkdir(exist_ok=True)
    (path / "w.ics").write_bytes(data)
    try:
        found = Windows.load(path)
    except DocumentError:
        return
    found.open_at(at("2026-01-05T10:30:00"))


@settings(max_examples=300)
@given(LINES)
def test_any_lines_give_windows_or_a_document_error(lines: str) -> None:
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\n{lines}\nEND:VCALENDAR\n"
    try:
        found = Windows({"w": parse_calendars(text, Path("w.ics"), Allowance())}, {"w": text})
    except DocumentError:
        return
    for moment in ("1971-01-01", "2026-01-05T10:30:00", "2199-12-31"):
        found.open_at(at(moment))
        found.next_open("w", at(moment))
