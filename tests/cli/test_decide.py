"""`remit decide`: explains itself, and changes nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from pathlib import Path

import pytest

from remit.app.folder import Folder
from tests.cli.desk import Command, Story, command_in

REFUND = ("decide", "orders/refund", "--intent", "refund", "--task-param", "order=A-1", "--task-param", "amount=700")


def fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix not in (".db-shm", ".db-wal", ".lock") and "cache" not in path.parts[-2]
        if path.name != "cache.key"
    }


def test_a_hypothetical_deny_says_why_and_what_next(remit: Command) -> None:
    result = remit(*REFUND, "--param", "order=A-1", "--param", "amount=20")
    assert result.exit_code == 1
    for part in (
        "hypothetical: as if desk had just started a task under refund",
        "deny  orders/refund",
        "out_of_order",
        "next: ",
        "task.done.refund/looked  absent",
    ):
        assert part in result.output, part
    assert "record " not in result.output


def test_a_hypothetical_permit(remit: Command) -> None:
    result = remit("decide", "orders/look_up", "--intent", "answer", "--input", '{"order": "A-1"}', "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.output)
    assert found["hypothetical"] is True
    assert (found["effect"], found["arguments"]) == ("permit", {"order": "A-1"})
    assert "record" not in found


def test_a_probe_that_consumes_nothing(remit: Command, folder: Folder) -> None:
    before = fingerprint(folder.root)
    remit(*REFUND, "--param", "order=A-1", "--param", "amount=20")
    remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1")
    assert fingerprint(folder.root) == before


def test_it_works_before_the_first_start(fresh: Folder) -> None:
    result = command_in(fresh.root)("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1")
    assert result.exit_code == 0, result.stderr
    assert not fresh.state.exists()


def test_a_starter_who_may_not_start_it_is_refused(remit: Command) -> None:
    result = remit(*REFUND, "--param", "order=A-1", "--param", "amount=20", "--starter", "person/alice")
    assert result.exit_code == 1
    assert "error: " in result.stderr


def test_a_quarantined_workload_stays_quarantined_in_the_copy(remit: Command) -> None:
    assert remit("workload", "quarantine", "helper", "--reason", "odd").exit_code == 0
    result = remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1")
    assert result.exit_code == 1
    assert "quarantined" in result.output + result.stderr


def test_a_live_risk_counts_in_the_copy(remit: Command, folder: Folder) -> None:
    intent = folder.root / "intents/answer.yaml"
    intent.write_text(intent.read_text() + "risk_at_most: 50\n")
    assert remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1").exit_code == 0
    set_ = remit("workload", "risk", "helper", "--value", "80", "--for", "1h", "--reason", "odd")
    assert set_.exit_code == 0, set_.stderr
    result = remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1")
    assert result.exit_code == 1
    assert "risk_too_high" in result.output


def test_an_unknown_action_or_intent_says_what_there_is(remit: Command) -> None:
    unknown = remit("decide", "orders/look_up", "--intent", "anser", "--param", "order=A-1")
    assert "known: answer, refund" in unknown.stderr
    assert remit("decide", "nothing", "--intent", "answer").exit_code == 1


@pytest.mark.parametrize("text", ["[]", "{", "1", '"a"', "null", "@/no/such/file", "[" * 100_000])
def test_bad_input_is_an_error_of_ours(remit: Command, text: str) -> None:
    result = remit("decide", "orders/look_up", "--intent", "answer", "--input", text)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


def test_input_from_a_file(remit: Command, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"order": "A-1"}')
    result = remit("decide", "orders/look_up", "--intent", "answer", "--input", f"@{tmp_path}/a.json")
    assert result.exit_code == 0, result.stderr


def test_one_of_intent_and_task(remit: Command) -> None:
    assert remit("decide", "orders/look_up").exit_code == 2
    assert remit("decide", "orders/look_up", "--intent", "answer", "--task", "x").exit_code == 2
    assert remit("decide", "orders/look_up", "--task", "x", "--prompt", "y").exit_code == 2


@pytest.mark.parametrize("task", ["../../etc/passwd", "nothing", "", "%", "a b"])
def test_a_task_without_a_grant_here_is_not_found(remit: Command, task: str) -> None:
    result = remit("decide", "orders/look_up", "--task", task or "x", "--param", "order=A-1")
    assert result.exit_code == 1
    assert "there is no grant" in result.stderr


def test_it_asks_within_seconds(remit: Command) -> None:
    began = time.monotonic()
    remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1")
    assert time.monotonic() - began < 5


def test_no_permit_leaves_the_copy(remit: Command, folder: Folder, story: Story) -> None:
    remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1")
    with sqlite3.connect(folder.database) as database:
        count = database.execute("SELECT count(*) FROM records WHERE kind = 'decision'").fetchone()[0]
    database.close()
    assert count == 5
