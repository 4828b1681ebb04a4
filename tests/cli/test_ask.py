"""`remit ask`: general questions from the command line, answered by the files of the folder alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.desk import Command, command_in

EXAMPLES = Path(__file__).parents[2] / "examples" / "authzen"


@pytest.fixture
def ask(tmp_path: Path) -> Command:
    folder = tmp_path / "search"
    shutil.copytree(EXAMPLES / "search", folder, ignore=shutil.ignore_patterns(".remit"))
    return command_in(folder)


def test_a_permit_says_which_policies_and_where(ask: Command, tmp_path: Path) -> None:
    result = ask("ask", "user/alice", "edit", "record/101")
    assert result.exit_code == 0, result.stderr
    for part in ("permit  edit", "owners-do-anything  policies/records.cedar:3", "user/alice", "record/101"):
        assert part in result.output, part
    assert not (tmp_path / "search/.remit").exists()


def test_a_deny_says_what_would_help(ask: Command) -> None:
    result = ask("ask", "user/bob", "edit", "record/117")
    assert result.exit_code == 1
    for part in ("deny  edit", "no_policy_permits", "next: "):
        assert part in result.output, part


def test_properties_are_json_or_text(ask: Command) -> None:
    text = ask(
        "ask", "user/zoe", "view", "record/101", "--subject", "department=Legal", "--subject", "role=1", "--json"
    )
    assert "role" in text.stderr
    good = ask(
        "ask", "user/zoe", "view", "record/101", "--subject", "department=Legal", "--subject", 'role="guest"', "--json"
    )
    assert json.loads(good.output)["decision"] is True


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["user", "edit", "record/101"], ["alice"]),
        (["user/carol", "delete", "record"], ["103", "109", "115"]),
        (["user/alice", "record/101"], ["view", "edit", "delete"]),
        (["user/nobody", "record/101"], []),
    ],
)
def test_what_is_left_out_is_searched_for(ask: Command, words: list[str], found: list[str]) -> None:
    result = ask("ask", *words)
    assert result.stdout.split() == found
    assert result.exit_code == (0 if found else 1)
    shown = json.loads(ask("ask", *words, "--json").output)
    assert (shown["results"], shown["complete"]) == (found, True)


def test_a_search_shows_so_many_and_says_that_there_is_more(ask: Command) -> None:
    result = ask("ask", "user/carol", "delete", "record", "--most", "2")
    assert (result.stdout.split(), result.exit_code) == (["103", "109"], 0)
    assert "there is more" in result.stderr
    assert json.loads(ask("ask", "user/carol", "delete", "record", "--most", "2", "--json").output)["complete"] is False


def test_a_search_that_is_not_exact_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "todo"
    shutil.copytree(EXAMPLES / "todo", folder, ignore=shutil.ignore_patterns(".remit"))
    words = ("user/CiRmZDM2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "can_read_user", "user")
    result = command_in(folder)("ask", *words)
    assert len(result.stdout.split()) == 5
    assert "not exact: a `user` that is in no file" in result.stderr
    assert json.loads(command_in(folder)("ask", *words, "--json").output)["exact"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a question has a subject, an action and a resource"),
        (["user/alice"], "a question has a subject"),
        (["user/alice", "view", "record/1", "more"], "a question has a subject"),
        (["user", "view", "record"], "leaves out subject and resource"),
        (["user", "record/1"], "leaves out subject and action"),
        (["/alice", "view", "record/1"], "names no type"),
        (["user/alice", "view", "record/1", "--subject", "x"], "is not name=value"),
        (["Remit::Workload/x", "view", "record/1"], "is Remit's own"),
    ],
)
def test_what_is_no_question(ask: Command, words: list[str], message: str) -> None:
    result = ask("ask", *words)
    assert result.exit_code == 1
    assert message in result.stderr


def test_ids_may_have_slashes(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    shutil.copytree(EXAMPLES / "api-gateway", folder, ignore=shutil.ignore_patterns(".remit"))
    result = command_in(folder)("ask", "identity", "POST", "route//todos", "--json")
    assert len(json.loads(result.output)["results"]) == 3
