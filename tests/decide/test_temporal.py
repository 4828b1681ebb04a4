"""Temporal policies over what was recorded: of a task tree, and of a workload over all its tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from remit.core.decisions import Decision
from remit.core.erasing import Erasing
from remit.core.errors import RemitError
from remit.decide import world
from remit.decide.histories import History
from remit.decide.world import workload_stream
from tests.decide.stage import (
    ADMIN,
    APP,
    CHILDREN,
    FETCH,
    FINANCE,
    HOUR,
    LOOKUP,
    MINUTE,
    READ,
    SECOND,
    Grant,
    Stage,
    spiffe,
    staged,
    together,
    write_project,
)

SEARCH = "web/search"
URL = {"url": "https://a.example/"}
EMAIL = {"email": "a@example.org"}
PAID = {"status": "open", "paid": True}

AFTER_READING = """
@id("read-first") @reason("not_read")
forbid (principal, action == Remit::Action::"web/fetch", resource)
unless temporal { formerly within 30m Remit::Action::"billing/read_invoice"::response{ output.paid: true } };
"""
TWO_FETCHES = """
@id("two-fetches") @reason("too_many")
forbid (principal, action == Remit::Action::"web/fetch", resource)
unless temporal {
  exists (n: Long). ((count for (t: Timepoint). where (
    formerly within 30m (Remit::Action::"web/fetch"::permitted{} && tp(t)))) == n && n < 2)
};
"""
SAME_NOTE = """
@id("same-note") @reason("note_seen")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource)
when temporal {
  formerly within 30m Remit::Action::"billing/read_invoice"::permitted{ input.note: context.input.note } };
"""
SAME_PERSON = """
@id("known-person") @reason("not_looked_up")
forbid (principal, action == Remit::Action::"people/lookup", resource)
when { context.input has reason }
unless temporal {
  formerly within 30m Remit::Action::"people/lookup"::response{ input.email: context.input.email, output.team: "a" } };
"""
ASKED_ONCE = """
@id("asked-once") @reason("asked_before")
forbid (principal, action == Remit::Action::"web/fetch", resource)
when temporal {
  exists (n: Long). ((count for (t: Timepoint). where (
    formerly within 30m (Remit::Action::"web/fetch"::request{} && tp(t)))) == n && n > 3)
};
"""
JUST_READ = """
@id("just-read") @reason("not_just_read")
forbid (principal, action == Remit::Action::"web/fetch", resource)
unless temporal { previous within 30m Remit::Action::"billing/read_invoice"::response{} };
"""
PARENTS = """
@id("own-case") @reason("not_its_case")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource)
unless temporal {
  exists (d: String). (formerly within 30m Remit::Action::"billing/read_invoice"::request{ task.id: d })
  && formerly within 30m Remit::Action::"billing/read_invoice"::request{ task.id: context.task.id } };
