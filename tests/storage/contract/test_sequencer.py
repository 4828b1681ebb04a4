"""One order: what is asked at once is decided one after the other, durable before it is answered, in time's order.

The same for every storage.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from remit.app.records import reader_of
from remit.core.decisions import Decision
from remit.core.errors import TooLarge, Unavailable
from remit.decide.sequence import NOTHING_KNOWN, Entry, Needs, Step
from remit.decide.world import ADMINISTRATION, World
from remit.ledger.record import leaf_hash
from remit.storage.port import Store
from remit.storage.postgres import PostgresStore
from remit.storage.sqlite import SqliteStore
from tests.decide.stage import (
    INTENTS,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    SECOND,
    START,
    TD,
    Clock,
    Stage,
    together,
)
from tests.storage.contract.stages import KINDS, PostgresStage, staged_everywhere

ONE = {"answer": INTENTS["answer"] + "limits:\n  - {name: one, effects: [read], calls: 1}\n"}


async def rounds(stage: Stage, count: int, callers: int) -> None:
    for _ in range(count):
        grant = await stage.start()
        answers = await together(*[stage.authorize(grant, READ, {"invoice": str(n)}) for n in range(callers)])
        assert sum(answer.permitted for answer in answers) == 1


@staged_everywhere(intents=ONE)
async def test_concurrent_calls_against_a_limit_of_one(stage: Stage) -> None:
    await rounds(stage, 200 if isinstance(stage, PostgresStage) else 1000, 2)


@pytest.mark.long
@staged_everywhere(intents=ONE)
async def test_many_concurrent_calls_against_a_limit_of_one(stage: Stage) -> None:
    await rounds(stage, 1000, 40)


@staged_everywhere(intents=ONE)
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


@staged_everywhere()
async def test_what_is_answered_is_on_the_disk_in_gapless_linked_streams(stage: Stage) -> None:
    grants = [await stage.start() for _ in range(3)]
    answers = await together(*[stage.authorize(grants[n % 3], READ, {"invoice": str(n)}) for n in range(300)])
    # Another connection sees them now.
    with reader_of(stage.folder) as reader:
        ids = {stored.record.body["id"] for stored in reader.records(kinds=("decision",))}
        assert ids == {answer.id for answer in answers}
        for grant in grants:
            link = ""
            for number, stored in enumerate(reader.stream(f"session/{grant.task}"), 1):
                assert (stored.n, stored.record.n, stored.record.prev) == (number, number, link)
                link = leaf_hash(stored.data)
    assert stage.store.gauges()["commits"] < 60


@staged_everywhere()
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


@staged_everywhere()
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


@staged_everywhere()
async def test_attack_long_lists_of_arguments_fill_the_memory(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant, "web/search", {"words": ["word"] * 2_000})
    session = stage.world.session(grant.task)
    assert session is not None
    assert session.permits[permit.id].input == {}
    assert stage.record_of(permit)["context"]["input"] == {"words": ["word"] * 2_000}


# --- time ---------------------------------------------------------------------------------------------------


@staged_everywhere()
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


@staged_everywhere()
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

Opening = Callable[[], AbstractAsyncContextManager[Store]]
TO_ADMINISTRATION = Needs(appends=(ADMINISTRATION,))


@pytest.fixture(params=KINDS)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens the same empty place again and again, on each kind of storage."""
    clock = Clock()
    if request.param == "sqlite":
        return lambda: _closing(SqliteStore.open(tmp_path / "a.db", TD, clock))
    url, schema = request.getfixturevalue("postgres").place()
    return lambda: _closing(PostgresStore.open(url, TD, schema=schema, clock=clock))


@asynccontextmanager
async def _closing(opened: Any) -> AsyncIterator[Store]:
    store: Store = await opened
    try:
        yield store
    finally:
        await store.close()


def entry(text: str = "", stream: str = ADMINISTRATION) -> Entry:
    return Entry(stream, "mode", {"mode": "enforce", "until": 0, "by": text})


def good(world: World, now: int) -> Step[int]:
    return Step(now, (entry(),))


async def texts(store: Store) -> list[str]:
    """What the modes that were recorded last say, in a state that was read anew."""

    def work(world: World, now: int) -> Step[list[str]]:
        return Step([world.modes.get("by", "")], durable=False)

    return await store.run(work, Needs(reads=(ADMINISTRATION,), records=False))


