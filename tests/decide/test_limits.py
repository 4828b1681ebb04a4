"""Limits count permits, also those in flight, in the whole tree; outcomes give back what was not spent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from remit.core.decisions import OutcomeResult
from tests.decide.stage import (
    ADMIN,
    INTENTS,
    INVOICE,
    MINUTE,
    PARAMS,
    PAY,
    PAYMENT,
    READ,
    Stage,
    identity,
    staged,
    together,
)

READS = {"answer": INTENTS["answer"] + "limits:\n  - {name: reads, effects: [read], calls: 2}\n"}
SPEND = {
    "spend": """
description: Spend up to a hundred.
actions: [payments/pay_invoice]
starters: [starter/app, workload/finance]
workloads: [group:agents]
limits:
  - {name: total, effects: [pay], sum: input.amount, at_most: 100}
children: [pocket]
""",
    "pocket": """
description: Spend a little.
actions: [payments/pay_invoice]
starters: [workload/finance]
workloads: [group:agents]
limits:
  - {name: little, effects: [pay], sum: input.amount, at_most: 60}
  - {name: few, effects: [pay], calls: 3}
""",
}


def pays(amount: Any) -> dict[str, Any]:
    return {"invoice": "I", "amount": amount}


def used(stage: Stage, task: str) -> dict[str, tuple[int, Decimal]]:
    session = stage.world.session(task)
    assert session is not None
    assert all(limit.calls >= 0 and limit.total >= 0 for limit in session.used.values())
    return {name: (limit.calls, limit.total) for name, limit in session.used.items()}


@staged(intents=READS)
async def test_calls_count_while_they_are_in_flight(stage: Stage) -> None:
    grant = await stage.start()
    answers = await together(*[stage.authorize(grant, READ, {"invoice": str(n)}) for n in range(5)])
    assert [answer.effect for answer in answers] == ["permit", "permit", "deny", "deny", "deny"]
    assert answers[2].reason.code == "limit_reached"


@staged(intents=SPEND)
async def test_sums_count_this_call_and_those_in_flight(stage: Stage) -> None:
    grant = await stage.start("spend")
    answers = await together(*[stage.authorize(grant, PAY, pays(n)) for n in (60, 40.5, 40, 0.0001, 0)])
    assert [answer.effect for answer in answers] == ["permit", "deny", "permit", "deny", "permit"]
    assert used(stage, grant.task) == {"spend/total#sum": (3, Decimal(100))}


@pytest.mark.parametrize("amount", [-1, -0.5, 1e15, 922337203685477, "1", None, True])
@staged(intents=SPEND)
async def test_an_amount_that_would_make_room_or_can_t_be_counted(stage: Stage, amount: Any, caplog: Any) -> None:
    grant = await stage.start("spend")
    await stage.permit(grant, PAY, pays(1))
    assert await stage.refusal(grant, PAY, pays(amount)) in ("limit_reached", "arguments_invalid")
    assert used(stage, grant.task)["spend/total#sum"][1] == 1
    assert "ALARM" not in caplog.text


OBSERVING = '[mode]\ndefault = "observe"\nobserve_until = 2027-01-01T00:00:00Z\n'


@staged(intents=SPEND, settings=OBSERVING)
async def test_observing_makes_no_room_either(stage: Stage) -> None:
    grant = await stage.start("spend")
    for amount in (90, -80, 922337203685477, 922337203685477):
        await stage.permit(grant, PAY, pays(amount))
    assert used(stage, grant.task)["spend/total#sum"][1] == 90 + 2 * 922337203685477


# --- what outcomes give back --------------------------------------------------------------------------------


@pytest.mark.parametrize(("result", "left"), [("not_executed", 1), ("error", 0), ("response", 0)])
@staged()
async def test_a_payment_is_given_back_only_when_it_never_ran(stage: Stage, result: OutcomeResult, left: int) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    assert await stage.pays(grant) == "limit_reached"
    await stage.report(payment, result)
    assert used(stage, grant.task)["pay-invoice/once"][0] == 1 - left
    assert await stage.pays(grant) == ("permitted" if left else "limit_reached")


@pytest.mark.parametrize(("result", "left"), [("not_executed", 1), ("error", 1), ("response", 0)])
@staged(intents={"answer": READS["answer"].replace("calls: 2", "calls: 1")})
async def test_a_read_is_given_back_when_it_failed(stage: Stage, result: OutcomeResult, left: int) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    await stage.report(permit, result)
    assert used(stage, grant.task)["answer/reads"][0] == 1 - left
    assert (await stage.authorize(grant)).permitted == bool(left)


@staged(intents={"answer": READS["answer"].replace("calls: 2", "calls: 1")})
async def test_an_unknown_read_is_given_back_and_taken_again_by_its_late_answer(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    await stage.pass_(2 * MINUTE - 1)
    assert await stage.refusal(grant) == "limit_reached"
    await stage.pass_(1)
    assert used(stage, grant.task)["answer/reads"][0] == 0
    await stage.report(permit)
    assert used(stage, grant.task)["answer/reads"][0] == 1
    assert await stage.refusal(grant) == "limit_reached"


@pytest.mark.parametrize(("result", "left"), [("not_executed", 1), ("error", 0), ("response", 0)])
@pytest.mark.parametrize("by", ["pep", "operator"])
@staged()
async def test_an_unknown_payment_stays_spent_until_it_is_resolved(
    stage: Stage, by: str, result: OutcomeResult, left: int
) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    await stage.pass_(2 * MINUTE)
    assert stage.governor.metrics()["unknown_outcomes"] == 1
    assert await stage.pays(grant) == "limit_reached"
    if by == "pep":
        await stage.report(payment, result)
    else:
        await stage.governor.resolve(identity("person/carol"), payment.id, result, "looked at the bank's statement")
    assert stage.governor.metrics()["unknown_outcomes"] == 0
    assert used(stage, grant.task)["pay-invoice/amount#sum"] == ((1 - left), Decimal("120.5") * (1 - left))
    assert await stage.pays(grant) == ("permitted" if left else "limit_reached")


@staged(intents=SPEND)
async def test_what_is_given_back_is_given_back_once(stage: Stage) -> None:
    grant = await stage.start("spend")
    permits = [await stage.permit(grant, PAY, pays(20)) for _ in range(5)]
    await together(*[stage.report(permits[0], "not_executed") for _ in range(3)])
    assert used(stage, grant.task)["spend/total#sum"] == (4, Decimal(80))
    await stage.permit(grant, PAY, pays(20))
    assert await stage.refusal(grant, PAY, pays(1)) == "limit_reached"


# --- children -----------------------------------------------------------------------------------------------


@staged(intents=SPEND)
async def test_children_s_permits_count_for_their_ancestors(stage: Stage) -> None:
    parent = await stage.start("spend")
    finance = identity("workload/finance", parent.key)
    child = await stage.start("pocket", "workload/helper", finance, parent=parent.task)
    await stage.permit(parent, PAY, pays(50))
    await stage.permit(child, PAY, pays(40))
    assert used(stage, parent.task) == {
        "spend/total#sum": (2, Decimal(90)),
        "pocket/little#sum": (1, Decimal(40)),
        "pocket/few": (1, Decimal(1)),
    }
    decision = await stage.authorize(child, PAY, pays(15))
    assert (decision.reason.code, decision.reason.policies[0].id) == ("limit_reached", "intent:spend/limit/total")
    above = stage.record_of(decision)["above"]
    assert [task["intent"] for task in above] == ["spend"]
    await stage.permit(child, PAY, pays(10))


@staged(intents=SPEND)
async def test_a_child_s_own_limit_and_those_of_its_sisters(stage: Stage) -> None:
    parent = await stage.start("spend")
    finance = identity("workload/finance", parent.key)
    children = [await stage.start("pocket", "workload/helper", finance, parent=parent.task) for _ in range(2)]
    await stage.permit(children[0], PAY, pays(50))
    # A limit is of the tree: a second child under the same intent does not double it.
    refused = await stage.authorize(children[1], PAY, pays(20))
    assert refused.reason.policies[0].id == "intent:pocket/limit/little"


@staged(
    intents={
        "answer": INTENTS["answer"].replace("effects: [read]", "actions: [billing/read_invoice, people/lookup]")
        + "children: [narrow]\nlimits:\n  - {name: one, actions: [billing/read_invoice], calls: 1}\n",
        "narrow": """
