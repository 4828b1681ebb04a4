"""`remit task story`: the whole life of a task, in words."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.console.story import Event, Told, as_json, story_of
from remit.console.story_rows import rows_of
from remit.console.story_text import show_story
from remit.core.errors import InvalidInput
from remit.storage.reader import Reader, Stored
from remit.storage.sqlite_reader import SqliteReader
from tests.console.stories import PROJECT, Written, decision, eventful, long_session, opening, outcome
from tests.decide.stage import START, Stage
from tests.storage.contract.stages import staged_on


class Pending:
    """A log that has published nothing after one place."""

    def __init__(self, size: int) -> None:
        self.size = size

    def is_pending(self, stored: Stored) -> bool:
        return stored.seq > self.size


def told_of(reader: Reader, task: str, size: int | None = None) -> Told:
    stored = reader.find(task)
    assert stored is not None
    return story_of(reader, stored, START, None if size is None else Pending(size))


def shown(reader: Reader, told: Told, *, everything: bool = False) -> str:
    """What a terminal of 80 columns shows."""
    to = io.StringIO()
    show_story(
        Console(file=to, width=80, highlight=False, markup=False, emoji=False), reader, told, everything=everything
    )
    return to.getvalue()


@pytest.fixture
def eventful_reader(eventful_project: tuple[Folder, str]) -> Iterator[Reader]:
    with reader_of(eventful_project[0]) as reader:
        yield reader


@pytest.fixture
def told(eventful_reader: Reader, eventful_project: tuple[Folder, str]) -> Told:
    return told_of(eventful_reader, eventful_project[1])


@pytest.fixture
def text(eventful_reader: Reader, told: Told) -> str:
    return shown(eventful_reader, told)


def story(tmp_path: Path) -> Written:
    written = Written(tmp_path / "remit.db")
    written.add("task", opening("t_1"))
    return written


def read(written: Written, **more: Any) -> tuple[Told, str]:
    written.close()
    with SqliteReader(written.path) as reader:
        told = told_of(reader, "t_1", **more)
        return told, shown(reader, told)


# --- what is told ---------------------------------------------------------------------------------------------


def test_who_what_for_and_how_it_ended(told: Told, text: str) -> None:
    assert text.startswith("answer  completed\n")
    for said in (
        "workload      spiffe://example.org/workload/finance",
        "started by    spiffe://example.org/starter/app",
        "prompt        Which invoices of Kim's are due",
        "(personal)",
        "after 47 min 20 s",
    ):
        assert said in text
    assert [life.state for life in told.lives] == ["completed", "completed"]


def test_every_decision_has_its_outcome_and_the_time_between(text: str) -> None:
    assert "● permit people/lookup → response after 310 ms" in text
    assert "● permit web/fetch → error after 800 ms" in text
    assert "● permit billing/read_invoice → unknown after 3 min" in text
    assert "? outcome unknown of billing/read_invoice, no report by the" in text


def test_a_denial_says_why_with_file_and_line_and_who_could_approve(text: str) -> None:
    assert "✗ deny web/fetch destination_not_reviewed" in text
    assert "by policies/own.cedar:2 no-unreviewed-hosts" in text
    assert "by generated/answer.cedar:" in text
    assert "a person could approve this: group:staff" in text
    assert "asked and refused 3 more times, until" in text


def test_children_are_indented_below_the_task_that_started_them(text: str) -> None:
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if "├─▶ narrow" in line)
    assert "│ ● permit web/fetch" in lines[begin + 1]
    assert any("│ ■ completed by app" in line for line in lines)


def test_suspensions_limits_labels_and_destinations(told: Told, text: str) -> None:
    assert "‖ suspended by app" in text
    assert "▶ resumed by app" in text
    assert [len(life.pauses) for life in told.lives] == [1, 1]
    # The read whose outcome is unknown, and the one with an error, were given back.
    assert "answer/reads: 9 of 40 calls" in text
    assert [(grown.kind, grown.name) for grown in told.grown] == [
        ("label", "personal"),
        ("label", "financial"),
        ("label", "untrusted"),
        ("label", "untrusted content"),
        ("destination", "news.example.org"),
        ("destination", "mail.example.org"),
    ]


def test_a_task_whose_time_is_up_is_not_said_to_be_open(tmp_path: Path) -> None:
    written = Written(tmp_path / "remit.db")
    written.add("task", opening("t_1", expires=START - 1))
    told, text = read(written)
    assert told.lives[0].state == "open", "as the records say"
    assert text.startswith("answer  expired\n")
    assert "  expired       2026-" in text


def test_the_story_of_a_child_tells_nothing_of_its_siblings(eventful_reader: Reader, told: Told) -> None:
    child = told_of(eventful_reader, told.lives[1].id)
    assert {event.task for event in child.events} == {child.task}
    assert child.lives[0].depth == 0
    assert "tells the whole session" in shown(eventful_reader, child)


def test_parameters_are_shown_while_they_are_kept_and_said_to_be_erased_after(tmp_path: Path) -> None:
    written = Written(tmp_path / "remit.db")
    written.add("task", opening("t_1", params={"contact": {"commitment": "0" * 64}}, prompt={"commitment": "1" * 64}))
    _, text = read(written)
    assert "given         contact = erased" in text
    assert "prompt        erased" in text


def test_json_carries_every_event_with_its_arguments(eventful_reader: Reader, told: Told) -> None:
    found = json.loads(b"".join(as_json(eventful_reader, told)))
    assert len(found["events"]) == len(told.events)
    lookup = next(event for event in found["events"] if event["action"] == "people/lookup")
    assert lookup["arguments"]["email"] == {"personal": "kim@example.org"}
    assert lookup["came"][0]["result"] == "response"
    denied = next(event for event in found["events"] if event["code"] == "destination_not_reviewed")
    assert denied["policies"] == [{"id": "no-unreviewed-hosts", "path": "policies/own.cedar", "line": 2}]


def test_records_that_are_not_published_yet_are_marked(eventful_reader: Reader, told: Told) -> None:
    last = told.events[-1]
    pending = told_of(eventful_reader, told.task, size=last.seq - 1)
    assert [event.is_pending for event in pending.events].count(True) == 1
    text = shown(eventful_reader, pending)
    assert "■ completed by app · pending" in text
    assert "1 of these events pending" in text
    assert "all published" in shown(eventful_reader, told_of(eventful_reader, told.task, size=10**9))


def test_records_of_kinds_that_nobody_knows_are_shown_as_such(tmp_path: Path) -> None:
    written = story(tmp_path)
    written.add("lease.issued", {"task": "t_1", "by": "spiffe://example.org/remit", "secret": "never shown"})
    told, text = read(written)
    assert told.events[-1].kind == "lease.issued"
    assert "record of kind `lease.issued` by remit" in text
    assert "of a kind that this program does not know" in text
    assert "never shown" not in text


def test_a_record_that_cant_be_read_is_said_and_the_rest_is_told(tmp_path: Path) -> None:
    written = story(tmp_path)
    written.add("decision", {"id": 5})
    written.add("decision", decision(1, "t_1"))
    told, text = read(written)
    assert told.unreadable == 1
    assert "1 of them can't be read: `remit verify` says what is wrong" in text
    assert "permit billing/read_invoice" in text


def test_what_became_of_the_workload_meanwhile_is_told(tmp_path: Path) -> None:
    written = story(tmp_path)
    agent = "spiffe://example.org/workload/finance"
    body = {"registration": {"id": agent, "state": "quarantined"}, "by": "spiffe://example.org/remit", "reason": "risk"}
    written.now += 500
    written.add("identity", body, f"identity/{agent}")
    written.add("mode", {"mode": "observe", "until": 9, "by": "spiffe://example.org/person/eve"}, "administration")
    written.now += 500
    written.add("task", {"task": "t_1", "root": "t_1", "state": "cancelled", "by": agent, "reason": ""})
    written.now += 500
    written.add("identity", body | {"reason": "long after"}, f"identity/{agent}")
    _, text = read(written)
    assert "! workload finance is quarantined by remit" in text
    assert "mode observe by eve" in text
    assert "long after" not in text


def test_a_resolution_and_a_late_outcome_stand_at_their_own_time(tmp_path: Path) -> None:
    written = story(tmp_path)
    written.add("decision", decision(1, "t_1", action="payments/pay", serverEffect="pay"))
    written.now += 120_000
    written.add("outcome", outcome(1, result="unknown", by="spiffe://example.org/remit"))
    written.now += 60_000
    resolved = {
        "decision": f"d_{1:028x}",
        "result": "response",
        "by": "spiffe://example.org/person/eve",
        "reason": "seen",
    }
    written.add("resolution", resolved)
    _, text = read(written)
    assert "→ response, as eve resolved" in text
    assert "resolved as response by eve of payments/pay" in text
    assert "first unknown after 2 min" in text


def test_only_a_task_has_a_story(eventful_reader: Reader, told: Told) -> None:
    decided = next(event for event in told.events if event.is_decision)
    with pytest.raises(InvalidInput):
        told_of(eventful_reader, decided.id)


# --- folding --------------------------------------------------------------------------------------------------


def event(number: int, **more: Any) -> Event:
    given: dict[str, Any] = {
        "kind": "decision",
        "task": "t_1",
        "result": "permit",
        "action": "s/read",
        "effect": "read",
    }
    return Event(
        **{"seq": number, "stream": "session/t_1", "n": number, "at": number, "id": f"d{number}"} | given | more
    )


def test_repetition_is_folded_and_what_stands_out_is_not() -> None:
    events = [event(n) for n in range(5)]
    events += [event(5, result="deny", code="x"), *(event(n) for n in range(6, 8)), event(8, labels=["personal"])]
    assert [len(row.events) for row in rows_of(events, 100)] == [5, 1, 1, 1, 1]


def test_denials_are_folded_with_the_same_denial_only() -> None:
    events = [event(n, result="deny", code="x" if n < 4 else "y") for n in range(8)]
    assert [len(row.events) for row in rows_of(events, 100)] == [4, 4]


@pytest.mark.parametrize("most", [3, 10, 99])
def test_there_are_never_more_rows_than_asked_for_and_no_event_is_lost(most: int) -> None:
    events = [event(n, result="deny" if n % 2 else "permit", code=str(n)) for n in range(5_000)]
    rows = rows_of(events, most)
    assert len(rows) <= most
    assert [each.n for row in rows for each in row.events] == [each.n for each in events]
    assert sum(row.is_gap for row in rows) == 1


# --- bounds and attacks ---------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\u2066\r\b\x00"


def test_an_agents_words_cant_drive_the_terminal(tmp_path: Path) -> None:
    written = Written(tmp_path / "remit.db")
    written.add(
        "task", opening("t_1", params={"a": HOSTILE, HOSTILE: 1}, prompt=HOSTILE, starter=HOSTILE, intent=HOSTILE)
    )
    reason = {"code": HOSTILE, "message": HOSTILE, "nextStep": HOSTILE, "policies": [HOSTILE]}
    adds = {"destination": HOSTILE, "labels": [HOSTILE], "untrusted": True}
    context = {"input": {HOSTILE: HOSTILE}}
    written.add("decision", decision(1, "t_1", action=HOSTILE, reason=reason, context=context, effect="deny"))
    written.add("decision", decision(2, "t_1", adds=adds, obligations=[{"id": HOSTILE, "fields": [HOSTILE]}]))
    written.add("outcome", outcome(2, result=HOSTILE, by=HOSTILE))
    written.add("task", {"task": "t_1", "root": "t_1", "state": HOSTILE, "by": HOSTILE, "reason": HOSTILE})
    written.add("x" * 64, {"by": HOSTILE, "task": "t_1"})
    _, text = read(written)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_lines_fit_80_columns(text: str) -> None:
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_a_session_of_100_000_records_is_told_in_time_and_in_few_lines(tmp_path: Path) -> None:
    long_session(tmp_path / "remit.db", 100_000)
    began = time.process_time()
    with SqliteReader(tmp_path / "remit.db") as reader:
        told = told_of(reader, "t_1")
        text = shown(reader, told)
    assert time.process_time() - began < 30
    assert told.records > 99_000
    assert len(text.splitlines()) < 1_200
    assert "40 × narrow opened by app" in text
    assert "events are left out here" in text


# --- both storages --------------------------------------------------------------------------------------------


@staged_on("sqlite", "postgres", **PROJECT)
async def test_the_story_is_the_same_on_every_storage(stage: Stage) -> None:
    grant = await eventful(stage)
    with reader_of(stage.folder) as reader:
        told = told_of(reader, grant.task)
        assert "answer/reads: 9 of 40 calls" in shown(reader, told)
    assert [event.result for event in told.events if event.is_decision].count("deny") == 3
    assert len(told.lives) == 2
