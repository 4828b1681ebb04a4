"""Asking is not acting; a repeated question gets the answer that was given; identical denials are one record."""

from __future__ import annotations

import pytest

from remit.core import bounds
from remit.core.canonical import request_digest
from remit.core.errors import Conflict, Forbidden, TooLarge
from tests.decide.stage import (
    ELSEWHERE,
    FETCH,
    FETCHING_CHILD,
    FINANCE,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    Stage,
    spiffe,
    staged,
    together,
)

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


@staged(intents=FETCHING_CHILD)
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
