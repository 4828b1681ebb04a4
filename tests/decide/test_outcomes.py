"""What became of permits: who is believed, what it satisfies, and when it comes too late."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from remit.core import bounds
from remit.core.decisions import OutcomeResult
from remit.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from tests.decide.stage import (
    ADMIN,
    ELSEWHERE,
    FINANCE,
    GATEWAY,
    HELPER,
    INVOICE,
    LOOKUP,
    MINUTE,
    PAID,
    PARAMS,
    PAY,
    PAYMENT,
    READ,
    SECOND,
    Grant,
    Stage,
    identity,
    staged,
    together,
)


@staged()
async def test_outcome_forged_by_the_workload(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params=PARAMS)
    read = await stage.permit(grant)
    forged = await stage.report(read, output=PAID, by=FINANCE)
    assert forged.standing == "claimed"
    assert [r.body["standing"] for r in stage.records("outcome")] == ["claimed"]
    assert await stage.pays(grant) == "out_of_order"
    # Nor does it stand in the way of the enforcement point's word.
    believed = await stage.report(read, output=PAID)
    assert believed.standing == "believed"
    assert await stage.pays(grant) == "permitted"


@staged()
async def test_a_workload_that_claims_in_a_loop_fills_no_record(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    for _ in range(10):
        assert (await stage.report(permit, "not_executed", by=FINANCE)).standing == "claimed"
    assert len(stage.records("outcome")) == 1
    await stage.restart()
    await stage.report(permit, "error", by=FINANCE)
    assert len(stage.records("outcome")) == 1


@staged()
async def test_a_claim_gives_nothing_back(stage: Stage) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    await stage.report(payment, "not_executed", by=FINANCE)
    assert await stage.pays(grant) == "limit_reached"
    await stage.pass_(2 * MINUTE)
    assert await stage.pays(grant) == "limit_reached"


OWN = {
    "own": """
description: d
effects: [read]
starters: [starter/app]
workloads: [group:agents]
order:
  - {name: looked, before: [billing/read_invoice], done: own/look}
limits:
  - {name: reads, effects: [read], calls: 1}
