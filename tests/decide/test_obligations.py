"""Obligations of policies: joined over a task and those above it, negotiated, recorded, never dropped."""

from __future__ import annotations

import pytest

from remit.core.decisions import Obligation
from remit.core.errors import Conflict
from remit.core.obligations import KNOWN
from tests.decide.stage import CHILDREN, FETCH, MINUTE, PAY, PAYMENT, READ, START, Stage, staged

NOTIFIERS = """
[[notifiers]]
name = "security"
file = "security.jsonl"
[[notifiers]]
name = "audit"
file = "audit.jsonl"
"""
OBSERVING = '[mode]\ndefault = "observe"\nobserve_until = 2026-11-19T00:00:00Z\n' + NOTIFIERS
SECURITY, AUDIT = Obligation(id="notify", to="security"), Obligation(id="notify", to="audit")
URL = {"url": "https://example.org/a"}

TOLD = """
@id("reads-are-told")
@notify("audit")
@limit("output.lines=50, bytes=9000")
permit (principal, action in Remit::Action::"read", resource);

@id("fetched-pages-are-cut")
@redact("output.cookies")
@limit("output.lines=10")
permit (principal, action == Remit::Action::"web/fetch", resource);

@id("children-are-told")
@notify("security")
@limit("output.lines=5")
permit (principal, action in Remit::Action::"read", resource) when { context.task.depth == 1 };

@id("no-untrusted-reads")
@notify("security")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource)
when { context.session.untrusted };
"""


def kinds(obligations: tuple[Obligation, ...]) -> list[str]:
    return [each.id for each in obligations]


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_a_permit_carries_what_policies_and_the_catalogue_oblige_to(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant, FETCH, URL)
    limit = Obligation(id="limit", items={"lines": 10}, bytes=9000)
    assert permit.obligations == (Obligation(id="redact", fields=("cookies",)), limit, AUDIT)
    assert stage.record_of(permit)["obligations"] == [
        {"fields": ["cookies"], "id": "redact"},
        {"bytes": 9000, "fields": [], "id": "limit", "items": {"lines": 10}},
        {"fields": [], "id": "notify", "to": "audit"},
    ]
    read = await stage.permit(await stage.start(), READ)
    assert kinds(read.obligations) == ["limit", "select", "notify"]


@staged(settings=NOTIFIERS, policies=TOLD, intents=CHILDREN)
async def test_attack_a_child_task_escapes_what_the_task_above_it_obliges_to(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    limit = Obligation(id="limit", items={"lines": 5}, bytes=9000)
    obligations = (await stage.permit(child)).obligations
    assert [each for each in obligations if each.id != "select"] == [limit, AUDIT, SECURITY]


@staged(
    settings=NOTIFIERS, policies=TOLD.replace("context.task.depth == 1", "context.task.depth == 0"), intents=CHILDREN
)
async def test_a_task_above_obliges_too(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    assert SECURITY in (await stage.permit(child)).obligations


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_the_same_question_is_answered_with_the_same_obligations(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant, FETCH, URL, idempotency_key="k")
    assert (await stage.permit(grant, FETCH, URL, idempotency_key="k")).obligations == permit.obligations
    await stage.restart()
    assert (await stage.permit(grant, FETCH, URL, idempotency_key="k")).obligations == permit.obligations


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_a_denial_obliges_to_tell_and_what_repeats_it_does_not(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant, FETCH, URL)
    denied = await stage.authorize(grant, READ)
    assert (denied.reason.code, denied.obligations) == ("policy_forbids", (SECURITY,))
    assert stage.record_of(denied)["obligations"] == [{"fields": [], "id": "notify", "to": "security"}]
    again = await stage.authorize(grant, READ)
    assert (again.id, again.repeated, again.obligations) == (denied.id, 1, ())
    await stage.pass_(2 * MINUTE)
    assert (await stage.authorize(grant, READ)).obligations == (SECURITY,)


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_a_denial_without_a_policy_that_tells_obliges_to_nothing(stage: Stage) -> None:
    grant = await stage.start()
    assert (await stage.authorize(grant, PAY, PAYMENT)).obligations == ()
    assert (await stage.authorize(None)).obligations == ()


# --- negotiation --------------------------------------------------------------------------------------------


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_attack_a_permit_for_an_enforcement_point_that_can_t_tell(stage: Stage) -> None:
    grant = await stage.start()
    denied = await stage.authorize(grant, FETCH, URL, supports=KNOWN - {"notify"})
    assert (denied.effect, denied.reason.code, denied.obligations) == ("deny", "obligation_unsupported", ())
    assert "`notify`" in denied.reason.message
    assert stage.record_of(denied)["effect"] == "deny"
    assert (await stage.probe(grant, FETCH, URL, supports=frozenset({"limit"}))).reason.code == "obligation_unsupported"
    await stage.permit(grant, FETCH, URL)


@pytest.mark.parametrize("left_out", ["redact", "limit", "notify"])
@staged(settings=NOTIFIERS, policies=TOLD)
async def test_each_that_is_not_supported_denies(stage: Stage, left_out: str) -> None:
    denied = await stage.authorize(await stage.start(), FETCH, URL, supports=KNOWN - {left_out})
    assert denied.reason.code == "obligation_unsupported"
    assert f"`{left_out}`" in denied.reason.message


@staged()
async def test_silence_is_no_support_of_what_the_catalogue_obliges_to(stage: Stage) -> None:
    grant = await stage.start_payment()
    assert await stage.refusal(grant, PAY, PAYMENT, supports=frozenset()) == "obligation_unsupported"
    assert await stage.pays(grant) == "permitted"


@staged()
async def test_silence_is_enough_where_nothing_is_obliged_to(stage: Stage) -> None:
    await stage.permit(await stage.start(), "web/search", {}, supports=frozenset())


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_attack_a_permit_is_answered_again_to_who_can_fulfil_it_no_more(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant, FETCH, URL, idempotency_key="k")
    with pytest.raises(Conflict):
        await stage.authorize(grant, FETCH, URL, idempotency_key="k", supports=frozenset())


@staged(settings=NOTIFIERS, policies=TOLD)
async def test_what_is_refused_for_its_obligations_spends_nothing(stage: Stage) -> None:
    grant = await stage.start()
    await stage.authorize(grant, FETCH, URL, supports=frozenset())
    session = stage.world.session(grant.task)
    assert session is not None
    assert (session.calls, session.labels) == (0, set())


# --- observing ----------------------------------------------------------------------------------------------


@staged(settings=OBSERVING, policies=TOLD)
async def test_observing_keeps_the_obligations_of_what_is_permitted(stage: Stage) -> None:
    assert stage.clock.now == START
    grant = await stage.start()
    permit = await stage.permit(grant, FETCH, URL)
    assert (permit.mode, permit.would) == ("observe", "permit")
    assert kinds(permit.obligations) == ["redact", "limit", "notify"]
    observed = await stage.permit(grant, READ)
    assert (observed.reason.code, kinds(observed.obligations)) == ("observed", ["select"])


@staged(settings=OBSERVING, policies=TOLD)
async def test_observing_lets_no_obligation_be_dropped(stage: Stage) -> None:
    denied = await stage.authorize(await stage.start(), FETCH, URL, supports=frozenset())
    assert (denied.effect, denied.reason.code, denied.would) == ("deny", "obligation_unsupported", "deny")
