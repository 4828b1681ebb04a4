"""Places in PostgreSQL: each record exactly once, in each stream by number, by one elected process."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from remit.core.errors import Conflict, Unavailable
from remit.storage import postgres_placed, postgres_schema
from remit.storage.address import Address
from remit.storage.postgres_placed import PostgresPlaced
from tests.postgres import PostgresServer

KEY = "example.org/log+00000000+AAAA"
INSERT = "INSERT INTO records (stream, n, t, kind, bytes) VALUES ($1, $2, 0, 'mode', $3)"


class Place:
    """One schema with records that say nothing, for what only sees bytes."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        url, schema = server.place()
        self.address = Address(url, "postgresql://test", schema)
        self.opened: list[PostgresPlaced] = []
        asyncio.run(self._prepare())

    async def connect(self) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(self.address.url, server_settings={"search_path": self.address.schema})

    async def _prepare(self) -> None:
        db = await self.connect()
        await postgres_schema.prepare(db, self.address.schema, "example.org")
        await db.close()

    def sql(self, *statements: str) -> list[str]:
        found: list[str] = []
        for statement in statements:
            found = self.server.sql(f'SET search_path TO "{self.address.schema}"; {statement}', self.address.url)
        return found

    def add(self, stream: str, first: int, last: int) -> None:
        async def add() -> None:
            db = await self.connect()
            await db.executemany(INSERT, [(stream, n, f"{stream} {n}".encode()) for n in range(first, last + 1)])
            await db.close()

        asyncio.run(add())

    def open(self) -> PostgresPlaced:
        placed = PostgresPlaced(self.address)
        self.opened.append(placed)
        placed.take_key(KEY)
        return placed

    def published(self, placed: PostgresPlaced) -> list[str]:
        return [entry.decode() for entry in placed.entries(0, 1_000_000)]


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Place]:
    made = Place(postgres)
    yield made
    for placed in made.opened:
        placed.close()


def test_one_is_elected_and_another_follows_when_it_ends(place: Place) -> None:
    a, b = place.open(), place.open()
    place.add("s", 1, 3)
    assert (a.place(), b.place()) == (True, False)
    a.agree(b"note", 3)
    assert b.agreed() == b"note"
    assert place.published(b) == ["s 1", "s 2", "s 3"]
    a.close()
    place.add("s", 4, 4)
    assert b.place()
    assert place.published(b)[-1] == "s 4"
    assert place.sql("SELECT epoch FROM agreed") == ["2"]


def test_who_was_elected_before_writes_nothing_any_more(place: Place) -> None:
    a, b = place.open(), place.open()
    assert a.place()
    # As if its lock had been lost without its knowing: another one is elected.
    place.sql("UPDATE agreed SET epoch = epoch + 1, leader = 'another'")
    with pytest.raises(Conflict) as caught:
        a.agree(b"note", 1)
    assert caught.value.code == "epoch_passed"
    place.add("s", 1, 1)
    assert b.place()
    place.sql("UPDATE agreed SET epoch = epoch + 1, leader = 'another'")
    place.add("s", 2, 2)
    with pytest.raises(Conflict) as caught:
        b.place()
    assert caught.value.code == "epoch_passed"
    assert place.published(b) == ["s 1"]
    assert place.sql("SELECT size FROM agreed") == ["0"]
    # It stands for election again, and goes on where the records are.
    assert b.place()
    assert place.published(b) == ["s 1", "s 2"]


def test_nobody_agrees_without_being_elected(place: Place) -> None:
    a = place.open()
    with pytest.raises(Conflict, match="not elected"):
        a.agree(b"note", 0)


def test_an_agreement_never_goes_back(place: Place) -> None:
    a = place.open()
    assert a.place()
    a.agree(b"later", 9)
    with pytest.raises(Conflict):
        a.agree(b"earlier", 8)
    assert a.agreed() == b"later"


def test_a_lost_connection_is_no_election(place: Place) -> None:
    a, b = place.open(), place.open()
    assert a.place()
    place.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit log'")
    with pytest.raises(Conflict) as caught:
        a.agree(b"note", 1)
    assert caught.value.code == "epoch_passed"
    assert b.agreed() == b""  # a follower asks again by itself
    assert b.place()
    assert not a.place()


