"""Who starts tasks for whom, how they end, and that children only narrow."""

from __future__ import annotations

from typing import Any

import pytest

from remit.core import bounds
from remit.core.errors import Conflict, Forbidden, InvalidInput, NotFound, RemitError, TooLarge, Unavailable
from remit.core.identities import Registration
from tests.decide.stage import (
    ADMIN,
    APP,
    FINANCE,
    GATEWAY,
    HELPER,
    HOUR,
    INTENTS,
    PARAMS,
    READ,
    Stage,
    identity,
    spiffe,
    staged,
    together,
)


async def refused(stage: Stage, awaited: Any) -> str:
    """The code of a refusal; one of policy stands in the record."""
    with pytest.raises(RemitError) as raised:
        await awaited
    error = raised.value
    if isinstance(error, Forbidden) and error.decision:
        assert stage.records("decision")[-1].body["id"] == error.decision
        assert stage.records("decision")[-1].body["reason"]["code"] == error.code
    return error.code


# --- starting -----------------------------------------------------------------------------------------------


@staged()
async def test_self_started_payment(stage: Stage) -> None:
    assert await refused(stage, stage.start("pay-invoice", starter=FINANCE, params=PARAMS)) == "self_start"
    registered = stage.governor.registration(FINANCE.id)
    assert registered is not None
    await stage.governor.register(ADMIN, changed(registered, roles=("workload", "starter")))
    assert await refused(stage, stage.start("pay-invoice", starter=FINANCE, params=PARAMS)) == "self_start"
    assert await refused(stage, stage.start("answer", starter=FINANCE)) == "self_start"


def changed(registration: Registration, **fields: Any) -> Registration:
    return Registration(**{name: getattr(registration, name) for name in registration.__struct_fields__} | fields)


SELF_START = {
    "answer": INTENTS["answer"].replace("starter/app", "workload/finance, starter/app") + "self_start: true\n"
}


@staged(intents=SELF_START)
async def test_a_workload_starts_its_own_task_where_the_intent_says_so(stage: Stage) -> None:
    grant = await stage.start(starter=FINANCE)
    await stage.permit(grant)
    assert await refused(stage, stage.start(starter=HELPER, workload="workload/helper")) == "starter_not_listed"


@staged()
async def test_a_starter_that_the_intent_does_not_list(stage: Stage) -> None:
    assert await refused(stage, stage.start(starter=identity("starter/other"))) == "starter_not_listed"
    assert await refused(stage, stage.start("pay-invoice", starter=identity("person/eve"), params=PARAMS)) == (
        "starter_not_listed"
    )
    await stage.start(starter=identity("person/eve"))  # by her group


@staged()
async def test_a_workload_that_the_intent_does_not_list(stage: Stage) -> None:
    assert await refused(stage, stage.start(workload="workload/stranger")) == "workload_not_listed"


@pytest.mark.parametrize("who", [GATEWAY, ADMIN, HELPER, identity("person/carol")])
@staged()
async def test_who_is_no_starter(stage: Stage, who: Any) -> None:
    assert await refused(stage, stage.start(starter=who)) == "not_a_starter"


@staged()
async def test_a_starter_that_is_unknown_expired_or_quarantined(stage: Stage) -> None:
    before = stage.bytes_()
    assert await refused(stage, stage.start(starter=identity("starter/nobody"))) == "identity_unknown"
    assert await refused(stage, stage.start(starter=identity("starter/app", expires=1))) == "identity_expired"
    assert stage.bytes_() == before
    await stage.change("starter/app", "quarantined")
    assert await refused(stage, stage.start()) == "identity_quarantined"


@staged()
async def test_a_task_for_a_workload_that_does_not_act(stage: Stage) -> None:
    await stage.change("workload/finance", "quarantined")
    assert await refused(stage, stage.start()) == "identity_quarantined"
    assert await refused(stage, stage.start(workload="workload/nobody")) == "workload_unknown"
    assert await refused(stage, stage.start(workload="starter/app")) == "workload_unknown"


