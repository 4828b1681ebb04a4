"""What SQLite does beside what `tests/storage/contract` asks of every storage."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from remit.decide.sequence import Entry, Step
from remit.decide.world import World
from remit.storage.sqlite import SqliteStore
from remit.storage.sqlite_reader import SqliteReader
from tests.decide.stage import INVOICE, READ, START, Clock, Stage, staged, together


@staged()
async def test_heads_are_forgotten_in_the_middle_of_a_batch(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    grants = [await stage.start() for _ in range(4)]
    monkeypatch.setattr("remit.storage.sqlite.HEADS", 2)
    stage.store._heads.clear()
    for decision in await together(*[stage.authorize(grant) for grant in grants * 3]):
        assert decision.permitted, decision.reason


def store_at(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "a.db", "example.org", Clock())


def entry(text: str = "", stream: str = "administration") -> Entry:
    return Entry(stream, "mode", {"mode": "enforce", "until": 0, "by": text})


def test_a_loop_that_ended_leaves_no_work_behind(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    def work(world: World, now: int) -> Step[int]:
        return Step(now, (entry(),))

    def not_waited_for(world: World, now: int) -> Step[int]:
        return Step(now, (entry(),), durable=False)

    async def abandon() -> None:
        asyncio.ensure_future(store.run(work))  # noqa: RUF006 - nobody waits for it
        await asyncio.sleep(0)

    async def at_once() -> None:
        await store.run(not_waited_for)

    for story in (abandon, at_once, at_once):
        asyncio.run(story())
    assert asyncio.run(_one(store, work)) == START
    asyncio.run(store.close())
    with SqliteReader(tmp_path / "a.db") as reader:
        assert reader.count() == 4


async def _one(store: SqliteStore, work: Any) -> int:
    answer: int = await store.run(work)
    return answer


@staged()
async def test_the_first_lives_are_found_without_reading_every_record(stage: Stage) -> None:
    grant = await stage.start()
    for n in range(200):
        await stage.authorize(grant, READ, INVOICE | {"note": str(n)})
    await stage.restart()
    seen: list[str] = []
    stage.store._db.set_trace_callback(seen.append)
    streams = stage.store._streams_of_lives()
    stage.store._db.set_trace_callback(None)
    assert len(streams) == len(seen) - 1 == len({r.stream for r in stage.records()}) - 1
    plan = stage.store._db.execute(
        "EXPLAIN QUERY PLAN SELECT min(stream) FROM records WHERE stream > ? AND stream < 'session/'", ("",)
    ).fetchone()
    assert "SEARCH" in plan[3]
    assert "COVERING INDEX" in plan[3]
