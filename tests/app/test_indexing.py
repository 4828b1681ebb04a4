"""The index is kept up to date by the service and by commands; whatever is wrong with it, the answer is right."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.app import indexing
from remit.app.folder import Folder
from remit.app.indexing import Indexer, ask, behind, catch_up, damage, index_of, rebuild
from remit.storage.index_choice import Choice
from remit.storage.index_folder import IndexFolder
from remit.storage.index_query import Query
from tests.storage.index_stories import choices, look, scanned
from tests.storage.test_index import Database, small_blocks

DENIED = Choice(wanted={"denied": ("yes",)})


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    monkeypatch.setattr(indexing, "BLOCK", 1024)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "remit.toml").write_text('trust_domain = "example.org"\n')
    (tmp_path / ".remit").mkdir(mode=0o700)
    return Folder(tmp_path)


@pytest.fixture
def database(folder: Folder) -> Iterator[Database]:
    made = Database(folder.state)
    made.writer.write(1500)
    yield made
    made.close()


def places(folder: Folder, database: Database, choice: Choice, warned: list[str] | None = None) -> list[int]:
    """The places of what fits, asked as a command asks."""
    with database.reader() as reader:

        def question(index: IndexFolder | None) -> list[int]:
            return [each.seq for each in Query(reader, index, choice).newest()]

        return ask(folder, reader, question, warn=(warned if warned is not None else []).append)


def wanted(database: Database, choice: Choice) -> list[int]:
    with database.reader() as reader:
        return scanned(look(reader), choice)


def test_a_command_that_finds_the_index_behind_brings_it_up_to_date(folder: Folder, database: Database) -> None:
    assert places(folder, database, DENIED) == wanted(database, DENIED)
    with database.reader() as reader:
        assert behind(reader, index_of(folder)) < 64
        database.writer.write(500)
        assert behind(reader, index_of(folder)) >= 500
        catch_up(reader, index_of(folder))
        assert behind(reader, index_of(folder)) < 64


def test_a_lot_to_catch_up_with_is_shown(folder: Folder, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "SLOW", 1000)
    said: list[tuple[str, int, int]] = []
    with database.reader() as reader:
        catch_up(reader, index_of(folder), lambda *each: said.append(each))
        assert said[0] == ("indexing", 0, reader.settled())
        assert [done for _, done, _ in said] == sorted(done for _, done, _ in said)
        assert said[-1][1] > 1400
        said.clear()
        database.writer.write(200)
        catch_up(reader, index_of(folder), lambda *each: said.append(each))
        assert said == []


def test_a_damaged_file_is_said_and_made_again(folder: Folder, database: Database) -> None:
    assert places(folder, database, DENIED) == wanted(database, DENIED)
    index = index_of(folder)
    assert damage(index) == []
    for number, each in enumerate(index.ranges()):
        data = bytearray(each.path.read_bytes())
        # Behind the head, so that only who reads that piece notices.
        data[len(data) // 2 if number else -3] ^= 255
        each.path.write_bytes(data)
    assert len(damage(index)) == len(index.ranges())
    warned: list[str] = []
    chance = random.Random(1)
    for _ in range(15):
        choice = choices(chance, database.writer.now, [])
        assert places(folder, database, choice, warned) == wanted(database, choice), choice
    assert any("damaged" in line for line in warned)


def test_an_index_that_is_deleted_is_made_again(folder: Folder, database: Database) -> None:
    places(folder, database, DENIED)
    index_of(folder).clear()
    assert index_of(folder).ranges() == []
    assert places(folder, database, DENIED) == wanted(database, DENIED)
    assert index_of(folder).ranges() != []


def test_a_rebuilt_index_is_the_same(folder: Folder, database: Database) -> None:
    places(folder, database, DENIED)
    before = {each.path.name: each.path.stat().st_mtime_ns for each in index_of(folder).ranges()}
    with database.reader() as reader:
        rebuild(reader, index_of(folder))
    after = {each.path.name: each.path.stat().st_mtime_ns for each in index_of(folder).ranges()}
    assert before.keys() == after.keys()
    assert before != after


def test_where_no_index_can_be_written_the_answer_is_the_same_and_it_is_said(
    folder: Folder, database: Database
) -> None:
    folder.index.write_text("in the way")
    warned: list[str] = []
    assert places(folder, database, DENIED, warned) == wanted(database, DENIED)
    assert len(warned) == 1
    assert "can't be written" in warned[0]


def test_several_commands_at_once_each_get_the_right_answer(folder: Folder, database: Database) -> None:
    answers: list[list[int]] = []
    threads = [threading.Thread(target=lambda: answers.append(places(folder, database, DENIED))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [wanted(database, DENIED)] * 4


def test_the_service_keeps_the_index_up_to_date(
    folder: Folder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "EVERY_SECONDS", 0.02)
    indexer = Indexer(folder)
    indexer.start()
    try:
        with database.reader() as reader:
            for _ in range(3):
                database.writer.write(300)
                until = time.monotonic() + 20
                while behind(reader, index_of(folder)) >= 64 and time.monotonic() < until:
                    time.sleep(0.01)
                assert behind(reader, index_of(folder)) < 64
    finally:
        indexer.stop()
    assert places(folder, database, DENIED) == wanted(database, DENIED)


def test_the_service_stops_at_once_in_the_middle_of_indexing(folder: Folder, database: Database) -> None:
    database.writer.write(3000)
    indexer = Indexer(folder)
    indexer.start()
    time.sleep(0.05)
    began = time.monotonic()
    indexer.stop()
    assert time.monotonic() - began < 1
    assert places(folder, database, DENIED) == wanted(database, DENIED)


def test_the_service_goes_on_where_no_index_can_be_written(
    folder: Folder, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(indexing, "AGAIN_SECONDS", 0.02)
    folder.index.write_text("in the way")
    indexer = Indexer(folder)
    with caplog.at_level(logging.WARNING, "remit.index"):
        indexer.start()
        until = time.monotonic() + 20
        while "can't be written" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        folder.index.unlink()
        while not index_of(folder).ranges() and time.monotonic() < until:
            time.sleep(0.01)
        while "up to date again" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)
    indexer.stop()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the index is not kept up to date, `remit log` may take longer",
        "the index is kept up to date again",
    ]


def test_without_records_there_is_nothing_to_index(folder: Folder) -> None:
    indexer = Indexer(folder)
    indexer.start()
    time.sleep(0.05)
    indexer.stop()
    assert index_of(folder).ranges() == []
