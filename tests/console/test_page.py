"""Pages that commands write: self-contained, and nothing that a record quotes becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from remit.app.folder import Folder
from remit.console.html import Html, element, joined
from remit.console.lineage import lineage_of
from remit.console.lineage_page import lineage_page
from remit.console.page import STYLE, document
from remit.console.story import story_of
from remit.console.story_page import story_page
from remit.console.story_picture import APART, LANES, WIDTH
from remit.console.time_scale import TimeScale
from remit.storage.lineage import Sighting
from remit.storage.sqlite_reader import SqliteReader
from tests.console.stories import Written, decision, long_session, opening, outcome
from tests.decide.stage import START

HOSTILE = (
    "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>&#60;\u202e\x1b[2J"
)
NAMES = """
html head meta title style body h1 h2 p span code dl dt dd ul li b a figure figcaption svg g rect circle path line text
details summary div table thead tbody tr th td footer br
"""
GIVEN = """
class id href x y x1 x2 y1 y2 cx cy r rx d width height viewbox role aria-label aria-hidden tabindex scope lang charset
name content http-equiv stroke-width
"""
TAGS, ATTRIBUTES = frozenset(NAMES.split()), frozenset(GIVEN.split())


class Page(HTMLParser):
    """What a browser would make of a page, as far as these tests look at it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "an element was not closed, or closed twice"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, look: str = "") -> list[dict[str, str]]:
        return [given for name, given in self.elements if name == tag and look in ["", *given.get("class", "").split()]]

    def check(self) -> None:
        """Known elements and attributes only; nothing is loaded, and links stay in the page."""
        for tag, given in self.elements:
            assert tag in TAGS, tag
            assert given.keys() <= ATTRIBUTES, (tag, given)
            assert given.get("href", "#").startswith("#")
        ids = {given["id"] for _, given in self.elements if "id" in given}
        assert {given["href"][1:] for _, given in self.elements if "href" in given} <= ids
        policy = self.all("meta")[1]["content"]
        digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
        assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def page_of(path: Path, task: str = "t_1", **more: Any) -> tuple[str, Page]:
    with SqliteReader(path) as reader:
        stored = reader.find(task)
        assert stored is not None
        text = story_page(reader, story_of(reader, stored, START), **more)
    page = Page(text)
    page.check()
    return text, page


@pytest.fixture(scope="module")
def eventful(eventful_project: tuple[Folder, str]) -> tuple[str, Page]:
    folder, task = eventful_project
    return page_of(folder.database, task)


def hostile(path: Path) -> Written:
    """A session in which every word is an attack."""
    written = Written(path)
    given: dict[str, Any] = {"starter": HOSTILE, "intent": HOSTILE, "workload": HOSTILE, "onBehalfOf": HOSTILE}
    limits = [{"name": HOSTILE, "calls": 3, "atMost": None}]
    written.add("task", opening("t_1", params={HOSTILE: HOSTILE}, prompt=HOSTILE, limits=limits, **given))
    written.add("task", opening("t_1.1", **given))
    reason = {"code": HOSTILE, "message": HOSTILE, "nextStep": HOSTILE, "policies": [HOSTILE]}
    context = {"input": {HOSTILE: [HOSTILE, {HOSTILE: 1}]}, "destination": {"host": HOSTILE}}
    adds = {"destination": HOSTILE, "labels": [HOSTILE], "untrusted": True}
    requestable = {"approvals": [{"policy": HOSTILE, "by": [HOSTILE]}], "selectors": []}
    denied = {"action": HOSTILE, "reason": reason, "context": context, "effect": "deny", "requestable": requestable}
    written.add("decision", decision(1, "t_1", **denied))
    written.add("decision", decision(2, "t_1.1", adds=adds, obligations=[{"id": HOSTILE, "fields": [HOSTILE]}]))
    written.add("outcome", outcome(2, result=HOSTILE, by=HOSTILE))
    written.add("task", {"task": "t_1", "root": "t_1", "state": HOSTILE, "by": HOSTILE, "reason": HOSTILE})
    written.add("<b>kind</b>", {"by": HOSTILE, "task": "t_1"})
    return written


def test_no_words_of_an_agent_break_out_of_the_page(tmp_path: Path) -> None:
    hostile(tmp_path / "remit.db").close()
    text, page = page_of(tmp_path / "remit.db", personal=True)
    assert "<script>alert(1)</script>" in page.text, "the words are shown"
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert {tag for tag, _ in page.elements} <= TAGS - {"script", "img", "iframe", "form"}


def test_no_words_of_an_agent_break_out_of_a_lineage_page(tmp_path: Path) -> None:
    hostile(tmp_path / "remit.db").close()
    with SqliteReader(tmp_path / "remit.db") as reader:
        paths = {"task": ("/prompt", "/params/" + HOSTILE), "decision": ("/context/input/" + HOSTILE,)}
        sightings = [
            Sighting(stored.seq, path, is_personal=False)
            for stored in reader.records()
            for path in (*paths.get(stored.record.kind, ()), "/context/destination/host")
            if stored.record.kind in paths
        ]
        text = lineage_page(lineage_of(reader, sightings, len(sightings)), START, name=HOSTILE)
    page = Page(text)
    page.check()
    assert "<script" not in text
    assert "<script>alert(1)</script>" in page.text


