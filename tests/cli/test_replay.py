"""`remit replay`: what a change would have denied or permitted, and what can't be said."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.desk import CATALOGUE, POLICY, REFUND, Command, Story, command_in, make_history, write_project


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Story]:
    root = tmp_path_factory.mktemp("desk")
    return root, make_history(write_project(root))


@pytest.fixture
def root(desk: tuple[Path, Story], tmp_path: Path) -> Path:
    """A copy of the project with its history, whose files a test may change."""
    copy = tmp_path / "project"
    shutil.copytree(desk[0], copy, ignore=shutil.ignore_patterns("*.sock"))
    return copy


@pytest.fixture
def story(desk: tuple[Path, Story]) -> Story:
    return desk[1]


def replayed(run: Command, *arguments: str) -> dict[str, Any]:
    result = run("replay", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def told(found: dict[str, Any]) -> dict[str, str]:
    return {change["id"]: change["category"] for change in found["changes"]}


def test_the_configuration_that_decided_changes_nothing(root: Path) -> None:
    found = replayed(command_in(root))
    assert found["counts"] == {"newly denied": 0, "newly permitted": 0, "changed": 0, "not comparable": 0}
    assert found["decisions"] == found["unchanged"] == 10  # two starts, five calls, three that were only counted
    assert "would have denied nothing" in found["summary"]


def test_a_stricter_policy_denies_what_was_permitted_and_says_which_one(root: Path, story: Story) -> None:
    proposed = root.parent / "proposed"
    proposed.mkdir()
    (proposed / "limits.cedar").write_text(POLICY.replace("500.00", "10.00"))
    found = replayed(command_in(root), "--policies", str(proposed))
    # Another policy forbids now, too, what had been denied.
    assert told(found)[story["early"]] == "changed"
    (change,) = [each for each in found["changes"] if each["category"] == "newly denied"]
    assert change["id"] == story["pay"]
    assert (change["before"]["reason"], change["after"]["reason"]) == ("permitted", "too_large")
    assert change["after"]["policies"] == ["no-large-refunds"]
    assert found["policies"] == [{"name": "no-large-refunds", "counts": {"newly denied": 1, "changed": 5}}]
    assert found["summary"].startswith("this change would have denied 1 call that was permitted, of 10 calls from ")


def test_a_milder_policy_permits_what_was_denied(root: Path, story: Story) -> None:
    (root / "policies" / "limits.cedar").write_text(POLICY.replace("500.00", "5000.00"))
    # The intent's own ceiling for the amount was the task's parameter of 700.
    assert told(replayed(command_in(root))) == {story["large"]: "newly permitted"}


def test_identical_denials_that_were_only_counted_weigh_as_many_calls(root: Path, story: Story) -> None:
    (root / "intents" / "refund.yaml").write_text(re.sub(r"order:\n  - .*\n", "", REFUND))
    found = replayed(command_in(root))
    assert told(found)[story["early"]] == "newly permitted"
    assert found["counts"]["newly permitted"] == 4


def test_limits_and_order_of_the_new_intents_are_worked_out_from_what_was_recorded(root: Path, story: Story) -> None:
    tighter = REFUND.replace("limits:", "limits:\n  - {name: one-look, actions: [orders/look_up], calls: 0}")
    (root / "intents" / "refund.yaml").write_text(tighter.replace("calls: 0", "calls: 1"))
    assert told(replayed(command_in(root))) == {}
    status = REFUND.replace("input.order: params.order}", "input.order: params.order, output.status: \"'closed'\"}")
    (root / "intents" / "refund.yaml").write_text(status)
    found = replayed(command_in(root))
    assert told(found)[story["pay"]] == "newly denied"
    assert next(c for c in found["changes"] if c["id"] == story["pay"])["after"]["reason"] == "out_of_order"


def test_with_cascade_what_would_have_been_denied_did_not_happen(root: Path, story: Story) -> None:
    forbid = '\n@id("no-looking")\nforbid (principal, action == Remit::Action::"orders/look_up", resource);\n'
    (root / "policies" / "limits.cedar").write_text(POLICY + forbid)
    run = command_in(root)
    assert told(replayed(run)) == {story["look"]: "newly denied"}
    # Without the look, the refund would have been out of order.
    assert told(replayed(run, "--cascade")) == {
        story["look"]: "newly denied",
        story["pay"]: "newly denied",
        story["large"]: "changed",
    }


def test_a_change_of_the_catalogue_changes_what_an_action_is(root: Path, story: Story) -> None:
    catalogue = root.parent / "catalogue"
    catalogue.mkdir()
    (catalogue / "orders.yaml").write_text(CATALOGUE.replace("effect: read", "effect: write"))
    found = replayed(command_in(root), "--catalogue", str(catalogue))
    # `answer` justifies reading only, and asked for a refund; `refund` names its actions.
    assert story["look"] not in told(found)
    gone = CATALOGUE[: CATALOGUE.index("  refund:")] + CATALOGUE[CATALOGUE.index("  purge:") :]
    (catalogue / "orders.yaml").write_text(gone)
    result = command_in(root)("replay", "--catalogue", str(catalogue))
    assert result.exit_code == 1  # the intents name what is not there
    assert "orders/refund" in result.output


def test_what_is_not_in_an_export_is_not_comparable_and_says_why(root: Path, story: Story, tmp_path: Path) -> None:
    run = command_in(root)
    export = tmp_path / "export"
    assert run("log", "export", str(export)).exit_code == 0
    assert told(replayed(run, "--from", str(export))) == {}
    with (root / "policies" / "limits.cedar").open("a") as policies:
        policies.write(
            '\n@id("known-customers")\nforbid (principal, action == Remit::Action::"orders/look_up", resource)\n'
            'when { context.input has email && context.input.email like "*@example.com" };\n'
        )
    assert told(replayed(run)) == {}  # the installation still has the address
    found = replayed(run, "--from", str(export))
    assert told(found) == {story["look"]: "not comparable"}
    (why,) = found["why"]
    assert "`input.email`" in why


def test_filters_choose_what_is_told_and_not_what_happened(root: Path, story: Story) -> None:
    (root / "policies" / "limits.cedar").write_text(POLICY.replace("500.00", "10.00"))
    run = command_in(root)
    assert replayed(run, "--task", story["answer"])["counts"]["newly denied"] == 0
    assert told(replayed(run, "--task", story["refund"]))[story["pay"]] == "newly denied"
    assert told(replayed(run, "--workload", "helper"))[story["pay"]] == "newly denied"
    assert replayed(run, "--workload", "nobody")["decisions"] == 0
    assert replayed(run, "--since", "1m")["decisions"] == 0
    assert replayed(run, "--until", "1h")["decisions"] == 0


def test_ci_fails_on_what_it_is_told_to_fail_on(root: Path) -> None:
    (root / "policies" / "limits.cedar").write_text(POLICY.replace("500.00", "10.00"))
    run = command_in(root)
    result = run("replay", "--fail-on", "newly-denied")
    assert result.exit_code == 1
    assert "this change would have denied 1 call that was permitted" in result.output
    assert run("replay", "--fail-on", "newly-permitted").exit_code == 0


def test_a_change_of_who_may_start_is_told_of_each_start(root: Path, story: Story) -> None:
    (root / "intents" / "refund.yaml").write_text(REFUND.replace("group:applications", "group:nobody"))
    found = replayed(command_in(root))
    assert told(found)[story["refund"]] == "newly denied"
    start = next(change for change in found["changes"] if change["id"] == story["refund"])
    assert (start["action"], start["after"]["reason"]) == ("task.start", "starter_not_listed")


def test_the_page_has_no_script_and_nothing_that_was_recorded_becomes_markup(root: Path, tmp_path: Path) -> None:
    evil = POLICY.replace("500.00", "10.00").replace("no-large-refunds", "no <b>large</b> refunds")
    (root / "policies" / "limits.cedar").write_text(evil)
    page = tmp_path / "page.html"
    result = command_in(root)("replay", "--html", str(page))
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "<script" not in text
    assert "no &lt;b&gt;large&lt;/b&gt; refunds" in text
    assert "would have denied 1 call" in text
    assert page.stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_while_it_replays(root: Path) -> None:
    before = (root / ".remit" / "remit.db").read_bytes()
    replayed(command_in(root))
    assert (root / ".remit" / "remit.db").read_bytes() == before


def test_records_from_the_middle_are_refused(root: Path, tmp_path: Path) -> None:
    run = command_in(root)
    export = tmp_path / "export"
    assert run("log", "export", str(export)).exit_code == 0
    manifest = json.loads((export / "export.json").read_text())
    session = next(each for each in manifest["streams"] if each["name"].startswith("session/"))
    file = export / "streams" / session["file"]
    file.write_bytes(b"\n".join(file.read_bytes().split(b"\n")[1:]))
    result = run("replay", "--from", str(export))
    assert result.exit_code == 1
    assert "does not follow from those before it" in result.output
    assert run("replay", "--from", str(tmp_path)).exit_code == 1
