"""The meaning of records whose bytes, numbers and links are all in order: what a service that lies would write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remit.core import canonical
from tests.ledger.story import (
    AGENT,
    CONFIG,
    NOON,
    OTHER,
    PARTS,
    PEP,
    ROOT,
    SERVICE,
    SESSION,
    STARTER,
    TD,
    Story,
    begin,
)

Attack = Callable[[Story], object]


def found(tmp_path: Path, story: Story) -> list[tuple[str, str]]:
    """The findings' checks and messages."""
    return [(finding.check, finding.message) for finding in story.verify(tmp_path).findings]


def only(tmp_path: Path, story: Story, check: str, said: str) -> None:
    """There is one finding, of this check, and it says this."""
    assert found(tmp_path, story) == [(check, said)]


# --- permits ------------------------------------------------------------------------------------------------


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
    [(check, said)] = found(tmp_path, story)
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


# --- tasks --------------------------------------------------------------------------------------------------


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


# --- limits -------------------------------------------------------------------------------------------------

ONCE = {"name": "pay-invoice/once", "calls": 1, "atMost": None}
TOTAL = {"name": "pay-invoice/total#sum", "calls": None, "atMost": "25.50"}


def spending(*limits: dict[str, Any], **more: Any) -> Story:
    story = begin()
    story.task("t_1.1", limits=list(limits), **more)
    return story


def pay(story: Story, amount: str = "1", limit: str = "pay-invoice/once", **more: Any) -> str:
    return story.decision(**{"task": "t_1.1", "usage": {limit: amount}, **more})


def test_call_over_the_limit(tmp_path: Path) -> None:
    story = spending(ONCE)
    pay(story)
    pay(story)
    only(tmp_path, story, "limits", "the limit `pay-invoice/once` of `t_1.1` is 1, and 2 is spent with this")


def test_amount_over_the_limit(tmp_path: Path) -> None:
    story = spending(TOTAL)
    pay(story, "25.5", "pay-invoice/total#sum")
    pay(story, "0.000000001", "pay-invoice/total#sum")
    said = "the limit `pay-invoice/total#sum` of `t_1.1` is 25.5, and 25.500000001 is spent with this"
    only(tmp_path, story, "limits", said)


def test_sums_are_exact(tmp_path: Path) -> None:
    story = spending({**TOTAL, "atMost": "1000000000000000000000000.3"})
    for amount in ("1000000000000000000000000", "0.1", "0.1", "0.1"):
        pay(story, amount, "pay-invoice/total#sum")
    assert found(tmp_path, story) == []


def test_limit_of_a_parameter(tmp_path: Path) -> None:
    story = spending({**TOTAL, "atMost": "params.most"}, params={"most": "10"})
    pay(story, "10.00", "pay-invoice/total#sum")
    pay(story, "0.01", "pay-invoice/total#sum")
    [(check, said)] = found(tmp_path, story)
    assert (check, "is 10, and 10.01 is spent" in said) == ("limits", True)


def test_limit_of_a_concealed_parameter_is_said_to_be_unchecked(tmp_path: Path) -> None:
    story = spending({**TOTAL, "atMost": "params.most"}, params={"most": {"commitment": "0" * 64}})
    pay(story, "10.00", "pay-invoice/total#sum")
    report = story.verify(tmp_path)
    assert report.findings == []
    assert report.unchecked == {"limits whose bound is a concealed parameter": 1}


@pytest.mark.parametrize("bound", ["params.none", "many", "1e9", "NaN", ""])
def test_limit_that_is_no_number(tmp_path: Path, bound: str) -> None:
    story = spending({**TOTAL, "atMost": bound})
    said = "the bound of the limit `pay-invoice/total#sum` is not a decimal number"
    only(tmp_path, story, "limits", said)


@pytest.mark.parametrize("limit", [{"name": "a/b"}, {"name": "a/b", "calls": 1, "atMost": "1"}])
def test_limit_that_bounds_nothing(tmp_path: Path, limit: dict[str, Any]) -> None:
    only(tmp_path, spending(limit), "limits", "the limit `a/b` bounds neither calls nor a sum, or both")


@pytest.mark.parametrize("amount", ["-10", "ten", "1e3", "", "1.0000000001", "٣"])
def test_negative_amount(tmp_path: Path, amount: str) -> None:
    story = spending(TOTAL)
    pay(story, amount, "pay-invoice/total#sum")
    said = f"the amount `{amount}` for `pay-invoice/total#sum` is not a decimal number of 0 or more"
    only(tmp_path, story, "limits", said)


def test_call_that_counts_as_nothing(tmp_path: Path) -> None:
    story = spending(ONCE)
    pay(story, "0")
    only(tmp_path, story, "limits", "the permit counts 0 calls against the limit `pay-invoice/once`")


@pytest.mark.parametrize("covers", [{"actions": ["payments/pay"]}, {"effects": ["pay"]}])
def test_permit_that_does_not_count(tmp_path: Path, covers: dict[str, Any]) -> None:
    story = spending({**ONCE, **covers})
    story.decision(task="t_1.1")
    only(tmp_path, story, "limits", "the permit does not count against the limit `pay-invoice/once`")


