"""What is recorded and not published shows as pending, and why it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.app.doctor import Finding, Situation, publishing
from remit.app.doctor.exposure import user_of
from remit.app.folder import Folder
from remit.app.pending import published_of
from remit.app.publishing import open_publisher
from remit.app.records import reader_of
from remit.core.clock import system_clock
from remit.core.settings import read_settings
from remit.storage.postgres_published import PostgresPublished
from remit.storage.reader import Stored
from tests.cli import desk
from tests.postgres import PostgresServer
from tests.storage.places import use_postgres
from tests.storage.test_postgres_placed import Place


@pytest.fixture(params=["sqlite", "postgres"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Folder:
    made = desk.write_project(tmp_path / "desk")
    with (made.root / "remit.toml").open("a") as file:
        file.write('\n[ledger]\nfolder = "log"\n')
    if request.param == "postgres":
        use_postgres(made.root, postgres.database())
    return made


def stored(folder: Folder) -> list[Stored]:
    with reader_of(folder) as reader:
        return list(reader.records())


def publish(folder: Folder) -> None:
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()


def told(folder: Folder, now: int = 0) -> list[Finding]:
    settings = read_settings(folder.root)
    found = Situation(folder=folder, agent=user_of(), now=now or system_clock(), settings=settings)
    return list(publishing.pending(found))


def test_records_are_pending_until_they_are_published(folder: Folder) -> None:
    desk.make_history(folder)
    settings = read_settings(folder.root)
    before = published_of(folder, settings)
    assert before is not None
    records = stored(folder)
    assert all(before.is_pending(each) and before.place_of(each) is None for each in records)
    assert before.waiting() == (len(records), records[0].record.t)
    (found,) = told(folder, system_clock() + 600_000)
    assert found.level == "warn"
    assert f"{len(records)} records are pending" in found.message
    assert "no service runs here" in found.message

    publish(folder)
    after = published_of(folder, settings)
    assert after is not None
    assert after.size == len(records)
    assert not any(after.is_pending(each) for each in records)
    assert sorted(after.place_of(each) or 0 for each in records) == list(range(len(records)))
    assert after.waiting() == (0, 0)
    assert [each.level for each in told(folder)] == ["ok"]

    desk.make_history(folder)
    later = stored(folder)
    again = published_of(folder, settings)
    assert again is not None
    assert [again.is_pending(each) for each in later] == [False] * len(records) + [True] * (len(later) - len(records))
    assert again.waiting() == (len(later) - len(records), later[len(records)].record.t)


def test_commands_say_where_a_record_stands(folder: Folder) -> None:
    desk.make_history(folder)
    remit = desk.command_in(folder.root)
    key = next(each.record.body["id"] for each in stored(folder) if each.record.kind == "decision")
    assert "pending: not in the published log yet" in remit("log", "show", key).output
    assert '"published":null' in remit("log", "show", key, "--json").output
    publish(folder)
    assert "of the log" in remit("log", "show", key).output
    assert '"published":null' not in remit("log", "show", key, "--json").output


def test_what_was_recorded_a_moment_ago_is_no_finding(folder: Folder) -> None:
    desk.make_history(folder)
    since = stored(folder)[0].record.t
    assert [each.level for each in told(folder, since + 500)] == ["ok"]


def test_a_project_that_publishes_nothing_has_nothing_pending(tmp_path: Path) -> None:
    made = desk.write_project(tmp_path / "desk")
    assert published_of(made, read_settings(made.root)) is None
    assert told(made) == []


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Place]:
    made = Place(postgres)
    yield made
    for placed in made.opened:
        placed.close()


def test_records_that_were_published_out_of_their_order_are_told_apart(place: Place) -> None:
    """A record that committed late is pending, though later ones are published; and none is looked up in vain."""
    placed = place.open()
    place.add("a", 1, 5)
    place.sql("UPDATE records SET seq = 100 WHERE n = 5")  # a hole in the places
    assert placed.place()
    placed.agree(b"note", 5)
    place.add("b", 1, 2)
    assert placed.place()
    place.sql("INSERT INTO records (seq, stream, n, t, kind, bytes) VALUES (50, 'late', 1, 0, 'mode', 'x')")
    found = PostgresPublished(place.address)
    rows = {
        row.partition("|")[0]: int(row.partition("|")[2]) for row in place.sql("SELECT stream || n, seq FROM records")
    }
    assert {name for name, seq in rows.items() if found.is_pending(seq)} == {"b1", "b2", "late1"}
    assert [found.place_of(rows[name]) for name in ("a1", "a5", "b1", "late1")] == [0, 4, None, None]


def test_a_database_that_was_never_published_from_is_all_pending(place: Place) -> None:
    place.add("a", 1, 5)
    place.sql("DROP TABLE places, agreed")
    found = PostgresPublished(place.address)
    assert (found.size, found.is_pending(1), found.place_of(1)) == (0, True, None)