def test_a_record_that_is_too_large_or_no_json_is_refused_and_the_rest_is_not(opening: Opening) -> None:
    async def story() -> None:
        def large(world: World, now: int) -> Step[str]:
            return Step("large", (entry("first of two"), entry("x" * 70_000)))

        def odd(world: World, now: int) -> Step[str]:
            return Step("odd", (Entry(ADMINISTRATION, "mode", {"mode": object()}),))

        def foreign(world: World, now: int) -> Step[str]:
            return Step("foreign", (entry(stream="nowhere"),))

        async with opening() as store:
            works: list[Any] = [good, large, odd, foreign, good]
            answers = await asyncio.gather(
                *[store.run(work, TO_ADMINISTRATION) for work in works], return_exceptions=True
            )
            assert [getattr(answer, "code", answer) for answer in answers] == [
                START,
                "record_too_large",
                "record_invalid",
                "stream_invalid",
                START,
            ]
            assert isinstance(answers[1], TooLarge)
            assert await texts(store) == [""]
        async with opening() as store:
            assert await texts(store) == [""]

    asyncio.run(story())


def test_the_queue_is_bounded(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        monkeypatch.setattr(f"remit.storage.{kind}.QUEUE", 10)

    async def story() -> None:
        async with opening() as store:
            answers = await asyncio.gather(
                *[store.run(good, TO_ADMINISTRATION) for _ in range(25)], return_exceptions=True
            )
            refused = [answer for answer in answers if isinstance(answer, Unavailable)]
            assert len(refused) == 15
            assert {error.code for error in refused} == {"queue_full"}
            assert await store.run(good, TO_ADMINISTRATION) == START
            assert store.gauges()["queue_depth"] == 0

    asyncio.run(story())


def test_closing_finishes_what_waits_and_refuses_what_comes(opening: Opening) -> None:
    async def story() -> None:
        def numbered(number: int) -> Any:
            return lambda world, now: Step(now, (entry(str(number)),))

        async with opening() as store:
            waiting = [asyncio.ensure_future(store.run(numbered(n), TO_ADMINISTRATION)) for n in range(300)]
            await asyncio.sleep(0)
            await store.close()
            assert await asyncio.gather(*waiting) == [START] * 300
            for needs in (TO_ADMINISTRATION, NOTHING_KNOWN, Needs(reads=(ADMINISTRATION,), records=False)):
                with pytest.raises(Unavailable) as raised:
                    await store.run(good, needs)
                assert raised.value.code == "storage_closed"
        async with opening() as store:
            assert await texts(store) == ["299"]

    asyncio.run(story())


def test_who_stops_waiting_holds_up_nobody(opening: Opening) -> None:
    async def story() -> None:
        async with opening() as store:
            waiting = [asyncio.ensure_future(store.run(good, TO_ADMINISTRATION)) for _ in range(10)]
            await asyncio.sleep(0)
            for future in waiting[::2]:
                future.cancel()
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert [isinstance(answer, int) for answer in answers] == [False, True] * 5

    asyncio.run(story())


def test_a_work_that_raises_changes_nothing_for_the_others(opening: Opening) -> None:
    async def story() -> None:
        def stops(world: World, now: int) -> Step[None]:
            raise StopIteration

        def fails(world: World, now: int) -> Step[None]:
            raise ZeroDivisionError("a bug")

        async with opening() as store:
            works: list[Any] = [good, stops, fails, good]
            answers = await asyncio.gather(
                *[store.run(work, TO_ADMINISTRATION) for work in works], return_exceptions=True
            )
            assert [type(answer) for answer in answers] == [int, RuntimeError, ZeroDivisionError, int]

    asyncio.run(story())


def test_works_that_say_nothing_of_what_they_need(opening: Opening) -> None:
    async def story() -> None:
        async with opening() as store:
            assert await asyncio.gather(*[store.run(good) for _ in range(5)]) == [START] * 5

            def reads(world: World, now: int) -> Step[str]:
                assert world.session("t_nobody") is None
                assert world.life("spiffe://example.org/nobody") is None
                assert world.locate("d_nobody") is None
                assert world.registrations() == []
                return Step(str(world.modes["mode"]))

            assert await store.run(reads) == "enforce"
            assert await store.run(reads, Needs(records=False)) == "enforce"

    asyncio.run(story())


def test_texts_are_kept(opening: Opening, tmp_path: Path) -> None:
    async def story() -> None:
        for _ in range(2):
            async with opening() as store:
                store.keep_text("a" * 64, "text")
                store.keep_text("b" * 64, "ünïcode 🗝")
                await store.run(good, TO_ADMINISTRATION)

    asyncio.run(story())
