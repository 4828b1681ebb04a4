"""Outcomes, resolutions and counted denials: what a service that lies would write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.story import (
    AGENT,
    NOON,
    OTHER,
    PEP,
    SESSION,
    STARTER,
    Story,
    begin,
    found,
    only,
)

# --- outcomes --------------------------------------------------------------------------------------------------------


def test_outcome_forged_by_the_workload(tmp_path: Path) -> None:
    story = begin()
    story.outcome(story.decision(), by=AGENT)
    only(tmp_path, story, "outcomes", f"the outcome by `{AGENT}` is believed, which is the workload itself")


def test_outcome_by_another_enforcement_point(tmp_path: Path) -> None:
    story = begin()
    story.outcome(story.decision(), by=OTHER)
    said = f"the outcome by `{OTHER}` is believed, which is not the enforcement point that asked"
    only(tmp_path, story, "outcomes", said)


def test_outcome_of_a_workload_that_enforces_itself_is_believed(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision(pep=AGENT, enforcement="self", serverEffect="read")
    story.outcome(decision, by=AGENT)
    only(tmp_path, story, "outcomes", f"the outcome by `{AGENT}` is believed, which is the workload itself")


def test_outcome_for_other_arguments(tmp_path: Path) -> None:
    story = begin()
    story.outcome(story.decision(), digest="0" * 64)
    only(tmp_path, story, "outcomes", "it quotes another digest than the permit `d_1`")


def test_outcome_without_permit(tmp_path: Path) -> None:
    story = begin()
    story.outcome("d_9")
    only(tmp_path, story, "outcomes", "there is no permit `d_9` before it")


def test_outcome_of_a_denial(tmp_path: Path) -> None:
    story = begin()
    story.outcome(story.decision("deny"))
    only(tmp_path, story, "outcomes", "there is no permit `d_1` before it")


def test_outcome_in_another_session(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.task("t_2")
    story.outcome(decision, root="t_2")
    only(tmp_path, story, "outcomes", "there is no permit `d_1` before it")


def test_two_believed_outcomes(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.outcome(decision)
    story.outcome(decision, "not_executed")
    said = "the outcome of `d_1` was told by its enforcement point before; it is response"
    only(tmp_path, story, "outcomes", said)


def test_permit_used_after_it_had_run_out(tmp_path: Path) -> None:
    story = begin()
    first, second = story.decision(), story.decision()
    story.now += 5001
    story.outcome(first, late=True)
    story.outcome(second)
    report = story.verify(tmp_path)
    assert report.late == 2
    said = "the action began 1 ms after its permit had run out, and is not called late"
    assert [finding.message for finding in report.findings] == [said]


def test_claimed_outcomes_coexist(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    for result in ("response", "error", "response"):
        story.outcome(decision, result, standing="claimed", by=AGENT)
    story.outcome(decision)
    story.outcome(decision, standing="claimed", by=AGENT)
    assert found(tmp_path, story) == []


def test_outcome_of_the_enforcement_point_played_down(tmp_path: Path) -> None:
    story = begin()
    story.outcome(story.decision(), standing="claimed")
    only(tmp_path, story, "outcomes", f"the outcome of the enforcement point `{PEP}` is only claimed")


def test_unknown_before_the_deadline(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.now += 119_999
    story.outcome(decision, "unknown")
    only(tmp_path, story, "outcomes", "the permit `d_1` becomes unknown 1 ms too early")


@pytest.mark.parametrize("by", [AGENT, PEP])
def test_unknown_by_somebody_else(tmp_path: Path, by: str) -> None:
    story = begin()
    decision = story.decision()
    story.now += 120_000
    story.outcome(decision, "unknown", by=by)
    only(tmp_path, story, "outcomes", f"`{by}` makes the permit `d_1` unknown, which only the service may")


def test_unknown_after_the_outcome(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.outcome(decision)
    story.now += 120_000
    story.outcome(decision, "unknown")
    only(tmp_path, story, "outcomes", "the permit `d_1` becomes unknown, and was response")


# --- resolutions and denials -----------------------------------------------------------------------------------------


def resolve(story: Story, decision: str, by: str = STARTER) -> None:
    story.append(SESSION, "resolution", {"decision": decision, "result": "response", "by": by, "reason": "seen"})


def unknown(story: Story) -> str:
    decision = story.decision()
    story.now += 120_000
    story.outcome(decision, "unknown")
    return decision


def test_resolution_of_an_open_permit(tmp_path: Path) -> None:
    story = begin()
    resolve(story, story.decision())
    only(tmp_path, story, "resolutions", "the outcome of `d_1` is open, not unknown")


def test_resolution_without_permit(tmp_path: Path) -> None:
    story = begin()
    resolve(story, "d_9")
    only(tmp_path, story, "resolutions", "there is no permit `d_9` before it")


def test_resolution_by_the_workload(tmp_path: Path) -> None:
    story = begin()
    resolve(story, unknown(story), AGENT)
    only(tmp_path, story, "resolutions", f"the workload `{AGENT}` resolves its own permit")


def test_outcome_after_a_resolution(tmp_path: Path) -> None:
    story = begin()
    decision = unknown(story)
    resolve(story, decision)
    story.outcome(decision, "error", started=NOON)
    only(tmp_path, story, "outcomes", "the outcome of `d_1` was told by an operator before; it is response")


def test_two_resolutions(tmp_path: Path) -> None:
    story = begin()
    decision = unknown(story)
    resolve(story, decision)
    resolve(story, decision)
    only(tmp_path, story, "resolutions", "the outcome of `d_1` is response, not unknown")


@pytest.mark.parametrize("stream", [SESSION, f"identity/{AGENT}"])
def test_counted_denials_of_nothing(tmp_path: Path, stream: str) -> None:
    story = begin()
    permit = story.decision()
    story.append(stream, "denials", {"decision": permit, "count": 2})
    only(tmp_path, story, "denials", f"there is no denial `{permit}` before it")