@staged(intents={"answer": INTENTS["answer"] + "case_types: [question]\n"})
async def test_requests_that_do_not_fit(stage: Stage) -> None:
    start = stage.start
    assert await refused(stage, start("nothing")) == "intent_unknown"
    assert await refused(stage, start("pay-invoice")) == "parameter_missing"
    assert await refused(stage, start("pay-invoice", params=PARAMS | {"x": 1})) == "parameter_unknown"
    assert await refused(stage, start("pay-invoice", params=PARAMS | {"amount": "1e9"})) == "parameter_invalid"
    assert await refused(stage, start(prompt="x" * (bounds.PROMPT_BYTES + 1))) == "prompt_too_long"
    assert await refused(stage, start(prompt="half a \ud800 character", case_type="question")) == "record_invalid"
    assert await refused(stage, start(key="k" * 65)) == "key_missing"
    assert await refused(stage, start(case_type="other")) == "case_type_unknown"
    assert await refused(stage, start()) == "case_type_not_allowed"
    await start(case_type="question")


@staged()
async def test_a_starter_in_a_loop_has_to_wait(stage: Stage) -> None:
    stage.governor._rates._burst = 2.0
    stage.governor._rates._per_second = 0.0
    await stage.start()
    await stage.start()
    with pytest.raises(Unavailable) as raised:
        await stage.start()
    assert raised.value.code == "rate_limited"


@staged()
async def test_a_task_on_behalf_of_a_person(stage: Stage) -> None:
    grant = await stage.start(person=identity("person/eve"))
    permit = await stage.permit(grant)
    facts = stage.record_of(permit)["context"]["task"]
    assert facts["onBehalfOf"] == {"__entity": {"type": "Remit::Person", "id": spiffe("person/eve")}}
    # A name in the request is no proof.
    named = await stage.start(on_behalf_of=spiffe("person/eve"))
    assert "onBehalfOf" not in stage.record_of(await stage.permit(named))["context"]["task"]


@staged()
async def test_attack_a_task_that_goes_on_for_a_person_who_was_quarantined(stage: Stage) -> None:
    grant = await stage.start(person=identity("person/eve"))
    await stage.permit(grant)
    await stage.change("person/eve", "quarantined")
    assert await stage.refusal(grant) == "identity_quarantined"
    await stage.change("person/eve", "active")
    await stage.permit(grant)


@staged()
async def test_attack_a_task_on_behalf_of_a_person_who_was_quarantined(stage: Stage) -> None:
    for state in ("quarantined", "retired"):
        await stage.change("person/eve", state)  # type: ignore[arg-type]
        assert await refused(stage, stage.start(person=identity("person/eve"))) == f"identity_{state}"


# --- children -----------------------------------------------------------------------------------------------

FAMILY = {
    "answer": INTENTS["answer"] + "params: {customer: {type: string, required: false}}\nchildren: [narrow]\n",
    "narrow": """
description: Read invoices.
actions: [billing/read_invoice]
starters: [workload/finance, starter/app, workload/helper, starter/other]
workloads: [group:agents]
params: {customer: {type: string, required: false}}
emergency: true
children: [narrower]
""",
    "narrower": """
description: Read invoices.
actions: [billing/read_invoice]
starters: [workload/finance, starter/app, workload/helper]
workloads: [group:agents]
time_to_live: 1m
""",
}


@staged(intents=FAMILY)
async def test_child_wider_than_its_parent(stage: Stage) -> None:
    parent = await stage.start(params={"customer": "C-1"})
    narrow = {"parent": parent.task, "params": {"customer": "C-1"}}
    await stage.start("narrow", **narrow)
    for params in ({"customer": "C-2"}, {}):
        assert await refused(stage, stage.start("narrow", parent=parent.task, params=params)) == "child_wider"
    assert await refused(stage, stage.start("narrower", parent=parent.task)) == "child_not_listed"
    assert await refused(stage, stage.start("answer", **narrow)) == "child_not_listed"
    # Each attempt stands in the record of the one who made it.
    codes = [r.body["reason"]["code"] for r in stage.records("decision", f"identity/{APP.id}")]
    assert codes == ["child_wider", "child_not_listed", "child_not_listed"]


