"""The commands beside a running service: they go through it, and read its records while it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from remit.app.folder import Folder
from remit.app.local import is_served
from tests.cli.desk import Command


@pytest.fixture
def served(folder: Folder) -> Iterator[Folder]:
    """The project with its service running."""
    environment = {**os.environ, "REMIT_PROJECT": str(folder.root)}
    command = [sys.executable, "-m", "remit", "up", "--plain"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
        until = time.monotonic() + 30
        while not is_served(folder) and time.monotonic() < until:
            time.sleep(0.05)
        yield folder
        service.terminate()
        service.wait(20)


def test_every_command_goes_through_the_service(served: Folder, remit: Command) -> None:
    for arguments in (
        ("workload", "add", "newcomer", "--group", "helpers"),
        ("workload", "list"),
        ("workload", "risk", "newcomer", "--value", "10", "--for", "1h", "--reason", "new"),
        ("workload", "quarantine", "newcomer"),
        ("workload", "show", "newcomer"),
        ("task", "list"),
        ("log",),
        ("verify",),
        ("doctor",),
    ):
        result = remit(*arguments)
        assert result.exit_code == 0, (arguments, result.output, result.stderr)
    assert "a service answers" in remit("doctor").output


def test_a_task_from_start_to_end(served: Folder, remit: Command) -> None:
    started = json.loads(remit("task", "start", "--intent", "answer", "--json").output)
    task = started["task"]
    assert remit("decide", "orders/look_up", "--task", task, "--param", "order=A-1").exit_code == 0
    assert remit("task", "suspend", task[-6:], "--reason", "look").exit_code == 0
    suspended = remit("decide", "orders/look_up", "--task", task, "--param", "order=A-1")
    assert suspended.exit_code == 1
    assert "task_suspended" in suspended.output
    assert remit("task", "cancel", task[-6:]).exit_code == 0
    assert remit("verify").exit_code == 0


def test_a_child_task_is_started_by_the_starter_of_its_parent(served: Folder, remit: Command) -> None:
    intent = served.root / "intents/answer.yaml"
    intent.write_text(intent.read_text() + "children: [answer]\n")
    parent = json.loads(remit("task", "start", "--intent", "answer", "--json").output)["task"]
    refused = remit("task", "start", "--intent", "answer", "--parent", parent[-6:])
    # The service took up its configuration when it started, so that a file changed since decides nothing yet.
    assert refused.exit_code == 1
    assert "child" in refused.stderr


def asked(remit: Command) -> list[str]:
    """The log without what time alone adds: a permit whose outcome is not known at its deadline."""
    lines = remit("log", "--json", "--last", "1000").output.splitlines()
    return [line for line in lines if '"result":"unknown"' not in line]


def test_a_hypothetical_question_disturbs_no_service(served: Folder, remit: Command) -> None:
    before = asked(remit)
    assert remit("decide", "orders/look_up", "--intent", "answer", "--param", "order=A-1").exit_code == 0
    assert asked(remit) == before


def test_commands_at_the_same_time_without_a_service_wait_for_each_other(folder: Folder) -> None:
    environment = {**os.environ, "REMIT_PROJECT": str(folder.root)}

    def add(name: str) -> int:
        command = [sys.executable, "-m", "remit", "workload", "add", name]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(add, [f"newcomer-{number}" for number in range(4)])) == [0, 0, 0, 0]


def test_values_are_erased_while_the_service_goes_on(served: Folder, remit: Command) -> None:
    for name in ("ann", "bob"):
        remit("task", "start", "--intent", "answer", "--prompt", f"words of {name}")
    held = json.loads(remit("erase", "--value", "words of ann", "--dry-run", "--json").output)
    assert held["openings"] == 1
    assert remit("erase", "--value", "words of ann", "--reason", "asked for", "--yes").exit_code == 0
    again = remit("erase", "--value", "words of ann", "--dry-run", "--json")
    assert again.exit_code == 1
    assert "no personal values of this are kept" in again.stderr
    assert json.loads(remit("erase", "--value", "words of bob", "--dry-run", "--json").output)["openings"] == 1
    assert remit("verify").exit_code == 0
