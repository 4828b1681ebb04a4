"""kill -9 of the service under load: what was acknowledged is in the records, which are whole, and it comes back."""

from __future__ import annotations

import asyncio
import random

import pytest

from remit.app.folder import Folder
from remit.app.local import connect_as, ensure_service
from tests.e2e.load import Acknowledged, Load, check, served_again
from tests.e2e.service import Forked, fork_context, grants, kill_service, point, service_pid, wait_gone

CALLERS = 32
KILLS = 50
CONNECTIONS = 4


@pytest.mark.timeout(600)
def test_kill_9_under_load_fifty_times_loses_nothing_acknowledged(folder: Folder) -> None:
    randomness = random.Random(20261122)
    acknowledged = Acknowledged()
    context = fork_context()
    running = Forked(context, folder)

    async def kill_and_start() -> None:
        nonlocal running
        load = Load(acknowledged, await grants(folder, "work", CALLERS))
        clients = [await point(folder) for _ in range(CONNECTIONS)]
        callers = [asyncio.create_task(load.call(number, clients[number % CONNECTIONS])) for number in range(CALLERS)]
        try:
            for number in range(KILLS):
                await served_again(load, callers)
                if number % 5 == 4:
                    await begin_anew(folder, load)
                await asyncio.sleep(randomness.uniform(0.05, 0.3))
                await asyncio.to_thread(running.kill)
                assert folder.socket.exists()  # stale, and no obstacle
                running = await asyncio.to_thread(Forked, context, folder)
            await served_again(load, callers)
            load.running = False
            await asyncio.wait_for(asyncio.gather(*callers), 30)
        finally:
            for caller in callers:
                caller.cancel()
            for client in clients:
                await client.close()

    try:
        asyncio.run(kill_and_start())
        assert running.stop() == 0
    finally:
        running.kill()
    assert acknowledged.others == []
    # Calls that raced with the end of their task are refused; nothing else is.
    assert {decision.reason.code for decision in acknowledged.denials.values()} <= {"task_completed"}
    assert acknowledged.lost >= KILLS  # it was killed in the middle of answers
    assert len(acknowledged.permits) > 10 * KILLS
    assert len(acknowledged.outcomes) > 10 * KILLS
    check(folder, acknowledged)


async def begin_anew(folder: Folder, load: Load) -> None:
    """New tasks for the callers, and the end of the old ones, while calls under them are on their way."""
    old, load.held = load.held, await grants(folder, "work", len(load.held))
    async with await connect_as(folder, "person/alice") as operator:
        await asyncio.gather(*(operator.end_task(grant.task) for grant in old))


def test_a_service_that_was_killed_comes_back_with_the_next_caller_that_needs_it(folder: Folder) -> None:
    acknowledged = Acknowledged()

    async def story() -> None:
        for _ in range(3):
            assert await ensure_service(folder) is True
            load = Load(acknowledged, await grants(folder, "work", 4))
            async with await point(folder) as client, client.attached() as ended:
                callers = [asyncio.create_task(load.call(number, client)) for number in range(4)]
                await asyncio.sleep(0.3)
                kill_service(folder)
                await asyncio.wait_for(ended.wait(), 10)  # whoever was attached learns of it
                load.running = False
                await asyncio.gather(*callers)
            assert load.served > 0
        assert await ensure_service(folder) is True
        async with await point(folder) as client, client.attached():
            pass

    asyncio.run(story())
    check(folder, acknowledged)
    wait_gone(service_pid(folder))  # it ends by itself when nobody is attached
