"""The numbered steps of the hot path: what each stops, and what a question may and may not do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from remit.core import bounds
from remit.core.decisions import Decision
from remit.core.errors import Forbidden
from remit.core.identities import Identity
from tests.decide.stage import (
    APP,
    CHILDREN,
    ELSEWHERE,
    FETCH,
    FETCHING_CHILD,
    FINANCE,
    GATEWAY,
    HELPER,
    HOUR,
    INTENTS,
    INVOICE,
    PAY,
    PAYMENT,
    READ,
    START,
    Grant,
    Stage,
    identity,
    staged,
    together,
)

# --- 1 identity ---------------------------------------------------------------------------------------------


@staged()
async def test_a_permit_names_its_policy_and_holds_five_seconds(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.permit(grant)
    assert decision.reason.code == "permitted"
    assert [(ref.id, ref.line > 0) for ref in decision.reason.policies] == [("intent:answer/justifies", True)]
    assert decision.expires == START + bounds.PERMIT_MS
    assert decision.task == grant.task
    body = stage.record_of(decision)
    assert (body["effect"], body["enforcement"], body["pep"]) == ("permit", "pep", GATEWAY.id)
    assert body["digest"] == decision.digest


@staged()
async def test_unknown_caller_gets_no_answer_and_writes_no_record(stage: Stage) -> None:
    grant = await stage.start()
    before = stage.bytes_()
    decision = await stage.authorize(grant, caller=identity("pep/nobody"))
    assert decision.reason.code == "identity_unknown"
    assert decision.id == ""
    assert stage.bytes_() == before


@staged()
async def test_unknown_subject(stage: Stage) -> None:
    ghost = identity("workload/ghost")
    assert await stage.refusal(None, subject=ghost.id, proof=ghost) == "identity_unknown"
    # Who may start tasks is not thereby a workload.
    assert await stage.refusal(None, subject=APP.id, proof=APP) == "identity_unknown"


@staged()
async def test_expired_caller_and_expired_proof(stage: Stage) -> None:
    grant = await stage.start()
    now = stage.clock.now
    assert await stage.refusal(grant, caller=identity("pep/gateway", expires=now)) == "identity_expired"
    stale = Identity(id=grant.workload, key=grant.key, expires=now)
    assert await stage.refusal(grant, proof=stale) == "identity_expired"


@pytest.mark.parametrize("who", ["pep/gateway", "workload/finance"])
@pytest.mark.parametrize("state", ["quarantined", "retired"])
@staged()
async def test_quarantine_in_the_middle_of_a_task(stage: Stage, who: str, state: Any) -> None:
    grant = await stage.start()
    await stage.permit(grant)
    await stage.change(who, state)
    assert await stage.refusal(grant) == f"identity_{state}"
    assert (await stage.probe(grant)).reason.code == f"identity_{state}"
    if state == "quarantined":
        await stage.change(who, "active")
        await stage.permit(grant)


@staged()
async def test_subject_named_and_not_proved(stage: Stage) -> None:
    grant = await stage.start()
    assert await stage.refusal(grant, proof=None) == "subject_not_proved"
    assert await stage.refusal(grant, proof=HELPER) == "subject_not_proved"
    assert await stage.refusal(grant, subject=HELPER.id) == "subject_not_proved"


# --- 2 enforcement point ------------------------------------------------------------------------------------


@staged()
async def test_authorize_by_another_server_s_enforcement_point_is_a_probe(stage: Stage) -> None:
    grant = await stage.start()
    before = stage.bytes_()
    decision = await stage.authorize(grant, caller=ELSEWHERE)
    assert (decision.id, decision.expires, decision.probe) == ("", 0, True)
    assert decision.reason.code == "enforcement_point_not_registered"
    assert stage.bytes_() == before


@staged()
async def test_authorize_by_the_workload_itself_is_a_probe(stage: Stage) -> None:
    grant = await stage.start()
    before = stage.bytes_()
    decision = await stage.governor.authorize(stage.ask_itself(grant, READ, INVOICE))
    assert (decision.id, decision.expires, decision.probe) == ("", 0, True)
    assert stage.bytes_() == before


OWN = {"own": "description: d\neffects: [read, pay]\nstarters: [starter/app]\nworkloads: [group:agents]\n"}


@staged(intents=OWN)
async def test_a_workload_enforces_itself_only_without_consequence(stage: Stage) -> None:
    grant = await stage.start("own")
    decision = await stage.governor.authorize(stage.ask_itself(grant, "own/look"))
    assert decision.permitted
    assert stage.record_of(decision)["enforcement"] == "self"
    refused = await stage.governor.authorize(stage.ask_itself(grant, "own/wire"))
    assert refused.reason.code == "self_enforced"


# --- 3 task -------------------------------------------------------------------------------------------------


@staged()
async def test_no_task(stage: Stage) -> None:
    assert await stage.refusal(None, proof=FINANCE) == "no_task"
    # The refusal stands in the life of the one who would have acted.
    assert stage.records("decision")[-1].stream == f"identity/{FINANCE.id}"


@staged()
async def test_stolen_task_handle_without_its_key(stage: Stage) -> None:
    grant = await stage.start()
    thief = Identity(id=grant.workload, key="another-key", expires=FINANCE.expires)
    assert await stage.refusal(grant, proof=thief) == "task_key_mismatch"
    own = stage.ask(grant, caller=thief, proof=None)
    assert (await stage.governor.authorize(own)).reason.code == "task_key_mismatch"


@staged()
async def test_task_of_another_workload(stage: Stage) -> None:
    grant = await stage.start()
    same_key = Identity(id=HELPER.id, key=grant.key, expires=HELPER.expires)
    assert await stage.refusal(grant, subject=HELPER.id, proof=same_key) == "task_not_yours"


@staged()
async def test_a_task_that_never_was(stage: Stage) -> None:
    grant = await stage.start()
    ghost = Grant("t_0000000000000000", grant.workload, grant.key, grant.expires)
    assert await stage.refusal(ghost) == "task_unknown"
    child = Grant(grant.task + ".7", grant.workload, grant.key, grant.expires)
    assert await stage.refusal(child) == "task_unknown"


@pytest.mark.parametrize("state", ["completed", "cancelled", "suspended"])
@staged()
async def test_after_a_task_s_end_nothing_is_permitted(stage: Stage, state: Any) -> None:
    grant = await stage.start()
    await stage.permit(grant, idempotency_key="one")
    await stage.end(grant, state)
    assert await stage.refusal(grant) == f"task_{state}"
    # Neither again what was permitted before.
    assert await stage.refusal(grant, idempotency_key="one") == f"task_{state}"


@staged()
async def test_a_task_s_time_is_over_before_anyone_recorded_it(stage: Stage) -> None:
    grant = await stage.start()
    stage.clock.now = grant.expires - 1
    await stage.permit(grant)
    stage.clock.now = grant.expires
    assert await stage.refusal(grant) == "task_expired"
    # A handle that claims to live longer changes nothing.
    assert await stage.refusal(Grant(grant.task, grant.workload, grant.key, grant.expires + HOUR)) == "task_expired"
    await stage.pass_(1)
    assert await stage.refusal(Grant(grant.task, grant.workload, grant.key, grant.expires + HOUR)) == "task_expired"


@pytest.mark.parametrize("state", ["completed", "suspended"])
@staged(intents=CHILDREN)
async def test_nothing_is_permitted_under_a_parent_that_ended(stage: Stage, state: Any) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    await stage.permit(child)
    await stage.end(parent, state)
    assert await stage.refusal(child) == f"task_{state}"


@staged(intents=CHILDREN)
async def test_a_child_lasts_no_longer_than_its_parent(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    assert child.expires == parent.expires
    stage.clock.now = parent.expires
    assert await stage.refusal(child) == "task_expired"


@staged()
async def test_an_intent_that_is_declared_no_more(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params={"invoice": "I", "account": "A", "amount": "1"})
    await stage.close()
    (stage.folder.root / "intents" / "pay-invoice.yaml").unlink()
    await stage.open()
    assert await stage.refusal(grant) == "intent_unknown"


# --- 4 action -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "input", "definition", "code"),
    [
        ("billing/nothing", {}, "", "action_unknown"),
        ("unlisted/tool", {}, "", "action_unknown"),
        ("billing/guessed", {}, "", "action_unreviewed"),
        (READ, INVOICE, "f" * 64, "action_changed"),
        (READ, {"invoice": 7}, "", "arguments_invalid"),
        (READ, {"note": "no invoice"}, "", "arguments_invalid"),
        (PAY, {"invoice": "I", "amount": 0.00001}, "", "arguments_invalid"),
        (FETCH, {"url": "http://good.example@evil.example/"}, "", "destination_unclear"),
    ],
)
@staged()
async def test_what_is_not_known_of_an_action_is_refused_and_recorded(
    stage: Stage, action: str, input: dict[str, Any], definition: str, code: str
) -> None:
    grant = await stage.start()
    decision = await stage.authorize(grant, action, input, definition=definition)
    assert (decision.effect, decision.reason.code) == ("deny", code)
    record = next(r for r in stage.records("decision") if r.body["id"] == decision.id)
    assert record.stream == f"session/{grant.task}"
    assert record.body["reason"]["code"] == code


@pytest.mark.parametrize("action", ["\U0001f600" * 600, "billing/" + "x" * 200_000, "", "/", "billing", "billing/\x00"])
@staged()
async def test_an_action_with_a_monstrous_name(stage: Stage, action: str) -> None:
    grant = await stage.start()
    other = await stage.start()
    decision, permit = await together(stage.authorize(grant, action, {}), stage.authorize(other))
    assert decision.reason.code == "action_unknown"
    assert permit.permitted  # it was decided in the same batch


@staged()
async def test_arguments_that_are_no_json(stage: Stage) -> None:
    grant = await stage.start()
    assert await stage.refusal(grant, READ, {"invoice": object()}) == "arguments_invalid"
    assert await stage.refusal(grant, READ, {"invoice": "\ud800"}) == "arguments_invalid"
    assert await stage.refusal(grant, READ, {"invoice": "x", "pages": 2**70}) == "arguments_invalid"


# --- 5 bounds -----------------------------------------------------------------------------------------------


@staged()
async def test_a_session_s_bound_of_calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SESSION_CALLS", 2)
    grant = await stage.start()
    await stage.permit(grant)
    await stage.permit(grant)
    decision = await stage.authorize(grant)
    assert decision.reason.code == "bound_reached"
    assert "2 calls" in decision.reason.message
    await stage.permit(await stage.start())


@staged()
async def test_a_session_s_bounds_of_destinations_labels_and_bytes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SESSION_DESTINATIONS", 2)
    grant = await stage.start()
    for host in ("a", "b"):
        await stage.permit(grant, FETCH, {"url": f"https://{host}.example/"})
    assert "2 destinations" in (await stage.authorize(grant)).reason.message
    monkeypatch.undo()
    monkeypatch.setattr(bounds, "SESSION_LABELS", 1)
    assert "1 labels" in (await stage.authorize(grant)).reason.message
    monkeypatch.undo()
    permit = await stage.permit(grant)
    await stage.report(permit, bytes=bounds.SESSION_BYTES)
    assert "bytes" in (await stage.authorize(grant)).reason.message


@staged()
async def test_a_record_that_would_be_too_large_denies_and_says_so(stage: Stage, caplog: Any) -> None:
    grant = await stage.start()
    await stage.permit(grant, READ, INVOICE | {"undeclared": "x" * 100_000})  # and not recorded
    words = {"words": ["y" * 1000] * 100}
    first, second, permit = await together(
        stage.authorize(grant, "web/search", words),
        stage.authorize(grant, "web/search", words),
        stage.authorize(grant),
    )
    assert first.reason.code == "record_too_large"
    assert stage.record_of(first)["context"] == {}
    assert (first.id, second.repeated) == (second.id, 1)
    assert permit.permitted
    assert "ALARM" not in caplog.text


# --- 7 policy -----------------------------------------------------------------------------------------------


@staged()
async def test_what_an_intent_does_not_justify(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.authorize(grant, PAY, PAYMENT)
    assert (decision.reason.code, decision.expires) == ("not_justified", 0)
    assert "`pay-invoice`" in decision.reason.next_step
    assert decision.reason.policies[0].id == "intent:answer/ceiling"


NO_NOTES = """
@id("no-notes")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource) when { context.input has note };
"""


@staged(policies=NO_NOTES)
async def test_a_policy_of_the_project_denies_and_is_named_with_its_place(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant)
    decision = await stage.authorize(grant, READ, INVOICE | {"note": "n"})
    assert decision.reason.code == "policy_forbids"
    (ref,) = decision.reason.policies
    assert (ref.id, ref.path.endswith("own.cedar"), ref.line) == ("no-notes", True, 2)
    # Again, folded: with the same policies, in full.
    again = await stage.authorize(grant, READ, INVOICE | {"note": "n"})
    assert (again.id, again.repeated, again.reason) == (decision.id, 1, decision.reason)
    assert stage.record_of(decision)["mattered"] == ["input.note"]


OVERFLOWS = """
@id("overflows")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource)
when { context.input has pages && context.input.pages * 9223372036854775807 > 0 };
"""
OVERFLOWING = INVOICE | {"pages": 3}


@staged(policies=OVERFLOWS)
async def test_a_policy_that_fails_to_evaluate_denies(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    grant = await stage.start()
    await stage.permit(grant)
    assert await stage.refusal(grant, READ, OVERFLOWING) == "policy_error"
    assert "ALARM policy overflows failed" in caplog.text
    assert (await stage.probe(grant, READ, OVERFLOWING)).reason.code == "policy_error"


# --- 8 mode -------------------------------------------------------------------------------------------------

OBSERVE_ENDS = START + 3 * 86_400_000
OBSERVING = f"""
[mode]
default = "observe"
observe_until = {datetime.fromtimestamp(OBSERVE_ENDS / 1000, UTC).isoformat()}
"""


def observed(decision: Decision) -> tuple[str, str, str, str]:
    return decision.effect, decision.reason.code, decision.mode, decision.would


@staged(settings=OBSERVING)
async def test_observe_turns_a_policy_s_deny_around_until_it_expires(stage: Stage) -> None:
    grant = await stage.start()
    assert observed(await stage.permit(grant)) == ("permit", "permitted", "observe", "permit")
    decision = await stage.authorize(grant, PAY, PAYMENT)
    assert observed(decision) == ("permit", "observed", "observe", "deny")
    assert "does not justify" in decision.reason.message
    assert decision.reason.policies[0].id == "intent:answer/ceiling"
    assert stage.record_of(decision)["would"] == "deny"
    assert [r.body["mode"] for r in stage.records("mode")] == ["observe"]
    stage.clock.now = OBSERVE_ENDS
    late = await stage.start()
    assert observed(await stage.authorize(late, PAY, PAYMENT)) == ("deny", "not_justified", "enforce", "")


@staged(settings=OBSERVING, intents={"answer": INTENTS["answer"] + "mode: enforce\n"})
async def test_the_strictest_mode_wins_intent(stage: Stage) -> None:
    assert await stage.refusal(await stage.start(), PAY, PAYMENT) == "not_justified"


@staged(
    settings=OBSERVING
    + """