def test_permit_that_counts_less_than_its_argument(tmp_path: Path) -> None:
    story = spending({**TOTAL, "sum": "input.amount"})
    pay(story, "1.00", "pay-invoice/total#sum")
    said = "the permit counts 1 against `pay-invoice/total#sum`, which is not `input.amount`"
    only(tmp_path, story, "limits", said)


def test_concealed_amount_is_said_to_be_unchecked(tmp_path: Path) -> None:
    story = spending({**TOTAL, "sum": "input.amount"})
    pay(story, "1", "pay-invoice/total#sum", context={"input": {"amount": {"commitment": "0" * 64}}})
    assert story.verify(tmp_path).unchecked == {"amounts that are concealed arguments": 1}


def test_permit_against_a_limit_of_its_own(tmp_path: Path) -> None:
    story = spending(ONCE)
    pay(story, "1", "pay-invoice/other")
    said = "the permit counts against `pay-invoice/other`, which is no limit of its task or those above"
    only(tmp_path, story, "limits", said)


def test_children_share_the_limit_of_their_parent(tmp_path: Path) -> None:
    story = spending(ONCE)
    for child in ("t_1.1.1", "t_1.1.2"):
        story.task(child)
        pay(story, task=child)
    [(check, _)] = found(tmp_path, story)
    assert check == "limits"


@pytest.mark.parametrize(
    ("effect", "result", "released"),
    [
        ("pay", "not_executed", True),
        ("pay", "error", False),
        ("pay", "unknown", False),
        ("pay", "response", False),
        ("read", "not_executed", True),
        ("read", "error", True),
        ("read", "unknown", True),
        ("read", "response", False),
    ],
)
def test_what_gives_a_limit_back(tmp_path: Path, effect: str, result: str, released: bool) -> None:
    story = spending(ONCE)
    first = pay(story, serverEffect=effect)
    story.now += 120_000 if result == "unknown" else 0
    story.outcome(first, result)
    pay(story, serverEffect=effect)
    assert [check for check, _ in found(tmp_path, story)] == ([] if released else ["limits"])


def test_claimed_outcome_gives_nothing_back(tmp_path: Path) -> None:
    story = spending(ONCE)
    first = pay(story)
    story.outcome(first, "not_executed", standing="claimed", by=AGENT)
    pay(story)
    assert [check for check, _ in found(tmp_path, story)] == ["limits"]


def test_resolution_gives_a_limit_back(tmp_path: Path) -> None:
    story = spending(ONCE)
    first = pay(story)
    story.now += 120_000
    story.outcome(first, "unknown")
    story.append(SESSION, "resolution", {"decision": first, "result": "not_executed", "by": STARTER, "reason": ""})
    pay(story)
    assert found(tmp_path, story) == []


def test_late_response_of_a_read_is_spent_again(tmp_path: Path) -> None:
    story = spending({**ONCE, "calls": 2})
    first = pay(story, serverEffect="read")
    story.now += 120_000
    story.outcome(first, "unknown")
    pay(story, serverEffect="read")
    story.outcome(first, "response", started=NOON)
    pay(story, serverEffect="read")
    [(check, said)] = found(tmp_path, story)
    assert (check, "is 2, and 3 is spent" in said) == ("limits", True)


@pytest.mark.parametrize("enforced", [False, True])
def test_observed_permit_may_exceed_and_still_counts(tmp_path: Path, enforced: bool) -> None:
    story = spending(ONCE)
    pay(story, mode="observe", would="deny")
    pay(story, mode="observe", would="deny")
    if enforced:
        pay(story)
    assert [check for check, _ in found(tmp_path, story)] == (["limits"] if enforced else [])


# --- idempotency --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["1" * 64, "2" * 64])
def test_one_key_for_two_permits(tmp_path: Path, digest: str) -> None:
    story = begin()
    story.decision("deny", idempotencyKey="k" * 64, digest="3" * 64)
    story.decision(idempotencyKey="k" * 64, digest="1" * 64)
    story.decision(idempotencyKey="k" * 64, digest=digest)
    only(tmp_path, story, "idempotency", f"the key `{'k' * 16}…` was permitted before, as `d_2`")


# --- identities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [AGENT, PEP])
@pytest.mark.parametrize("state", ["quarantined", "retired"])
def test_quarantine_in_the_middle_of_a_task(tmp_path: Path, who: str, state: str) -> None:
    story = begin()
    story.decision()
    story.identity(who, state)
    story.now += 1
    story.decision("deny")
    story.decision()
    only(tmp_path, story, "quarantine", f"a permit is given, and `{who}` was {state}")


def test_permits_before_and_after_a_quarantine(tmp_path: Path) -> None:
    story = begin()
    story.decision()
    story.now += 5
    story.identity(AGENT, "quarantined")
    story.now += 5
    story.identity(AGENT, "active")
    story.decision()
    assert found(tmp_path, story) == []


