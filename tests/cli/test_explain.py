"""`remit explain`: each clause with its value, each fact with source and age, and a trace that agrees or says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from remit.app import explaining
from tests.cli.desk import POLICY, Command, Story, command_in, make_history, write_project


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Story]:
    root = tmp_path_factory.mktemp("desk")
    folder = write_project(root)
    (root / "policies" / "looked.dw").write_text(
        '@id("looked-lately")\nforbid (principal, action == Remit::Action::"orders/refund", resource)\n'
        "unless temporal {\n"
        '  formerly within 1h Remit::Action::"orders/look_up"::response{ input.order: context.input.order }\n};\n'
    )
    return root, make_history(folder)


@pytest.fixture
def root(desk: tuple[Path, Story], tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(desk[0], copy, ignore=shutil.ignore_patterns("*.sock"))
    return copy


@pytest.fixture
def story(desk: tuple[Path, Story]) -> Story:
    return desk[1]


def explained(run: Command, *arguments: str) -> dict[str, Any]:
    result = run("explain", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["disagrees"] == ""
    return found


def policy(found: dict[str, Any], id_: str) -> dict[str, Any]:
    return next(each for each in found["levels"][0]["policies"] if each["id"] == id_)


def test_a_recorded_denial_shows_the_clause_that_refused_with_its_facts(root: Path, story: Story) -> None:
    found = explained(command_in(root), story["large"])
    assert (found["effect"], found["reason"], found["policies"]) == ("deny", "too_large", ["no-large-refunds"])
    refusing = policy(found, "no-large-refunds")["trace"]
    (condition,) = refusing["conditions"]
    assert (refusing["status"], condition["value"]) == ("matched", True)
    assert condition["parts"][0]["reads"] == "context.input.amount"
    amount = next(fact for fact in found["levels"][0]["facts"] if fact["path"] == "context.input.amount")
    assert amount["value"] == "600.0"
    assert "arguments" in amount["source"]


def test_facts_say_who_says_so_and_how_old_they_are(root: Path, story: Story) -> None:
    facts = {fact["path"]: fact for fact in explained(command_in(root), story["pay"])["levels"][0]["facts"]}
    assert "the starter" in facts["context.task.params.order"]["source"]
    assert 0 < facts["context.task.params.order"]["age"] < 10_000
    assert facts["context.task.intent"]["value"] == "refund"


def test_temporal_clauses_name_the_events_that_were_their_witnesses(root: Path, story: Story) -> None:
    found = explained(command_in(root), story["pay"])
    clause = policy(found, "looked-lately")["temporal"]["looked-lately/0"]
    assert (clause["text"], clause["holds"]) == ("formerly within 1h", True)
    (event,) = clause["parts"][0]["events"]
    assert (event["what"], event["decision"]) == ("orders/look_up response", story["look"])
    early = explained(command_in(root), story["early"])
    assert policy(early, "looked-lately")["temporal"]["looked-lately/0"]["holds"] is False


def test_a_decision_is_explained_by_the_policies_that_decided_then(root: Path, story: Story) -> None:
    (root / "policies" / "limits.cedar").write_text(POLICY.replace("500.00", "5000.00"))
    found = explained(command_in(root), story["large"])
    assert policy(found, "no-large-refunds")["trace"]["status"] == "matched"
    assert "another configuration" in found["note"]
    assert policy(found, "looked-lately")["temporal"] == {}


def test_a_question_is_explained_by_the_files_and_records_as_they_are(root: Path, story: Story) -> None:
    run = command_in(root)
    before = (root / ".remit" / "remit.db").read_bytes()
    question = ("orders/refund", "--task", story["refund"], "--param", "order=A-1", "--param", "amount=20")
    found = explained(run, *question)
    assert (found["kind"], found["effect"], found["reason"]) == ("now", "deny", "limit_reached")
    assert policy(found, "looked-lately")["temporal"]["looked-lately/0"]["holds"] is True
    supposed = explained(
        run, "orders/refund", "--intent", "refund", "--task-param", "order=A-1", "--task-param", "amount=30",
        "--param", "order=A-1", "--param", "amount=20", "--starter", "starter/desk",
    )  # fmt: skip
    assert (supposed["kind"], supposed["reason"]) == ("hypothetical", "out_of_order")
    assert (root / ".remit" / "remit.db").read_bytes() == before


def test_what_was_erased_is_unknown_and_never_taken_for_absent(root: Path, story: Story) -> None:
    run = command_in(root)
    with (root / "policies" / "limits.cedar").open("a") as policies:
        policies.write(
            '\n@id("not-kim")\nforbid (principal, action == Remit::Action::"orders/look_up", resource)\n'
            'when { context.input has email && context.input.email == "kim@example.org" };\n'
        )
    question = ("replay", "--json", "--task", story["refund"])
    assert json.loads(run(*question).stdout)["counts"]["newly denied"] == 1
    erased = run("erase", "--task", story["refund"], "--yes", "--reason", "asked for")
    assert erased.exit_code == 0, erased.output
    found = json.loads(run(*question).stdout)
    assert (found["counts"]["newly denied"], found["counts"]["not comparable"]) == (0, 1)
    facts = {fact["path"]: fact for fact in explained(run, story["look"])["levels"][0]["facts"]}
    assert "context.input.email" not in facts  # no policy that decided then read it


def test_the_tree_and_the_page_are_readable_and_nothing_recorded_drives_them(root: Path, story: Story) -> None:
    run = command_in(root)
    shown = run("explain", story["large"], columns=140).output
    assert "● forbid no-large-refunds matched  policies/limits.cedar:" in shown
    assert 'true  when context.input.amount.greaterThan(decimal("500.00"))' in shown
    assert "did not match:" in shown
    assert "did not match:" not in run("explain", story["large"], "--all").output
    page = run("explain", story["large"], "--html", "-").output
    assert "<script" not in page
    assert "no-large-refunds" in page
    assert "\x1b" not in shown + page


def test_a_trace_that_is_not_what_was_decided_says_so_loudly(
    root: Path, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(traces: Any) -> bool:
        list(traces)
        return True

    monkeypatch.setattr(explaining, "verdict", wrong)
    result = command_in(root)("explain", story["large"])
    assert result.exit_code == 1
    assert "THE TRACE DISAGREES: the trace says permit, and deny was decided" in result.output


def test_the_reference_engine_is_asked_too(root: Path, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    real = explaining.ENGINE.policies

    class Opposite:
        def __init__(self, *args: Any) -> None:
            self._policies = real(*args)

        def evaluate(self, asked: Any) -> Any:
            return [said._replace(permitted=not said.permitted) for said in self._policies.evaluate(asked)]

    monkeypatch.setattr(explaining, "ENGINE", type("E", (), {"policies": staticmethod(Opposite)}))
    result = command_in(root)("explain", story["large"])
    assert result.exit_code == 1
    assert "the reference engine says permit" in result.output


def test_what_can_not_be_explained_is_said(root: Path, story: Story) -> None:
    run = command_in(root)
    assert "give the id of a decision" in run("explain", story["refund"]).output
    assert run("explain", "d_nothing").exit_code == 1
    assert run("explain", "orders/refund").exit_code == 2