"""


async def read(stage: Stage, grant: Grant, **report: Any) -> Decision:
    """An invoice is read, and its outcome reported."""
    decision = await stage.permit(grant, READ, {"invoice": "INV-1"})
    await stage.report(decision, **{"output": PAID, **report})
    return decision


# --- in one task tree -------------------------------------------------------------------------------------------


@staged(temporal=AFTER_READING)
async def test_a_step_of_this_task_permits_the_next(stage: Stage) -> None:
    grant = await stage.start()
    assert await stage.refusal(grant, FETCH, URL) == "not_read"
    await read(stage, grant)
    decision = await stage.permit(grant, FETCH, URL)
    assert stage.record_of(decision)["context"]["temporal"] == {"read-first/0": True}


@staged(temporal=AFTER_READING)
async def test_a_step_of_another_task_does_not_unlock_this_one(stage: Stage) -> None:
    grant, other = await stage.start(), await stage.start()
    await read(stage, other)
    assert await stage.refusal(grant, FETCH, URL) == "not_read"


@staged(temporal=AFTER_READING)
async def test_a_step_that_is_only_permitted_or_failed_is_not_done(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.permit(grant)
    assert await stage.refusal(grant, FETCH, URL) == "not_read"
    await stage.report(decision, "error")
    assert await stage.refusal(grant, FETCH, URL) == "not_read"


@staged(temporal=AFTER_READING)
async def test_an_agent_that_claims_an_outcome_unlocks_nothing(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.permit(grant)
    receipt = await stage.report(decision, output=PAID, by=FINANCE)
    assert receipt.standing == "claimed"
    assert await stage.refusal(grant, FETCH, URL) == "not_read"


@staged(temporal=AFTER_READING)
async def test_a_window_ends_to_the_millisecond(stage: Stage) -> None:
    grant = await stage.start()
    await read(stage, grant)
    stage.clock.pass_(HOUR // 2)
    await stage.permit(grant, FETCH, URL)
    stage.clock.pass_(1)
    assert await stage.refusal(grant, FETCH, URL) == "not_read"


@staged(temporal=TWO_FETCHES)
async def test_a_denied_call_uses_up_no_limit_on_permits(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant, FETCH, URL)
    await stage.permit(grant, FETCH, URL)
    for _ in range(3):
        assert await stage.refusal(grant, FETCH, URL) == "too_many"
        stage.clock.pass_(2 * MINUTE)
    stage.clock.pass_(25 * MINUTE)
    await stage.permit(grant, FETCH, URL)
    await stage.permit(grant, FETCH, URL)
    assert await stage.refusal(grant, FETCH, URL) == "too_many"


@staged(temporal=TWO_FETCHES)
async def test_calls_at_once_do_not_pass_a_limit_together(stage: Stage) -> None:
    grant = await stage.start()
    decisions = await together(*(stage.authorize(grant, FETCH, URL) for _ in range(20)))
    assert sum(decision.permitted for decision in decisions) == 2


@staged(temporal=TWO_FETCHES)
async def test_a_probe_uses_nothing_up(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(5):
        assert (await stage.probe(grant, FETCH, URL)).permitted
    await stage.permit(grant, FETCH, URL)


@staged(temporal=ASKED_ONCE)
async def test_denials_that_a_policy_counts_are_not_folded_away(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(3):
        await stage.permit(grant, FETCH, URL)
    for _ in range(4):
        assert await stage.refusal(grant, FETCH, URL) == "asked_before"
    assert len(stage.records("decision")) == 7


@staged(temporal=JUST_READ)
async def test_previous_is_the_event_before_this_one_in_this_task(stage: Stage) -> None:
    grant, other = await stage.start(), await stage.start()
    await read(stage, grant)
    await read(stage, other, output={})
    await stage.permit(grant, FETCH, URL)
    # The permit itself is an event now.
    assert await stage.refusal(grant, FETCH, URL) == "not_just_read"


@staged(temporal=SAME_NOTE)
async def test_a_long_argument_is_recognised_by_its_digest(stage: Stage) -> None:
    grant = await stage.start()
    note = {"invoice": "INV-1", "note": "ä" * 3_000}
    await stage.permit(grant, READ, note)
    assert await stage.refusal(grant, READ, note) == "note_seen"
    await stage.restart()
    assert await stage.refusal(grant, READ, note) == "note_seen"
    await stage.permit(grant, READ, {**note, "note": "ä" * 3_001})


@staged(temporal=SAME_PERSON)
async def test_personal_values_compare_and_stand_in_no_record(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.permit(grant, LOOKUP, EMAIL)
    await stage.report(decision, output={"name": "Ada", "team": "a"})
    await stage.restart()
    assert await stage.refusal(grant, LOOKUP, {"email": "b@example.org", "reason": "r"}) == "not_looked_up"
    await stage.permit(grant, LOOKUP, {**EMAIL, "reason": "r"})
    assert b"a@example.org" not in stage.bytes_()


@staged(temporal=PARENTS, intents=CHILDREN)
async def test_a_clause_holds_for_the_task_and_for_each_task_above_it(stage: Stage) -> None:
    parent = await stage.start()
    child = await stage.start("narrow", "workload/helper", parent=parent.task)
    assert child.task.startswith(parent.task)
    # In the parent's name nothing was asked yet: what is asked for the child is asked for it too.
    assert await stage.refusal(child) == "not_its_case"
    await stage.permit(parent)
    await stage.permit(child)


# --- over all tasks of a workload -------------------------------------------------------------------------------


@staged(workloads=TWO_FETCHES)
async def test_a_limit_over_all_tasks_is_not_evaded_by_starting_another(stage: Stage) -> None:
    for _ in range(2):
        await stage.permit(await stage.start(), FETCH, URL)
    assert await stage.refusal(await stage.start(), FETCH, URL) == "too_many"
    assert len(stage.records("event")) == 2


@staged(workloads=TWO_FETCHES)
async def test_what_one_workload_did_does_not_limit_another(stage: Stage) -> None:
    for _ in range(2):
        await stage.permit(await stage.start(), FETCH, URL)
    await stage.permit(await stage.start(workload="workload/helper"), FETCH, URL)


@staged(workloads=TWO_FETCHES)
async def test_calls_of_many_tasks_at_once_do_not_pass_a_limit_together(stage: Stage) -> None:
    grants = [await stage.start() for _ in range(10)]
    decisions = await together(*(stage.authorize(grant, FETCH, URL) for grant in grants))
    assert sum(decision.permitted for decision in decisions) == 2


@staged(workloads=AFTER_READING + SAME_PERSON)
async def test_outcomes_and_personal_values_count_over_all_tasks(stage: Stage) -> None:
    await read(stage, await stage.start())
    decision = await stage.permit(await stage.start(), LOOKUP, EMAIL)
    await stage.report(decision, output={"name": "Ada", "team": "a"})
    await stage.restart()
    grant = await stage.start()
    await stage.permit(grant, FETCH, URL)
    await stage.permit(grant, LOOKUP, {**EMAIL, "reason": "r"})
    assert b"a@example.org" not in stage.bytes_()


# --- a restart, a failure, a change -----------------------------------------------------------------------------


@staged(temporal=AFTER_READING + TWO_FETCHES, workloads=TWO_FETCHES.replace("two-", "all-"))
async def test_a_restart_finds_the_same_histories(stage: Stage) -> None:
    grant = await stage.start()
    await read(stage, grant)
    await stage.permit(grant, FETCH, URL)
    await stage.authorize(grant, FETCH, {"url": "https://b.example/"})
    before = stage.state()
    workload = stage.world.workload_history(spiffe("workload/finance"))
    assert before["sessions"][grant.task].history is not None
    await stage.restart()
    assert not (await stage.probe(grant, FETCH, URL)).permitted  # which has them read
    assert stage.state()["sessions"] == before["sessions"]
    assert stage.world.workload_history(spiffe("workload/finance")) == workload
    assert await stage.refusal(grant, FETCH, URL) == "too_many"


@staged(temporal=TWO_FETCHES, workloads=TWO_FETCHES.replace("two-", "all-"))
async def test_a_failed_commit_leaves_nothing_in_a_history(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = await stage.start()
    await stage.permit(grant, FETCH, URL)
    with monkeypatch.context() as broken:

        def fail(_: Any) -> None:
            raise OSError("thrown on purpose")

        broken.setattr(stage.store, "_commit", fail)
        assert await stage.refusal(grant, FETCH, URL) == "storage_unavailable"
    await stage.permit(grant, FETCH, URL)
    assert await stage.refusal(grant, FETCH, URL) == "too_many"


async def change(stage: Stage, *, temporal: str = "", workloads: str = "") -> None:
    """The folder's policies change, and the service reads them again."""
    root = stage.folder.root
    for path, text in (("own.dw", temporal), ("workload/own.dw", workloads)):
        (root / "policies" / path).unlink(missing_ok=True)
        if text:
            (root / "policies" / path).write_text(text)
    await stage.installation.reloader.reload()


