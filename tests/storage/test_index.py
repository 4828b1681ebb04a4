"""The index: what it finds is what a plain look at every record finds, whatever was done to its files."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import Unavailable
from remit.ledger.record import encode_record, leaf_hash
from remit.storage import index_building, index_query, index_segment
from remit.storage.index_building import advance, covered
from remit.storage.index_choice import Choice
from remit.storage.index_facts import Facts, Lookup
from remit.storage.index_folder import IndexFolder
from remit.storage.index_query import Query
from remit.storage.index_segment import Damaged, Segment
from remit.storage.reader import Reader
from remit.storage.schema import prepare
from remit.storage.sqlite_reader import SqliteReader
from tests.postgres import PostgresServer
from tests.storage.index_stories import DOMAIN, Writer, choices, look, scanned
from tests.storage.test_reader import PostgresPlace


class Database:
    """A database that is written to, and its index."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.path = folder / "remit.db"
        self.index = IndexFolder(folder / "index")
        self._heads: dict[str, tuple[int, str]] = {}
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        prepare(self._db)
        self._db.execute("PRAGMA synchronous = OFF")
        self.writer = Writer(self.append, seed)

    def append(self, stream: str, kind: str, body: dict[str, Any], key: str, t: int) -> None:
        n, link = self._heads.get(stream, (0, ""))
        data = encode_record("example.org", stream, n + 1, link, t, kind, body)
        self._heads[stream] = (n + 1, leaf_hash(data))
        sql = "INSERT INTO records(stream, n, t, kind, key, bytes) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(sql, (stream, n + 1, t, kind, key or None, data))

    def reader(self) -> SqliteReader:
        return SqliteReader(self.path)

    def close(self) -> None:
        self._db.close()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 1,024 places and parts of 64, so that a few thousand records make many files."""
    for module in (index_segment, index_building, index_query):
        monkeypatch.setattr(module, "BLOCK", 1024)
    monkeypatch.setattr(index_segment, "_LOW", 1023)
    monkeypatch.setattr(index_segment, "_GRAIN_BITS", 4)
    monkeypatch.setattr(index_building, "PART", 64)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path)
    yield made
    made.close()


def build(reader: Reader, index: IndexFolder, most: int = 10_000) -> int:
    """Makes at most so many files; how many were made."""
    lookup = Lookup(reader)
    made = 0
    while made < most and advance(reader, index, lookup) is not None:
        made += 1
    return made


Looked = list[tuple[int, Facts]]


def check(reader: Reader, index: IndexFolder | None, choice: Choice, looked: Looked | None = None) -> None:
    """Through the index comes what comes by looking at every record, in the same order, and is as many."""
    wanted = scanned(look(reader) if looked is None else looked, choice)
    assert [each.seq for each in Query(reader, index, choice).newest()] == wanted, choice
    assert Query(reader, index, choice).count() == len(wanted), choice


# --- it finds what is there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_filters_find_what_a_plain_look_finds_after_random_cuts_and_restarts(tmp_path: Path, seed: int) -> None:
    database, chance = Database(tmp_path, seed), random.Random(seed)
    with database.reader() as reader:
        for _ in range(6):
            database.writer.write(chance.randrange(1, 600))
            build(reader, database.index, chance.choice((0, 1, 3, 100)))
            ranges = database.index.ranges()
            if ranges and chance.random() < 0.4:
                cut = chance.choice(ranges).path
                if chance.random() < 0.5:
                    cut.unlink()
                else:
                    os.truncate(cut, chance.randrange(cut.stat().st_size))
            looked = look(reader)
            for _ in range(9):
                choice = choices(chance, database.writer.now, database.writer._tasks)
                try:
                    check(reader, database.index, choice, looked)
                except Damaged as damaged:
                    database.index.remove([damaged.path])
                    check(reader, database.index, choice, looked)
        build(reader, database.index)
        assert reader.settled() - covered(reader, database.index)[0][-1].end < 64
        looked = look(reader)
        for _ in range(25):
            check(reader, database.index, choices(chance, database.writer.now, database.writer._tasks), looked)
            check(reader, None, choices(chance, database.writer.now, database.writer._tasks), looked)
    database.close()


def test_filters_find_what_is_there_while_a_writer_appends_and_another_indexes(database: Database) -> None:
    database.writer.write(1500)
    stopping = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        while not stopping.wait(0.05):
            database.writer.write(20)

    def follow() -> None:
        try:
            with database.reader() as reader:
                while not stopping.wait(0.02):
                    build(reader, database.index, 5)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for work in (write, follow, follow)]
    for thread in threads:
        thread.start()
    chance = random.Random(3)
    try:
        with database.reader() as reader:
            for _ in range(20):
                choice = choices(chance, database.writer.now, [])
                before = scanned(look(reader), choice)
                found = [each.seq for each in Query(reader, database.index, choice).newest()]
                after = scanned(look(reader), choice)
                assert found == sorted(found, reverse=True)
                assert len(found) == len(set(found))
                assert set(before) <= set(found) <= set(after), choice
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_the_newest_are_found_without_reading_the_oldest_files(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.writer.write(5000)
    opened: list[Path] = []
    with database.reader() as reader:
        build(reader, database.index)
        real = Segment.__init__

        def noting(self: Segment, path: Path) -> None:
            opened.append(path)
            real(self, path)

        monkeypatch.setattr(Segment, "__init__", noting)
        newest = Query(reader, database.index, Choice(wanted={"action": ("bank/pay",)})).newest()
        assert next(newest).seq > 4900
        del newest
    assert set(opened) <= {each.path for each in database.index.ranges()[-2:]}


def test_a_block_that_is_full_becomes_one_file(database: Database) -> None:
    with database.reader() as reader:
        for _ in range(40):
            database.writer.write(60)
            build(reader, database.index)
        sizes = [each.end - each.start for each in database.index.ranges()]
    assert sizes[:2] == [1024, 1024]
    assert set(sizes[2:]) == {64}
    names = {path.name for path in database.index.path.iterdir()}
    assert len(names) == len(sizes)


def test_attack_a_part_that_is_taken_away_before_the_merge_is_missing_in_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = Choice(wanted={"kind": ("decision", "outcome", "task", "denials")})
    with database.reader() as reader:
        for _ in range(15):
            database.writer.write(64)
            build(reader, database.index)
        real = IndexFolder.write

        def taking(self: IndexFolder, start: int, end: int, data: bytes) -> None:
            real(self, start, end, data)
            if end == 1024 and len(self.ranges()) > 5:
                self.remove([self.ranges()[4].path])

        monkeypatch.setattr(IndexFolder, "write", taking)
        database.writer.write(200)
        build(reader, database.index, 2)
        monkeypatch.undo()
        small_blocks(monkeypatch)
        check(reader, database.index, choice)
        build(reader, database.index)
        check(reader, database.index, choice)


def test_an_index_is_the_same_whether_made_at_once_or_part_by_part(database: Database, tmp_path: Path) -> None:
    at_once = IndexFolder(tmp_path / "other")
    with database.reader() as reader:
        for _ in range(20):
            database.writer.write(60)
            build(reader, database.index)
        build(reader, at_once)
        assert at_once.ranges()[0].end == database.index.ranges()[0].end == 1024
        with Segment(at_once.ranges()[0].path) as one, Segment(database.index.ranges()[0].path) as other:
            assert one.head.leaf == other.head.leaf
            assert one.times() == other.times()
            assert one.head.fields.keys() == other.head.fields.keys()
            for field in one.head.fields:
                values = one.values(field)
                assert values.keys() == other.values(field).keys()
                for value, piece in values.items():
                    assert one.rows([piece]) == other.rows([other.values(field)[value]])


# --- it is never believed -------------------------------------------------------------------------------------


def test_attack_every_changed_byte_of_a_file_is_noticed(database: Database) -> None:
    database.writer.write(200)
    with database.reader() as reader:
        build(reader, database.index, 1)
    path = database.index.ranges()[0].path
    whole = path.read_bytes()
    chance = random.Random(5)
    for at in [*range(40), *chance.sample(range(len(whole)), 400)]:
        changed = bytearray(whole)
        changed[at] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(Damaged), Segment(path) as segment:
            segment.check()
    path.write_bytes(whole)
    with Segment(path) as segment:
        segment.check()


def test_attack_an_index_of_other_records_hides_nothing(database: Database, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    foreign = Database(other, seed=99)
    foreign.writer.write(2500)
    with foreign.reader() as reader:
        build(reader, foreign.index)
    foreign.close()
    database.writer.write(2500)
    shutil.copytree(foreign.index.path, database.index.path)
    with database.reader() as reader:
        assert covered(reader, database.index) == ([], True)
        check(reader, database.index, Choice(wanted={"decision": ("deny",)}))
        build(reader, database.index)
        assert covered(reader, database.index)[1] is False
        check(reader, database.index, Choice(wanted={"decision": ("deny",)}))


def test_attack_records_restored_from_an_older_copy_are_indexed_again(database: Database, tmp_path: Path) -> None:
    database.writer.write(1500)
    copy = tmp_path / "copy.db"
    with sqlite3.connect(copy) as target:
        database._db.backup(target)
    target.close()
    older = dict(database._heads)
    database.writer.write(1500)
    with database.reader() as reader:
        build(reader, database.index)
    with sqlite3.connect(copy) as source:
        source.backup(database._db)
    source.close()
    database._heads = older
    database.writer._chance = random.Random(77)
    database.writer.write(1500)
    with database.reader() as reader:
        for wanted in ({"decision": ("deny",)}, {"intent": ("answer",)}, {"label": ("pii",)}):
            check(reader, database.index, Choice(wanted=wanted))
        build(reader, database.index)
        for wanted in ({"decision": ("deny",)}, {"intent": ("answer",)}, {"label": ("pii",)}):
            check(reader, database.index, Choice(wanted=wanted))


def test_no_personal_value_enters_the_index(database: Database) -> None:
    database.writer.write(300)
    with database.reader() as reader:
        build(reader, database.index)
    for path in database.index.path.iterdir():
        data = path.read_bytes()
        assert b"kim@example.org" not in data
        assert DOMAIN.encode() in data


def test_files_are_for_their_owner_alone(database: Database) -> None:
    database.writer.write(300)
    with database.reader() as reader:
        build(reader, database.index)
    assert database.index.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in database.index.path.iterdir()} == {0o600}


def test_attack_a_link_in_the_place_of_a_file_is_no_part_of_the_index(database: Database, tmp_path: Path) -> None:
    database.writer.write(300)
    with database.reader() as reader:
        build(reader, database.index)
        path = database.index.ranges()[1].path
        for target in (tmp_path / "nowhere", database.path):
            path.unlink()
            path.symlink_to(target)
            check(reader, database.index, Choice(wanted={"decision": ("deny",)}))
        build(reader, database.index)
        assert not path.is_symlink()
        assert database.path.read_bytes().startswith(b"SQLite format 3")


def test_what_was_left_half_written_is_tidied_up(database: Database) -> None:
    database.writer.write(300)
    with database.reader() as reader:
        build(reader, database.index)
    (database.index.path / "000000000000-000000000040.ab12cd34").write_bytes(b"half")
    before = database.index.ranges()
    database.index.tidy()
    assert {path.name for path in database.index.path.iterdir()} == {each.path.name for each in before}


def test_a_folder_that_cannot_be_written_is_said_and_records_are_found_all_the_same(database: Database) -> None:
    database.writer.write(300)
    database.index.path.write_text("in the way")
    with database.reader() as reader:
        with pytest.raises(Unavailable) as refused:
            build(reader, database.index)
        assert refused.value.code == "index_unwritable"


# --- PostgreSQL: places that are seen late, and times that go back a little -----------------------------------


@pytest.fixture
def on_postgres(postgres: PostgresServer) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres.database())
    yield place
    place.close()


def test_postgresql_filters_find_what_a_plain_look_finds(on_postgres: PostgresPlace, tmp_path: Path) -> None:
    index, chance = IndexFolder(tmp_path / "index"), random.Random(8)
    writer = Writer(lambda stream, kind, body, key, _: on_postgres.append(stream, kind, body, key), 8)
    with on_postgres.reader() as reader:
        for _ in range(3):
            writer.write(chance.randrange(150, 500))
            build(reader, index)
            looked = look(reader)
            for _ in range(12):
                choice = choices(chance, writer.now, writer._tasks)
                check(reader, index, choice._replace(since=min(choice.since, 1100), until=None), looked)
        assert covered(reader, index)[0]


def test_attack_a_record_that_becomes_visible_late_is_in_the_index_too(
    on_postgres: PostgresPlace, tmp_path: Path
) -> None:
    index = IndexFolder(tmp_path / "index")
    writer = Writer(lambda stream, kind, body, key, _: on_postgres.append(stream, kind, body, key), 9)
    wanted = Choice(wanted={"action": ("late/one",)})
    with on_postgres.reader() as reader:
        writer.write(30)
        with on_postgres.transaction() as slow:
            body = {
                "id": "d_late", "task": "", "subject": "spiffe://example.org/workload/w", "pep": "",
                "action": "late/one", "effect": "permit",
            }  # fmt: skip
            on_postgres.append("session/slow", "decision", body, "d_late", db=slow)
            writer.write(200)
            build(reader, index)
            # What may still come up keeps the index from going on.
            assert covered(reader, index)[0] == []
            assert list(Query(reader, index, wanted).newest()) == []
        assert len(list(Query(reader, index, wanted).newest())) == 1
        build(reader, index)
        assert covered(reader, index)[0][-1].end > 31
        assert len(list(Query(reader, index, wanted).newest())) == 1
