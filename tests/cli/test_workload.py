"""`remit workload show` and `forget`: what a workload may do, did, is used to and never used, from its records."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import open_installation
from remit.console.deeds import SESSIONS, deeds_of
from remit.core.clock import system_clock
from remit.core.decisions import Outcome
from remit.storage.sqlite_reader import SqliteReader
from tests.cli.desk import Command, command_in, start, write_project

DAY = 86_400_000
HELPER = "spiffe://desk.example/workload/helper"
CATALOGUE = """\
server: web
tools:
  fetch:
    effect: read
    selectors: [url]
    destination: input.url
    reviewed: true
    input_schema: '{"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}'
  upload: {effect: send, input_schema: {type: object}}
"""
BROWSE = """\
description: Look pages up.
actions: [web/fetch, web/upload]
starters: [group:applications]
workloads: [workload/helper]
case_types: [quick, deep]
"""
OTHERS = "description: For others.\nactions: [web/fetch]\nstarters: [group:applications]\nworkloads: [workload/other]\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Ten days of looking orders and pages up, with a new page today, and something refused."""
    folder = write_project(tmp_path_factory.mktemp("workload"))
    for name, text in {
        "catalogue/web.yaml": CATALOGUE,
        "intents/browse.yaml": BROWSE,
        "intents/others.yaml": OTHERS,
        "intents/never.yaml": BROWSE.replace("case_types: [quick, deep]\n", ""),
    }.items():
        (folder.root / name).write_text(text)
    settings = folder.root / "remit.toml"
    settings.write_text(settings.read_text().replace('servers = ["orders"]', 'servers = ["orders", "web"]'))
    asyncio.run(history(folder))
    return folder


async def history(folder: Folder) -> None:
    now = system_clock() - 10 * DAY

    def clock() -> int:
        return now

    installation = await open_installation(folder, clock)
    try:
        desk = Embedded(installation, "starter/desk", owns=False)
        gateway = Embedded(installation, "pep/gateway", owns=False)

        async def does(grant: Any, action: str, input: dict[str, Any]) -> None:
            decision = await gateway.authorize(grant, action, input)
            assert decision.permitted, decision.reason
            await gateway.report(Outcome(decision=decision.id, digest=decision.digest, result="response"))

        for day in range(10):
            answer = await start(installation, desk, "answer", {})
            await does(answer, "orders/look_up", {"order": f"A-{day}"})
            await desk.end_task(answer.task)
            now += DAY
        answer = await start(installation, desk, "answer", {})
        await does(answer, "web/fetch", {"url": "https://shop.example/a"})
        for _ in range(3):
            refused = await gateway.authorize(answer, "orders/refund", {"order": "A-1", "amount": 20})
            assert not refused.permitted
        await desk.end_task(answer.task)
    finally:
        await installation.close()


@pytest.fixture
def remit(project: Folder) -> Command:
    return command_in(project.root)


def shown(remit: Command, *more: str) -> dict[str, Any]:
    result = remit("workload", "show", "helper", "--json", *more)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.output)
    return found


def test_what_it_may_do(remit: Command) -> None:
    grants = {each["intent"]: each for each in shown(remit)["grants"]}
    assert sorted(grants) == ["answer", "browse", "never", "refund"]  # and not what is for others
    assert grants["answer"]["actions"] == ["orders/look_up", "web/fetch"]
    assert (grants["browse"]["actions"], grants["browse"]["unreviewed"]) == (["web/fetch"], ["web/upload"])
    assert (grants["answer"]["tasks"], grants["browse"]["tasks"]) == (11, 0)


def test_what_it_really_did_and_when_last(remit: Command) -> None:
    deeds = shown(remit)["deeds"]
    actions = {each["action"]: each for each in deeds["actions"]}
    assert (deeds["tasks"], deeds["isWhole"], deeds["unreadable"]) == (11, True, 0)
    look = actions["orders/look_up"]
    assert (look["completed"], look["refused"]) == (10, 0)
    assert look["last"] - look["first"] == 9 * DAY
    assert (actions["orders/refund"]["completed"], actions["orders/refund"]["refused"]) == (0, 3)
    (host,) = actions["web/fetch"]["destinations"]
    assert (host["host"], host["completed"], host["novelty"]) == ("shop.example", 1, 90)


def test_how_far_back_it_looks(remit: Command) -> None:
    deeds = shown(remit, "--days", "3")["deeds"]
    assert {each["action"]: each["completed"] for each in deeds["actions"]}["orders/look_up"] == 2
    assert remit("workload", "show", "helper", "--days", "0").exit_code == 2


