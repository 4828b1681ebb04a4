"""The numbered steps of the hot path: what each stops, and what a question may and may not do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from remit.core import bounds
from remit.core.canonical import request_digest
from remit.core.decisions import Decision
from remit.core.errors import Conflict, Forbidden, TooLarge
from remit.core.identities import Identity
from tests.decide.stage import (
    APP,
    ELSEWHERE,
    FETCH,
    FINANCE,
    GATEWAY,
    HELPER,
    HOUR,
    INTENTS,
    INVOICE,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    START,
    Grant,
    Stage,
    identity,
    spiffe,
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


CHILDREN = {
    "answer": INTENTS["answer"] + "children: [narrow]\n",
    "narrow": """
description: Read invoices.
actions: [billing/read_invoice]
starters: [workload/finance, starter/app]
workloads: [group:agents]
time_to_live: 2h
""",
}


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


CHILD_OF_ERRORS = {
    "answer": INTENTS["answer"] + "children: [narrow]\n",
    "narrow": CHILDREN["narrow"].replace("billing/read_invoice", "web/fetch"),
}
PARENT_FAILS = OVERFLOWS.replace("when { ", 'when { context.task.intent == "answer" && ')


@staged(settings=OBSERVING, intents=CHILD_OF_ERRORS, policies=PARENT_FAILS)
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


# --- asking is not acting -----------------------------------------------------------------------------------


@staged()
async def test_probe_that_consumes(stage: Stage) -> None:
    grant = await stage.start_payment()
    before, bytes_ = stage.state(), stage.bytes_()
    for _ in range(3):
        decision = await stage.probe(grant, PAY, PAYMENT, idempotency_key="k")
        assert (decision.effect, decision.id, decision.expires, decision.probe) == ("permit", "", 0, True)
    denied = await stage.probe(grant, PAY, PAYMENT | {"amount": 121})
    assert (denied.effect, denied.id, denied.reason.code) == ("deny", "", "limit_reached")
    assert (stage.state(), stage.bytes_()) == (before, bytes_)
    await stage.permit(grant, PAY, PAYMENT, idempotency_key="k")


@staged()
async def test_listing_shows_what_could_be_permitted_and_changes_nothing(stage: Stage) -> None:
    grant = await stage.start()
    before = stage.bytes_()
    ask = stage.ask(grant, "", {})
    found = await stage.governor.listing(ask, "billing", {"read_invoice": "", "guessed": "", "nothing": ""})
    assert {tool: reason and reason.code for tool, reason in found.items()} == {
        "read_invoice": None,
        "guessed": "action_unreviewed",
        "nothing": "action_unknown",
    }
    paying = (await stage.governor.listing(ask, "payments", {"pay_invoice": ""}))["pay_invoice"]
    assert paying is not None
    assert paying.code == "not_justified"
    changed = (await stage.governor.listing(ask, "billing", {"read_invoice": "e" * 64}))["read_invoice"]
    assert changed is not None
    assert changed.code == "action_changed"
    await stage.end(grant)
    ended = (await stage.governor.listing(ask, "billing", {"read_invoice": ""}))["read_invoice"]
    assert ended is not None
    assert ended.code == "task_completed"
    assert len(stage.bytes_().splitlines()) == len(before.splitlines()) + 1


@staged()
async def test_a_listing_without_bound_and_listings_in_a_loop(stage: Stage) -> None:
    grant = await stage.start()
    ask = stage.ask(grant, "", {})
    with pytest.raises(TooLarge):
        await stage.governor.listing(ask, "billing", {f"tool_{n}": "" for n in range(bounds.TOOLS_PER_SERVER + 1)})
    stage.governor._rates._burst = 150.0
    stage.governor._rates._per_second = 0.0
    tools = {f"tool_{n}": "" for n in range(bounds.TOOLS_PER_SERVER)}
    first, second = [await stage.governor.listing(ask, "billing", tools) for _ in range(2)]
    assert {reason.code for reason in first.values() if reason} == {"action_unknown"}
    assert {reason.code for reason in second.values() if reason} == {"rate_limited"}


# --- idempotency --------------------------------------------------------------------------------------------


@staged()
async def test_permit_given_twice_for_one_key_is_one_permit_and_no_fresher(stage: Stage) -> None:
    grant = await stage.start_payment()
    first = await stage.permit(grant, PAY, PAYMENT, idempotency_key="k")
    stage.clock.pass_(4_000)
    again = await stage.permit(grant, PAY, PAYMENT, idempotency_key="k")
    assert (again.id, again.expires, again.at) == (first.id, first.expires, first.at + 4_000)
    assert again.reason == first.reason
    assert await stage.pays(grant) == "limit_reached"
    await stage.restart()
    later = await stage.permit(grant, PAY, PAYMENT, idempotency_key="k")
    assert (later.id, later.expires, later.reason) == (first.id, first.expires, first.reason)
    assert len([r for r in stage.records("decision") if r.body["effect"] == "permit"]) == 2


@staged()
async def test_two_questions_with_one_key_at_once_are_one_permit(stage: Stage) -> None:
    grant = await stage.start_payment()
    asked = [stage.authorize(grant, PAY, PAYMENT, idempotency_key="k") for _ in range(20)]
    answers = await together(*asked)
    assert len({answer.id for answer in answers}) == 1
    assert all(answer.permitted for answer in answers)


@staged()
async def test_a_key_with_other_arguments_is_a_conflict(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant, idempotency_key="k")
    for action, input in ((READ, {"invoice": "INV-2"}), (FETCH, {"url": "https://a.example"})):
        with pytest.raises(Conflict) as raised:
            await stage.authorize(grant, action, input, idempotency_key="k")
        assert raised.value.code == "idempotency_conflict"
    # A key is its caller's own.
    fetched = await stage.authorize(grant, FETCH, {"url": "https://a.example"}, idempotency_key="k", caller=ELSEWHERE)
    assert fetched.permitted


@staged(intents=CHILD_OF_ERRORS)
async def test_attack_a_child_takes_its_parent_s_permit_by_its_key(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    assert await stage.refusal(child) == "not_justified"
    await stage.permit(parent, idempotency_key="k")
    with pytest.raises(Conflict):
        await stage.authorize(child, idempotency_key="k")


@staged()
async def test_a_denial_for_a_key_stays_its_answer(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params={"invoice": "INV-1", "account": "DE89", "amount": "120.50"})
    first = await stage.authorize(grant, PAY, PAYMENT, idempotency_key="one")
    folded = await stage.authorize(grant, PAY, PAYMENT, idempotency_key="two")
    assert (folded.id, first.repeated, folded.repeated) == (first.id, 0, 1)
    read = await stage.permit(grant)
    await stage.report(read, output={"account": "DE89", "status": "open"})
    # By now it would be permitted.
    assert (await stage.probe(grant, PAY, PAYMENT)).permitted
    for key in ("one", "two"):
        again = await stage.authorize(grant, PAY, PAYMENT, idempotency_key=key)
        assert (again.id, again.reason) == (first.id, first.reason)
        with pytest.raises(Conflict):
            await stage.authorize(grant, PAY, PAYMENT | {"amount": 1}, idempotency_key=key)
    await stage.restart()
    again = await stage.authorize(grant, PAY, PAYMENT, idempotency_key="one")
    assert (again.id, again.reason) == (first.id, first.reason)
    await stage.permit(grant, PAY, PAYMENT, idempotency_key="three")


@staged()
async def test_keys_of_denials_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "IDEMPOTENCY_KEYS", 3)
    grant = await stage.start()
    await stage.permit(grant, idempotency_key="permit")
    for n in range(10):
        await stage.authorize(grant, PAY, PAYMENT | {"amount": n}, idempotency_key=f"k{n}")
    session = stage.world.session(grant.task)
    assert session is not None
    assert len(session.refusals) == 3
    assert len(session.answers) == 1


# --- folding ------------------------------------------------------------------------------------------------


@staged()
async def test_identical_denials_are_one_record_and_a_count(stage: Stage) -> None:
    grant = await stage.start()
    answers = [await stage.authorize(grant, PAY, PAYMENT) for _ in range(5)]
    assert len({answer.id for answer in answers}) == 1
    assert [answer.repeated for answer in answers] == [0, 1, 2, 3, 4]
    other = await stage.authorize(grant, PAY, PAYMENT | {"amount": 7})
    assert other.id != answers[0].id
    assert len(stage.records("decision")) == 2
    await stage.pass_(MINUTE - 1)
    assert stage.records("denials") == []
    await stage.pass_(1)
    assert [r.body for r in stage.records("denials")] == [{"count": 4, "decision": answers[0].id}]
    fresh = await stage.authorize(grant, PAY, PAYMENT)
    assert (fresh.id != answers[0].id, fresh.repeated) == (True, 0)


@staged()
async def test_denials_without_a_session_fold_too_and_are_counted_at_a_stop(stage: Stage) -> None:
    for _ in range(3):
        assert await stage.refusal(None, proof=FINANCE) == "no_task"
    for _ in range(3):
        with pytest.raises(Forbidden):
            await stage.change("workload/finance", "retired", by=FINANCE)
    await stage.restart()
    assert sorted(r.body["count"] for r in stage.records("denials")) == [2, 2]


@staged()
async def test_denials_fold_on_after_a_restart(stage: Stage) -> None:
    grant = await stage.start()
    first = await stage.authorize(grant, PAY, PAYMENT)
    await stage.restart()
    assert (await stage.authorize(grant, PAY, PAYMENT)).id == first.id


@staged()
async def test_attack_denials_with_ever_other_arguments_fill_the_disk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SESSION_DENIALS", 5)
    grant = await stage.start()
    for n in range(20):
        denied = await stage.authorize(grant, PAY, PAYMENT | {"amount": n}, idempotency_key=f"k{n}")
        assert (denied.effect, denied.digest) == ("deny", request_digest(PAY, PAYMENT | {"amount": n}))
        assert not (await stage.authorize(grant, f"billing/made-up-{n}", {})).permitted
    assert len(stage.records("decision")) == 6
    assert await stage.refusal(grant) == "bound_reached"
    assert await stage.refusal(grant, PAY, PAYMENT, idempotency_key="k19") == "bound_reached"
    await stage.restart()
    assert await stage.refusal(grant) == "bound_reached"
    assert len(stage.records("decision")) == 6


@staged()
async def test_attack_denials_without_a_task_fill_the_disk(stage: Stage) -> None:
    for n in range(20):
        await stage.refusal(None, READ, {"invoice": f"INV-{n}"}, proof=FINANCE)
        await stage.refusal(None, f"billing/made-up-{n}", {}, proof=FINANCE)
        await stage.refusal(None, subject=spiffe(f"workload/made-up-{n}"))
    reasons = [r.body["reason"]["code"] for r in stage.records("decision")]
    assert sorted(reasons) == ["identity_unknown", "no_task"]
    await stage.restart()
    assert sorted(r.body["count"] for r in stage.records("denials")) == [19, 39]


# --- rates --------------------------------------------------------------------------------------------------


@staged(settings="")
async def test_naming_a_workload_does_not_use_up_its_rate(stage: Stage) -> None:
    grant = await stage.start()
    stage.governor._rates._burst = 3.0
    stage.governor._rates._per_second = 0.0
    for _ in range(5):
        named = await stage.authorize(grant, proof=None)
    assert named.reason.code == "rate_limited"
    await stage.permit(grant)
    await stage.permit(grant)
    await stage.permit(grant)
    decision = await stage.authorize(grant)
    assert (decision.effect, decision.reason.code, decision.id) == ("deny", "rate_limited", "")
    assert (await stage.probe(grant)).reason.code == "rate_limited"
    listed = await stage.governor.listing(stage.ask(grant, "", {}), "billing", {"read_invoice": ""})
    assert listed["read_invoice"] is not None
    assert spiffe("workload/finance") == grant.workload
