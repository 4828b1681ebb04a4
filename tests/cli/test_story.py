"""`remit task story` and `remit lineage`, as their users call them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.app.lineage import open_lineage
from tests.cli.desk import Command, Story
from tests.cli.test_terminal import on_terminal


def test_a_story_in_the_terminal(remit: Command, story: Story) -> None:
    shown = remit("task", "story", story["refund"][-6:], columns=80)
    assert shown.exit_code == 0, shown.output
    assert "✗ deny orders/refund too_large" in shown.output
    assert "by policies/limits.cedar:1 no-large-refunds" in shown.output
    assert "refund/once: 1 of 1 calls" in shown.output
    assert "\x1b" not in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80


def test_without_an_id_it_is_the_task_that_was_started_last(remit: Command, story: Story, fresh: Folder) -> None:
    assert story["answer"] in remit("task", "story").output
    assert remit("task", "story", story["answer"]).output == remit("task", "story").output
    assert "there are no records" in remit("task", "story", "--project", str(fresh.root)).output


def test_colours_on_a_terminal_only(folder: Folder, story: Story) -> None:
    assert "\x1b[" in on_terminal(folder.root, "task", "story", story["refund"])
    assert "\x1b[3" not in on_terminal(folder.root, "task", "story", story["refund"], NO_COLOR="1")


def test_a_story_is_told_whatever_is_wrong_with_the_settings(remit: Command, folder: Folder, story: Story) -> None:
    with (folder.root / "remit.toml").open("a") as file:
        file.write("\n[ledger]\nfolder = 5\n")
    assert "✗ deny orders/refund too_large" in remit("task", "story", story["refund"]).output
    assert remit("lineage", "A-1").exit_code == 0


def test_records_that_are_not_published_are_marked(remit: Command, folder: Folder, story: Story) -> None:
    with (folder.root / "remit.toml").open("a") as file:
        file.write('\n[ledger]\nfolder = ".remit/log"\n')
    shown = remit("task", "story", story["refund"]).output
    assert shown.count(" · pending") == 5
    assert "5 of these events pending" in shown


def test_a_story_as_json_and_as_a_page(remit: Command, story: Story, tmp_path: Path) -> None:
    found = json.loads(remit("task", "story", story["refund"], "--json").output)
    assert [event["id"] for event in found["events"] if event["result"] == "deny"] == [story["early"], story["large"]]
    page = tmp_path / "story.html"
    assert remit("task", "story", story["refund"], "--html", str(page)).exit_code == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "kim@example.org" not in text
    assert remit("task", "story", story["refund"], "--html", "-").output.startswith("<!doctype html>")
    assert remit("task", "story", story["refund"], "--html", str(page), "--personal").exit_code == 0
    assert "kim@example.org" in page.read_text("utf-8")


def test_a_page_that_cant_be_written_leaves_the_old_one(remit: Command, story: Story, tmp_path: Path) -> None:
    failed = remit("task", "story", story["refund"], "--html", str(tmp_path / "nowhere" / "story.html"))
    assert failed.exit_code == 1
    assert "error: can't use" in failed.output
    assert list(tmp_path.glob("*.html")) == []


def test_only_tasks_have_stories(remit: Command, story: Story) -> None:
    failed = remit("task", "story", story["look"])
    assert failed.exit_code == 1
    assert "is no task" in failed.output


@pytest.mark.parametrize("given", ["A-1", "  A-1\n"])
def test_a_lineage_by_argument_or_from_standard_input(remit: Command, given: str) -> None:
    said = remit("lineage", given, columns=80)
    assert said.exit_code == 0, said.output
    assert "● parameter order of refund" in said.output
    assert "─▶ orders/refund (order)  3 denied, 1 permitted  1 in another session" in said.output
    assert remit("lineage", "-", input=given, columns=80).output == said.output
    assert "not seen:" in said.output


def test_a_lineage_as_json_and_as_a_page(remit: Command, story: Story, tmp_path: Path) -> None:
    found = json.loads(remit("lineage", "20", "--json").output)
    assert {use["decision"] for use in found["uses"]} >= {story["early"], story["pay"]}
    assert all(use["name"] == "amount" for use in found["uses"])
    page = tmp_path / "lineage.html"
    assert remit("lineage", "kim@example.org", "--html", str(page), "--name", "the customer").exit_code == 0
    text = page.read_text("utf-8")
    assert "Where the customer came from and went to" in text
    assert "kim@example.org" not in text, "a page that holds the value would outlive its erasure"


def test_a_lineage_of_one_task_and_since_a_time(remit: Command, story: Story) -> None:
    found = json.loads(remit("lineage", "A-1", "--task", story["answer"][-6:], "--json").output)
    assert {use["task"] for use in found["uses"]} == {story["answer"]}
    assert json.loads(remit("lineage", "A-1", "--since", "1m", "--json").output)["uses"] == []
    assert len(json.loads(remit("lineage", "A-1", "--since", "1h", "--json").output)["uses"]) > 3


def test_the_value_is_nowhere_beside_the_records(remit: Command, folder: Folder) -> None:
    assert remit("lineage", "kim@example.org").exit_code == 0
    files = [folder.lineage, folder.lineage_key]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert b"kim@example.org" not in b"".join(file.read_bytes() for file in files)


def test_what_remit_erase_erases_is_gone_from_the_lineage(remit: Command, folder: Folder) -> None:
    assert "orders/look_up (email)" in remit("lineage", "kim@example.org").output
    with open_lineage(folder) as index:
        mac = index.mac("kim@example.org")
    assert mac in folder.lineage.read_bytes()
    erased = remit("erase", "--value", "kim@example.org", "--reason", "asked for", "--yes")
    assert erased.exit_code == 0, erased.output
    assert "no record that is kept holds this value" in remit("lineage", "kim@example.org").output
    assert mac not in folder.lineage.read_bytes()


@pytest.mark.parametrize(("given", "why"), [("", "this is no value"), ("x" * 300_000, "the value is over")])
def test_what_is_no_value(remit: Command, given: str, why: str) -> None:
    failed = remit("lineage", "-", input=given)
    assert failed.exit_code == 1
    assert why in failed.output


def test_before_the_first_start(fresh: Folder, remit: Command) -> None:
    failed = remit("lineage", "x", "--project", str(fresh.root))
    assert failed.exit_code == 1
    assert "there are no records" in failed.output
    assert not fresh.lineage.exists()