[[workloads]]
name = "strict"
kind = "agent"
owner = "ada"
groups = ["agents"]
mode = "enforce"
key = "k-strict"
"""
)
async def test_the_strictest_mode_wins_workload(stage: Stage) -> None:
    grant = await stage.start(workload="workload/strict")
    assert await stage.refusal(grant, PAY, PAYMENT) == "not_justified"


@staged(intents={"answer": INTENTS["answer"] + "mode: observe\n"})
async def test_an_intent_can_t_observe_where_the_installation_enforces(stage: Stage) -> None:
    assert await stage.refusal(await stage.start(), PAY, PAYMENT) == "not_justified"


@staged(settings=OBSERVING, intents=OWN, policies=OVERFLOWS)
async def test_observe_never_turns_around_what_is_no_policy_s_deny(stage: Stage) -> None:
    grant = await stage.start()
    own = await stage.start("own")
    assert await stage.refusal(grant, READ, OVERFLOWING) == "policy_error"
    refused = await stage.governor.authorize(stage.ask_itself(own, "own/wire"))
    assert refused.reason.code == "self_enforced"
    assert (await stage.authorize(grant, caller=ELSEWHERE)).reason.code == "enforcement_point_not_registered"
    assert await stage.refusal(grant, "billing/guessed", {}) == "action_unreviewed"
    assert await stage.refusal(grant, READ, {"invoice": 1}) == "arguments_invalid"
    assert await stage.refusal(grant, proof=None) == "subject_not_proved"
    await stage.end(grant)
    assert await stage.refusal(grant) == "task_completed"
    await stage.change("workload/finance", "quarantined")
    assert await stage.refusal(own) == "identity_quarantined"


@staged(settings=OBSERVING)
async def test_administration_is_never_observed(stage: Stage) -> None:
    with pytest.raises(Forbidden, match="may not start"):
        await stage.start(starter=identity("starter/other"))
    with pytest.raises(Forbidden):
        await stage.change("workload/finance", "quarantined", by=APP)


PARENT_FAILS = OVERFLOWS.replace("when { ", 'when { context.task.intent == "answer" && ')


@staged(settings=OBSERVING, intents=FETCHING_CHILD, policies=PARENT_FAILS)
async def test_an_error_above_a_denied_child_is_not_observed_away(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    assert (await stage.authorize(child)).reason.code == "observed"
    assert await stage.refusal(child, READ, OVERFLOWING) == "policy_error"


# --- 9 obligations ------------------------------------------------------------------------------------------


@staged()
async def test_obligations_come_with_permits_only(stage: Stage) -> None:
    grant = await stage.start_payment()
    denied = await stage.authorize(grant, PAY, PAYMENT | {"account": "other"})
    assert (denied.effect, denied.obligations) == ("deny", ())
    permit = await stage.permit(grant, PAY, PAYMENT, idempotency_key="once")
    assert [(o.id, o.fields) for o in permit.obligations] == [("redact", ("secret",))]
    read = await stage.permit(grant)
    fields = {o.id: o.fields for o in read.obligations}
    assert fields["select"] == ("account", "amount", "status", "lines", "paid")
    assert "redact" not in fields
    again = await stage.permit(grant, PAY, PAYMENT, idempotency_key="once")
    assert again.obligations == permit.obligations
