"""The filters of `remit log`: what they find, what they count, and what they say about names that nobody knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from remit.app.folder import Folder
from tests.cli.desk import Command, Story, command_in


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


EVERY = ("log", "--json", "--last", "100")
ACTIONS = {"orders/look_up", "orders/refund"}


@pytest.mark.parametrize(
    ("filters", "field", "expected"),
    [
        (("--action", "orders/look_up"), "action", {"orders/look_up"}),
        (("--action", "orders/*", "--kind", "decision"), "action", ACTIONS),
        (("--action", "orders/look_up", "--action", "orders/refund"), "action", ACTIONS),
        (("--intent", "answer"), "intent", {"answer"}),
        (("--intent", "a*"), "intent", {"answer"}),
        (("--decision", "permit"), "result", {"permit"}),
        (("--decision", "deny"), "result", {"deny"}),
        (("--policy", "no-large-refunds"), "note", {"too_large"}),
        (("--policy", "intent:*"), "kind", {"decision", "denials"}),
        (("--reason", "out_of_order"), "kind", {"decision", "denials"}),
        (("--result", "response"), "kind", {"outcome"}),
        (("--result", "open", "--result", "response"), "kind", {"task", "outcome"}),
        (("--effect", "read"), "action", {"orders/look_up"}),
        (("--effect", "pay", "--denied"), "result", {"deny"}),
        (("--person", "alice"), "intent", {"answer"}),
        (("--person", "person/alice", "--kind", "task"), "kind", {"task"}),
        (("--pep", "gateway", "--kind", "outcome"), "kind", {"outcome"}),
        (("--kind", "task", "--workload", "helper"), "action", {"task"}),
    ],
)
def test_a_filter_finds_its_lines_and_no_others(
    remit: Command, filters: tuple[str, ...], field: str, expected: set[str]
) -> None:
    result = remit(*EVERY, *filters)
    assert result.exit_code == 0, result.stderr
    found = lines(result.stdout)
    assert {line[field] for line in found} == expected
    counted = remit("log", "--count", "--json", *filters)
    assert json.loads(counted.stdout) == {"count": len(found)}
    assert remit("log", "--count", *filters).stdout == f"{len(found)}\n"


def test_filters_narrow_each_other_and_task_goes_with_all(remit: Command, story: Story) -> None:
    wanted = ("--action", "orders/refund", "--decision", "deny", "--since", "1d")
    found = lines(remit(*EVERY, *wanted).stdout)
    assert [line["id"] for line in found][:2] == [story["early"], story["large"]]
    of_task = lines(remit(*EVERY, *wanted, "--task", story["answer"][-6:]).stdout)
    assert [line["task"] for line in of_task] == [story["answer"]]
    assert remit(*EVERY, *wanted, "--task", story["answer"], "--effect", "read").stdout == ""


def test_time_is_so_long_ago_or_a_day_or_a_moment(remit: Command) -> None:
    every = lines(remit(*EVERY).stdout)
    middle = str(every[4]["time"])
    assert lines(remit(*EVERY, "--since", middle).stdout) == [line for line in every if str(line["time"]) >= middle]
    assert lines(remit(*EVERY, "--until", middle).stdout) == [line for line in every if str(line["time"]) < middle]
    assert lines(remit(*EVERY, "--since", "2h").stdout) == every
    assert lines(remit(*EVERY, "--until", "5m").stdout) == every
    assert remit(*EVERY, "--since", "1m").stdout == ""
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    assert remit(*EVERY, "--since", tomorrow).stdout == ""
    assert lines(remit(*EVERY, "--until", tomorrow).stdout) == every


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", "-5m", "99999-01-01", "2h ago"])
def test_a_time_that_is_none_is_refused_with_the_forms(remit: Command, time: str) -> None:
    result = remit("log", f"--since={time}", "--json")
    assert result.exit_code == 1
    error = json.loads(result.stderr)
    assert error["error"] == "filter_invalid"
    assert "--since 2h" in error["next"]


@pytest.mark.parametrize(
    ("option", "name", "close"),
    [
        ("--workload", "helpr", "helper"),
        ("--workload", "workload/helpr", "workload/helper"),
        ("--person", "alise", "alice"),
        ("--intent", "refnd", "refund"),
        ("--action", "orders/refunds", "orders/refund"),
        ("--policy", "no-large-refund", "no-large-refunds"),
        ("--reason", "to_large", "too_large"),
        ("--pep", "gatway", "gateway"),
    ],
)
def test_an_unknown_name_says_the_closest_one(remit: Command, option: str, name: str, close: str) -> None:
    for more in ((), ("--count",)):
        result = remit("log", option, name, *more)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert name in result.stderr
        assert f"{close}`?" in result.stderr
    # In a filter with one that is known, there is something to show.
    assert remit("log", option, name, option, "*").exit_code == 0


def test_what_the_project_knows_and_has_not_happened_is_no_mistake(remit: Command) -> None:
    result = remit("log", "--action", "orders/purge")
    assert result.exit_code == 0
    assert "nothing yet that fits" in result.stdout
    assert remit("log", "--label", "secret").exit_code == 1  # no label was ever recorded


def test_kinds_that_are_not_shown_else_have_lines(remit: Command) -> None:
    found = lines(remit(*EVERY, "--kind", "identity", "--kind", "configuration", "--kind", "mode").stdout)
    assert [line["kind"] for line in found] == ["configuration", "mode", *["identity"] * 4]
    assert {line["result"] for line in found if line["kind"] == "identity"} == {"active"}
    assert remit("log", "--kind", "identity", columns=80).exit_code == 0


def test_follow_goes_with_filters_and_without_a_count(remit: Command, folder: Folder, story: Story) -> None:
    assert remit("log", "--follow", "--count").exit_code == 2
    assert remit("log", "--follow", "--until", "2h").exit_code == 2
    environment = {**os.environ, "REMIT_PROJECT": str(folder.root)}
    command = [sys.executable, "-m", "remit", "log", "--follow", "--json", "--last", "1", "--result", "suspended"]
    command += ["--result", "permit", "--intent", "refund"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["result"] == "permit"
        for task in ("answer", "refund"):
            assert remit("task", "suspend", story[task], "--reason", "look").exit_code == 0
        seen = json.loads(process.stdout.readline())
        assert (seen["task"], seen["result"]) == (story["refund"], "suspended")
        process.send_signal(2)
        try:
            assert process.wait(30) in (0, 130)
        finally:
            process.kill()


def test_reindex_makes_the_index_anew(remit: Command, folder: Folder) -> None:
    result = remit("log", "reindex")
    assert result.exit_code == 0, result.stderr
    assert "indexed 16 records" in result.stdout
    assert json.loads(remit("log", "reindex", "--json").stdout)["records"] == 16
    (folder.index / "000000000000-000000000800.rows").write_bytes(b"not an index")
    doctor = remit("doctor", "--json").stdout
    assert "000000000000-000000000800.rows" in doctor
    assert "remit log reindex" in doctor
    assert remit("log", "--denied").exit_code == 0
    assert remit("log", "reindex").exit_code == 0
    assert "000000000000-000000000800.rows" not in remit("doctor", "--json").stdout


def test_records_that_are_not_published_yet_are_pending(remit: Command, folder: Folder) -> None:
    assert {line["pending"] for line in lines(remit(*EVERY).stdout)} == {None}
    settings = folder.root / "remit.toml"
    settings.write_text(settings.read_text("utf-8") + '\n[ledger]\nfolder = ".remit/log"\n', "utf-8")
    assert {line["pending"] for line in lines(remit(*EVERY).stdout)} == {True}
    assert "pending" in remit("log", "--denied").stdout


def test_before_the_first_start_filters_say_how_to_start(fresh: Folder) -> None:
    result = command_in(fresh.root)("log", "--denied", "--since", "2h")
    assert result.exit_code == 1
    assert "remit up" in result.stderr
