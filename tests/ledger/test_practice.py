"""What a workload is said to have practised, and why the service acted, against what the sessions show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ledger.story import AGENT, NOON, OTHER, SERVICE, SESSION, STARTER, Story, begin, found, only, practice

DAY = NOON // 86_400_000
PAY = "payments/pay"
ONCE = {"tools": {PAY: 1}, "steps": {"": {PAY: 1}}}
STREAM = f"identity/{AGENT}"
SHOWS = "in 1 task tree on 2027-01-15, and the sessions show 0"


def learned(story: Story, day: int = DAY, who: str = AGENT, **items: Any) -> None:
    story.append(f"identity/{who}", "practice", practice(day, who, **items))


def completed(story: Story, **more: Any) -> str:
    """A permit and its believed response."""
    decision = story.decision(**more)
    story.outcome(decision)
    return decision


def messages(tmp_path: Path, story: Story) -> list[str]:
    checks = found(tmp_path, story)
    assert {check for check, _ in checks} <= {"practice"}
    return [message for _, message in checks]


# --- habits ----------------------------------------------------------------------------------------------------------


def test_what_was_completed_may_be_learned(tmp_path: Path) -> None:
    story = begin()
    completed(story, adds={"destination": "bank.example", "untrusted": False, "labels": []})
    completed(story)
    steps = {"": {PAY: 1}, PAY: {PAY: 1}}
    learned(story, tools={PAY: 1}, steps=steps, destinations={"bank.example": 1})
    assert found(tmp_path, story) == []


def test_a_habit_that_nothing_shows(tmp_path: Path) -> None:
    story = begin()
    learned(story, tools={PAY: 1})
    only(tmp_path, story, "practice", f"with this it has practised the tool `{PAY}` {SHOWS}")


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ({"would": "deny", "mode": "observe"}, {}),
        ({}, {"result": "error"}),
        ({}, {"result": "not_executed"}),
        ({}, {"standing": "claimed", "by": AGENT}),
        ({}, {"started": NOON + 3_000_000, "late": True}),
    ],
)
def test_what_does_not_count_teaches_nothing(tmp_path: Path, what: dict[str, Any], outcome: dict[str, Any]) -> None:
    story = begin()
    story.outcome(story.decision(**what), **outcome)
    learned(story, **ONCE)
    assert len(messages(tmp_path, story)) == 2


def test_one_task_tree_teaches_once_however_often_it_acts(tmp_path: Path) -> None:
    story = begin()
    for _ in range(3):
        completed(story)
    story.task("t_1.1")
    completed(story, task="t_1.1")
    learned(story, tools={PAY: 1})
    learned(story, tools={PAY: 1})
    said = f"with this it has practised the tool `{PAY}` in 2 task trees on 2027-01-15, and the sessions show 1"
    assert messages(tmp_path, story) == [said]


def test_another_day_than_it_was_completed_on(tmp_path: Path) -> None:
    story = begin()
    completed(story)
    learned(story, DAY - 1, tools={PAY: 1})
    assert len(messages(tmp_path, story)) == 1


@pytest.mark.parametrize(("after", "findings"), [(1_999, 0), (2_000, 1)])
def test_an_outcome_just_after_midnight_may_belong_to_the_day_before(tmp_path: Path, after: int, findings: int) -> None:
    story = begin()
    del story.streams[SESSION]
    story.now = (DAY + 1) * 86_400_000 + after
    story.task(expires=story.now + 60_000)
    completed(story)
    learned(story, DAY, tools={PAY: 1})
    assert len(messages(tmp_path, story)) == findings


def test_a_day_to_come(tmp_path: Path) -> None:
    story = begin()
    completed(story)
    learned(story, DAY + 1, tools={PAY: 1})
    only(tmp_path, story, "practice", "it tells of 2027-01-16, a day that had not come")


@pytest.mark.parametrize("more", [{"emergency": True}, {"starter": AGENT}])
def test_emergencies_and_tasks_of_its_own_teach_nothing(tmp_path: Path, more: dict[str, Any]) -> None:
    story = begin()
    del story.streams[SESSION]
    story.now = NOON
    story.task(**more)
    completed(story, serverEffect="read")
    learned(story, **ONCE)
    assert len(messages(tmp_path, story)) == 2


def test_what_was_read_before_may_have_named_the_destination(tmp_path: Path) -> None:
    story = begin()
    story.decision(adds={"untrusted": True})
    completed(story, adds={"destination": "evil.example"})
    learned(story, destinations={"evil.example": 1})
    only(tmp_path, story, "practice", f"with this it has practised the destination `evil.example` {SHOWS}")


def test_a_fixed_destination_is_named_by_nothing_that_was_read(tmp_path: Path) -> None:
    story = begin()
    story.decision(adds={"untrusted": True})
    completed(story, adds={"destination": "bank.example", "fixed": True})
    learned(story, destinations={"bank.example": 1})
    assert found(tmp_path, story) == []


def test_nothing_is_learned_in_quarantine(tmp_path: Path) -> None:
    story = begin()
    decision = story.decision()
    story.now += 5
    story.identity(AGENT, "quarantined")
    story.now += 5
    story.outcome(decision)
    learned(story, tools={PAY: 1})
    assert sorted(messages(tmp_path, story)) == [
        f"something is learned, and `{AGENT}` was quarantined",
        f"with this it has practised the tool `{PAY}` {SHOWS}",
    ]


def test_a_habit_in_the_stream_of_another(tmp_path: Path) -> None:
    story = begin()
    completed(story)
    story.append(f"identity/{OTHER}", "practice", practice(DAY, **ONCE))
    only(tmp_path, story, "practice", f"it is about `{AGENT}`, whose stream this is not")


def test_the_habits_of_another(tmp_path: Path) -> None:
    story = begin()
    completed(story)
    learned(story, who=OTHER, **ONCE)
    assert len(messages(tmp_path, story)) == 2


def test_a_forgetting_in_the_stream_of_another(tmp_path: Path) -> None:
    story = begin()
    body = {"id": AGENT, "everything": True, "tools": [], "destinations": [], "by": STARTER, "reason": ""}
    story.append(f"identity/{OTHER}", "forgotten", body)
    only(tmp_path, story, "identities", f"it is about `{AGENT}`, whose stream this is not")


# --- novelty that decisions state ------------------------------------------------------------------------------------


def stated(tool: int, step: int, **more: Any) -> dict[str, Any]:
    return {"novelty": {"tool": tool, "step": step, "isLearning": False, "days": 9, **more}}


def test_novelty_that_was_learned(tmp_path: Path) -> None:
    story = begin()
    completed(story)
    learned(story, **ONCE)
    story.decision(context=stated(90, 100))
    assert found(tmp_path, story) == []


def test_a_tool_that_is_called_habitual_and_never_was_practised(tmp_path: Path) -> None:
    story = begin()
    story.decision(context=stated(0, 100))
    only(tmp_path, story, "practice", f"it calls the tool `{PAY}` 0 novel, and nothing was practised of it before")


def test_a_habit_that_was_learned_only_later(tmp_path: Path) -> None:
    story = begin()
    completed(story)
    story.decision(context=stated(90, 100))
    story.now += 1
    learned(story, **ONCE)
    assert len(messages(tmp_path, story)) == 1


@pytest.mark.parametrize(
    ("novelty", "kind"),
    [(stated(101, 100), "tool"), (stated(100, -1), "step"), ({"novelty": {"tool": 100}}, "step"),
     (stated(100, 100, destination=True), "destination")],
)  # fmt: skip
def test_novelty_that_is_no_number(tmp_path: Path, novelty: dict[str, Any], kind: str) -> None:
    story = begin()
    story.decision(context=novelty)
    only(tmp_path, story, "practice", f"its novelty of the {kind} is no number from 0 to 100")


# --- what the service does by itself ----------------------------------------------------------------------------------


def signal(story: Story, **more: Any) -> dict[str, Any]:
    return {
        "id": AGENT,
        "signal": "novelty",
        "value": 80,
        "source": "",
        "expires": story.now + 1000,
        "by": SERVICE,
        **more,
    }


def test_a_signal_names_the_decision_that_raised_it(tmp_path: Path) -> None:
    story = begin()
    denial = story.decision("deny")
    story.append(STREAM, "risk", signal(story, decision=denial))
    story.identity(AGENT, "quarantined", by=SERVICE, signal="novelty")
    assert found(tmp_path, story) == []


def test_a_signal_without_a_cause(tmp_path: Path) -> None:
    story = begin()
    story.append(STREAM, "risk", signal(story))
    only(tmp_path, story, "causes", "the service raises `novelty` and names no decision")


def test_a_signal_with_a_cause_that_is_not_there(tmp_path: Path) -> None:
    story = begin()
    story.append(STREAM, "risk", signal(story, decision="d_nothing"))
    only(tmp_path, story, "causes", "it names `d_nothing`, a decision that is not here")


def test_a_signal_for_what_another_did(tmp_path: Path) -> None:
    story = begin()
    denial = story.decision("deny", subject=OTHER)
    story.append(STREAM, "risk", signal(story, decision=denial))
    only(tmp_path, story, "causes", f"it names `{denial}`, a decision about `{OTHER}`")


def test_a_signal_before_its_cause(tmp_path: Path) -> None:
    story = begin()
    story.append(STREAM, "risk", signal(story, decision="d_1"))
    story.now += 1
    story.decision("deny")
    only(tmp_path, story, "causes", "it names `d_1`, which was decided only later")


@pytest.mark.parametrize("more", [{"value": 0}, {"expires": NOON}, {"signal": "denials"}])
def test_a_quarantine_by_the_service_without_a_live_signal(tmp_path: Path, more: dict[str, Any]) -> None:
    story = begin()
    denial = story.decision("deny")
    story.append(STREAM, "risk", signal(story, decision=denial, **more))
    story.identity(AGENT, "quarantined", by=SERVICE, signal="novelty")
    only(tmp_path, story, "causes", "the service makes it quarantined, and no signal `novelty` lives")


def test_a_suspension_by_the_service_names_a_denial(tmp_path: Path) -> None:
    story = begin()
    denial = story.decision("deny")
    story.task(state="suspended", by=SERVICE, reason="", decision=denial)
    assert found(tmp_path, story) == []


@pytest.mark.parametrize("named", ["", "d_nothing", "d_1"])
def test_a_suspension_by_the_service_without_a_denial(tmp_path: Path, named: str) -> None:
    story = begin()
    story.decision()
    story.task(state="suspended", by=SERVICE, reason="", decision=named)
    only(tmp_path, story, "causes", "the service suspends `t_1`, and no denial before it says why")
