"""Several processes' worth of Remit on one database, in one test: each has its own folder, store and state."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from remit.app.records import reader_of
from remit.core.clock import system_clock
from remit.decide.sequence import Needs, Step
from remit.decide.world import EVERYBODY, World
from remit.storage.postgres import PostgresStore
from tests.decide.stage import Clock, write_project
from tests.postgres import PostgresServer
from tests.storage.contract.stages import PostgresStage, differences

_numbers = itertools.count()


class RealTime(Clock):
    """The clock of tests in which time passes by itself; stores then have the database's."""

    def __call__(self) -> int:
        return system_clock()


class Several:
    """Stages on one place; `a`, `b` and `c` are the first three."""

    def __init__(self, stages: list[PostgresStage], place: tuple[str, str], server: PostgresServer) -> None:
        self.stages = stages
        self.place = place
        self.server = server

    @property
    def a(self) -> PostgresStage:
        return self.stages[0]

    @property
    def b(self) -> PostgresStage:
        return self.stages[1]

    @property
    def c(self) -> PostgresStage:
        return self.stages[2]

    @property
    def stores(self) -> list[PostgresStore]:
        return [stage.postgres for stage in self.stages if stage._opened is not None]

    async def check(self) -> None:
        """What every store has in memory is what the records say, once it has looked."""
        for stage in self.stages:
            if stage._opened is None:
                continue
            world = stage.world
            await look(stage.postgres, *(f"session/{root}" for root in world._sessions))
            with reader_of(stage.folder) as reader:
                assert differences(world, reader) == []

    def sql(self, statement: str) -> list[str]:
        """Rows of a statement in the schema of these stages."""
        return self.server.sql(f'SET search_path TO "{self.place[1]}"; {statement}', self.place[0])


async def look(store: PostgresStore, *streams: str) -> None:
    """Brings these streams and all identities up to date in one store."""

    def work(world: World, now: int) -> Step[None]:
        world.registrations()
        return Step(world.configuration and None, durable=False)

    await store.run(work, Needs(reads=(*streams, EVERYBODY, "administration"), records=False))


def stage_at(folder: Path, place: tuple[str, str], trust: Path, clock: Clock | None = None) -> PostgresStage:
    """A stage on a place that others may share, with their keys; without a clock it has the database's."""
    return PostgresStage(folder, clock or RealTime(), *place, own_clock=clock is not None, trust=trust)


@asynccontextmanager
async def opened(
    server: PostgresServer, root: Path, count: int = 3, clock: Clock | None = None, **project: Any
) -> AsyncIterator[Several]:
    """So many stages on a new place; at the end the states are compared, and the records verified."""
    place = server.place()
    stages = []
    for number in range(count):
        folder = root / f"p{next(_numbers)}-{number}"
        write_project(folder, **project)
        stages.append(stage_at(folder, place, root / "trust", clock))
    several = Several(stages, place, server)
    try:
        await asyncio.gather(*[stage.open() for stage in stages])
        yield several
        await several.check()
    finally:
        for stage in stages:
            await stage.close()
    stages[0].verify()


def together(count: int = 3, **project: Any) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Makes a test of `async def test(several, …)`: so many stages that share a database."""

    def wrap(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        def test(tmp_path: Path, postgres: PostgresServer, **parameters: Any) -> None:
            async def run() -> None:
                async with opened(postgres, tmp_path, count, **project) as several:
                    await story(several, **parameters)

            asyncio.run(run())

        _, *others = inspect.signature(story).parameters.values()
        names = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("tmp_path", "postgres")]
        kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in others]
        test.__signature__ = inspect.Signature([*names, *kept])  # type: ignore[attr-defined]  # what pytest reads
        test.__name__, test.__doc__, test.__module__ = story.__name__, story.__doc__, story.__module__
        return test

    return wrap


async def kill(stage: PostgresStage) -> None:
    """As if its process had been killed: nothing is finished, and nobody is told."""
    store = stage.postgres
    for task in store._tasks:
        task.cancel()
    store._writer.discard()
    store._reader.discard()
    await asyncio.gather(*store._tasks, return_exceptions=True)
    stage._opened = None


async def until(reached: Callable[[], bool], seconds: float = 5.0) -> float:
    """Waits until something holds, and returns how long that took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not reached():
        if loop.time() - begun > seconds:
            pytest.fail("it did not come to pass")
        await asyncio.sleep(0.01)
    return loop.time() - begun