description: Look up.
actions: [people/lookup, billing/read_invoice]
starters: [starter/app]
workloads: [group:agents]
risk_at_most: 50
""",
    }
)
async def test_child_wider_than_its_parent_at_decision_time(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", parent=parent.task)
    await stage.permit(child, "people/lookup", {"email": "a@b.example"})
    await stage.permit(child, READ, INVOICE)
    assert await stage.refusal(child, READ, INVOICE) == "limit_reached"
    await stage.close()
    # Later the parent's intent is narrowed, and the child's is widened, with the parent's task still open.
    folder = stage.folder.root / "intents"
    narrow = (folder / "narrow.yaml").read_text()
    (folder / "answer.yaml").write_text((folder / "answer.yaml").read_text().replace("children: [narrow]\n", ""))
    (folder / "narrow.yaml").write_text(narrow.replace("actions: [", "actions: [web/fetch, ").replace("50", "90"))
    await stage.open()
    wider = await stage.authorize(child, "web/fetch", {"url": "https://a.example/"})
    assert (wider.reason.code, wider.reason.policies[0].id) == ("not_justified", "intent:answer/ceiling")


@staged()
async def test_finance_cannot_pay_more_than_the_task_s_amount(stage: Stage) -> None:
    grant = await stage.start_payment()
    refused = await stage.authorize(grant, PAY, PAYMENT | {"amount": 120.51})
    assert refused.reason.code == "limit_reached"
    await stage.permit(grant, PAY, PAYMENT)
    assert PARAMS["amount"] == "120.50"
    assert (await stage.governor.task(ADMIN, grant.task)).calls == 2
