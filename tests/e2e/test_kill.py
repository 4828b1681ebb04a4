"""kill -9 of the service under load: what was acknowledged is in the records, which are whole, and it comes back."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import pytest

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.local import connect_as, ensure_service
from remit.core.decisions import Decision, Outcome
from remit.core.errors import RemitError, Unavailable
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant
from remit.storage.sqlite_reader import SqliteReader
from tests.e2e.service import Forked, fork_context, grants, kill_service, point, service_pid, told, wait_gone

CALLERS = 32
KILLS = 50
CONNECTIONS = 4


@dataclass
class Acknowledged:
    """What callers were told: permits by id, and the results of durable outcomes."""

    permits: dict[str, Decision] = field(default_factory=dict)
    denials: dict[str, Decision] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    lost: int = 0  # answers that never came
    others: list[str] = field(default_factory=list)  # errors that no caller should see


@dataclass
class Load:
    """Callers that ask, report and ask again, for as long as `running`; an outage makes them try again."""

    acknowledged: Acknowledged
    held: list[TaskGrant]  # by caller; replaced while they run
    running: bool = True
    served: int = 0

    async def call(self, number: int, client: Client) -> None:
        """One caller."""
        count = 0
        while self.running:
            count += 1
            try:
                await self._one(f"{number}-{count}", client, self.held[number])
                self.served += 1
            except Unavailable:
                self.acknowledged.lost += 1
                await asyncio.sleep(0.1)
            except RemitError as error:
                self.acknowledged.others.append(f"{error.code}: {error.message}")
                await asyncio.sleep(0.01)

    async def _one(self, order: str, client: Client, grant: TaskGrant) -> None:
        decision = await client.authorize(grant, "orders/get", {"order": order})
        if not decision.permitted:
            self.acknowledged.denials[decision.id] = decision
            return
        self.acknowledged.permits[decision.id] = decision
        outcome = Outcome(
            decision=decision.id, digest=decision.digest, result="response", output={"state": "open"}, bytes=10
        )
        receipt = await client.report(outcome)
        assert receipt.standing == "believed"
        self.acknowledged.outcomes[decision.id] = "response"


def check(folder: Folder, acknowledged: Acknowledged) -> None:
    """Everything that was acknowledged is in the database, and the verifier finds nothing."""
    with SqliteReader(folder.database) as reader:
        assert reader.damage() == []
        recorded: dict[str, dict[str, object]] = {}
        outcomes: dict[str, str] = {}
        for stored in reader.records(kinds=("decision", "outcome")):
            body = stored.record.body
            if stored.record.kind == "decision":
                assert body["id"] not in recorded, "a decision stands twice"
                recorded[body["id"]] = body
            elif body["result"] != "unknown":
                assert body["decision"] not in outcomes, "an outcome stands twice"
                outcomes[body["decision"]] = body["result"]
    assert acknowledged.permits.keys() - recorded.keys() == set()
    for id_, decision in acknowledged.permits.items():
        assert (recorded[id_]["effect"], recorded[id_]["digest"]) == ("permit", decision.digest)
    assert {id_: outcomes.get(id_) for id_ in acknowledged.outcomes} == acknowledged.outcomes
    report = verify_folder(folder)
    assert told(report) == []
    assert report.failed is False


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


async def served_again(load: Load, callers: list[asyncio.Task[None]]) -> None:
    """Waits until callers get answers (again)."""
    before, until = load.served, time.monotonic() + 20
    while load.served < before + CALLERS:
        for caller in callers:
            assert not caller.done() or caller.exception() is None, caller.exception()
        assert time.monotonic() < until, "callers are not served again"
        await asyncio.sleep(0.005)


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
