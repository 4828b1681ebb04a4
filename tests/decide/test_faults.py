"""A fault thrown at each step: a deny, a record that says why, an alarm in the log, and nothing else changed."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from remit.core.errors import Unavailable
from remit.decide import entries, facts, pipeline
from remit.decide.pipeline import Pipeline
from remit.policy.engine import Policies
from tests.decide.stage import ADMIN, FETCH, Stage, identity, spiffe, staged, together

BROKEN = "thrown on purpose"
URL = {"url": "https://a.example/"}


class Fault(Exception):
    pass


def fail(*_: Any, **__: Any) -> NoReturn:
    raise Fault(BROKEN)


STEPS = [
    (Pipeline, "judge"),
    (Pipeline, "_identity"),
    (Pipeline, "_enforcement_point"),
    (Pipeline, "_task"),
    (Pipeline, "_known"),
    (Pipeline, "_arguments"),
    (Pipeline, "_facts"),
    (Pipeline, "_policy"),
    (Pipeline, "_mode"),
    (Pipeline, "_obligations"),
    (pipeline, "_bounds"),
    (pipeline, "_decision_once"),
    (pipeline, "destination_of"),
    (facts, "shared_context"),
    (facts, "session_facts"),
    (facts, "task_facts"),
    (facts, "spending"),
    (facts, "_usage"),
    (facts, "_done"),
    (Policies, "typed_input"),
    (Policies, "evaluate"),
]


@pytest.mark.parametrize(("where", "step"), STEPS, ids=[step for _, step in STEPS])
@staged()
async def test_a_fault_at_a_step_denies_is_recorded_and_sounds_an_alarm(
    stage: Stage, where: Any, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await stage.start()
    before = stage.state()
    if step == "_decision_once":
        calls = iter([fail])
        real = pipeline._decision
        monkeypatch.setattr(pipeline, "_decision", lambda *a, **k: next(calls, real)(*a, **k))
    else:
        monkeypatch.setattr(where, step, fail)
    decision = await stage.authorize(grant, FETCH, URL, idempotency_key="k")
    assert (decision.effect, decision.reason.code, decision.expires) == ("deny", "internal_fault", 0)
    assert BROKEN not in decision.reason.message
    assert "ALARM" in caplog.text
    assert BROKEN in caplog.text
    body = stage.record_of(decision)
    assert (body["effect"], body["reason"]["code"], body["usage"]) == ("deny", "internal_fault", {})
    assert BROKEN.encode() not in stage.bytes_()
    caplog.clear()
    probe = await stage.probe(grant, FETCH, URL)
    if step != "_decision_once":
        assert (probe.effect, probe.reason.code, probe.id) == ("deny", "internal_fault", "")
        assert "ALARM" in caplog.text
    monkeypatch.undo()
    after = stage.state()
    for root, session in after["sessions"].items():
        session.refusals.clear()
        session.denials = 0
        assert session == before["sessions"][root]
    await stage.permit(grant, FETCH, URL)


@pytest.mark.parametrize("step", ["decision", "_conceal_facts", "reason_body", "principal", "idempotency"])
@staged()
async def test_a_fault_that_keeps_the_record_from_being_made_denies(
    stage: Stage, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await stage.start()
    before = stage.bytes_()
    monkeypatch.setattr(entries, step, fail)
    decision = await stage.authorize(grant, idempotency_key="k")
    assert (decision.effect, decision.reason.code) == ("deny", "internal_fault")
    assert "ALARM" in caplog.text
    if step != "_conceal_facts":
        assert decision.id == ""
        assert stage.bytes_() == before
    monkeypatch.undo()
    assert (await stage.permit(grant, idempotency_key="j")).id


@staged()
async def test_attack_an_action_s_name_writes_a_line_of_its_own_into_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await stage.start()
    monkeypatch.setattr(Pipeline, "_known", fail)
    assert await stage.refusal(grant, "web/x\nCRITICAL forged \x1b[2J") == "internal_fault"
    assert "\nCRITICAL" not in caplog.text
    assert "\x1b" not in caplog.text


@staged()
async def test_a_fault_in_the_world_denies(stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    grant = await stage.start()
    for part in ("registration", "session", "life"):
        monkeypatch.setattr(type(stage.world), part, fail)
        decision = await stage.authorize(grant)
        assert (decision.effect, decision.reason.code) == ("deny", "internal_fault")
        monkeypatch.undo()
    assert caplog.text.count("ALARM") >= 3
    await stage.permit(grant)


@staged()
async def test_a_fault_in_the_sequencer_denies(stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    grant = await stage.start()
    before = stage.bytes_()
    monkeypatch.setattr(type(stage.store), "run", fail)
    for decision in (await stage.authorize(grant), await stage.probe(grant)):
        assert (decision.effect, decision.reason.code, decision.id) == ("deny", "internal_fault", "")
    assert "ALARM" in caplog.text
    monkeypatch.undo()
    assert stage.bytes_() == before
    await stage.permit(grant)


@staged()
async def test_a_fault_spares_those_in_the_same_batch(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    grant, other = await stage.start(), await stage.start()
    real = facts.task_facts

    def sometimes(configuration: Any, session: Any, task: Any, *rest: Any) -> Any:
        if task.id == grant.task:
            fail()
        return real(configuration, session, task, *rest)

    monkeypatch.setattr(facts, "task_facts", sometimes)
    answers = await together(*[stage.authorize(g) for g in (grant, other, grant, other)])
    assert [answer.reason.code for answer in answers] == ["internal_fault", "permitted"] * 2


@pytest.mark.parametrize("error", [StopIteration, RecursionError, MemoryError, KeyError, AssertionError, TimeoutError])
@staged()
async def test_whatever_is_thrown_denies(stage: Stage, error: type[Exception], monkeypatch: Any) -> None:
    grant = await stage.start()

    def throw(*_: Any, **__: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(Pipeline, "judge", throw)
    assert await stage.refusal(grant) == "internal_fault"
    monkeypatch.setattr(Pipeline, "_step", throw)
    assert await stage.refusal(grant) == "internal_fault"


@staged()
async def test_a_fault_in_an_operation_changes_nothing(stage: Stage, monkeypatch: Any, caplog: Any) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    before = stage.bytes_()
    monkeypatch.setattr(Policies, "evaluate", fail)
    attempts = [
        stage.start(),
        stage.end(grant),
        stage.report(permit),
        stage.change("workload/finance", "quarantined"),
        stage.governor.identities(ADMIN),
        stage.risk(1, 2),
        stage.governor.resolve(ADMIN, permit.id, "response", ""),
        stage.governor.task(identity("starter/other"), grant.task),
    ]
    for attempt in attempts:
        with pytest.raises(Unavailable) as raised:
            await attempt
        assert raised.value.code == "internal_fault"
        assert BROKEN not in str(raised.value)
    assert caplog.text.count("ALARM an operation failed") == len(attempts)
    assert stage.bytes_() == before


ADMINISTRATION_FAILS = """
@id("overflows")
forbid (principal, action == Remit::Action::"task.start", resource)
when { context.hasPrompt && 9223372036854775807 + (if context.hasPrompt then 1 else 0) > 0 };
"""


@staged(policies=ADMINISTRATION_FAILS)
async def test_a_policy_that_fails_denies_administration_too(stage: Stage, caplog: Any) -> None:
    await stage.start()
    with pytest.raises(Exception, match="could not be evaluated"):
        await stage.start(prompt="words")
    assert "ALARM policy overflows" in caplog.text
    (refused,) = stage.records("decision", f"identity/{spiffe('starter/app')}")
    assert refused.body["reason"]["code"] == "policy_error"
