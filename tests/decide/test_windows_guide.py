"""The guide to change windows is kept true: its example opens when it says, and its bounds are those of the code."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from remit.decide.calendars.events import Allowance, parse_calendars
from remit.decide.calendars.lines import CALENDAR_CHARACTERS, LINES
from remit.decide.calendars.recurrence import STARTS_A_DAY
from remit.decide.windows import FILES, Windows

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "windows.md").read_text()


def test_its_example_opens_when_it_says() -> None:
    text = re.findall(r"```ics\n(.*?)```", GUIDE, re.DOTALL)[0]
    found = Windows({"production": parse_calendars(text, Path("production.ics"), Allowance())}, {"production": text})
    berlin = ZoneInfo("Europe/Berlin")
    for local, is_open in (("2026-06-02T09:00", True), ("2026-06-03T09:00", False), ("2026-12-29T10:00", False)):
        now = int(datetime.fromisoformat(local).replace(tzinfo=berlin).timestamp() * 1000)
        assert ("production" in found.open_at(now)) == is_open


def test_its_bounds_are_those_of_the_code() -> None:
    allowance = Allowance()
    bounds = [CALENDAR_CHARACTERS, LINES, FILES, STARTS_A_DAY]
    bounds += [allowance.rules, allowance.events, allowance.dates, allowance.starts_a_day]
    for bound in bounds:
        assert re.search(rf"\b{bound:,}\b", GUIDE), bound
