"""`remit log`, `log show`, `log export` and `log resolve`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remit.app.folder import Folder
from tests.cli.desk import Command, Story, command_in


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_lists_decisions_tasks_and_outcomes_the_latest_last(remit: Command, story: Story) -> None:
    found = lines(remit("log", "--json", "--last", "100").output)
    assert [line["kind"] for line in found][:2] == ["task", "decision"]
    assert {line["kind"] for line in found} == {"task", "decision", "denials", "outcome"}
    assert [line["seq"] for line in found] == sorted(line["seq"] for line in found)  # type: ignore[type-var]
    outcome = next(line for line in found if line["kind"] == "outcome" and line["id"] == story["look"])
    assert (outcome["action"], outcome["result"], outcome["intent"]) == ("orders/look_up", "response", "refund")


def test_identical_denials_are_one_line_and_a_count(remit: Command, story: Story) -> None:
    found = lines(remit("log", "--json", "--denied", "--last", "100").output)
    counted = [line for line in found if line["kind"] == "denials" and line["id"] == story["early"]]
    assert [line["note"] for line in counted] == ["3× out_of_order"]
    assert all(line["denied"] for line in found)


@pytest.mark.parametrize("end", [6, 30])
def test_a_task_is_chosen_by_the_end_of_its_id(remit: Command, story: Story, end: int) -> None:
    found = lines(remit("log", "--json", "--task", story["answer"][-end:]).output)
    assert found
    assert {line["task"] for line in found} == {story["answer"]}


def test_a_workload_is_chosen_by_name_path_or_id(remit: Command) -> None:
    every = remit("log", "--json", "--last", "100").output
    for name in ("helper", "workload/helper", "spiffe://desk.example/workload/helper"):
        assert remit("log", "--json", "--last", "100", "--workload", name).output == every
    unknown = remit("log", "--json", "--workload", "elper")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "did you mean `helper`?" in unknown.stderr


def test_last_counts_what_fits(remit: Command) -> None:
    denied = lines(remit("log", "--json", "--denied", "--last", "100").output)
    assert lines(remit("log", "--json", "--denied", "--last", "2").output) == denied[-2:]


def test_the_table_fits_80_columns(remit: Command) -> None:
    output = remit("log", columns=80).output
    assert max(map(len, output.splitlines())) <= 80
    for word in ("workload", "helper", "orders/refund", "deny", "permit", "too_large"):
        assert word in output


def test_no_colours_without_a_terminal(remit: Command, story: Story) -> None:
    for arguments in (("log",), ("log", "show", story["pay"]), ("verify",), ("doctor",), ("task", "list")):
        assert "\x1b[" not in remit(*arguments).output


def test_show_tells_everything_about_a_deny(remit: Command, story: Story) -> None:
    output = remit("log", "show", story["large"][-8:]).output
    for part in (
        "deny  orders/refund  (pay)",
        "too_large",
        "a refund above 500 is made by a person",
        "next: ask the desk",
        "spiffe://desk.example/workload/helper",
        "under refund; started by spiffe://desk.example/starter/desk",
        "policies/limits.cedar:1",
        "context.input.amount.greaterThan",
        "input.amount  600.0",
        "hash        ",
        f"of session/{story['refund']}",
    ):
        assert part in output, part


def test_show_says_what_is_spent_and_what_came_of_a_permit(remit: Command, story: Story) -> None:
    found = json.loads(remit("log", "show", story["look"], "--json").output)
    assert found["effect"] == "permit"
    assert found["outcomes"][0]["selected"] == {"status": "paid"}
    assert found["record"]["stream"] == f"session/{story['refund']}"
    assert len(found["record"]["hash"]) == 64
    assert set(found["decidedBy"]) >= {"config", "policies", "intents", "catalogue", "windows", "settings"}


def test_personal_values_are_shown_while_kept_and_marked(remit: Command, story: Story, folder: Folder) -> None:
    import sqlite3

    output = remit("log", "show", story["look"]).output
    assert "kim@example.org  personal" in output
    with sqlite3.connect(folder.database) as database:
        database.execute("DELETE FROM openings")
    database.close()
    output = remit("log", "show", story["look"]).output
    assert "kim@example.org" not in output
    assert "email  erased" in output


def test_an_opening_that_was_swapped_is_called_out(remit: Command, story: Story, folder: Folder) -> None:
    import sqlite3

    with sqlite3.connect(folder.database) as database:
        database.execute("UPDATE openings SET sealed = zeroblob(length(sealed)) WHERE path LIKE '%email'")
    database.close()
    output = remit("log", "show", story["look"]).output
    assert "kept, and does not open" in output
    assert "kim@example.org" not in output


def test_text_that_drives_a_terminal_is_shown_as_escapes(remit: Command, story: Story) -> None:
    output = remit("log", "show", story["refund"]).output
    assert "\x1b" not in output
    assert "\\x1b[2Jrefund" in output


def test_show_a_task(remit: Command, story: Story) -> None:
    output = remit("task", "show", story["refund"][-6:]).output
    for part in (
        "task under refund",
        "spiffe://desk.example/starter/desk",
        "order   A-1",
        "refund/once",
        "2 permitted, 5 refused",
    ):
        assert part in output, part


def test_an_unknown_id_says_where_ids_are(remit: Command) -> None:
    result = remit("log", "show", "nothing")
    assert result.exit_code == 1
    assert "`remit log` shows ids" in result.stderr


def test_an_ambiguous_end_lists_the_ids(remit: Command, folder: Folder, story: Story) -> None:
    import sqlite3

    with sqlite3.connect(folder.database) as database:
        database.execute("UPDATE records SET key = 'd_1_same' WHERE key = ?", (story["pay"],))
        database.execute("UPDATE records SET key = 'd_2_same' WHERE key = ?", (story["large"],))
    database.close()
    result = remit("log", "show", "_same")
    assert result.exit_code == 1
    assert "d_1_same, d_2_same" in result.stderr


def test_errors_are_json_when_asked(remit: Command) -> None:
    result = remit("log", "show", "nothing", "--json")
    assert json.loads(result.stderr)["error"] == "record_unknown"


def test_before_the_first_start_it_says_how_to_start(fresh: Folder) -> None:
    result = command_in(fresh.root)("log")
    assert result.exit_code == 1
    assert "remit up" in result.stderr


def test_export_then_verify_it(remit: Command, tmp_path: Path) -> None:
    target = tmp_path / "out" / "export"
    result = remit("log", "export", str(target))
    assert result.exit_code == 0, result.stderr
    assert remit("verify", str(target)).exit_code == 0
    assert remit("log", "export", str(target)).exit_code == 1


def test_export_holds_no_personal_value(remit: Command, tmp_path: Path) -> None:
    remit("log", "export", str(tmp_path / "export"))
    for path in (tmp_path / "export").rglob("*"):
        assert path.is_dir() or b"kim@example.org" not in path.read_bytes()


def test_resolve_an_unknown_outcome_as_the_operator(remit: Command, story: Story) -> None:
    # The permit's deadline passed long ago; opening the folder records that its outcome is unknown.
    assert remit("workload", "list").exit_code == 0
    result = remit("log", "resolve", story["pay"][-6:], "--as", "not_executed", "--reason", "no such payment")
    assert result.exit_code == 0, result.stderr
    output = remit("log", "show", story["pay"]).output
    assert "not_executed" in output
    assert "no such payment" in output
    assert remit("verify").exit_code == 0
    again = remit("log", "resolve", story["pay"], "--as", "response", "--reason", "x")
    assert again.exit_code == 1


def test_follow_shows_what_is_appended_beside_a_writer(remit: Command, folder: Folder, story: Story) -> None:
    environment = {**os.environ, "REMIT_PROJECT": str(folder.root)}
    command = [sys.executable, "-m", "remit", "log", "--follow", "--json", "--last", "1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.3)
        assert remit("task", "suspend", story["answer"], "--reason", "look").exit_code == 0
        seen: list[dict[str, object]] = []
        while not seen or seen[-1]["result"] != "suspended":
            seen.append(json.loads(process.stdout.readline()))
        process.send_signal(2)
        try:
            assert process.wait(30) in (0, 130)
        finally:
            process.kill()