"""
}


@staged(intents=OWN)
async def test_a_workload_that_enforces_itself_is_never_believed(stage: Stage) -> None:
    grant = await stage.start("own")
    look = await stage.governor.authorize(stage.ask_itself(grant))
    assert look.permitted
    receipt = await stage.report(look, "not_executed", by=FINANCE)
    assert receipt.standing == "claimed"
    assert (await stage.governor.authorize(stage.ask_itself(grant))).reason.code == "limit_reached"
    assert await stage.refusal(grant) in ("out_of_order", "limit_reached")
    await stage.pass_(2 * MINUTE)
    assert [r.body["result"] for r in stage.records("outcome")] == ["not_executed"]


@pytest.mark.parametrize("by", [ELSEWHERE, HELPER, ADMIN])
@staged()
async def test_outcome_by_somebody_else_is_refused_and_recorded(stage: Stage, by: Any) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    with pytest.raises(Forbidden) as raised:
        await stage.report(permit, by=by)
    assert raised.value.code == "not_its_permit"
    refused = stage.records("decision", f"identity/{by.id}")[-1].body
    assert (refused["id"], refused["action"], refused["effect"]) == (raised.value.decision, "outcome.report", "deny")
    assert refused["context"] == {"target": permit.id}
    assert stage.records("outcome") == []


@staged()
async def test_outcome_of_other_arguments(stage: Stage) -> None:
    grant = await stage.start()
    one = await stage.permit(grant, READ, {"invoice": "1"})
    two = await stage.permit(grant, READ, {"invoice": "2"})
    with pytest.raises(Conflict, match="other arguments"):
        await stage.report(one, digest=two.digest)
    with pytest.raises(NotFound):
        await stage.report(msgspec.structs.replace(one, id="d_0000"))
    with pytest.raises(NotFound):
        await stage.report(msgspec.structs.replace(one, id=grant.task))
    assert stage.records("outcome") == []


@staged()
async def test_a_denial_has_no_outcome(stage: Stage) -> None:
    grant = await stage.start()
    denied = await stage.authorize(grant, PAY, PAYMENT)
    with pytest.raises(NotFound):
        await stage.report(denied)


@staged()
async def test_the_first_believed_outcome_counts(stage: Stage) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    await stage.report(payment)
    assert (await stage.report(payment)).standing == "believed"
    with pytest.raises(Conflict, match="was reported as response"):
        await stage.report(payment, "not_executed")
    assert await stage.pays(grant) == "limit_reached"
    assert len(stage.records("outcome")) == 2


@staged()
async def test_two_outcomes_of_one_permit_at_once(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    receipts = await together(*[stage.report(permit, durable=n % 2 == 0) for n in range(6)])
    assert {receipt.standing for receipt in receipts} == {"believed"}
    assert len(stage.records("outcome")) == 1


@staged()
async def test_an_outcome_in_the_same_batch_as_its_permit_s_successor(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params=PARAMS)
    read = await stage.permit(grant)
    _, payment = await together(stage.report(read, output=PAID, durable=False), stage.authorize(grant, PAY, PAYMENT))
    assert payment.permitted


@staged()
async def test_unknown_is_the_service_s_to_say(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    for result in ("unknown", "claimed", "open", ""):
        with pytest.raises(InvalidInput):
            await stage.report(permit, result)  # type: ignore[arg-type]  # what an embedding program could do
    await stage.pass_(2 * MINUTE)
    (record,) = stage.records("outcome")
    assert (record.body["result"], record.body["by"]) == ("unknown", "spiffe://example.org/remit")
    await stage.pass_(10 * MINUTE)
    assert len(stage.records("outcome")) == 1


@staged()
async def test_attack_a_workload_sounds_the_alarm(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    permit = await stage.permit(await stage.start())
    assert (await stage.report(permit, by=FINANCE, started=permit.expires + 1)).late
    assert "ALARM" not in caplog.text


@staged()
async def test_late_use_is_said_with_an_alarm(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    grant = await stage.start()
    on_time, late = await stage.permit(grant), await stage.permit(grant)
    stage.clock.pass_(6 * SECOND)
    assert not (await stage.report(on_time, started=on_time.expires)).late
    assert "ALARM" not in caplog.text
    assert (await stage.report(late, started=late.expires + 1)).late
    assert f"ALARM the permit {late.id} was used after it had run out" in caplog.text
    assert [r.body["late"] for r in stage.records("outcome")] == [False, True]


@staged()
async def test_an_outcome_after_the_task_s_end_is_taken(stage: Stage) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    await stage.end(grant)
    assert (await stage.report(payment)).standing == "believed"


@staged()
async def test_a_quarantined_enforcement_point_is_not_heard(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    await stage.change("pep/gateway", "quarantined")
    with pytest.raises(Forbidden) as raised:
        await stage.report(permit)
    assert raised.value.code == "identity_quarantined"


# --- resolutions --------------------------------------------------------------------------------------------


@staged()
async def test_only_what_is_unknown_is_resolved_and_only_by_an_operator(stage: Stage) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    with pytest.raises(Conflict, match="is open, not unknown"):
        await stage.governor.resolve(ADMIN, payment.id, "not_executed", "")
    await stage.pass_(2 * MINUTE)
    for who in (FINANCE, GATEWAY, HELPER, identity("starter/app"), identity("person/eve")):
        with pytest.raises(Forbidden):
            await stage.governor.resolve(who, payment.id, "not_executed", "")
    await stage.governor.resolve(ADMIN, payment.id, "not_executed", "never left")
    with pytest.raises(Conflict):
        await stage.governor.resolve(ADMIN, payment.id, "response", "")
    with pytest.raises(Conflict):
        await stage.report(payment)
    (record,) = stage.records("resolution")
    assert (record.body["by"], record.body["reason"]) == (ADMIN.id, "never left")


@staged()
async def test_a_workload_with_an_approver_s_role_does_not_resolve_its_own_permit(stage: Stage) -> None:
    await stage.start()
    registered = stage.governor.registration(FINANCE.id)
    assert registered is not None
    both = type(registered)(**{**_fields(registered), "roles": ("workload", "approver")})
    await stage.governor.register(ADMIN, both)
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    await stage.pass_(2 * MINUTE)
    with pytest.raises(Forbidden) as raised:
        await stage.governor.resolve(FINANCE, payment.id, "not_executed", "")
    assert raised.value.code == "own_permit"
    assert await stage.pays(grant) == "limit_reached"


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


# --- what outcomes satisfy ----------------------------------------------------------------------------------


async def read_as(stage: Stage, grant: Grant, output: dict[str, Any], result: OutcomeResult = "response") -> None:
    await stage.report(await stage.permit(grant, READ, INVOICE), result, output)


@staged()
async def test_a_prerequisite_wants_the_right_step(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params=PARAMS)
    assert await stage.pays(grant) == "out_of_order"
    read = await stage.permit(grant)
    assert await stage.pays(grant) == "out_of_order"  # asked for, not done
    await stage.report(read, "error", PAID)
    assert await stage.pays(grant) == "out_of_order"
    other = await stage.permit(grant, READ, {"invoice": "INV-2"})
    await stage.report(other, output=PAID)
    assert await stage.pays(grant) == "out_of_order"  # another invoice
    await read_as(stage, grant, PAID | {"status": "paid"})
    assert await stage.pays(grant) == "out_of_order"  # not open
    await read_as(stage, grant, PAID)
    assert await stage.pays(grant) == "permitted"


PLAIN = {
    "plain": """
