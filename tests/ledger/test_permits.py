"""Permits and tasks whose records are in order byte by byte: what a service that lies would write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.story import (
    AGENT,
    NOON,
    OTHER,
    PEP,
    STARTER,
    TD,
    begin,
    found,
    only,
)

# --- permits ---------------------------------------------------------------------------------------------------------


def test_permit_after_the_end(tmp_path: Path) -> None:
    story = begin()
    story.task(state="completed")
    story.decision()
    only(tmp_path, story, "permits", "a permit is given while the task `t_1` is completed")


def test_permit_after_the_parents_end(tmp_path: Path) -> None:
    story = begin()
    story.task("t_1.1")
    story.task(state="cancelled")
    story.decision(task="t_1.1")
    only(tmp_path, story, "permits", "a permit is given while the task `t_1` is cancelled")


def test_permit_while_suspended(tmp_path: Path) -> None:
    story = begin()
    story.task(state="suspended")
    story.decision()
    story.task(state="open")
    story.decision()
    only(tmp_path, story, "permits", "a permit is given while the task `t_1` is suspended")


@pytest.mark.parametrize("late", [0, 7])
def test_permit_after_expiry(tmp_path: Path, late: int) -> None:
    story = begin()
    story.now = NOON + 3_600_000 + late
    story.decision()
    only(tmp_path, story, "permits", f"a permit is given {late} ms after the task `t_1` expired")


def test_stolen_task_handle(tmp_path: Path) -> None:
    story = begin()
    story.decision(subject=OTHER)
    only(tmp_path, story, "permits", f"`{OTHER}` is permitted under a task of `{AGENT}`")


def test_permit_without_task(tmp_path: Path) -> None:
    story = begin()
    story.decision(task="t_1.7")
    only(tmp_path, story, "decisions", "there is no task `t_1.7` in this session")


def test_denial_without_task(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny", task="")
    only(tmp_path, story, "decisions", "there is no task `` in this session")


@pytest.mark.parametrize(("holds", "ok"), [(1, True), (5000, True), (0, False), (5001, False)])
def test_permit_that_holds_too_long(tmp_path: Path, holds: int, ok: bool) -> None:
    story = begin()
    story.decision(expires=story.now + holds)
    expected = [] if ok else [("permits", f"the permit holds {holds} ms, not 1 to 5000")]
    assert found(tmp_path, story) == expected


def test_permit_outside_any_session(tmp_path: Path) -> None:
    story = begin()
    body = story.body_of(story.decision())
    story.append("administration", "decision", {**body, "id": "d_9"})
    only(tmp_path, story, "permits", "`payments/pay` is permitted outside any session")


@pytest.mark.parametrize(
    ("pep", "enforcement"), [(AGENT, "pep"), (PEP, "self"), (PEP, "")], ids=["agent-as-pep", "pep-as-self", "neither"]
)
def test_workload_as_enforcement_point(tmp_path: Path, pep: str, enforcement: str) -> None:
    story = begin()
    story.decision(pep=pep, enforcement=enforcement, serverEffect="read")
    [(check, said)] = [each for each in found(tmp_path, story) if each[0] != "facts"]
    assert check == "permits"
    assert said.startswith(f"enforcement is `{enforcement}` with `{pep}`")


def test_self_enforced_payment(tmp_path: Path) -> None:
    story = begin()
    story.decision(pep=AGENT, enforcement="self")
    only(tmp_path, story, "permits", "a workload that enforces itself is permitted to pay")


def test_self_started_payment(tmp_path: Path) -> None:
    story = begin()
    story.task("t_2", starter=AGENT)
    story.task("t_2.1", starter=STARTER)
    story.decision(root="t_2", serverEffect="read")
    story.decision(root="t_2", task="t_2.1")
    only(tmp_path, story, "permits", "a workload that started its own task is permitted to pay")


def test_permit_of_what_was_denied_outside_observe(tmp_path: Path) -> None:
    story = begin()
    story.decision(would="deny")
    only(tmp_path, story, "permits", "it permits what the policies denied, and not in mode `observe`")


def test_two_decisions_with_one_id(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny", id="d_0")
    story.decision("deny", id="d_0")
    only(tmp_path, story, "decisions", "the id `d_0` was given to an earlier decision")


# --- tasks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["completed", "cancelled", "expired"])
def test_task_reopened_after_its_end(tmp_path: Path, state: str) -> None:
    story = begin()
    story.now = NOON + 3_600_000
    story.task(state=state)
    story.task(state="open")
    only(tmp_path, story, "tasks", f"the task `t_1` is {state} and can't become open")


def test_task_opened_twice(tmp_path: Path) -> None:
    story = begin()
    story.task(expires=NOON + 10 * 3_600_000)
    only(tmp_path, story, "tasks", "the task `t_1` opens again")


def test_task_ended_that_never_opened(tmp_path: Path) -> None:
    story = begin()
    story.task("t_1.1", "completed")
    only(tmp_path, story, "tasks", "the task `t_1.1` becomes completed and was never opened")


def test_task_expired_early(tmp_path: Path) -> None:
    story = begin()
    story.task(state="expired")
    only(tmp_path, story, "tasks", "the task `t_1` expires 3599000 ms before its time")


def test_child_wider_than_its_parent_in_time(tmp_path: Path) -> None:
    story = begin()
    story.task("t_1.1", expires=NOON + 3_600_001)
    only(tmp_path, story, "tasks", "the child `t_1.1` lasts 1 ms longer than its parent")


def test_child_on_behalf_of_somebody_else(tmp_path: Path) -> None:
    story = begin()
    story.task("t_2", onBehalfOf=f"spiffe://{TD}/person/ann")
    story.task("t_2.1", onBehalfOf=f"spiffe://{TD}/person/ann")
    story.task("t_2.2", onBehalfOf=f"spiffe://{TD}/person/bob")
    only(tmp_path, story, "tasks", "the child `t_2.2` acts on behalf of another person than its parent")


@pytest.mark.parametrize("state", ["completed", "suspended"])
def test_child_of_a_task_that_is_not_open(tmp_path: Path, state: str) -> None:
    story = begin()
    story.task(state=state)
    story.task("t_1.1")
    only(tmp_path, story, "tasks", f"the child `t_1.1` opens while its parent is {state}")


def test_child_of_an_expired_task(tmp_path: Path) -> None:
    story = begin()
    story.now = NOON + 3_600_000
    story.task("t_1.1")
    only(tmp_path, story, "tasks", "the child `t_1.1` opens while its parent is expired")


def test_child_without_parent(tmp_path: Path) -> None:
    story = begin()
    story.task("t_1.1.1")
    only(tmp_path, story, "tasks", "the parent `t_1.1` of the task `t_1.1.1` was never opened")


def test_child_under_another_id(tmp_path: Path) -> None:
    story = begin()
    story.task("t_1.1")
    story.task("t_1.2", parent="t_1.1")
    only(tmp_path, story, "tasks", "the id of the child `t_1.2` does not continue its parent's, `t_1.1`")


def test_second_root_in_a_session(tmp_path: Path) -> None:
    story = begin()
    story.task("t_1.1", parent="", root="t_9")
    assert found(tmp_path, story) == [
        ("tasks", "the task `t_1.1` has no parent and is not the root of this stream"),
        ("tasks", "the task `t_1.1` names the root `t_9`"),
    ]


def test_task_without_workload(tmp_path: Path) -> None:
    story = begin()
    story.task("t_2", workload="")
    only(tmp_path, story, "tasks", "the task `t_2` opens without workload, starter, intent or expiry")


def test_permit_that_says_it_would_have_to_be_approved(tmp_path: Path) -> None:
    story = begin()
    asked = {"approvals": [{"policy": "p", "by": []}], "selectors": []}
    story.decision("deny", requestable=asked)
    permit = story.decision(requestable=asked)
    only(tmp_path, story, "decisions", f"the permit `{permit}` says that somebody would have to approve it")
