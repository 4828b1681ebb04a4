"""What workloads' own streams say that they did: policies over all tasks are decided on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ledger.story import AGENT, NOON, OTHER, Story, begin, found, only

PAY = "payments/pay"
STREAM = f"workload/{AGENT}"
CLAUSES = "c" * 64


def event(decision: str, kind: str = "request", **more: Any) -> dict[str, Any]:
    """What happened, as a workload's stream says it."""
    task = more.pop("task", "t_1")
    return {
        "action": PAY, "decision": decision, "input": {}, "kind": kind, "subject": AGENT, "task": task, **more,
    }  # fmt: skip


def told() -> tuple[Story, str]:
    """A permit with its response, all of which the workload's stream tells."""
    story = begin()
    decision = story.decision()
    story.outcome(decision)
    story.append("administration", "watch", {"workloads": CLAUSES, "at": NOON})
    for kind in ("request", "permitted", "response"):
        story.append(STREAM, "event", event(decision, kind))
    return story, decision


def test_what_the_sessions_show_is_in_order(tmp_path: Path) -> None:
    story, _ = told()
    report = story.verify(tmp_path)
    assert (report.findings, report.checks["events"]) == ([], 3)


def test_events_from_before_a_policy_are_those_of_the_sessions_too(tmp_path: Path) -> None:
    story, decision = told()
    several = [event(decision, kind) | {"at": NOON} for kind in ("request", "permitted")]
    story.append(STREAM, "events", {"clauses": CLAUSES, "first": True, "events": several})
    assert found(tmp_path, story) == []


def test_attack_an_outcome_is_made_up_to_unlock_a_step(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.append(STREAM, "event", event(decision, "response"))
    only(tmp_path, story, "events", f"no session shows the `response` of the decision `{decision}`")


def test_attack_an_outcome_that_was_only_claimed_is_told_as_one(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.outcome(decision, standing="claimed", by=AGENT)
    story.append(STREAM, "event", event(decision, "response"))
    only(tmp_path, story, "events", f"no session shows the `response` of the decision `{decision}`")


def test_attack_a_denial_is_told_as_a_permit_to_use_a_limit_up(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision("deny")
    story.append(STREAM, "event", event(decision, "permitted"))
    only(tmp_path, story, "events", f"no session shows the `permitted` of the decision `{decision}`")


@pytest.mark.parametrize("what", [{"action": "payments/refund"}, {"task": "t_1.1"}])
def test_attack_a_decision_is_told_as_one_about_something_else(tmp_path: Path, what: dict[str, str]) -> None:
    story = begin()
    decision = story.decision()
    story.append(STREAM, "event", event(decision, **what))
    only(tmp_path, story, "events", f"the decision `{decision}` is about something else")


def test_attack_a_deed_stands_in_another_workload_s_stream(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.append(f"workload/{OTHER}", "event", event(decision))
    only(tmp_path, story, "events", f"it is about `{AGENT}`, whose stream this is not")