description: Look, then read.
actions: [web/search, billing/read_invoice]
starters: [starter/app]
workloads: [group:agents]
order:
  - {name: searched, before: [billing/read_invoice], done: web/search}
"""
}


@staged(intents=PLAIN)
async def test_what_failed_or_is_unknown_is_not_done(stage: Stage) -> None:
    grant = await stage.start("plain")
    for result in ("error", "not_executed"):
        await stage.report(await stage.permit(grant, "web/search", {}), result)  # type: ignore[arg-type]
        assert await stage.refusal(grant) == "out_of_order"
    unknown = await stage.permit(grant, "web/search", {})
    await stage.pass_(2 * MINUTE)
    assert await stage.refusal(grant) == "out_of_order"
    # An operator's word on it gives nothing to go on either; the enforcement point's does.
    await stage.governor.resolve(ADMIN, unknown.id, "response", "")
    assert await stage.refusal(grant) == "out_of_order"
    later = await stage.permit(grant, "web/search", {})
    await stage.pass_(2 * MINUTE)
    await stage.report(later)
    await stage.permit(grant)


@staged()
async def test_a_prerequisite_is_of_this_task_tree(stage: Stage) -> None:
    other = await stage.start_payment()
    assert other.task
    grant = await stage.start("pay-invoice", params=PARAMS)
    assert await stage.pays(grant) == "out_of_order"


@staged()
async def test_a_prerequisite_ages(stage: Stage) -> None:
    grant = await stage.start_payment()
    stage.clock.pass_(10 * MINUTE)
    assert (await stage.probe(grant, PAY, PAYMENT)).permitted
    stage.clock.pass_(1)
    assert await stage.pays(grant) == "out_of_order"
    await read_as(stage, grant, PAID)
    assert await stage.pays(grant) == "permitted"


@staged()
async def test_a_later_step_takes_the_place_of_an_earlier_one(stage: Stage) -> None:
    grant = await stage.start_payment()
    await read_as(stage, grant, PAID | {"account": "CH93"})
    assert await stage.pays(grant) == "argument_not_bound"
    await read_as(stage, grant, PAID)
    assert await stage.pays(grant) == "permitted"


@pytest.mark.parametrize(
    ("output", "selected"),
    [
        ({"amount": 120.5}, {"amount": {"__extn": {"fn": "decimal", "arg": "120.5000"}}}),
        ({"amount": "7"}, {"amount": {"__extn": {"fn": "decimal", "arg": "7.0000"}}}),
        ({"amount": 0.00001}, {}),
        ({"amount": 1e30}, {}),
        ({"amount": float("nan")}, {}),
        ({"amount": "9" * 100_000}, {}),
        ({"amount": 10**5000}, {}),
        ({"amount": True}, {}),
        ({"amount": {"__extn": {"fn": "decimal", "arg": "1.0"}}}, {}),
        ({"lines": 3}, {"lines": 3}),
        ({"lines": 3.5}, {}),
        ({"lines": "x"}, {}),
        ({"paid": True}, {"paid": True}),
        ({"paid": 1}, {}),
        ({"account": "x" * bounds.STRING_IN_RECORD}, {"account": "x" * bounds.STRING_IN_RECORD}),
        ({"account": "\U0001f600" * 1000}, {}),
        ({"account": "\ud800"}, {}),
        ({"account": {"commitment": "0" * 64}}, {}),
        ({"account": None, "unselected": "x"}, {}),
    ],
)
@staged()
async def test_selected_fields_are_typed_or_left_out(stage: Stage, output: Any, selected: Any) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    await stage.report(permit, output=output)
    (record,) = stage.records("outcome")
    assert record.body["selected"] == selected


@staged()
async def test_fields_of_a_failed_call_are_not_kept(stage: Stage) -> None:
    grant = await stage.start()
    await stage.report(await stage.permit(grant), "error", PAID)
    (record,) = stage.records("outcome")
    assert record.body["selected"] == {}


@staged()
async def test_sizes_and_times_that_no_record_can_hold(stage: Stage) -> None:
    grant = await stage.start()
    await stage.report(await stage.permit(grant), bytes=-5, started=-1)
    await stage.report(await stage.permit(grant), bytes=2**62, started=2**62)
    first, second = stage.records("outcome")
    assert (first.body["bytes"], first.body["started"]) == (0, 0)
    assert (second.body["bytes"], second.body["started"], second.body["late"]) == (2**50, 2**50, True)


@staged()
async def test_a_personal_result_field(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant, LOOKUP, {"email": "ada@example.org"})
    await stage.report(permit, output={"name": "Ada Lovelace", "team": "engines"})
    (record,) = stage.records("outcome")
    assert record.body["selected"].keys() == {"name", "team"}
    assert record.body["selected"]["name"].keys() == {"commitment"}
    assert b"Lovelace" not in stage.bytes_()
