"""Random histories over several processes: their states and the records agree, whatever came in between."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import RemitError
from remit.core.identities import Registration
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.world import EVERYBODY, World
from tests.decide.stage import (
    ADMIN,
    APP,
    CHILDREN,
    INTENTS,
    PAY,
    READ,
    Grant,
    spiffe,
)
from tests.postgres import PostgresServer
from tests.storage.contract.stages import PostgresStage
from tests.storage.processes.several import Several, opened

LIMITED = INTENTS["answer"] + "children: [narrow]\nlimits:\n  - {name: few, effects: [read], calls: 6}\n"
PROJECT: dict[str, Any] = {"intents": {**CHILDREN, "answer": LIMITED}}
IDENTITIES = ("workload/finance", "workload/helper", "pep/gateway", "starter/app")


class Chance:
    """What happens next, anywhere; refusals are part of it."""

    def __init__(self, several: Several, seed: int) -> None:
        self.several = several
        self.random = random.Random(seed)
        self.grants: list[Grant] = []
        self.permits: list[Any] = []
        self.done = 0
        self.steps: list[tuple[int, Callable[[PostgresStage], Awaitable[object]]]] = [
            (20, self.authorize),
            (4, self.start),
            (2, self.child),
            (8, self.report),
            (6, self.probe),
            (2, self.end),
            (1, self.change),
            (1, self.register),
            (1, self.risk),
            (2, self.sweep),
        ]

    async def act(self, count: int) -> None:
        weights = [weight for weight, _ in self.steps]
        for _ in range(count):
            (_, step), *_ = self.random.choices(self.steps, weights)
            with suppress(RemitError):
                await step(self.random.choice(self.several.stages))
            self.done += 1

    def grant(self) -> Grant | None:
        return self.random.choice(self.grants) if self.grants else None

    async def start(self, stage: PostgresStage) -> None:
        intent = self.random.choice(["answer", "pay-invoice"])
        params = {"invoice": "INV-1", "account": "DE89", "amount": "120.50"} if intent == "pay-invoice" else {}
        prompt = self.random.choice(["", "find it"])
        self.grants.append(await stage.start(intent, params=params, prompt=prompt))

    async def child(self, stage: PostgresStage) -> None:
        if grant := self.grant():
            self.grants.append(await stage.start("narrow", parent=grant.task, workload="workload/helper"))

    async def authorize(self, stage: PostgresStage) -> None:
        grant = self.grant()
        action = self.random.choice([READ, READ, PAY])
        arguments = {"invoice": f"INV-{self.random.randrange(3)}"}
        if action == PAY:
            arguments |= {"account": "DE89", "amount": 120.5}  # type: ignore[dict-item]
        key = self.random.choice(["", "", f"k{self.random.randrange(20)}"])
        decision = await stage.authorize(grant, action, arguments, idempotency_key=key)
        if decision.permitted:
            self.permits.append(decision)

    async def probe(self, stage: PostgresStage) -> None:
        await stage.probe(self.grant())

    async def report(self, stage: PostgresStage) -> None:
        if self.permits:
            decision = self.random.choice(self.permits)
            result = self.random.choice(["response", "error", "not_executed"])
            output = {"account": "DE89", "amount": 120.5, "status": "open"}
            await stage.report(decision, result, output, durable=self.random.random() < 0.5)  # type: ignore[arg-type]

    async def end(self, stage: PostgresStage) -> None:
        if grant := self.grant():
            state = self.random.choice(["completed", "cancelled", "suspended", "open"])
            await stage.governor.end_task(APP, grant.task, state, "")  # type: ignore[arg-type]

    async def change(self, stage: PostgresStage) -> None:
        path = self.random.choice(IDENTITIES)
        await stage.change(path, "quarantined")
        await asyncio.sleep(0.01)
        await self.random.choice(self.several.stages).change(path, "active")

    async def register(self, stage: PostgresStage) -> None:
        name = f"workload/n{self.random.randrange(4)}"
        wanted = Registration(
            id=spiffe(name),
            kind="agent",
            roles=("workload",),
            owner="ada",
            key=f"k-{self.random.randrange(4)}",
            groups=("agents",),
        )
        await stage.governor.register(ADMIN, wanted)

    async def risk(self, stage: PostgresStage) -> None:
        await stage.risk(self.random.randrange(100), self.random.choice([1, 2**50]))

    async def sweep(self, stage: PostgresStage) -> None:
        await stage.governor.sweep_now(everything=self.random.random() < 0.3)


async def history(server: PostgresServer, root: Path, seed: int, actors: int, count: int, chaos: bool) -> None:
    async with opened(server, root, 3, **PROJECT, settings="\n") as several:
        chance = Chance(several, seed)
        acting = [asyncio.create_task(chance.act(count)) for _ in range(actors)]
        if chaos:
            while not all(task.done() for task in acting):
                await asyncio.sleep(chance.random.uniform(0.05, 0.2))
                several.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name LIKE 'remit%' AND random() < 0.3"
                )
        await asyncio.gather(*acting)
        for path in IDENTITIES:
            await several.a.change(path, "active")
        await several.check()
        for stage in several.stages:
            while await stage.governor.sweep_now(everything=True):
                pass
        kinds = [record.kind for record in several.a.records()]
        assert min(kinds.count(kind) for kind in ("decision", "outcome", "task", "identity", "risk")) > 3


@pytest.mark.parametrize("seed", range(3))
def test_a_history_of_three_processes(
    tmp_path: Path, postgres: PostgresServer, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(history(postgres, tmp_path, seed, 12, 50, chaos=False))
    assert "ALARM" not in caplog.text
    assert "again" not in caplog.text


@pytest.mark.parametrize("seed", range(2))
def test_a_history_in_which_connections_are_lost(tmp_path: Path, postgres: PostgresServer, seed: int) -> None:
    asyncio.run(history(postgres, tmp_path, seed, 12, 50, chaos=True))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 130))
def test_long_histories(tmp_path: Path, postgres: PostgresServer, seed: int) -> None:
    asyncio.run(history(postgres, tmp_path, seed, 30, 200, chaos=seed % 2 == 0))


# --- locks ------------------------------------------------------------------------------------------------------


async def tangle(several: Several, seed: int, actors: int, count: int) -> None:
    """Works that read and append anywhere, in any order, most of them without saying so."""
    chance = random.Random(seed)
    streams = [f"session/t{n}" for n in range(6)]
    identities = [f"identity/spiffe://example.org/{path}" for path in IDENTITIES]
    expected: dict[str, int] = dict.fromkeys(streams, 0)

    async def act(number: int) -> None:
        for n in range(count):
            reads = chance.sample(streams + identities, chance.randrange(4))
            appends = chance.sample(streams, chance.randrange(3))
            everybody = chance.random() < 0.1

            def work(
                world: World,
                now: int,
                reads: list[str] = reads,
                appends: list[str] = appends,
                everybody: bool = everybody,
                n: int = n,
            ) -> Step[None]:
                for stream in reads:
                    space, _, name = stream.partition("/")
                    world.session(name) if space == "session" else world.life(name)
                if everybody:
                    world.registrations()
                return Step(None, tuple(Entry(stream, "note", {"by": number, "n": n}) for stream in appends))

            said = Needs(
                reads=tuple(each for each in (*reads, EVERYBODY) if chance.random() < 0.5),
                appends=tuple(each for each in appends if chance.random() < 0.5),
            )
            await chance.choice(several.stores).run(work, said)
            for stream in appends:
                expected[stream] += 1

    await asyncio.wait_for(asyncio.gather(*[act(number) for number in range(actors)]), 60)
    rows = several.sql("SELECT name || ' ' || n FROM streams WHERE name LIKE 'session/%' ORDER BY name")
    assert rows == [f"{stream} {count}" for stream, count in sorted(expected.items()) if count]
    several.sql("DELETE FROM streams WHERE name LIKE 'session/%'; DELETE FROM records WHERE kind = 'note'")
    for store in several.stores:
        store._state.forget(streams)


@pytest.mark.parametrize("seed", range(2))
def test_no_two_batches_ever_wait_for_each_other(
    tmp_path: Path, postgres: PostgresServer, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with opened(postgres, tmp_path, 4) as several:
            caplog.set_level(logging.WARNING, "remit.storage")
            caplog.clear()
            await tangle(several, seed, 20, 15)
            assert caplog.messages == []

    asyncio.run(story())