def test_who_resigned_lets_others_be_elected(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = place.open(), place.open()
    assert a.place()
    a.resign()
    assert not a.place()
    assert b.place()
    b.resign()
    monkeypatch.setattr(a, "_rests_until", 0.0)
    assert a.place()


def test_who_says_nothing_is_followed_and_who_lives_is_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_placed, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(postgres_placed, "BEAT_SECONDS", 0.1)
    a, b = place.open(), place.open()
    assert a.place()
    time.sleep(0.8)  # it beats meanwhile
    assert not b.place()
    monkeypatch.setattr(postgres_placed, "STALL_SECONDS", 0.2)  # and no more for who asks for nothing
    time.sleep(1.0)
    assert b.place()
    with pytest.raises(Conflict):
        a.agree(b"note", 1)


@pytest.mark.parametrize(
    "which", ["UPDATE records SET seq = seq + 1000 WHERE n = 2", "DELETE FROM records WHERE n = 2"]
)
def test_a_record_that_was_taken_away_or_put_elsewhere_is_not_passed_over(place: Place, which: str) -> None:
    a = place.open()
    place.add("s", 1, 1)
    assert a.place()
    place.add("s", 2, 3)
    place.sql(which)
    with pytest.raises(Conflict) as caught:
        a.place()
    assert caught.value.code == "places_broken"
    assert place.published(a) == ["s 1"]


def test_a_published_record_that_was_taken_away_is_noticed(place: Place) -> None:
    a = place.open()
    place.add("s", 1, 3)
    assert a.place()
    place.sql("DELETE FROM records WHERE n = 2")
    with pytest.raises(Conflict, match="place 1 is missing"):
        a.entries(0, 3)


def test_another_key_is_another_log(place: Place) -> None:
    place.open()
    other = PostgresPlaced(place.address)
    place.opened.append(other)
    assert other.key() == KEY
    with pytest.raises(Conflict) as caught:
        other.take_key("example.org/other+00000000+AAAA")
    assert caught.value.code == "log_key_differs"


def test_a_database_without_the_tables_says_so(place: Place) -> None:
    place.sql("DROP TABLE places, agreed")
    with pytest.raises(Unavailable) as caught:
        PostgresPlaced(place.address)
    assert caught.value.code == "places_missing"


def test_records_that_commit_late_get_later_places_and_none_is_missed(place: Place) -> None:
    a = place.open()

    async def story() -> None:
        late, soon = await place.connect(), await place.connect()
        transaction = late.transaction()
        await transaction.start()
        await late.execute(INSERT, "late", 1, b"late 1")
        await soon.execute(INSERT, "soon", 1, b"soon 1")
        assert await asyncio.to_thread(a.place)
        await soon.execute(INSERT, "soon", 2, b"soon 2")
        await late.execute(INSERT, "late", 2, b"late 2")
        assert await asyncio.to_thread(a.place)
        assert a._search.holes == [(1, 1)]
        await transaction.commit()
        await soon.execute(INSERT, "late", 3, b"late 3")
        assert await asyncio.to_thread(a.place)
        await late.close()
        await soon.close()

    asyncio.run(story())
    assert place.published(a) == ["soon 1", "soon 2", "late 1", "late 2", "late 3"]


def test_who_is_elected_later_finds_what_the_one_before_had_not_seen(place: Place) -> None:
    a, b = place.open(), place.open()

    async def story() -> None:
        late = await place.connect()
        transaction = late.transaction()
        await transaction.start()
        await late.execute(INSERT, "late", 1, b"late 1")
        await asyncio.to_thread(place.add, "soon", 1, 2)
        assert await asyncio.to_thread(a.place)
        a.close()
        await transaction.commit()
        await late.close()
        assert await asyncio.to_thread(b.place)

    asyncio.run(story())
    assert place.published(b) == ["soon 1", "soon 2", "late 1"]


def test_many_writers_and_elections_each_record_once_and_streams_in_order(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers that append to streams under locks, fail, and commit late; publishers that come and go."""
    monkeypatch.setattr(postgres_placed, "CHUNK", 7)
    monkeypatch.setattr(postgres_placed, "ROUND", 3)
    streams = [f"s{n}" for n in range(12)]
    heads = dict.fromkeys(streams, 0)
    writing = threading.Event()
    failures: list[BaseException] = []

    async def writer(seed: int, locks: dict[str, asyncio.Lock]) -> None:
        mine = random.Random(seed)
        db = await place.connect()
        for _ in range(60):
            wanted = sorted(mine.sample(streams, mine.randrange(1, 4)))
            for name in wanted:
                await locks[name].acquire()
            try:
                transaction = db.transaction()
                await transaction.start()
                added = dict.fromkeys(wanted, 0)
                for name in mine.choices(wanted, k=4):
                    added[name] += 1
                    n = heads[name] + added[name]
                    await db.execute(INSERT, name, n, f"{name} {n}".encode())
                    await asyncio.sleep(mine.random() * 0.004)
                if mine.random() < 0.15:
                    await transaction.rollback()
                    continue
                await transaction.commit()
                for name, count in added.items():
                    heads[name] += count
            finally:
                for name in reversed(wanted):
                    locks[name].release()
        await db.close()

    async def write() -> None:
        locks = {name: asyncio.Lock() for name in streams}
        await asyncio.gather(*(writer(seed, locks) for seed in range(4)))

    def publish(seed: int) -> None:
        mine = random.Random(seed)
        placed = place.open()
        try:
            while not writing.is_set():
                if placed.place() and mine.random() < 0.1:
                    placed.resign()
                    placed._rests_until = time.monotonic() + mine.random() * 0.05
                time.sleep(mine.random() * 0.01)
        except BaseException as error:
            failures.append(error)

    publishers = [threading.Thread(target=publish, args=(seed,)) for seed in range(3)]
    for each in publishers:
        each.start()
    try:
        asyncio.run(write())
    finally:
        writing.set()
        for each in publishers:
            each.join()
    assert not failures
    for placed in place.opened:
        placed.close()
    last = place.open()
    while not last._search.is_done(10**9) and len(place.published(last)) < sum(heads.values()):
        assert last.place()
    found = place.published(last)
    assert int(place.sql("SELECT epoch FROM agreed")[0]) > 5
    assert len(found) == len(set(found)) == sum(heads.values())
    for name, head in heads.items():
        assert [entry for entry in found if entry.startswith(f"{name} ")] == [f"{name} {n + 1}" for n in range(head)]


def test_what_costs_a_look_is_what_is_new(place: Place) -> None:
    """With many records placed, one new record costs as with few."""
    a = place.open()
    place.sql(
        "INSERT INTO records (stream, n, t, kind, bytes) SELECT 's' || i % 500, i / 500 + 1, 0, 'mode', 'x' "
        "FROM generate_series(0, 29999) i; ANALYZE records"
    )
    assert a.place()
    assert place.sql("SELECT count(*), max(place) FROM places") == ["30000|29999"]
    read = (
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname IN ('records_seq', 'records_pkey') "
        f"AND schemaname = '{place.address.schema}'"
    )

    def total() -> int:
        place.sql("SELECT pg_stat_clear_snapshot()")
        return sum(int(row) for row in place.sql(read))

    place.add("s1", 61, 61)
    assert pages(a, postgres_placed._SEEN, [], [], a._search.high, 8192) < 30
    assert pages(a, postgres_placed._SEEN, [25_000], [25_010], a._search.high, 8192) < 60
    assert pages(a, postgres_placed._LONELY, ["s1", "s2"], [61, 61]) < 30
    assert a.place()
    assert a._search.is_done(30_001)
    assert pages(a, postgres_placed._ENTRIES, 29_999, 10) < 30


def pages(placed: PostgresPlaced, statement: str, *values: Any) -> int:
    """How many pages the server looks at for a statement."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    (found,) = json.loads(placed._run(lambda db: db.fetchval(explain, *values)))
    return int(found["Plan"]["Shared Hit Blocks"]) + int(found["Plan"]["Shared Read Blocks"])


def test_a_database_that_is_away_is_unavailable_and_comes_back(own_postgres: PostgresServer) -> None:
    place = Place(own_postgres)
    a = place.open()
    place.add("s", 1, 1)
    assert a.place()
    own_postgres.stop()
    with pytest.raises(Conflict):
        a.place()
    with pytest.raises(Unavailable):
        a.place()
    own_postgres.start()
    assert a.place()
    assert place.published(a) == ["s 1"]
    a.close()
