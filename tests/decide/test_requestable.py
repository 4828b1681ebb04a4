"""Requestable denials: what would have to be asked for, wherever the denial is told; nothing is approved by it."""

from __future__ import annotations

from typing import Any

from remit.core.decisions import AccessRequest, Approval, Decision
from remit.sdk.access_request import in_words
from remit.sdk.wire import decision_body, decision_of
from tests.decide.stage import CHILDREN, FAR, FETCH, FINANCE, INVOICE, LOOKUP, READ, Stage, staged

ASKED = """
@id("outside") @requestable("group:security, person/carol") @reason("new_destination") @message("it is new")
forbid (principal, action == Remit::Action::"web/fetch", resource)
when { context has destination && context.destination.host != "wiki.example" };
"""
TWO = ASKED + '@id("second") @requestable forbid (principal, action == Remit::Action::"web/fetch", resource);'
FINAL = ASKED + '@id("final") forbid (principal, action == Remit::Action::"web/fetch", resource);'
AWAY = {"url": "https://elsewhere.example/a"}
APPROVAL = Approval(policy="outside", by=("group:security", "person/carol"))


def request(decision: Decision) -> AccessRequest:
    assert not decision.permitted
    assert decision.requestable
    assert decision.request is not None
    return decision.request


@staged(policies=ASKED)
async def test_a_denial_says_what_would_have_to_be_asked_for(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.authorize(grant, FETCH, AWAY)
    assert decision.reason.code == "new_destination"
    assert request(decision) == AccessRequest(subject=FINANCE.id, approvals=(APPROVAL,), selectors=AWAY)
    assert stage.record_of(decision)["requestable"] == {
        "approvals": [{"by": ["group:security", "person/carol"], "policy": "outside"}],
        "selectors": ["url"],
    }
    said = f'`web/fetch` with url "{AWAY["url"]}", in the task {grant.task}, approved by a member of security or'
    assert in_words(decision) == f"{said} person/carol"
    assert (await stage.authorize(grant, FETCH, {"url": "https://wiki.example"})).request is None


@staged(policies=ASKED)
async def test_the_same_denial_asked_again_says_the_same(stage: Stage) -> None:
    grant = await stage.start()
    first = await stage.authorize(grant, FETCH, AWAY, idempotency_key="k")
    repeated = await stage.authorize(grant, FETCH, AWAY)
    assert repeated.repeated == 1
    again = await stage.authorize(grant, FETCH, AWAY, idempotency_key="k")
    await stage.restart()
    after = await stage.authorize(grant, FETCH, AWAY, idempotency_key="k")
    assert {each.id for each in (first, repeated, again, after)} == {first.id}
    assert request(first) == request(repeated) == request(again) == request(after)


@staged(policies=ASKED)
async def test_a_probe_says_it_too_and_names_no_decision(stage: Stage) -> None:
    decision = await stage.probe(await stage.start(), FETCH, AWAY)
    assert request(decision).approvals == (APPROVAL,)
    body = decision_body(decision).context.request
    assert body is not None
    assert body.denial.evaluation_id == ""


@staged(policies=TWO)
async def test_every_forbid_needs_its_own_approval(stage: Stage) -> None:
    decision = await stage.authorize(await stage.start(), FETCH, AWAY)
    assert {each.policy for each in request(decision).approvals} == {"outside", "second"}
    assert in_words(decision).endswith("approved by a member of security or person/carol, and by any approver")


@staged(policies=FINAL)
async def test_attack_a_final_forbid_beside_one_that_could_be_approved(stage: Stage) -> None:
    decision = await stage.authorize(await stage.start(), FETCH, AWAY)
    assert (decision.requestable, decision.request) == (False, None)
    assert "requestable" not in stage.record_of(decision)


UPWARDS = """
@id("outside") @requestable("group:security")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource) when { context.task.depth == 1 };
@id("above")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource) when { context.task.depth == 0 };
"""


@staged(policies=UPWARDS, intents=CHILDREN)
async def test_a_final_denial_of_a_task_above_is_final(stage: Stage) -> None:
    root = await stage.start()
    child = await stage.start("narrow", parent=root.task)
    decision = await stage.authorize(child, READ)
    assert (decision.effect, decision.requestable) == ("deny", False)


@staged(policies=UPWARDS.replace('@id("above")', '@id("above") @requestable("group:owners")'), intents=CHILDREN)
async def test_the_approvals_of_tasks_above_are_needed_too(stage: Stage) -> None:
    root = await stage.start()
    child = await stage.start("narrow", parent=root.task)
    decision = await stage.authorize(child, READ)
    assert [each.policy for each in request(decision).approvals] == ["outside", "above"]


@staged(policies=ASKED)
async def test_other_denials_are_final(stage: Stage) -> None:
    grant = await stage.start()
    await stage.change("workload/finance", "quarantined")
    assert (await stage.authorize(grant, FETCH, AWAY)).request is None
    await stage.change("workload/finance", "active")
    assert (await stage.authorize(grant, FETCH, {"url": 3})).request is None
    await stage.end(grant, "suspended")
    assert (await stage.authorize(grant, FETCH, AWAY)).request is None


@staged(policies=ASKED, settings='[mode]\ndefault = "observe"\nobserve_until = 2030-01-01T00:00:00Z\n')
async def test_what_is_observed_is_permitted_and_nothing_is_to_be_asked_for(stage: Stage) -> None:
    decision = await stage.authorize(await stage.start(), FETCH, AWAY)
    assert (decision.permitted, decision.request) == (True, None)


@staged(policies='@requestable forbid (principal, action == Remit::Action::"people/lookup", resource);')
async def test_personal_and_long_arguments_stand_in_no_record(stage: Stage) -> None:
    asked: dict[str, Any] = {"email": "ada@example.org", "reason": "r" * 2000}
    decision = await stage.authorize(await stage.start(), LOOKUP, asked)
    selectors = request(decision).selectors
    assert selectors["email"] == "ada@example.org"  # told to who asked with it
    assert selectors["reason"].keys() == {"bytes", "sha256"}
    assert b"ada@example.org" not in stage.bytes_()
    assert stage.record_of(decision)["requestable"]["selectors"] == ["email", "reason"]


@staged(policies=ASKED)
async def test_over_the_wire_it_has_the_members_of_a_submission(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.authorize(grant, FETCH, AWAY)
    body = decision_body(decision)
    wire = body.context.request
    assert wire is not None
    assert (wire.subject.id, wire.action.name, wire.resource.id) == (FINANCE.id, FETCH, "web")
    assert (wire.context.task, wire.context.digest, wire.context.selectors) == (grant.task, decision.digest, AWAY)
    assert (wire.denial.evaluation_id, wire.denial.reason) == (decision.id, "new_destination")
    assert wire.denial.evaluated_at.endswith("Z")
    assert decision_of(body, FETCH) == decision


@staged(policies='@requestable forbid (principal, action == Remit::Action::"billing/read_invoice", resource);')
async def test_a_suspended_or_risky_task_stays_final(stage: Stage) -> None:
    params = {"invoice": "INV-1", "account": "DE89", "amount": "1"}
    grant = await stage.start("pay-invoice", params=params)
    await stage.risk(61, FAR)
    decision = await stage.authorize(grant, READ, INVOICE)
    assert (decision.reason.code, decision.requestable) == ("risk_too_high", False)