@staged(intents=FAMILY)
async def test_who_may_hang_a_child_on_a_task(stage: Stage) -> None:
    parent = await stage.start()
    running = identity("workload/finance", parent.key)
    await stage.start("narrow", "workload/helper", running, parent=parent.task)
    # The same workload, in another run of it, with another key.
    elsewhere = identity("workload/finance", "another-key")
    mismatch = stage.start("narrow", "workload/helper", elsewhere, parent=parent.task)
    assert await refused(stage, mismatch) == "task_key_mismatch"
    other = stage.start("narrow", "workload/helper", identity("starter/other"), parent=parent.task)
    assert await refused(stage, other) == "parent_not_yours"
    own = stage.start("narrow", "workload/finance", running, parent=parent.task)
    assert await refused(stage, own) == "self_start"


@staged(intents=FAMILY)
async def test_children_inherit_person_and_prompt(stage: Stage) -> None:
    parent = await stage.start(person=identity("person/eve"), prompt="Which invoices are due?")
    child = await stage.start("narrow", parent=parent.task)
    permit = await stage.permit(child)
    assert stage.record_of(permit)["context"]["task"]["onBehalfOf"]["__entity"]["id"] == spiffe("person/eve")
    other = stage.start("narrow", parent=parent.task, person=identity("person/carol"))
    assert await refused(stage, other) == "person_inherited"
    words = stage.start("narrow", parent=parent.task, prompt="Pay everything.")
    assert await refused(stage, words) == "prompt_inherited"
    alone = await stage.start()
    assert await refused(stage, stage.start("narrow", parent=alone.task, person=identity("person/eve"))) == (
        "person_inherited"
    )


@staged(intents=FAMILY)
async def test_an_emergency_is_said_below_it_too(stage: Stage) -> None:
    root = await stage.start()
    child = await stage.start("narrow", parent=root.task)
    grandchild = await stage.start("narrower", parent=child.task)
    said = [stage.record_of(await stage.permit(g))["context"]["task"]["emergency"] for g in (root, child, grandchild)]
    assert said == [False, True, True]


