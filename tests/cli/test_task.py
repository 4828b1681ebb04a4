"""`remit task`: over a real service, started on demand."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from remit.app.folder import Folder
from tests.cli.desk import Command, Story


def test_list_shows_tasks_and_how_they_stand(remit: Command, story: Story) -> None:
    found = {each["id"]: each for each in json.loads(remit("task", "list", "--json").output)}
    assert found[story["refund"]]["starter"] == "spiffe://desk.example/starter/desk"
    assert found[story["answer"]]["state"] == "open"
    output = remit("task", "list", columns=80).output
    assert max(map(len, output.splitlines())) <= 80
    assert story["answer"][-6:] in output


@pytest.mark.parametrize(("verb", "state"), [("complete", "completed"), ("cancel", "cancelled")])
def test_ending_a_task_as_the_operator(remit: Command, story: Story, verb: str, state: str) -> None:
    result = remit("task", verb, story["refund"][-6:], "--reason", "ticket 1", "--json")
    assert json.loads(result.output)["state"] == state
    assert story["refund"] not in remit("task", "list", "--open", "--json").output
    assert "ticket 1" in remit("task", "show", story["refund"]).output
    again = remit("task", "resume", story["refund"])
    assert again.exit_code == 1
    assert remit("verify").exit_code == 0


def test_suspend_and_resume(remit: Command, story: Story) -> None:
    for verb, state in (("suspend", "suspended"), ("resume", "open")):
        assert json.loads(remit("task", verb, story["answer"], "--json").output)["state"] == state
    assert story["answer"] in remit("task", "list", "--open", "--json").output


def test_start_writes_a_grant_and_the_line_for_a_shell(remit: Command, folder: Folder) -> None:
    result = remit("task", "start", "--intent", "answer", "--prompt", "what is due?")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("export REMIT_TASK=")
    assert len(result.stdout.splitlines()) == 1
    grant = Path(result.stdout.strip().partition("=")[2])
    assert stat.S_IMODE(grant.stat().st_mode) == 0o600
    task = grant.stem
    probe = remit("decide", "orders/look_up", "--task", task[-6:], "--param", "order=A-1")
    assert probe.exit_code == 0, probe.output + probe.stderr
    assert "probe: under task" in probe.output
    denied = remit("decide", "orders/refund", "--task", task, "--param", "order=A-1", "--param", "amount=1", "--json")
    assert denied.exit_code == 1
    assert json.loads(denied.output)["reason"]["code"] == "not_justified"
    assert remit("task", "complete", task).exit_code == 0
    assert not grant.exists()


def test_a_start_that_is_refused_leaves_no_grant(remit: Command, folder: Folder) -> None:
    result = remit("task", "start", "--intent", "refund", "--param", "order=A-1", "--param", "amount=5")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert not list(folder.run.glob("*.json"))


def test_show_of_a_decision_points_to_the_log(remit: Command, story: Story) -> None:
    result = remit("task", "show", story["pay"])
    assert result.exit_code == 1
    assert "remit log show" in result.stderr
