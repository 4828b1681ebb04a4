"""Risk: signals that rise by refusals and novelty, quarantine at a threshold, suspension at an intent's bound."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from remit.core.decisions import Decision
from remit.core.errors import Forbidden
from remit.core.tasks import RiskSignal
from tests.decide.stage import (
    ADMIN,
    APP,
    ELSEWHERE,
    FAR,
    FETCH,
    FINANCE,
    GATEWAY,
    HOUR,
    INTENTS,
    LOOKUP,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    SECOND,
    Grant,
    Stage,
    identity,
    spiffe,
    staged,
    together,
)
from tests.decide.test_novelty import DAY, SEARCH, completes, days

SERVICE = "spiffe://example.org/remit"
FEW = "[denials]\ncount = 5\nwithin_seconds = 60\nvalue = 60\nlasts_seconds = 600\n"
AT_80 = "[risk]\nquarantine_at = 80\n"
AWAY = {"url": "https://elsewhere.example/a"}
FAILING = """
forbid (principal, action in Remit::Action::"tools", resource)
when { 9223372036854775807 + context.session.calls + 1 > 0 };
"""
NO_NEWS = """
@reason("unusual")
forbid (principal, action in Remit::Action::"tools", resource)
when { !context.novelty.isLearning && context.novelty.tool > 80 };
"""


def signals(stage: Stage) -> list[tuple[str, int]]:
    return [(record.body["signal"], record.body["value"]) for record in stage.records("risk")]


def states(stage: Stage, path: str = "workload/finance") -> list[tuple[str, str]]:
    found = stage.records("identity", f"identity/{spiffe(path)}")
    return [(record.body["registration"]["state"], record.body["by"]) for record in found]


async def is_refused(stage: Stage, grant: Grant, times: int = 1, **more: Any) -> Decision:
    """Asks for what the intent does not justify, with other arguments each time."""
    for _ in range(times):
        decision = await stage.authorize(grant, PAY, {"invoice": f"I-{next(stage._numbers)}"}, **more)
        assert not decision.permitted
    return decision


# --- repeated denials ----------------------------------------------------------------------------------------------


@staged(settings=FEW)
async def test_repeated_denials_raise_the_risk_until_the_signal_expires(stage: Stage) -> None:
    grant = await stage.start()
    await is_refused(stage, grant, 4)
    assert signals(stage) == []
    last = await is_refused(stage, grant)
    (raised,) = stage.records("risk")
    assert raised.body == {
        "by": SERVICE,
        "decision": last.id,
        "expires": stage.clock.now + 600 * SECOND,
        "id": FINANCE.id,
        "signal": "denials",
        "source": f"refused 5 times within 60 s, the last time {PAY} (not_justified)",
        "value": 60,
    }
    assert stage.record_of(await stage.permit(grant))["context"]["risk"] == 60
    stage.clock.pass_(600 * SECOND)
    assert stage.record_of(await stage.permit(grant))["context"]["risk"] == 0


@staged(settings=FEW)
async def test_denials_that_are_folded_into_one_record_count(stage: Stage) -> None:
    grant = await stage.start()
    answers = await together(*(stage.authorize(grant, PAY, PAYMENT) for _ in range(5)))
    assert len({answer.id for answer in answers}) == 1
    (raised,) = stage.records("risk")
    assert raised.body["decision"] == answers[0].id


@staged(settings=FEW)
async def test_denials_over_a_longer_time_raise_nothing(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(20):
        await is_refused(stage, grant)
        stage.clock.pass_(16 * SECOND)
    assert signals(stage) == []


@staged(settings=FEW)
async def test_further_denials_add_up_and_none_is_counted_twice(stage: Stage) -> None:
    grant = await stage.start()
    await is_refused(stage, grant, 5)
    stage.clock.pass_(1)
    await is_refused(stage, grant, 4)
    assert signals(stage) == [("denials", 60)]
    await is_refused(stage, grant)
    assert signals(stage) == [("denials", 60), ("denials", 100)]


@staged(settings=FEW)
async def test_a_signal_that_another_process_raised_is_not_raised_again_for_the_same_time(stage: Stage) -> None:
    grant = await stage.start()
    await is_refused(stage, grant, 4)
    stage.clock.pass_(1)
    theirs = RiskSignal(id=FINANCE.id, signal="denials", value=60, source="elsewhere", expires=FAR)
    await stage.governor.set_risk(ADMIN, theirs)
    stage.clock.pass_(1)
    await is_refused(stage, grant, 4)
    assert signals(stage) == [("denials", 60)]


@staged(settings=FEW)
async def test_denials_in_all_tasks_of_a_workload_count_together_and_not_those_of_others(stage: Stage) -> None:
    for number in range(4):
        await is_refused(stage, await stage.start(workload=f"workload/{('finance', 'helper')[number % 2]}"))
        await is_refused(stage, await stage.start(workload=f"workload/{('finance', 'helper')[number % 2]}"))
    assert signals(stage) == []
    await is_refused(stage, await stage.start())
    assert [record.body["id"] for record in stage.records("risk")] == [FINANCE.id]


@staged(settings=FEW)
async def test_attack_raising_another_workload_s_risk_by_naming_it(stage: Stage) -> None:
    grant = await stage.start()
    for number in range(20):
        # Whoever can't prove the workload, and a workload that names another one.
        await stage.authorize(grant, PAY, {"invoice": f"x{number}"}, proof=None)
        await stage.authorize(grant, PAY, {"invoice": f"y{number}"}, proof=identity("workload/helper"))
        await stage.authorize(None, PAY, {"invoice": f"z{number}"}, caller=identity("workload/helper"))
    assert signals(stage) == []


@staged(settings=FEW)
async def test_probes_and_questions_of_others_raise_nothing(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(20):
        await stage.probe(grant, PAY, PAYMENT)
        await stage.authorize(grant, PAY, PAYMENT, caller=ELSEWHERE)
    assert signals(stage) == []


@staged(settings=FEW)
async def test_what_follows_from_risk_does_not_raise_it(stage: Stage) -> None:
    grant = await stage.start_payment()
    await stage.risk(90, stage.clock.now + HOUR)
    for _ in range(20):
        assert await stage.pays(grant) in ("risk_too_high", "task_suspended")
    assert signals(stage) == [("manual", 90)]


@staged(settings=FEW, policies=FAILING)
async def test_a_failed_policy_is_not_the_workload_s_doing(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(20):
        assert await stage.refusal(grant) == "policy_error"
    assert signals(stage) == []


@staged(settings='[risk]\nsignals = ["manual"]\n' + FEW)
async def test_a_signal_that_is_not_named_is_not_raised(stage: Stage) -> None:
    await is_refused(stage, await stage.start(), 20)
    assert signals(stage) == []


# --- novelty -------------------------------------------------------------------------------------------------------


@staged()
async def test_new_tools_and_destinations_raise_the_risk_once_each(stage: Stage) -> None:
    await days(stage, 7)
    grant = await stage.start()
    await completes(stage, grant, READ)
    assert signals(stage) == []
    for _ in range(3):
        await completes(stage, grant, SEARCH, {})
    assert signals(stage) == [("novelty", 20)]
    await completes(stage, grant, FETCH, AWAY)  # a new tool, and a new destination
    await completes(stage, grant, FETCH, {"url": "https://third.example"})
    assert signals(stage) == [("novelty", 20), ("novelty", 40), ("novelty", 60)]
    last = stage.records("risk")[-1].body
    assert last["source"] == "permitted, and new to it: destination third.example"
    assert last["items"] == [
        f"tool {SEARCH}",
        f"tool {FETCH}",
        "destination elsewhere.example",
        "destination third.example",
    ]


@staged(policies=NO_NEWS)
async def test_what_is_new_and_refused_counts_twice(stage: Stage) -> None:
    await days(stage, 7)
    decision = await stage.authorize(await stage.start(), SEARCH, {})
    assert decision.reason.code == "unusual"
    (raised,) = stage.records("risk")
    assert (raised.body["value"], raised.body["decision"]) == (40, decision.id)


@staged()
async def test_the_signal_begins_anew_after_it_expired(stage: Stage) -> None:
    await days(stage, 7)
    grant = await stage.start()
    await stage.permit(grant, SEARCH, {})
    stage.clock.pass_(DAY)
    await stage.permit(await stage.start(), SEARCH, {})
    assert signals(stage) == [("novelty", 20), ("novelty", 20)]


@staged()
async def test_a_workload_that_is_learning_raises_nothing(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant, SEARCH, {})
    await stage.permit(grant, FETCH, AWAY)
    assert signals(stage) == []


@staged()
async def test_probes_raise_nothing(stage: Stage) -> None:
    await days(stage, 7)
    await stage.probe(await stage.start(), SEARCH, {})
    assert signals(stage) == []


# --- quarantine at a threshold -------------------------------------------------------------------------------------


@staged(settings=AT_80 + FEW)
async def test_a_signal_that_reaches_the_threshold_quarantines(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    grant = await stage.start()
    await is_refused(stage, grant, 5)
    stage.clock.pass_(1)
    assert (await stage.authorize(grant)).permitted
    last = await is_refused(stage, grant, 5)
    assert states(stage) == [("active", "remit.toml"), ("quarantined", SERVICE)]
    told = stage.records("identity")[-1].body
    assert told["reason"] == "the risk signal `denials` reached 100; `[risk] quarantine_at` is 80"
    assert told["signal"] == "denials"
    assert [record.kind for record in stage.records()[-3:]] == ["decision", "risk", "identity"]
    assert stage.records("risk")[-1].body["decision"] == last.id
    assert await stage.refusal(grant) == "identity_quarantined"
    alarms = [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL]
    assert alarms == [f"ALARM {FINANCE.id} is quarantined: its risk signal denials reached 100"]


@staged(settings=AT_80)
async def test_what_would_make_the_signal_quarantine_is_refused_itself(stage: Stage) -> None:
    await days(stage, 7)
    grant = await stage.start()
    await stage.permit(grant, SEARCH, {})
    await stage.permit(grant, FETCH, AWAY)
    await stage.permit(grant, FETCH, {"url": "https://other.example"})
    decision = await stage.authorize(grant, FETCH, {"url": "https://third.example"})
    assert (decision.effect, decision.reason.code, decision.expires) == ("deny", "identity_quarantined", 0)
    assert "with this the risk signal `novelty`" in decision.reason.message
    assert stage.record_of(decision)["effect"] == "deny"
    assert states(stage)[-1] == ("quarantined", SERVICE)
    session = stage.world.session(grant.task)
    assert session is not None
    assert "third.example" not in session.destinations


@staged(settings=AT_80)
async def test_two_calls_at_once_that_both_reach_the_threshold(stage: Stage) -> None:
    await days(stage, 7)
    grant = await stage.start()
    hosts = [f"https://h{number}.example" for number in range(12)]
    answers = await together(*(stage.authorize(grant, FETCH, {"url": url}) for url in hosts))
    assert sum(answer.permitted for answer in answers) == 3  # 20, 40, 60, and 80 is too much
    assert {answer.reason.code for answer in answers if not answer.permitted} == {"identity_quarantined"}
    assert [state for state, _ in states(stage)] == ["active", "quarantined"]


@staged()
async def test_without_a_threshold_nothing_is_quarantined(stage: Stage) -> None:
    await days(stage, 7)
    await stage.risk(100, FAR)
    grant = await stage.start()
    for number in range(10):
        await stage.permit(grant, FETCH, {"url": f"https://h{number}.example"})
    assert signals(stage)[-1] == ("novelty", 100)
    assert [state for state, _ in states(stage)] == ["active"]


@staged(settings=AT_80)
async def test_a_signal_that_a_person_or_a_detector_sets_quarantines_too(stage: Stage) -> None:
    await stage.risk(79, FAR)
    assert [state for state, _ in states(stage)] == ["active"]
    await stage.risk(80, stage.clock.now)  # it has expired
    await stage.risk(80, FAR, "starter/app")  # no workload: nothing acts in its name
    assert [state for state, _ in states(stage)] == ["active"]
    await stage.risk(80, FAR)
    assert states(stage)[-1] == ("quarantined", SERVICE)


@staged(settings=AT_80)
async def test_who_brings_it_back_ends_the_signals_that_remit_raised(stage: Stage) -> None:
    await days(stage, 7)
    grant = await stage.start()
    await stage.risk(30, FAR)
    for number in range(4):
        await stage.authorize(grant, FETCH, {"url": f"https://h{number}.example"})
    await stage.change("workload/finance", "active")
    life = stage.world.life(FINANCE.id)
    assert life is not None
    assert life.risk_at(stage.clock.now, {"novelty", "denials", "manual"}) == 30
    assert stage.records("risk")[-1].body["by"] == ADMIN.id
    await stage.permit(grant, READ)
    await stage.restart()
    await stage.permit(grant, READ)


@staged(settings=AT_80)
async def test_a_live_signal_does_not_quarantine_again_by_itself(stage: Stage) -> None:
    await stage.risk(90, FAR)
    await stage.change("workload/finance", "active")
    grant = await stage.start()
    await stage.permit(grant)
    assert states(stage)[-1] == ("active", ADMIN.id)


@staged(settings=AT_80 + FEW)
async def test_a_quarantine_that_could_not_be_recorded_did_not_happen(stage: Stage) -> None:
    grant = await stage.start()
    await is_refused(stage, grant, 5)
    stage.clock.pass_(1)
    await is_refused(stage, grant, 4)
    stage.store._db.execute("PRAGMA query_only = 1")
    assert (await is_refused(stage, grant)).reason.code == "storage_unavailable"
    stage.store._db.execute("PRAGMA query_only = 0")
    assert (await stage.authorize(grant)).permitted
    await is_refused(stage, grant)
    assert states(stage)[-1] == ("quarantined", SERVICE)


# --- an intent's bound ---------------------------------------------------------------------------------------------


@staged()
async def test_an_intent_s_bound_suspends_the_task_in_the_same_step(stage: Stage) -> None:
    grant = await stage.start_payment()
    await stage.risk(61, stage.clock.now + MINUTE)
    decision = await stage.authorize(grant, PAY, PAYMENT)
    assert decision.reason.code == "risk_too_high"
    moved = stage.records("task")[-1].body
    assert moved == {
        "by": SERVICE,
        "decision": decision.id,
        "reason": "the risk is 61, and the intent `pay-invoice` allows 60",
        "root": grant.task,
        "state": "suspended",
        "task": grant.task,
    }
    assert await stage.refusal(grant, READ) == "task_suspended"


@staged()
async def test_it_is_resumed_when_the_risk_is_down(stage: Stage) -> None:
    grant = await stage.start_payment()
    await stage.risk(61, stage.clock.now + MINUTE)
    await stage.pays(grant)
    for who in (APP, ADMIN):
        with pytest.raises(Forbidden) as raised:
            await stage.end(grant, "open", who)
        assert raised.value.code == "risk_too_high"
    await stage.risk(0, FAR)
    for who in (FINANCE, GATEWAY, identity("starter/other")):
        with pytest.raises(Forbidden) as raised:
            await stage.end(grant, "open", who)
    await stage.end(grant, "open", APP)
    assert await stage.pays(grant) == "permitted"


OWN = {
    "answer": INTENTS["answer"].replace("starters: [", "starters: [workload/finance, ")
    + "self_start: true\nrisk_at_most: 60\n"
}


@staged(intents=OWN)
async def test_attack_a_workload_resumes_its_own_task_that_its_risk_has_stopped(stage: Stage) -> None:
    grant = await stage.start(starter=FINANCE, key="k-finance")
    await stage.risk(61, FAR)
    assert await stage.refusal(grant) == "risk_too_high"
    await stage.risk(0, FAR)
    with pytest.raises(Forbidden) as raised:
        await stage.end(grant, "open", FINANCE)
    assert raised.value.code == "suspended_by_another"
    await stage.end(grant, "open", ADMIN)
    await stage.permit(grant)


CHILD = {
    "answer": INTENTS["answer"] + "children: [narrow]\nrisk_at_most: 50\n",
    "narrow": "description: Read.\nactions: [billing/read_invoice]\nstarters: [starter/app]\n"
    "workloads: [group:agents]\nrisk_at_most: 40\n",
}


@staged(intents=CHILD)
async def test_each_task_whose_bound_is_reached_is_suspended_and_no_other(stage: Stage) -> None:
    root = await stage.start()
    child = await stage.start("narrow", parent=root.task)
    await stage.risk(45, stage.clock.now + MINUTE)
    assert await stage.refusal(child) == "risk_too_high"
    assert [r.body["task"] for r in stage.records("task") if r.body["state"] == "suspended"] == [child.task]
    await stage.permit(root)
    stage.clock.pass_(MINUTE)
    await stage.end(child, "open")
    await stage.risk(60, stage.clock.now + MINUTE)
    assert await stage.refusal(child) == "risk_too_high"
    suspended = [r.body["task"] for r in stage.records("task") if r.body["state"] == "suspended"]
    assert suspended == [child.task, child.task, root.task]
    stage.clock.pass_(MINUTE)
    for grant in (child, root):
        assert await stage.refusal(child) == "task_suspended"
        await stage.end(grant, "open")
    await stage.permit(child)


@staged()
async def test_a_probe_above_the_bound_suspends_nothing(stage: Stage) -> None:
    grant = await stage.start_payment()
    await stage.risk(61, stage.clock.now + MINUTE)
    assert (await stage.probe(grant, PAY, PAYMENT)).reason.code == "risk_too_high"
    await stage.authorize(grant, PAY, PAYMENT, caller=ELSEWHERE)
    stage.clock.pass_(MINUTE)
    assert await stage.pays(grant) == "permitted"


@staged(settings='[mode]\ndefault = "observe"\nobserve_until = 2030-01-01T00:00:00Z\n')
async def test_observing_does_not_suspend(stage: Stage) -> None:
    grant = await stage.start_payment()
    await stage.risk(61, FAR)
    assert await stage.pays(grant) == "observed"
    assert [r.body["state"] for r in stage.records("task")] == ["open"]


@staged(settings=FEW)
async def test_personal_arguments_stand_in_no_signal(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params={"invoice": "I", "account": "D", "amount": "1"})
    for number in range(6):
        await stage.authorize(grant, LOOKUP, {"email": f"ada{number}@example.org"})
    assert signals(stage) == [("denials", 60)]
    assert b"@example.org" not in stage.bytes_()
