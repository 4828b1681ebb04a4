"""Habits and risk of one workload that several processes decide about: sums add up, and nothing counts twice."""

from __future__ import annotations

import asyncio

from tests.decide.stage import FINANCE, PAY, READ, Grant, Stage
from tests.decide.stage import together as at_once
from tests.decide.test_novelty import SEARCH, completes
from tests.storage.processes.several import Several, together

FEW = "[denials]\ncount = 5\nwithin_seconds = 600\nvalue = 60\n[risk]\nquarantine_at = 80\n"


async def done(stage: Stage, *actions: str) -> None:
    """One task that is completed in one process."""
    grant = await stage.start()
    for action in actions:
        await completes(stage, grant, action, {} if action == SEARCH else None)
    await stage.end(grant)


async def is_refused(stage: Stage, grant: Grant, number: int) -> None:
    assert not (await stage.authorize(grant, PAY, {"invoice": f"I-{number}"})).permitted


@together(3)
async def test_each_process_records_its_own_lessons_and_all_of_them_count(several: Several) -> None:
    await at_once(*(done(stage, READ) for stage in several.stages))
    learned = [record.body["tools"] for record in several.a.records("practice")]
    assert sum(tools[READ] for tools in learned) == 3
    for stage in several.stages:
        decision = await stage.permit(await stage.start())
        assert stage.record_of(decision)["context"]["novelty"]["tool"] == 80  # one full day, in each of them


@together(2)
async def test_one_task_in_two_processes_is_one_lesson(several: Several) -> None:
    grant = await several.a.start()
    await at_once(*(completes(stage, grant) for stage in several.stages * 3))
    for stage in several.stages:
        await stage.governor.record_practice()
    assert sum(record.body["tools"].get(READ, 0) for record in several.a.records("practice")) == 1


@together(2, settings=FEW)
async def test_a_refusal_is_counted_where_it_was_decided_and_nowhere_else(several: Several) -> None:
    grant = await several.a.start()
    for number in range(4):
        for stage in several.stages:
            await is_refused(stage, grant, number)
            await asyncio.sleep(0.002)  # what came in the millisecond of a signal is not counted after it
    assert several.a.records("risk") == []
    await is_refused(several.a, grant, 10)
    await asyncio.sleep(0.002)
    # What the other process had counted by then led to the same signal, and is not counted again.
    for number in range(20, 24):
        await is_refused(several.b, grant, number)
    assert [(record.body["signal"], record.body["value"]) for record in several.a.records("risk")] == [("denials", 60)]
    await is_refused(several.b, grant, 30)
    assert [record.body["value"] for record in several.a.records("risk")] == [60, 100]
    states = [
        record.body["registration"]["state"] for record in several.a.records("identity", f"identity/{FINANCE.id}")
    ]
    assert states == ["active", "quarantined"]
    assert await several.a.refusal(grant) == "identity_quarantined"