def test_the_page_needs_nothing_from_outside(eventful: tuple[str, Page]) -> None:
    text, page = eventful
    assert re.findall(r"(?:src|href|action|url)\s*[=(]\s*[\"']?(?!#)[a-z]+:", text) == []
    assert "@import" not in text
    assert "style=" not in text
    assert page.all("meta")[2] == {"name": "referrer", "content": "no-referrer"}


def test_personal_values_are_left_out_unless_they_are_asked_for(eventful_project: tuple[Folder, str]) -> None:
    folder, task = eventful_project
    without, with_ = (page_of(folder.database, task, personal=asked)[0] for asked in (False, True))
    for value in ("kim@example.org", "Which invoices of Kim"):
        assert value not in without
        assert value in with_
    assert "(personal, kept beside the record)" in without


def test_what_stands_out_comes_first_and_leads_to_its_row(eventful: tuple[str, Page]) -> None:
    _, page = eventful
    said = page.text
    assert said.index("What stands out") < said.index("What happened") < said.index("Everything in order")
    assert "denied: web/fetch (destination_not_reviewed, by no-unreviewed-hosts), 4 times" in said
    assert "unknown: billing/read_invoice" in said


def test_the_table_says_in_words_what_the_picture_shows(eventful: tuple[str, Page]) -> None:
    _, page = eventful
    rows = {given["id"] for given in page.all("tr") if "id" in given}
    marks = [given for given in page.all("a") if "aria-label" in given]
    assert len(marks) >= 17
    assert all(given["aria-label"] and given["href"][1:] in rows for given in marks)
    assert page.all("figure")[0]["tabindex"] == "0"
    assert all(given["scope"] == "col" for given in page.all("th"))


def test_marks_of_one_lane_do_not_meet(eventful: tuple[str, Page]) -> None:
    _, page = eventful
    by_lane: dict[str, list[float]] = {}
    for given in page.all("circle", "mark") + page.all("rect", "mark"):
        x = float(given["cx"]) if "cx" in given else float(given["x"]) + float(given["width"]) / 2
        y = given["cy"] if "cy" in given else f"{float(given['y']) + float(given['height']) / 2:g}"
        by_lane.setdefault(y, []).append(x)
    assert len(by_lane) == 8, "two tasks, four labels, two destinations"
    for places in by_lane.values():
        apart = [after - before for before, after in pairwise(sorted(places))]
        assert all(each >= 18 for each in apart), apart


@pytest.mark.parametrize("records", [3, 60, 400, 6_000])
def test_nothing_is_drawn_outside_the_picture(tmp_path: Path, records: int) -> None:
    long_session(tmp_path / "remit.db", max(records, 90) if records > 3 else 3)
    text, page = page_of(tmp_path / "remit.db")
    _, _, width, height = map(float, page.all("svg")[-1]["viewbox"].split())
    assert width == WIDTH
    picture = text[text.index("<figure") : text.index("</figure>")]
    numbers = {
        name: [float(n) for n in re.findall(rf' {name}="(-?[\d.]+)"', picture)] for name in ("x", "y", "cx", "cy")
    }
    assert all(0 <= n <= width for n in numbers["x"] + numbers["cx"])
    assert all(0 <= n <= height for n in numbers["y"] + numbers["cy"])
    assert len([1 for given in page.all("text", "strong")]) <= LANES + 1


def test_the_page_of_a_long_session_is_made_in_time_and_is_modest(tmp_path: Path) -> None:
    long_session(tmp_path / "remit.db", 40_000)
    began = time.process_time()
    text, page = page_of(tmp_path / "remit.db")
    assert time.process_time() - began < 20
    assert len(text) < 3_000_000
    assert len(page.all("tr")) < 1_600


def test_what_is_no_element_is_escaped() -> None:
    made = element("p", "<b>", Html("<i>x</i>"), 5, None, class_='"><b>', href=None)
    assert made == '<p class="&quot;&gt;&lt;b&gt;">&lt;b&gt;<i>x</i>5</p>'
    assert joined("a<", element("br")) == "a&lt;<br>"
    assert "<title>&lt;x&gt;</title>" in document("<x>")


def test_long_pauses_leave_room_for_what_happened() -> None:
    moments = [0, 100, 200, 300, 86_400_000, 86_400_100]
    scale = TimeScale(moments, 0, 1000, 20)
    places = [scale(at) for at in moments]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == pytest.approx(1000)
    assert all(after - before >= 20 for before, after in pairwise(places))
    assert [pause.ms for pause in scale.pauses(40)] == [86_399_700]
    assert scale(50) == pytest.approx((places[0] + places[1]) / 2)
    assert scale(-5) == 0
    assert scale(10**15) == pytest.approx(1000)
    crowded = TimeScale(range(10_000), 0, 1000, 20)
    assert crowded.room < APART
    assert len(crowded.ticks(80)) <= 13