def test_grants_never_used(remit: Command) -> None:
    found = shown(remit)
    grants = {each["intent"]: each for each in found["grants"]}
    assert grants["answer"]["unusedActions"] == []
    assert grants["refund"]["unusedActions"] == ["orders/look_up", "orders/refund"]
    assert grants["browse"]["unusedCaseTypes"] == ["quick", "deep"]
    assert found["unusedServers"] == []
    assert shown(remit, "--days", "1")["unusedServers"] == ["orders"]


def test_what_it_is_used_to(remit: Command) -> None:
    habits = shown(remit)["habits"]
    assert (habits["days"], habits["isLearning"]) == (11, False)
    assert habits["tools"]["orders/look_up"]["novelty"] < 40
    assert habits["tools"]["orders/look_up"]["firstDaysAgo"] == 10
    assert habits["new"] == [
        {"what": "tool", "name": "web/fetch", "daysAgo": 0},
        {"what": "destination", "name": "shop.example", "daysAgo": 0},
    ]
    assert {"from": "", "to": "orders/look_up"}.items() <= habits["steps"][0].items()


def test_the_page(remit: Command) -> None:
    set_ = remit("workload", "risk", "helper", "--value", "70", "--for", "1h", "--reason", "odd \x1b[2J requests")
    assert set_.exit_code == 0, set_.stderr
    output = remit("workload", "show", "helper", columns=110).output
    for said in (
        "risk      70",
        "it counts: tool web/fetch, destination shop.example, tool orders/refund",
        "alice: odd \\x1b[2J requests",
        "may       answer  11 tasks, the last one started",
        "refused until somebody reviews them: web/upload",
        "did       11 tasks in the last 90 days",
        "→ shop.example",
        "used to   learned on 11 days: 2 tools, 2 steps, 1 destination",
        "new: destination shop.example, first today",
        "unused    browse  never started",
    ):
        assert said in output, said
    assert max(len(line) for line in output.splitlines()) <= 110
    for columns in (20, 60, 200):
        assert remit("workload", "show", "helper", columns=columns).exit_code == 0


def test_it_is_shown_although_the_project_does_not_load(remit: Command, project: Folder) -> None:
    with written(project.root / "policies" / "broken.cedar", "permit ("):
        found = shown_beside(project)
    assert "broken.cedar" in found["problem"]
    assert found["grants"] == []
    assert found["deeds"]["tasks"] == 11


def shown_beside(project: Folder) -> dict[str, Any]:
    """What a running service's folder shows when its files are being edited: it answers with what it has loaded."""
    from remit.app.workload import account
    from remit.core.identities import Registration

    registration = Registration(
        id=HELPER, kind="agent", roles=("workload",), owner="alice", key="k", groups=("helpers",)
    )
    return account(project, registration, 90, system_clock())


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink()


def test_records_that_cannot_be_read_are_counted_and_not_guessed_at(project: Folder, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(project.database) as database, sqlite3.connect(copy) as target:
        database.backup(target)
        target.execute("UPDATE records SET bytes = CAST('{\"a\": 1}' AS BLOB) WHERE kind = 'outcome' AND n = 3")
    with SqliteReader(copy) as reader:
        deeds = deeds_of(reader, HELPER, 0)
    assert deeds.unreadable == 11
    assert deeds.actions["orders/look_up"].completed == 0


def test_so_many_sessions_that_not_all_are_read(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SESSIONS >= 1000
    monkeypatch.setattr("remit.console.deeds.SESSIONS", 4)
    with SqliteReader(project.database) as reader:
        deeds = deeds_of(reader, HELPER, 0)
    assert (deeds.tasks, deeds.is_whole) == (4, False)


def test_habits_are_forgotten_by_name_and_altogether(remit: Command) -> None:
    result = remit("workload", "forget", "helper", "--destination", "shop.example", "--reason", "not ours", "--json")
    assert json.loads(result.output) == ["shop.example"]
    assert shown(remit)["habits"]["destinations"] == {}
    again = remit("workload", "forget", "helper", "--destination", "shop.example", "--reason", "not ours")
    assert again.output == "nothing of this was learned\n"
    assert remit("workload", "forget", "helper", "--reason", "x").exit_code == 1
    assert remit("workload", "forget", "nobody", "--all", "--reason", "x").exit_code == 1
    assert "orders/look_up" in remit("workload", "forget", "helper", "--all", "--reason", "new version").output
    assert shown(remit)["habits"]["isLearning"] is True
    assert remit("verify").exit_code == 0


def test_a_signal_that_counts_for_nothing_is_refused(remit: Command) -> None:
    result = remit("workload", "risk", "helper", "--signal", "edr", "--value", "90", "--for", "1h", "--reason", "x")
    assert result.exit_code == 1
    assert "[risk] signals" in result.stderr