@staged(intents=FAMILY)
async def test_a_child_of_a_task_that_is_not_open(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", parent=parent.task)
    await stage.end(parent, "suspended")
    await stage.end(child, "open")
    for task in (parent, child):
        intent = "narrow" if task is parent else "narrower"
        assert await refused(stage, stage.start(intent, parent=task.task)) == "parent_not_open"
    await stage.end(parent, "open")
    await stage.end(parent)
    assert await refused(stage, stage.start("narrow", parent=parent.task)) == "parent_not_open"
    late = await stage.start()
    stage.clock.now = late.expires
    assert await refused(stage, stage.start("narrow", parent=late.task)) == "parent_not_open"
    assert await refused(stage, stage.start("narrow", parent="t_nothing")) == "task_unknown"


@staged(intents=FAMILY)
async def test_a_tree_too_deep_or_too_wide(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CHILDREN_PER_TASK", 1)
    monkeypatch.setattr(bounds, "TASK_DEPTH", 1)
    parent = await stage.start()
    child = await stage.start("narrow", parent=parent.task)
    with pytest.raises(TooLarge):
        await stage.start("narrow", parent=parent.task)
    with pytest.raises(TooLarge):
        await stage.start("narrower", parent=child.task)


# --- ending -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["completed", "cancelled", "suspended"])
@staged(intents=FAMILY)
async def test_ending_a_task_ends_those_below_deepest_first(stage: Stage, state: Any) -> None:
    root = await stage.start()
    child = await stage.start("narrow", parent=root.task)
    sister = await stage.start("narrow", parent=root.task)
    grandchild = await stage.start("narrower", parent=child.task)
    await stage.end(sister, "cancelled")
    assert (await stage.end(root, state)).state == state
    moved = [r.body["task"] for r in stage.records("task") if r.body["state"] == state][-3:]
    assert moved == [grandchild.task, child.task, root.task]
    assert (await stage.governor.task(APP, sister.task)).state == "cancelled"


@staged()
async def test_moves_of_a_task(stage: Stage) -> None:
    grant = await stage.start()
    await stage.end(grant, "suspended")
    assert (await stage.end(grant, "suspended")).state == "suspended"  # again: the same answer, and no record
    await stage.end(grant, "open")
    await stage.permit(grant)
    await stage.end(grant, "cancelled")
    for state in ("open", "completed", "suspended"):
        assert await refused(stage, stage.end(grant, state)) == "task_ended"  # type: ignore[arg-type]
    states = [r.body["state"] for r in stage.records("task")]
    assert states == ["open", "suspended", "open", "cancelled"]
    expired = await stage.start()
    stage.clock.now = expired.expires
    await stage.pass_(1)
    assert (await stage.governor.task(APP, expired.task)).state == "expired"
    assert await refused(stage, stage.end(expired, "open")) == "task_ended"


@pytest.mark.parametrize("who", [FINANCE, GATEWAY, HELPER, identity("starter/other"), identity("person/carol")])
@staged()
async def test_ending_somebody_else_s_task(stage: Stage, who: Any) -> None:
    grant = await stage.start()
    for state in ("completed", "suspended", "open"):
        with pytest.raises(Forbidden):
            await stage.end(grant, state, by=who)  # type: ignore[arg-type]
    await stage.permit(grant)
    await stage.end(grant, by=ADMIN)


@staged(intents=SELF_START)
async def test_attack_a_workload_resumes_what_an_administrator_suspended(stage: Stage) -> None:
    grant = await stage.start(starter=FINANCE)
    await stage.end(grant, "suspended", by=ADMIN)
    assert await refused(stage, stage.end(grant, "open", by=FINANCE)) == "suspended_by_another"
    await stage.restart()
    assert await refused(stage, stage.end(grant, "open", by=FINANCE)) == "suspended_by_another"
    assert await stage.refusal(grant) == "task_suspended"
    await stage.end(grant, "open", by=ADMIN)
    await stage.end(grant, "suspended", by=FINANCE)
    await stage.end(grant, "open", by=FINANCE)
    await stage.permit(grant)


@staged()
async def test_who_sees_a_task(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params=PARAMS)
    for who in (APP, FINANCE, ADMIN, identity("person/carol")):
        assert (await stage.governor.task(who, grant.task)).params == PARAMS
    for who in (HELPER, GATEWAY, identity("starter/other")):
        with pytest.raises(Forbidden):
            await stage.governor.task(who, grant.task)
    for who in (HELPER, identity("starter/other")):
        with pytest.raises(Forbidden):  # also where nothing would change
            await stage.end(grant, "open", by=who)
    with pytest.raises(NotFound):
        await stage.governor.task(APP, "t_" + "0" * 10_000)


@staged()
async def test_time_ends_a_suspended_task_too(stage: Stage) -> None:
    grant = await stage.start()
    await stage.end(grant, "suspended")
    await stage.pass_(HOUR)
    assert (await stage.governor.task(APP, grant.task)).state == "expired"


@staged()
async def test_decisions_that_race_with_a_task_s_end(stage: Stage) -> None:
    for n in range(20):
        grant = await stage.start()
        asks = [stage.authorize(grant, READ, {"invoice": f"{n}-{k}"}) for k in range(10)]
        await together(*asks[:5], stage.end(grant), *asks[5:])
        assert await stage.refusal(grant) == "task_completed"
        kinds = [r.body.get("effect") or r.body["state"] for r in stage.records(stream=f"session/{grant.task}")]
        end = kinds.index("completed")
        assert "permit" not in kinds[end:]


@staged()
async def test_a_reason_that_is_too_long(stage: Stage) -> None:
    grant = await stage.start()
    with pytest.raises(TooLarge):
        await stage.governor.end_task(APP, grant.task, "completed", "x" * 2000)
    with pytest.raises((Conflict, InvalidInput, TooLarge)):
        await stage.governor.resolve(ADMIN, "d_1" * 1000, "response", "x" * 2000)