@pytest.mark.parametrize("how", ["reload", "restart"])
@staged()
async def test_a_policy_that_is_new_knows_what_happened_before(stage: Stage, how: str) -> None:
    grant = await stage.start()
    await read(stage, grant)
    for _ in range(2):
        await stage.permit(grant, FETCH, URL)
    other = await stage.start()
    policies = {"temporal": AFTER_READING.replace("web/fetch", "web/search"), "workloads": TWO_FETCHES}
    if how == "reload":
        await change(stage, **policies)
    else:
        write_project(stage.folder.root, **policies)
        await stage.restart()
    assert await stage.refusal(other, FETCH, URL) == "too_many"
    await stage.permit(grant, SEARCH, {})
    assert await stage.refusal(other, SEARCH, {}) == "not_read"
    stage.clock.pass_(HOUR // 2 + 1)
    assert await stage.refusal(grant, SEARCH, {}) == "not_read"
    await stage.permit(other, FETCH, URL)


@staged(workloads=TWO_FETCHES)
async def test_a_policy_that_comes_back_knows_what_happened_meanwhile(stage: Stage) -> None:
    await stage.permit(await stage.start(), FETCH, URL)
    await change(stage)
    await stage.permit(await stage.start(), FETCH, URL)
    await change(stage, workloads=TWO_FETCHES)
    assert await stage.refusal(await stage.start(), FETCH, URL) == "too_many"
    await stage.restart()
    assert await stage.refusal(await stage.start(), FETCH, URL) == "too_many"


@staged(workloads=TWO_FETCHES)
async def test_decisions_go_on_while_histories_are_made(stage: Stage) -> None:
    grants = [await stage.start() for _ in range(4)]
    thirty = TWO_FETCHES.replace("two-", "all-").replace("n < 2", "n < 30")

    async def keep_asking() -> int:
        count = 0
        while not done.is_set():
            decision = await stage.authorize(grants[count % 4], READ)
            assert decision.permitted
            count += 1
            await asyncio.sleep(0)
        return count

    done = asyncio.Event()
    asking = asyncio.create_task(keep_asking())
    await change(stage, temporal=SAME_NOTE + TWO_FETCHES.replace("n < 2", "n < 9"), workloads=thirty)
    done.set()
    assert await asking > 0
    for grant in grants:
        session = stage.world.session(grant.task)
        assert session is not None
        assert session.history is not None
        assert session.history.n == session.records
    decisions = [await stage.authorize(grants[number % 4], FETCH, URL) for number in range(32)]
    assert sum(decision.permitted for decision in decisions) == 30
    before = stage.world.workload_history(spiffe("workload/finance"))
    await stage.restart()
    assert not (await stage.probe(grants[0], FETCH, URL)).permitted
    assert stage.world.workload_history(spiffe("workload/finance")) == before


@staged(workloads=TWO_FETCHES)
async def test_a_change_that_can_not_be_recorded_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.permit(await stage.start(), FETCH, URL)
    configuration, commit = stage.governor.configuration, stage.store._commit
    with monkeypatch.context() as broken:

        def fail(uncommitted: Any) -> None:
            if any(row[3] == "watch" for row in uncommitted.rows):
                raise OSError("thrown on purpose")
            commit(uncommitted)

        broken.setattr(stage.store, "_commit", fail)
        with pytest.raises(RemitError):
            await change(stage, workloads=TWO_FETCHES.replace("30m", "20m"))
    assert stage.governor.configuration is configuration
    await stage.permit(await stage.start(), FETCH, URL)
    assert await stage.refusal(await stage.start(), FETCH, URL) == "too_many"


@staged(temporal=TWO_FETCHES, workloads=TWO_FETCHES.replace("two-", "all-").replace("n < 2", "n < 4"))
async def test_a_threshold_that_changes_holds_from_then_on(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant, FETCH, URL)
    three = TWO_FETCHES.replace("n < 2", "n < 3")
    await change(stage, temporal=three, workloads=TWO_FETCHES.replace("two-", "all-"))
    await stage.permit(grant, FETCH, URL)
    assert await stage.refusal(grant, FETCH, URL) == "too_many"
    await change(stage, temporal=three, workloads=three.replace("two-", "all-"))
    await stage.permit(grant, FETCH, URL)
    assert await stage.refusal(grant, FETCH, URL) == "too_many"


# --- bounds and what was erased ---------------------------------------------------------------------------------


@staged(temporal=AFTER_READING)
async def test_a_history_that_is_full_denies(stage: Stage) -> None:
    grant = await stage.start()
    await read(stage, grant)
    session = stage.world.session(grant.task)
    assert session is not None
    assert session.history is not None
    session.history._full = True
    assert await stage.refusal(grant, FETCH, URL) == "bound_reached"
    assert await stage.refusal(grant, FETCH, {"url": "https://b.example/"}) == "bound_reached"


@staged(temporal=AFTER_READING)
async def test_a_history_that_is_not_at_hand_denies(stage: Stage) -> None:
    grant = await stage.start()
    await read(stage, grant)
    session = stage.world.session(grant.task)
    assert session is not None
    session.history = None
    assert await stage.refusal(grant, FETCH, URL) == "internal_fault"


@staged(workloads=SAME_PERSON)
async def test_an_erased_value_denies_as_long_as_policies_look_back_to_it(stage: Stage) -> None:
    decision = await stage.permit(await stage.start(), LOOKUP, EMAIL)
    await stage.report(decision, output={"name": "Ada", "team": "a"})
    grant = await stage.start()
    await stage.permit(grant, LOOKUP, {**EMAIL, "reason": "r"})
    await stage.governor.erase(ADMIN, Erasing(what="subject", subject=APP.id, reason="asked for"))
    assert await stage.refusal(await stage.start(), LOOKUP, EMAIL | {"reason": "r"}) == "task_value_erased"
    await stage.restart()
    assert await stage.refusal(await stage.start(), LOOKUP, EMAIL | {"reason": "r"}) == "task_value_erased"
    stage.clock.pass_(HOUR // 2 + SECOND)
    assert await stage.refusal(await stage.start(), LOOKUP, EMAIL | {"reason": "r"}) == "not_looked_up"


@staged(workloads=TWO_FETCHES.replace("n < 2", "n < 9") + SAME_PERSON)
async def test_a_start_goes_on_from_a_dump_of_a_history(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "DUMP_AFTER", 3)
    for _ in range(8):
        await stage.permit(await stage.start(), FETCH, URL)
    stream = workload_stream(spiffe("workload/finance"))
    before = stage.world.workload_history(spiffe("workload/finance"))
    await stage.restart()
    scope = stage.world.temporal.workload
    assert scope is not None
    dumped = stage.store.find(stream, scope.digest)
    assert dumped is not None
    assert 3 <= dumped[0] <= 8
    read: list[int] = []
    after = stage.store.after
    monkeypatch.setattr(stage.store, "after", lambda name, n: read.append(n) or after(name, n))
    assert stage.world.workload_history(spiffe("workload/finance")) == before
    assert read == [dumped[0]]
    await stage.permit(await stage.start(), FETCH, URL)
    assert await stage.refusal(await stage.start(), FETCH, URL) == "too_many"
    await stage.permit(await stage.start(), LOOKUP, EMAIL)
    await stage.governor.erase(ADMIN, Erasing(what="subject", subject=APP.id, reason="asked for"))
    assert stage.store.find(stream, scope.digest) is None


@pytest.mark.parametrize("harm", ["cut", "bit", "foreign"])
@staged(workloads=TWO_FETCHES)
async def test_a_damaged_dump_permits_nothing_more(stage: Stage, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "DUMP_AFTER", 1)
    for _ in range(2):
        await stage.permit(await stage.start(), FETCH, URL)
    scope = stage.world.temporal.workload
    assert scope is not None
    history = stage.world.workload_history(spiffe("workload/finance"))
    assert isinstance(history, History)
    state = {
        "cut": history.dump()[:-5],
        "bit": bytes(byte ^ (number == 40) for number, byte in enumerate(history.dump())),
        "foreign": b"\x00" * 64,
    }[harm]
    stage.store._db.execute("UPDATE histories SET state = ?", (state,))
    await stage.restart()
    assert await stage.refusal(await stage.start(), FETCH, URL) == "too_many"
