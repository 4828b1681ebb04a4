"""One contract for every reader: what it gives, in which order, and what it misses (nothing), beside a writer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.core.errors import NotFound, Unavailable
from remit.ledger.record import encode_record, leaf_hash
from remit.storage import postgres_reader, postgres_schema
from remit.storage.address import Address
from remit.storage.postgres_reader import PostgresReader
from remit.storage.reader import Reader, Stored
from remit.storage.schema import prepare
from remit.storage.sealing import seal, subject_of
from remit.storage.sqlite_reader import SqliteReader
from tests.postgres import PostgresServer

DOMAIN = "example.org"


class Place(Protocol):
    """A database to read, and the writer's way into it."""

    def reader(self) -> Reader: ...

    def append(self, stream: str, kind: str, body: dict[str, Any], key: str = "") -> None: ...

    def run(self, sql: str, *values: Any) -> None: ...


class _Heads:
    def __init__(self) -> None:
        self.heads: dict[str, tuple[int, str]] = {}

    def next(self, stream: str, kind: str, body: dict[str, Any]) -> tuple[int, bytes]:
        n, link = self.heads.get(stream, (0, ""))
        data = encode_record(DOMAIN, stream, n + 1, link, 1000 + n, kind, body)
        self.heads[stream] = (n + 1, leaf_hash(data))
        return n + 1, data


class SqlitePlace:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._heads = _Heads()
        self._db = sqlite3.connect(path, isolation_level=None)
        prepare(self._db)

    def reader(self) -> Reader:
        return SqliteReader(self.path)

    def append(self, stream: str, kind: str, body: dict[str, Any], key: str = "") -> None:
        n, data = self._heads.next(stream, kind, body)
        sql = "INSERT INTO records(stream, n, t, kind, key, bytes) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(sql, (stream, n, 1000, kind, key or None, data))

    def run(self, sql: str, *values: Any) -> None:
        self._db.execute(sql, values)

    def close(self) -> None:
        self._db.close()


