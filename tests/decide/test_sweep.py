"""What time alone changes, at a cost that goes with what is due and not with what is kept."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from remit.core.errors import Unavailable
from remit.decide.sweep import BATCH, Sweep
from tests.decide.stage import APP, MINUTE, PAY, PAYMENT, READ, Stage, staged


@staged()
async def test_a_permit_becomes_unknown_at_its_deadline_once(stage: Stage) -> None:
    grant = await stage.start()
    permits = [await stage.permit(grant, READ, {"invoice": str(n)}) for n in range(3)]
    await stage.report(permits[1])
    stage.clock.pass_(2 * MINUTE - 1)
    assert await stage.governor.sweep_now() == 0
    stage.clock.pass_(1)
    assert await stage.governor.sweep_now() == 2
    assert await stage.governor.sweep_now() == 0
    assert stage.governor.metrics()["open_permits"] == 0
    assert stage.governor.metrics()["unknown_outcomes"] == 2
    await stage.restart()
    assert await stage.governor.sweep_now() == 0


@staged()
async def test_what_is_due_is_known_again_after_a_restart(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    await stage.restart()
    assert stage.governor.metrics()["open_permits"] == 1
    await stage.pass_(2 * MINUTE)
    (record,) = stage.records("outcome")
    assert (record.body["decision"], record.body["result"]) == (permit.id, "unknown")
    stage.clock.now = grant.expires
    await stage.pass_(0)
    assert (await stage.governor.task(APP, grant.task)).state == "expired"
    assert stage.store._db.execute("SELECT count(*) FROM pending").fetchone() == (0,)


@staged()
async def test_much_that_is_due_at_once_is_done_in_batches(stage: Stage) -> None:
    grants = [await stage.start() for _ in range(4)]
    for n in range(BATCH + 44):
        await stage.permit(grants[n % 4], READ, {"invoice": str(n)})
    stage.clock.pass_(2 * MINUTE)
    assert [await stage.governor.sweep_now() for _ in range(3)] == [BATCH, 44, 0]


@staged()
async def test_a_sweep_that_fails_is_done_again(stage: Stage) -> None:
    grant = await stage.start()
    await stage.permit(grant)
    stage.clock.pass_(2 * MINUTE)
    stage.store._db.execute("PRAGMA query_only = 1")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await stage.governor.sweep_now()
    stage.store._db.execute("PRAGMA query_only = 0")
    assert await stage.governor.sweep_now() == 1


@staged()
async def test_the_sweeper_goes_on_by_itself_after_a_failure(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    grant = await stage.start()
    await stage.permit(grant)
    stage.store._db.execute("PRAGMA query_only = 1")
    stage.clock.pass_(2 * MINUTE)
    stage.governor.start()
    await asyncio.sleep(0.4)
    assert "ALARM what is due could not be recorded; it is tried again" in caplog.text
    assert stage.records("outcome") == []
    stage.store._db.execute("PRAGMA query_only = 0")
    await asyncio.sleep(0.4)
    assert [r.body["result"] for r in stage.records("outcome")] == ["unknown"]


def steps_of(work: Callable[[], Any]) -> int:
    """How many lines of Remit's own code run, as a measure of cost that does not depend on the machine."""
    count = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, *_: Any) -> Any:
        return line if "/remit/" in frame.f_code.co_filename else None

    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


@staged()
async def test_a_sweep_costs_what_is_due_and_not_what_is_kept(stage: Stage) -> None:
    configuration = stage.installation.configuration
    empty = steps_of(lambda: Sweep(configuration)(stage.world, stage.clock.now))
    for n in range(50):
        grant = await stage.start()
        await stage.permit(grant)
        await stage.authorize(grant, PAY, PAYMENT | {"amount": n})
        await stage.authorize(grant, PAY, PAYMENT | {"amount": n})
    assert len(stage.world.denials) == 50
    kept = steps_of(lambda: Sweep(configuration)(stage.world, stage.clock.now))
    assert kept <= empty + 10
    # What was reported is passed over in a step or two, however much of it there is.
    for record in stage.records("decision"):
        if record.body["effect"] == "permit":
            stage.world.open_permits.pop(record.body["id"])
    over = steps_of(lambda: stage.world.due(stage.clock.now + 2 * MINUTE, BATCH))
    assert over <= 50 * 6 + 20
    await stage.restart()


@staged()
async def test_metrics_cost_the_same_with_many_permits(stage: Stage) -> None:
    few = steps_of(stage.governor.metrics)
    grant = await stage.start()
    for n in range(100):
        await stage.permit(grant, READ, {"invoice": str(n)})
    assert steps_of(stage.governor.metrics) <= few + 5
    assert stage.governor.metrics()["open_permits"] == 100
