"""One order: what is asked at once is decided one after the other, durable before it is answered, in time's order."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from remit.core.decisions import Decision
from remit.core.errors import TooLarge, Unavailable
from remit.decide.sequence import Entry, Step
from remit.decide.world import World
from remit.ledger.record import leaf_hash
from remit.storage import sqlite
from remit.storage.sqlite import SqliteStore
from remit.storage.sqlite_reader import SqliteReader
from tests.decide.stage import (
    INTENTS,
    INVOICE,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    SECOND,
    START,
    Clock,
    Stage,
    staged,
    together,
)

ONE = {"answer": INTENTS["answer"] + "limits:\n  - {name: one, effects: [read], calls: 1}\n"}


async def rounds(stage: Stage, count: int, callers: int) -> None:
    for _ in range(count):
        grant = await stage.start()
        answers = await together(*[stage.authorize(grant, READ, {"invoice": str(n)}) for n in range(callers)])
        assert sum(answer.permitted for answer in answers) == 1


@staged(intents=ONE)
async def test_concurrent_calls_against_a_limit_of_one(stage: Stage) -> None:
    await rounds(stage, 1000, 2)


@pytest.mark.long
@staged(intents=ONE)
async def test_many_concurrent_calls_against_a_limit_of_one(stage: Stage) -> None:
    await rounds(stage, 1000, 40)


@staged(intents=ONE)
async def test_concurrent_calls_from_several_event_loops(stage: Stage) -> None:
    grants = [await stage.start() for _ in range(40)]
    found: list[Decision] = []
    barrier = threading.Barrier(4)

    def caller() -> None:
        async def ask() -> None:
            for grant in grants:
                found.append(await stage.authorize(grant))

        barrier.wait()
        asyncio.run(ask())

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.01)
    assert len(found) == 160
    by_task: dict[str, int] = {}
    for decision in found:
        by_task[decision.task] = by_task.get(decision.task, 0) + decision.permitted
    assert set(by_task.values()) == {1}


@staged()
async def test_what_is_answered_is_on_the_disk_in_gapless_linked_streams(stage: Stage) -> None:
    grants = [await stage.start() for _ in range(3)]
    answers = await together(*[stage.authorize(grants[n % 3], READ, {"invoice": str(n)}) for n in range(300)])
    # Another connection sees them now.
    with SqliteReader(stage.folder.database) as reader:
        ids = {stored.record.body["id"] for stored in reader.records(kinds=("decision",))}
        assert ids == {answer.id for answer in answers}
        for grant in grants:
            link = ""
            for number, stored in enumerate(reader.stream(f"session/{grant.task}"), 1):
                assert (stored.n, stored.record.n, stored.record.prev) == (number, number, link)
                link = leaf_hash(stored.data)
    assert stage.store.gauges()["commits"] < 60


@staged()
async def test_state_is_dropped_from_memory_and_comes_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.decide.world.SESSIONS_IN_MEMORY", 2)
    grants = [await stage.start_payment() for _ in range(6)]
    for grant in grants:
        await stage.permit(grant, PAY, PAYMENT)
    for grant in grants:
        assert await stage.pays(grant) == "limit_reached"
    assert len(stage.world._sessions) == 2
    await stage.pass_(2 * MINUTE)
    assert [r.body["result"] for r in stage.records("outcome")] == ["response"] * 6 + ["unknown"] * 6
    await stage.pass_(2 * MINUTE)
    assert len(stage.records("outcome")) == 12


@staged()
async def test_attack_permits_in_many_sessions_fill_the_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.decide.world.PERMITS_IN_MEMORY", 8)
    grants = [await stage.start_payment() for _ in range(6)]
    for grant in grants * 2:
        await stage.permit(grant)
        assert sum(len(session.permits) for session in stage.world._sessions.values()) == stage.world._permits <= 8
    for grant in grants:
        await stage.permit(grant, PAY, PAYMENT)
    for grant in grants:
        assert await stage.pays(grant) == "limit_reached"


@staged()
async def test_attack_long_lists_of_arguments_fill_the_memory(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant, "web/search", {"words": ["word"] * 2_000})
    session = stage.world.session(grant.task)
    assert session is not None
    assert session.permits[permit.id].input == {}
    assert stage.record_of(permit)["context"]["input"] == {"words": ["word"] * 2_000}


@staged()
async def test_heads_are_forgotten_in_the_middle_of_a_batch(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    grants = [await stage.start() for _ in range(4)]
    monkeypatch.setattr("remit.storage.sqlite.HEADS", 2)
    stage.store._heads.clear()
    for decision in await together(*[stage.authorize(grant) for grant in grants * 3]):
        assert decision.permitted, decision.reason


# --- time ---------------------------------------------------------------------------------------------------


@staged()
async def test_clock_set_back(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    grant = await stage.start()
    stage.clock.pass_(MINUTE)
    await stage.permit(grant)
    latest = stage.clock.now
    stage.clock.now = latest - 2 * SECOND - 1
    for decision in (await stage.authorize(grant), await stage.probe(grant)):
        assert (decision.effect, decision.reason.code, decision.id) == ("deny", "clock_moved_back", "")
    with pytest.raises(Unavailable):
        await stage.start()
    assert "ALARM the clock moved back by 2001 ms" in caplog.text
    stage.clock.now = latest - 2 * SECOND
    decision = await stage.permit(grant)
    assert (decision.at, decision.expires) == (latest, latest + 5 * SECOND)
    stage.clock.now = latest + 1
    await stage.permit(grant)
    times = [r.t for r in stage.records()]
    assert times == sorted(times)


@staged()
async def test_clock_set_back_while_the_service_was_down(stage: Stage) -> None:
    grant = await stage.start()
    stage.clock.pass_(MINUTE)
    await stage.permit(grant)
    await stage.close()
    stage.clock.now = START
    with pytest.raises(Unavailable) as raised:
        await stage.open()
    assert raised.value.code == "clock_moved_back"
    stage.clock.now = START + MINUTE
    await stage.open()
    await stage.permit(grant)


# --- bounds and endings -------------------------------------------------------------------------------------


def store_at(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "a.db", "example.org", Clock())


def entry(text: str = "", stream: str = "administration") -> Entry:
    return Entry(stream, "mode", {"mode": "enforce", "until": 0, "by": text})


def test_a_record_that_is_too_large_or_no_json_is_refused_and_the_rest_is_not(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story() -> None:
        def good(world: World, now: int) -> Step[str]:
            return Step("good", (entry(),))

        def large(world: World, now: int) -> Step[str]:
            return Step("large", (entry("first of two"), entry("x" * 70_000)))

        def odd(world: World, now: int) -> Step[str]:
            return Step("odd", (Entry("administration", "mode", {"mode": object()}),))

        def foreign(world: World, now: int) -> Step[str]:
            return Step("foreign", (entry(stream="nowhere"),))

        works: list[Any] = [good, large, odd, foreign, good]
        answers = await asyncio.gather(*[store.run(work) for work in works], return_exceptions=True)
        assert [getattr(answer, "code", answer) for answer in answers] == [
            "good",
            "record_too_large",
            "record_invalid",
            "stream_invalid",
            "good",
        ]
        assert isinstance(answers[1], TooLarge)

    asyncio.run(story())
    asyncio.run(store.close())
    with SqliteReader(tmp_path / "a.db") as reader:
        assert [(stored.n, stored.record.body["by"]) for stored in reader.records()] == [(1, ""), (2, "")]


def test_the_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "QUEUE", 10)
    store = store_at(tmp_path)

    async def story() -> None:
        def work(world: World, now: int) -> Step[int]:
            return Step(store.gauges()["queue_depth"], (entry(),))

        answers = await asyncio.gather(*[store.run(work) for _ in range(25)], return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Unavailable)]
        assert len(refused) == 15
        assert {error.code for error in refused} == {"queue_full"}
        assert await store.run(work) == 0

    asyncio.run(story())
    asyncio.run(store.close())


def test_closing_finishes_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story() -> None:
        def work(world: World, now: int) -> Step[int]:
            return Step(now, (entry(),))

        waiting = [asyncio.ensure_future(store.run(work)) for _ in range(300)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*waiting) == [START] * 300
        with pytest.raises(Unavailable) as raised:
            await store.run(work)
        assert raised.value.code == "storage_closed"

    asyncio.run(story())
    with SqliteReader(tmp_path / "a.db") as reader:
        assert reader.count() == 300
    asyncio.run(store_at(tmp_path).close())


def test_who_stops_waiting_holds_up_nobody(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story() -> None:
        def work(world: World, now: int) -> Step[int]:
            return Step(now, (entry(),))

        waiting = [asyncio.ensure_future(store.run(work)) for _ in range(10)]
        await asyncio.sleep(0)
        for future in waiting[::2]:
            future.cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(answer, int) for answer in answers] == [False, True] * 5

    asyncio.run(story())
    asyncio.run(store.close())


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
