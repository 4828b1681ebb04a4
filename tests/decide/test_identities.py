"""Registering, quarantining and retiring identities, and the risk that is known of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from remit.core.errors import Conflict, Forbidden, InvalidInput, NotFound, RemitError, TooLarge
from remit.core.identities import Registration
from remit.core.tasks import RiskSignal
from tests.decide.stage import (
    ADMIN,
    APP,
    FAR,
    FINANCE,
    GATEWAY,
    MINUTE,
    PAY,
    PAYMENT,
    SECOND,
    Stage,
    identity,
    spiffe,
    staged,
)

NEW = Registration(id=spiffe("workload/new"), kind="agent", roles=("workload",), owner="ada", key="k-new")
OUTSIDERS = [FINANCE, APP, GATEWAY, identity("person/carol"), identity("person/eve")]


@staged()
async def test_a_registered_workload_acts_and_survives_a_restart(stage: Stage) -> None:
    await stage.governor.register(ADMIN, msgspec.structs.replace(NEW, groups=("agents",)))
    grant = await stage.start(workload="workload/new")
    await stage.permit(grant)
    await stage.restart()
    await stage.permit(grant)


@pytest.mark.parametrize("who", OUTSIDERS)
@staged()
async def test_administration_is_for_administrators(stage: Stage, who: Any) -> None:
    signal = RiskSignal(id=FINANCE.id, signal="s", value=1, source="x", expires=FAR)
    attempts = [
        stage.governor.register(who, NEW),
        stage.governor.register(who, msgspec.structs.replace(NEW, id=who.id, roles=("administrator",))),
        stage.change("workload/finance", "quarantined", by=who),
        stage.change("workload/nobody", "quarantined", by=who),  # nor is it told who exists
        stage.governor.set_risk(who, signal),
        stage.governor.set_risk(who, msgspec.structs.replace(signal, id=spiffe("workload/nobody"))),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden) as raised:
            await attempt
        assert raised.value.decision
    assert {r.body["effect"] for r in stage.records("decision", f"identity/{who.id}")} == {"deny"}


@staged()
async def test_who_reads_the_registrations(stage: Stage) -> None:
    for who in (ADMIN, identity("person/carol")):
        assert FINANCE.id in [registration.id for registration in await stage.governor.identities(who)]
    for who in (FINANCE, APP, GATEWAY):
        with pytest.raises(Forbidden):
            await stage.governor.identities(who)


@staged()
async def test_retired_never_comes_back(stage: Stage) -> None:
    await stage.change("workload/finance", "retired")
    for attempt in (
        stage.change("workload/finance", "active"),
        stage.change("workload/finance", "quarantined"),
        stage.governor.register(ADMIN, msgspec.structs.replace(NEW, id=FINANCE.id)),
    ):
        with pytest.raises(Conflict) as raised:
            await attempt
        assert raised.value.code == "identity_retired"
    # The file still declares it.
    await stage.restart()
    registered = stage.governor.registration(FINANCE.id)
    assert registered is not None
    assert registered.state == "retired"


@staged()
async def test_attack_a_workload_s_key_is_registered_as_its_enforcement_point(stage: Stage) -> None:
    point = Registration(
        id=spiffe("pep/own"), kind="service", roles=("pep",), owner="ada", key="k-finance", servers=("payments",)
    )
    with pytest.raises(Conflict) as raised:
        await stage.governor.register(ADMIN, point)
    assert raised.value.code == "key_taken"
    assert stage.governor.registration(point.id) is None
    await stage.change("workload/finance", "retired")
    await stage.governor.register(ADMIN, point)  # nobody else has it any more


@staged()
async def test_registering_again_does_not_lift_a_quarantine(stage: Stage) -> None:
    await stage.change("workload/finance", "quarantined")
    registered = stage.governor.registration(FINANCE.id)
    assert registered is not None
    kept = await stage.governor.register(ADMIN, msgspec.structs.replace(registered, state="active", key="k-newer"))
    assert kept.state == "quarantined"
    await stage.restart()
    again = stage.governor.registration(FINANCE.id)
    assert again is not None
    assert again.state == "quarantined"


@pytest.mark.parametrize(
    "id_",
    [
        "spiffe://elsewhere.org/workload/a",
        "spiffe://example.org",
        "spiffe://example.org/workload/../person/admin",
        "workload/a",
        "spiffe://example.org/workload/" + "a" * 300,
        "spiffe://EXAMPLE.org/workload/a",
        "",
    ],
)
@staged()
async def test_an_id_that_can_t_be_registered(stage: Stage, id_: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        await stage.governor.register(ADMIN, msgspec.structs.replace(NEW, id=id_))


@staged()
async def test_one_key_for_a_workload_and_its_enforcement_point(stage: Stage) -> None:
    for key in ("k-gateway", "k-app", "k-admin"):
        with pytest.raises(Conflict) as raised:
            await stage.governor.register(ADMIN, msgspec.structs.replace(NEW, key=key))
        assert raised.value.code == "key_taken"
    await stage.governor.register(ADMIN, NEW)
    await stage.governor.register(ADMIN, msgspec.structs.replace(NEW, description="its own key is its own"))


@staged()
async def test_a_registration_that_no_record_can_hold(stage: Stage) -> None:
    with pytest.raises(RemitError) as raised:
        await stage.governor.register(ADMIN, msgspec.structs.replace(NEW, description="x" * 70_000))
    assert raised.value.code == "record_too_large"
    assert stage.governor.registration(NEW.id) is None


@staged()
async def test_a_change_of_groups_holds_at_once(stage: Stage) -> None:
    grant = await stage.start()
    registered = stage.governor.registration(FINANCE.id)
    assert registered is not None
    await stage.governor.register(ADMIN, msgspec.structs.replace(registered, roles=("starter",)))
    assert await stage.refusal(grant) == "identity_unknown"


@staged()
async def test_a_starter_taken_out_of_its_group_starts_nothing_more(stage: Stage) -> None:
    eve = identity("person/eve")
    await stage.start(starter=eve)
    registered = stage.governor.registration(eve.id)
    assert registered is not None
    await stage.governor.register(ADMIN, msgspec.structs.replace(registered, groups=("guests",)))
    with pytest.raises(Forbidden) as raised:
        await stage.start(starter=eve)
    assert raised.value.code == "starter_not_listed"


# --- risk ---------------------------------------------------------------------------------------------------


@staged()
async def test_risk_above_the_intent_s_bound_denies_until_it_expires(stage: Stage) -> None:
    grant = await stage.start_payment()
    await stage.risk(60, stage.clock.now + MINUTE)
    assert (await stage.probe(grant, PAY, PAYMENT)).permitted
    await stage.risk(61, stage.clock.now + MINUTE)
    decision = await stage.authorize(grant, PAY, PAYMENT)
    assert decision.reason.code == "risk_too_high"
    assert stage.record_of(decision)["context"]["risk"] == 61
    other = await stage.start(workload="workload/helper")
    await stage.permit(other)
    await stage.restart()
    assert await stage.pays(grant) == "task_suspended"
    stage.clock.pass_(MINUTE - 1)
    with pytest.raises(Forbidden) as raised:
        await stage.end(grant, "open")
    assert raised.value.code == "risk_too_high"
    stage.clock.pass_(1)
    await stage.end(grant, "open")
    assert await stage.pays(grant) == "permitted"


@staged(settings='[risk]\nsignals = ["a", "b", "c", "manual"]\n')
async def test_the_highest_live_signal_counts(stage: Stage) -> None:
    grant = await stage.start()
    for name, value, expires in (("a", 90, SECOND), ("b", 30, MINUTE), ("c", 20, MINUTE)):
        signal = RiskSignal(id=FINANCE.id, signal=name, value=value, source="t", expires=stage.clock.now + expires)
        await stage.governor.set_risk(ADMIN, signal)
    assert stage.record_of(await stage.permit(grant))["context"]["risk"] == 90
    stage.clock.pass_(SECOND)
    assert stage.record_of(await stage.permit(grant))["context"]["risk"] == 30
    await stage.risk(0, FAR)


@pytest.mark.parametrize(
    "wrong", [{"value": -1}, {"value": 101}, {"signal": ""}, {"signal": "s" * 65}, {"signal": "that-does-not-count"}]
)
@staged()
async def test_a_signal_that_makes_no_sense(stage: Stage, wrong: dict[str, Any]) -> None:
    signal = RiskSignal(id=FINANCE.id, signal="manual", value=1, source="x", expires=FAR)
    with pytest.raises(InvalidInput):
        await stage.governor.set_risk(ADMIN, msgspec.structs.replace(signal, **wrong))
    with pytest.raises(NotFound):
        await stage.governor.set_risk(ADMIN, msgspec.structs.replace(signal, id=spiffe("workload/nobody")))