class PostgresPlace:
    """Written to by connections in a thread of their own; a transaction can be left open."""

    def __init__(self, url: str) -> None:
        self.address = Address(url, "postgresql://the.database")
        self._heads = _Heads()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._db = self.connect()
        self.wait(postgres_schema.prepare(self._db, "remit", DOMAIN))

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def connect(self) -> Any:
        settings = {"search_path": "remit"}
        return self.wait(asyncpg.connect(self.address.url, server_settings=settings))

    def reader(self) -> Reader:
        return PostgresReader(self.address)

    def append(self, stream: str, kind: str, body: dict[str, Any], key: str = "", db: Any = None) -> None:
        n, data = self._heads.next(stream, kind, body)

        async def insert() -> None:
            into = db or self._db
            # As `append` does: the transaction has a number before it draws a place.
            sql = "INSERT INTO streams VALUES ($1, $2, '', 0) ON CONFLICT (name) DO UPDATE SET n = excluded.n"
            statement = "INSERT INTO records(stream, n, t, kind, key, bytes) VALUES ($1, $2, 1000, $3, $4, $5)"
            async with into.transaction():
                await into.execute(sql, stream, n)
                await into.execute(statement, stream, n, kind, key or None, data)

        self.wait(insert())

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Another writer, whose commit takes as long as the block."""
        db = self.connect()
        try:
            transaction = db.transaction()
            self.wait(transaction.start())
            yield db
            self.wait(transaction.commit())
        finally:
            self.wait(db.close())

    def run(self, sql: str, *values: Any) -> None:
        for number in range(len(values), 0, -1):
            sql = sql.replace("?", f"${len(values) - number + 1}", 1)
        self.wait(self._db.execute(sql, *values))

    def close(self) -> None:
        self.wait(self._db.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def on_postgres(postgres: PostgresServer) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres.database())
    yield place
    place.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        found = SqlitePlace(tmp_path / "remit.db")
        yield found
        found.close()
    else:
        yield request.getfixturevalue("on_postgres")


def fill(place: Place) -> None:
    place.append("session/b", "task", {"a": 1}, "t_b")
    place.append("administration", "mode", {"a": 2})
    place.append("session/b", "decision", {"a": 3}, "d_1")
    place.append("session/a", "task", {"a": 4}, "t_a")
    place.append("session/B", "decision", {"a": 5}, "d_21")
    place.append("session/b", "outcome", {"a": 6})


def values(found: Any) -> list[int]:
    return [stored.record.body["a"] for stored in found]


# --- the contract -------------------------------------------------------------------------------------------


def test_records_come_in_the_order_in_which_they_were_appended(place: Place) -> None:
    fill(place)
    with place.reader() as reader:
        assert values(reader.records()) == [1, 2, 3, 4, 5, 6]
        assert values(reader.records(kinds=("task", "outcome"))) == [1, 4, 6]
        assert values(reader.records(last=2)) == [5, 6]
        assert values(reader.records(kinds=("decision",), last=1)) == [5]
        assert values(reader.backwards(("decision", "task"))) == [5, 4, 3, 1]
        places = [stored.seq for stored in reader.records()]
        assert places == sorted(set(places))
        assert reader.count() == 6


def test_streams_come_by_their_code_points_and_each_in_its_order(place: Place) -> None:
    fill(place)
    with place.reader() as reader:
        found = [(stream, n) for stream, n, _ in reader.by_stream()]
        assert found == [
            *(("administration", 1), ("session/B", 1), ("session/a", 1)),
            *(("session/b", 1), ("session/b", 2), ("session/b", 3)),
        ]
        assert [(stored.n, stored.record.n) for stored in reader.stream("session/b")] == [(1, 1), (2, 2), (3, 3)]
        assert list(reader.stream("session/none")) == []


def test_records_are_found_by_their_ids_and_the_ends_of_them(place: Place) -> None:
    fill(place)
    with place.reader() as reader:
        found = reader.find("d_1")
        assert found is not None
        assert (found.stream, found.n, found.record.body["a"]) == ("session/b", 2, 3)
        assert reader.find("d_2") is None
        assert sorted(reader.keys_ending("1")) == ["d_1", "d_21"]
        assert len(reader.keys_ending("1", 1)) == 1
        assert reader.keys_ending("%") == []


def test_bytes_are_as_they_were_stored(place: Place) -> None:
    data = bytes(range(256)) * 256
    place.run("INSERT INTO records(stream, n, t, kind, key, bytes) VALUES ('s', 1, 1, 'k', NULL, ?)", data)
    with place.reader() as reader:
        (stored,) = reader.records()
        assert stored == Stored(stored.seq, "s", 1, data)
        assert type(stored.data) is bytes


def test_openings_and_texts_are_read(place: Place) -> None:
    fill(place)
    subject = subject_of("spiffe://a/person/ann", 7, 1000)
    place.run("INSERT INTO subjects(id, mark, name, key, t) VALUES (?, ?, ?, ?, ?)", *subject)
    for n, path, value in ((2, "/input/b", b'"b"'), (2, "/input/B", b'"B"'), (1, "/prompt", b'"p"')):
        sealed = seal(AESGCM(subject.key), "session/b", n, path, b"salt", value)
        sql = "INSERT INTO openings(stream, n, path, key, sealed) VALUES ('session/b', ?, ?, 7, ?)"
        place.run(sql, n, path, sealed)
    place.run(sql, 1, "/moved", sealed)
    place.run("INSERT INTO subject_streams(key, stream) VALUES (7, 'session/b')")
    for digest in ("b", "a"):
        place.run("INSERT INTO texts(digest, content) VALUES (?, ?)", digest, f"text {digest}")
    with place.reader() as reader:
        assert reader.openings("session/b", 2) == [("/input/B", b"salt", b'"B"'), ("/input/b", b"salt", b'"b"')]
        assert reader.openings("session/b", 3) == []
        assert reader.openings("session/b", 1) == [("/prompt", b"salt", b'"p"')]
        assert (reader.broken("session/b", 1), reader.broken("session/b", 2)) == (["/moved"], [])
        everything = [
            ("session/b", 1, "/prompt", b'"p"'),
            ("session/b", 2, "/input/B", b'"B"'),
            ("session/b", 2, "/input/b", b'"b"'),
        ]
        assert list(reader.opened()) == list(reader.opened("spiffe://a/person/ann")) == everything
        assert list(reader.opened("spiffe://a/person/eve")) == []
        assert reader.personal() == 4
        assert list(reader.texts()) == [("a", "text a"), ("b", "text b")]
        assert (reader.text("a"), reader.text("c")) == ("text a", None)
        assert reader.damage() == []


def test_other_questions_are_answered_in_the_middle_of_a_long_answer(place: Place) -> None:
    for number in range(600):
        place.append(f"session/{number % 7}", "decision", {"a": number}, f"d_{number}")
    with place.reader() as reader:
        count = 0
        for stored in reader.backwards(("decision",)):
            found = reader.find(f"d_{stored.record.body['a']}")
            assert found == stored
            if count % 200 == 0:
                assert len(list(reader.stream(stored.stream))) >= 85
            count += 1
        assert count == 600
        first = next(reader.records())
        assert first.record.body["a"] == 0  # the rest is not read
        assert reader.count() == 600


def test_a_tail_gives_what_comes_once(place: Place) -> None:
    fill(place)
    with place.reader() as reader:
        tail = reader.tail(("decision", "task"))
        assert tail.fresh() == []
        place.append("session/c", "task", {"a": 7})
        place.append("session/c", "outcome", {"a": 8})
        place.append("session/b", "decision", {"a": 9})
        assert values(tail.fresh()) == [7, 9]
        assert tail.fresh() == []
        place.append("session/b", "decision", {"a": 10})
        assert values(tail.fresh()) == [10]
        for _ in range(3):
            assert tail.fresh() == []


def test_records_are_read_by_their_places_and_on_from_one(place: Place) -> None:
    fill(place)
    with place.reader() as reader:
        every = list(reader.records())
        places = [stored.seq for stored in every]
        assert reader.at([places[4], places[0], places[2]]) == [every[4], every[0], every[2]]
        assert reader.at([10**9, places[1], 0]) == [every[1]]
        assert reader.at([]) == []
        assert reader.after(0, 100) == every
        assert reader.after(places[1], 2) == every[2:4]
        assert reader.after(places[-1], 5) == []


def test_many_places_are_read_at_once(place: Place) -> None:
    for number in range(1200):
        place.append(f"session/{number % 7}", "decision", {"a": number}, f"d_{number}")
    with place.reader() as reader:
        places = [stored.seq for stored in reader.records()]
        assert values(reader.at(places[::-1])) == list(range(1200))[::-1]


def test_what_is_settled_reaches_the_last_record_when_nobody_writes(place: Place) -> None:
    with place.reader() as reader:
        assert reader.settled() == 0
        fill(place)
        assert reader.settled() == list(reader.records())[-1].seq
        assert reader.settled() == list(reader.records())[-1].seq


def test_where_nothing_is_kept_there_are_no_records(place: Place, tmp_path: Path, postgres: PostgresServer) -> None:
    empty: Callable[[], Reader]
    if isinstance(place, SqlitePlace):
        empty = lambda: SqliteReader(tmp_path / "none.db")  # noqa: E731
    else:
        url = postgres.database()
        empty = lambda: PostgresReader(Address(url, "postgresql://the.database"))  # noqa: E731
    with pytest.raises(NotFound) as missing:
        empty()
    assert missing.value.code == "no_records"
    assert "remit up" in missing.value.next_step


def test_nothing_can_be_changed_through_a_reader(place: Place) -> None:
    fill(place)
    with place.reader() as reader:
        for sql in ("DELETE FROM records", "INSERT INTO texts VALUES ('a', 'b')"):
            with pytest.raises(Unavailable):
                list(reader._rows(sql))  # type: ignore[attr-defined]
        assert reader.count() == 6


# --- PostgreSQL: several writers ----------------------------------------------------------------------------


def test_attack_a_record_that_becomes_visible_late_is_missed_by_nobody_who_follows(on_postgres: PostgresPlace) -> None:
    with on_postgres.reader() as reader:
        tail = reader.tail(("decision",))
        with on_postgres.transaction() as slow:
            on_postgres.append("session/a", "decision", {"a": 1}, db=slow)
            for number in range(2, 6):
                on_postgres.append("session/b", "decision", {"a": number})
                assert values(tail.fresh()) == [number]
            assert tail.fresh() == []
        assert values(tail.fresh()) == [1]
        on_postgres.append("session/a", "decision", {"a": 6})
        assert values(tail.fresh()) == [6]
        assert tail.fresh() == []
        # What is settled is no longer kept in mind.
        assert len(tail._seen) <= 1  # type: ignore[attr-defined]


def test_a_tail_that_begins_beside_a_slow_writer_sees_its_records_too(on_postgres: PostgresPlace) -> None:
    fill(on_postgres)
    with on_postgres.reader() as reader:
        with on_postgres.transaction() as slow:
            on_postgres.append("session/z", "decision", {"a": 1}, db=slow)
            on_postgres.append("session/b", "decision", {"a": 2})
            tail = reader.tail(("decision",))
            assert tail.fresh() == []
        assert values(tail.fresh()) == [1]
        assert tail.fresh() == []


def test_a_writer_that_gives_up_leaves_a_gap_and_nothing_else(on_postgres: PostgresPlace) -> None:
    with on_postgres.reader() as reader:
        tail = reader.tail(("decision",))
        db = on_postgres.connect()
        transaction = db.transaction()
        on_postgres.wait(transaction.start())
        on_postgres.append("session/lost", "decision", {"a": 1}, db=db)
        on_postgres.append("session/b", "decision", {"a": 2})
        on_postgres.wait(transaction.rollback())
        on_postgres.wait(db.close())
        assert values(tail.fresh()) == [2]
        assert tail.fresh() == []
        assert tail.fresh() == []
        assert tail._seen == set()  # type: ignore[attr-defined]


def test_attack_nothing_comes_up_at_or_below_a_place_that_was_settled(on_postgres: PostgresPlace) -> None:
    fill(on_postgres)
    with on_postgres.reader() as reader, on_postgres.reader() as late:
        before = reader.settled()
        assert before == list(reader.records())[-1].seq
        with on_postgres.transaction() as slow:
            on_postgres.append("session/z", "decision", {"a": 7}, db=slow)
            for number in range(8, 12):
                on_postgres.append("session/b", "decision", {"a": number})
                assert reader.settled() == before
                # Who begins to look now knows nothing yet.
                assert late.settled() == 0
        found = values(reader.after(before, 100))
        assert sorted(found) == [7, 8, 9, 10, 11]
        assert found[0] == 7
        assert reader.settled() == late.settled() == list(reader.records())[-1].seq


def test_many_writers_are_followed_without_a_loss_or_a_repetition(on_postgres: PostgresPlace) -> None:
    writers, each = 6, 40

    async def write(number: int) -> None:
        db = await asyncpg.connect(on_postgres.address.url, server_settings={"search_path": "remit"})
        for n in range(1, each + 1):
            async with db.transaction():
                await db.execute(
                    "INSERT INTO streams VALUES ($1, $2, '', 0) ON CONFLICT (name) DO UPDATE SET n = excluded.n",
                    f"s/{number}", n,
                )  # fmt: skip
                sql = "INSERT INTO records(stream, n, t, kind, bytes) VALUES ($1, $2, 1, 'decision', '')"
                await db.execute(sql, f"s/{number}", n)
                await asyncio.sleep(0.001 * ((number * 7 + n) % 5))
        await db.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(write(number) for number in range(writers)))

    found: list[Stored] = []
    with on_postgres.reader() as reader:
        tail = reader.tail(("decision",))
        writing = asyncio.run_coroutine_threadsafe(all_of_them(), on_postgres._loop)
        while not writing.done():
            found += tail.fresh()
        writing.result()
        found += tail.fresh()
        assert len(found) == len({(stored.stream, stored.n) for stored in found}) == writers * each
        for number in range(writers):
            assert [stored.n for stored in found if stored.stream == f"s/{number}"] == list(range(1, each + 1))
        # Places grow along every stream.
        for number in range(writers):
            places = [stored.seq for stored in reader.stream(f"s/{number}")]
            assert places == sorted(places)


def test_one_long_answer_is_one_snapshot(on_postgres: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_reader, "PAGE", 2)
    fill(on_postgres)
    with on_postgres.reader() as reader:
        going = reader.by_stream()
        next(going)
        on_postgres.append("session/z", "task", {"a": 7}, "t_z")
        assert reader.find("t_z") is None
        assert len(list(going)) == 5
        assert reader.find("t_z") is not None


def test_a_database_that_is_away_is_said_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as refused:
        PostgresReader(Address("postgresql://remit:secret@127.0.0.1:1/remit", "postgresql://remit@127.0.0.1:1/remit"))
    assert refused.value.code == "records_unreadable"
    assert "postgresql://remit@127.0.0.1:1/remit" in refused.value.message
    assert "secret" not in str(refused.value)


def test_a_reader_connects_again_after_the_database_was_started_again(own_postgres: PostgresServer) -> None:
    place = PostgresPlace(own_postgres.database())
    try:
        fill(place)
        with place.reader() as reader:
            tail = reader.tail(("decision",))
            place.wait(place._db.close())
            own_postgres.stop()
            with pytest.raises(Unavailable):
                reader.count()
            with pytest.raises(Unavailable):
                tail.fresh()
            own_postgres.start()
            place._db = place.connect()
            place.append("session/b", "decision", {"a": 7})
            assert reader.count() == 7
            assert values(tail.fresh()) == [7]
    finally:
        place.close()