def test_permit_in_the_millisecond_of_the_quarantine(tmp_path: Path) -> None:
    story = begin()
    story.decision()
    story.identity(AGENT, "quarantined")
    story.decision()
    assert found(tmp_path, story) == []


def test_permit_of_an_unregistered_workload(tmp_path: Path) -> None:
    story = begin()
    del story.streams[f"identity/{AGENT}"]
    story.decision()
    only(tmp_path, story, "quarantine", f"a permit is given, and `{AGENT}` is not registered in this export")


def test_permit_before_registration(tmp_path: Path) -> None:
    story = begin()
    del story.streams[f"identity/{AGENT}"]
    story.decision()
    story.now += 1
    story.identity(AGENT)
    only(tmp_path, story, "quarantine", f"a permit is given, and `{AGENT}` was registered only later")


def test_retired_identity_comes_back(tmp_path: Path) -> None:
    story = begin()
    story.identity(OTHER, "retired")
    story.identity(OTHER, "active")
    only(tmp_path, story, "identities", "it makes a retired identity active")


def test_registration_in_the_stream_of_another(tmp_path: Path) -> None:
    story = begin()
    registration = {"id": OTHER, "state": "active"}
    story.append(f"identity/{AGENT}", "identity", {"registration": registration, "by": STARTER, "reason": ""})
    only(tmp_path, story, "identities", f"it registers `{OTHER}`, whose stream this is not")


def test_risk_in_the_stream_of_another(tmp_path: Path) -> None:
    story = begin()
    risk = {"id": OTHER, "signal": "edr", "value": 1, "source": "edr", "expires": 0}
    story.append(f"identity/{AGENT}", "risk", risk)
    only(tmp_path, story, "identities", f"the signal is about `{OTHER}`, whose stream this is not")


# --- configuration ------------------------------------------------------------------------------------------


def test_decision_under_an_unrecorded_configuration(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny", config="0" * 64)
    only(tmp_path, story, "configuration", "the configuration `0000000000000000…` was never recorded")


def test_decision_under_a_later_configuration(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny")
    del story.streams["administration"]
    story.now += 1
    story.configure()
    only(tmp_path, story, "configuration", f"the configuration `{CONFIG[:16]}…` was recorded only later")


def test_configuration_with_other_parts(tmp_path: Path) -> None:
    story = begin()
    story.append("administration", "configuration", {"config": "0" * 64, **PARTS})
    only(tmp_path, story, "configuration", "the digest `0000000000000000…` is not that of its parts")


def test_configuration_without_its_text(tmp_path: Path) -> None:
    story = begin()
    parts = {"policies": "0" * 64}
    story.append("administration", "configuration", {"config": canonical.digest(parts), **parts})
    only(tmp_path, story, "texts", "the text of the policies `0000000000000000…` is not in the export")


# --- outcomes -----------------------------------------------------------------------------------------------


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


# --- resolutions and denials --------------------------------------------------------------------------------


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


# --- bodies and kinds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (SESSION, "identity"),
        (SESSION, "configuration"),
        ("administration", "task"),
        (f"identity/{AGENT}", "outcome"),
        (f"identity/{AGENT}", "mode"),
    ],
)
def test_record_in_the_wrong_stream(tmp_path: Path, stream: str, kind: str) -> None:
    story = begin()
    story.append(stream, kind, {})
    only(tmp_path, story, "kind", f"a record of kind `{kind}` has no place in `{stream.partition('/')[0]}`")


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("decision", {"digest": "x"}, "expected `str` matching regex '^[0-9a-f]{64}$' - at `$.digest`"),
        ("decision", {"effect": "maybe"}, "invalid enum value 'maybe' - at `$.effect`"),
        ("decision", {"usage": {"a": 1}}, "expected `str`, got `int` - at `$.usage[...]`"),
        ("decision", {"config": None}, "expected `str`, got `null` - at `$.config`"),
        ("outcome", {}, "object missing required field `decision`"),
        ("denials", {"decision": "d", "count": 0}, "expected `int` >= 1 - at `$.count`"),
        ("task", {"task": "", "state": "open"}, "expected `str` of length >= 1 - at `$.task`"),
    ],
)
def test_body_that_does_not_fit(tmp_path: Path, kind: str, change: dict[str, Any], said: str) -> None:
    story = begin()
    body = story.body_of(story.decision("deny")) if kind == "decision" else {}
    story.append(SESSION, kind, {**body, "id": "d_9", **change})
    only(tmp_path, story, "body", said)


def test_fields_of_a_later_program_are_ignored(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny", later={"a": 1})
    story.task("t_1.1", later=True)
    assert found(tmp_path, story) == []


@pytest.mark.parametrize("who", [ROOT, SERVICE])
def test_a_stream_with_another_name(tmp_path: Path, who: str) -> None:
    story = begin()
    story.streams["session/" + who + "/x"] = story.streams.pop(SESSION)
    checks = {check for check, _ in found(tmp_path, story)}
    assert "stream" in checks
