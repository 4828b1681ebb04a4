"""`remit store migrate`: both ways, byte for byte; what is interrupted leaves both ends as they were."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.moving import move, place_of
from remit.app.publishing import open_publisher
from remit.app.records import reader_of
from remit.app.storing import show_store
from remit.core.errors import Conflict, DocumentError, InvalidInput, RemitError
from remit.core.settings import read_settings
from remit.ledger.published import verify_log
from remit.ledger.tlog.source import FolderSource
from remit.storage.address import Address
from remit.storage.lock import FolderLock
from remit.storage.migration_postgres import PostgresEnd
from remit.storage.migration_sqlite import SqliteEnd
from remit.storage.presence import Presence
from tests.cli import desk
from tests.postgres import PostgresServer
from tests.storage.places import PASSWORD, without_password

Rows = dict[str, list[tuple[Any, ...]]]
TABLES = {
    "records": "seq, stream, n, t, kind, key, bytes",
    "openings": "stream, n, path, key, sealed",
    "subjects": "id, mark, name, key, t",
    "subject_streams": "key, stream",
    "texts": "digest, content",
    "pending": "root",
}


@pytest.fixture(scope="session")
def _told(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = desk.write_project(tmp_path_factory.mktemp("moving"))
    desk.make_history(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, _told: Folder) -> Folder:
    shutil.copytree(_told.root, tmp_path / "desk")
    return Folder(tmp_path / "desk")


@pytest.fixture
def url(postgres: PostgresServer, folder: Folder) -> str:
    """An empty database, as `--to` names it."""
    return without_password(postgres.database(), folder.root)


def sqlite_rows(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        return {name: db.execute(f"SELECT {columns} FROM {name} ORDER BY 1, 2" if "," in columns else
                                 f"SELECT {columns} FROM {name} ORDER BY 1").fetchall()
                for name, columns in TABLES.items()}  # fmt: skip


def moved(folder: Folder, to: str, *, switch: bool = False, **options: Any) -> Any:
    secret = {"password_file": PASSWORD} if "://" in to else {}
    target = place_of(to, **secret, **options)
    return asyncio.run(move(folder, to, target, switch=switch))


def query(folder: Folder, url: str, sql: str) -> list[Any]:
    password = (folder.root / PASSWORD).read_text()

    async def ask() -> list[Any]:
        db = await asyncpg.connect(url, password=password, server_settings={"search_path": "remit"})
        try:
            return [tuple(row) for row in await db.fetch(sql)]
        finally:
            await db.close()

    return asyncio.run(ask())


def refused(code: str, work: Callable[[], Any]) -> RemitError:
    with pytest.raises(RemitError) as caught:
        work()
    assert caught.value.code == code
    assert caught.value.next_step
    return caught.value


# --- there and back -----------------------------------------------------------------------------------------


def test_there_and_back_gives_the_same_rows(folder: Folder, url: str) -> None:
    before = sqlite_rows(folder.database)
    assert all(before.values())
    with reader_of(folder) as reader:
        streams = list(reader.by_stream())
    done = moved(folder, url, switch=True).done
    assert done.copied
    assert done.records == len(before["records"])
    assert done.bytes == sum(len(row[-1]) for row in before["records"])
    assert read_settings(folder.root).storage.url == url
    with reader_of(folder) as reader:
        assert list(reader.by_stream()) == streams
        assert reader.count() == len(streams)
    assert verify_folder(folder).findings == []
    folder.database.rename(folder.state / "old.db")
    moved(folder, "sqlite", switch=True)
    assert read_settings(folder.root).storage.url == ""
    assert sqlite_rows(folder.database) == before
    assert verify_folder(folder).findings == []
    assert folder.database.stat().st_mode & 0o777 == 0o600
    assert not list(folder.state.glob("*.partial*"))


def test_heads_and_what_is_pending_are_made_anew(folder: Folder, url: str) -> None:
    before = sqlite_rows(folder.database)
    moved(folder, url)
    heads = query(folder, url, "SELECT name, n, t FROM streams ORDER BY name")
    last: dict[str, tuple[int, int]] = {}
    for _, stream, n, t, *_ in before["records"]:
        last[stream] = (n, t)
    assert {name: (n, t) for name, n, t in heads} == last
    due = query(folder, url, "SELECT substr(name, 9) FROM streams WHERE due IS NOT NULL ORDER BY 1")
    assert due == before["pending"]
    # What comes next has a later place, and is not recorded before the last time.
    assert query(folder, url, "SELECT nextval(pg_get_serial_sequence('records', 'seq'))") == [
        (max(row[0] for row in before["records"]) + 1,)
    ]
    assert query(folder, url, "SELECT max(t) FROM processes") == [(max(row[3] for row in before["records"]),)]


def test_gaps_of_postgresql_are_closed_in_the_same_order(folder: Folder, url: str) -> None:
    before = sqlite_rows(folder.database)
    moved(folder, url, switch=True)
    query(folder, url, "UPDATE records SET seq = 1000 + seq * 10")
    folder.database.unlink()
    moved(folder, "sqlite")
    assert sqlite_rows(folder.database) == before


def test_a_copy_in_a_file_is_no_move(folder: Folder, tmp_path: Path) -> None:
    copy = tmp_path / "backup" / "remit.db"
    said = moved(folder, f"sqlite:{copy}")
    assert said.done.copied
    assert sqlite_rows(copy) == sqlite_rows(folder.database)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    refused("storage_invalid", lambda: moved(folder, f"sqlite:{copy}", switch=True))


def test_a_second_run_finds_the_copy_and_switches(folder: Folder, url: str) -> None:
    before = (folder.root / "remit.toml").read_text()
    assert moved(folder, url).done.copied
    assert (folder.root / "remit.toml").read_text() == before
    again = moved(folder, url, switch=True)
    assert not again.done.copied
    assert again.switched
    assert read_settings(folder.root).storage.url == url


def test_a_run_that_ended_before_the_settings_were_written_is_finished(folder: Folder, url: str) -> None:
    before = (folder.root / "remit.toml").read_text()
    moved(folder, url, switch=True)
    (folder.root / "remit.toml").write_text(before)
    assert moved(folder, url, switch=True).switched
    assert read_settings(folder.root).storage.url == url


def test_two_installations_share_a_database_in_schemas_of_their_own(folder: Folder, url: str) -> None:
    moved(folder, url, schema="one")
    moved(folder, url, schema="two", switch=True)
    assert read_settings(folder.root).storage.schema == "two"
    with reader_of(folder) as reader:
        assert reader.count() == len(list(reader.records()))
    refused("no_records", lambda: reader_in(folder, url))


def reader_in(folder: Folder, url: str) -> None:
    text = (folder.root / "remit.toml").read_text().replace('"two"', '"three"')
    (folder.root / "remit.toml").write_text(text)
    reader_of(folder)


# --- refusals -----------------------------------------------------------------------------------------------


def test_attack_a_service_goes_on_where_the_records_were(folder: Folder, url: str) -> None:
    old = (folder.root / "remit.toml").read_text()
    moved(folder, url, switch=True)
    new = (folder.root / "remit.toml").read_text()
    (folder.root / "remit.toml").write_text(old)
    error = refused("records_moved", lambda: desk.make_history(folder))
    assert url.partition("?")[0] in error.message
    with reader_of(folder) as reader:  # to be read
        assert reader.count()
    refused("records_moved", lambda: moved(folder, "sqlite:/nowhere/remit.db"))
    assert show_store(folder).moved
    # And the other way.
    (folder.root / "remit.toml").write_text(new)
    folder.database.unlink()
    moved(folder, "sqlite", switch=True)
    (folder.root / "remit.toml").write_text(new)
    refused("records_moved", lambda: desk.make_history(folder))


def test_no_records_move_while_a_service_decides_on_them(folder: Folder, url: str, postgres: PostgresServer) -> None:
    before = sqlite_rows(folder.database)
    lock = FolderLock(folder.lock)
    refused("folder_in_use", lambda: moved(folder, url))
    lock.release()
    moved(folder, url, switch=True)
    address = Address(postgres.url(url.rpartition("/")[2]), url)

    async def beside(work: Callable[[], Any]) -> None:
        presence = Presence(address, lambda: ("c" * 64, "k"))
        await presence.open()
        try:
            await asyncio.to_thread(work)
        finally:
            await presence.close()

    folder.database.unlink()
    asyncio.run(beside(lambda: refused("records_in_use", lambda: moved(folder, "sqlite"))))
    moved(folder, "sqlite")
    assert sqlite_rows(folder.database) == before


def test_no_service_begins_while_records_move(folder: Folder, url: str, postgres: PostgresServer) -> None:
    address = Address(postgres.url(url.rpartition("/")[2]), url)
    codes: list[str] = []

    async def begin() -> None:
        presence = Presence(address, lambda: ("c" * 64, "k"))
        try:
            await presence.open()
        except Conflict as error:
            codes.append(error.code)

    def progress(*_: object) -> None:
        if not codes:
            asyncio.run_coroutine_threadsafe(begin(), other).result(20)

    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        target = place_of(url, password_file=PASSWORD)
        asyncio.run(move(folder, url, target, switch=False, progress=progress))
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()
    assert codes == ["records_moving"]


def test_what_is_not_empty_is_left_as_it_is(folder: Folder, url: str) -> None:
    moved(folder, url)
    query(folder, url, "UPDATE records SET bytes = bytes || 'x'::bytea WHERE seq = 3")
    there = query(folder, url, "SELECT * FROM records ORDER BY seq")
    refused("target_not_empty", lambda: moved(folder, url))
    query(folder, url, "DELETE FROM records WHERE seq > 5")
    refused("target_not_empty", lambda: moved(folder, url))
    assert query(folder, url, "SELECT * FROM records ORDER BY seq") == there[:5]


def test_another_s_records_are_refused(folder: Folder, url: str) -> None:
    text = (folder.root / "remit.toml").read_text()
    (folder.root / "remit.toml").write_text(text.replace("desk.example", "other.example"))
    refused("store_foreign", lambda: moved(folder, url))
    (folder.root / "remit.toml").write_text(text)
    moved(folder, url)
    (folder.root / "remit.toml").write_text(text.replace("desk.example", "other.example"))
    with closing(sqlite3.connect(folder.database)) as db, db:
        db.execute("UPDATE records SET bytes = CAST(replace(bytes, 'desk.example', 'other.example') AS BLOB)")
    refused("store_foreign", lambda: moved(folder, url))


def test_where_nothing_was_recorded_nothing_is_moved(tmp_path: Path, url: str, folder: Folder) -> None:
    empty = desk.write_project(tmp_path / "empty")
    shutil.copy(folder.root / PASSWORD, empty.root / PASSWORD)
    refused("no_records", lambda: moved(empty, url))
    refused("no_records", lambda: show_store(empty))


@pytest.mark.parametrize("to", ["", "mysql://x/y", "remit.db", "postgresql://remit:secret@127.0.0.1/x",
                                "postgresql://db.example.org/x"])  # fmt: skip
def test_a_place_that_is_none_is_refused(folder: Folder, to: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        moved(folder, to)
    assert caught.value.code == "storage_invalid"
    assert "secret" not in str(caught.value)


def test_the_place_where_the_records_are_is_refused(folder: Folder, url: str) -> None:
    refused("storage_same", lambda: moved(folder, "sqlite"))
    moved(folder, url, switch=True)
    refused("storage_same", lambda: moved(folder, url))


# --- interrupted --------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("step", ["copying", "comparing"])
def test_what_ends_in_the_middle_leaves_both_as_they_were(folder: Folder, url: str, step: str) -> None:
    before = sqlite_rows(folder.database)

    def progress(what: str, done: int, total: int) -> None:
        if what == step:
            raise Stop

    for _ in range(2):
        with pytest.raises(Stop):
            asyncio.run(move(folder, url, place_of(url, password_file=PASSWORD), switch=True, progress=progress))
        assert query(folder, url, "SELECT count(*) FROM records") == [(0,)]
        assert sqlite_rows(folder.database) == before
        assert read_settings(folder.root).storage.url == ""
    moved(folder, url, switch=True)
    folder.database.unlink()
    with pytest.raises(Stop):
        asyncio.run(move(folder, "sqlite", place_of("sqlite"), switch=True, progress=progress))
    assert not folder.database.exists()
    assert not list(folder.state.glob("*.partial*"))
    moved(folder, "sqlite", switch=True)
    assert sqlite_rows(folder.database) == before


@pytest.mark.parametrize("end", [SqliteEnd, PostgresEnd])
def test_attack_a_copy_that_is_not_the_same_is_thrown_away(
    folder: Folder, url: str, end: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sqlite_rows(folder.database)
    if end is SqliteEnd:
        moved(folder, url, switch=True)
        folder.database.unlink()
    put = end.put

    async def corrupt(self: Any, table: Any, rows: Any) -> None:
        rows = [(*row[:-1], row[-1] + b"x") if row[0] == 4 and table.name == "records" else row for row in rows]
        await put(self, table, rows)

    with monkeypatch.context() as patched:
        patched.setattr(end, "put", corrupt)
        error = refused("copy_differs", lambda: moved(folder, "sqlite" if end is SqliteEnd else url, switch=True))
    assert "records" in error.message
    if end is SqliteEnd:
        assert not folder.database.exists()
        moved(folder, "sqlite", switch=True)
    else:
        assert query(folder, url, "SELECT count(*) FROM records") == [(0,)]
    assert sqlite_rows(folder.database) == before


KILLED = """
import asyncio, sys, time
from pathlib import Path
from remit.app.folder import Folder
from remit.app.moving import move, place_of

def progress(what, done, total):
    print(what, done, flush=True)
    time.sleep(0.2)

to = sys.argv[2]
target = place_of(to, password_file="postgres-password") if "://" in to else place_of(to)
asyncio.run(move(Folder(Path(sys.argv[1])), to, target, switch=True, progress=progress))
"""


@pytest.mark.parametrize("way", ["to postgresql", "to sqlite"])
def test_a_migration_that_is_killed_leaves_the_source_and_can_be_run_again(folder: Folder, url: str, way: str) -> None:
    before = sqlite_rows(folder.database)
    if way == "to sqlite":
        moved(folder, url, switch=True)
        folder.database.unlink()
    to = url if way == "to postgresql" else "sqlite"
    for words in ("copying", "comparing"):
        killed = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder.root), to], stdout=subprocess.PIPE, text=True
        )
        assert killed.stdout is not None
        for line in killed.stdout:
            if line.startswith(words):
                break
        killed.kill()
        killed.wait()
        killed.stdout.close()
        assert bool(read_settings(folder.root).storage.url) == (way == "to sqlite")
    until = time.monotonic() + 20
    while True:  # the server finds out in its own time that the client is gone
        try:
            moved(folder, to, switch=True)
        except Conflict:
            assert time.monotonic() < until
            continue
        break
    if way == "to postgresql":
        folder.database.unlink()
        moved(folder, "sqlite", switch=True)
    assert sqlite_rows(folder.database) == before
    assert not list(folder.state.glob("*.partial*"))


# --- remit.toml ---------------------------------------------------------------------------------------------


def test_the_rest_of_the_settings_stays_as_it_is(folder: Folder, url: str) -> None:
    file = folder.root / "remit.toml"
    text = file.read_text().replace(
        "[limits]", '# where they stand\n[storage]\n# none\nurl = ""  # SQLite\n\n[limits] # bounds'
    )
    file.write_text(text)
    moved(folder, url, switch=True)
    expected = text.replace('[storage]\n# none\nurl = ""  # SQLite\n',
                            f'[storage]\nurl = "{url}"\npassword_file = "{PASSWORD}"\n# none\n')  # fmt: skip
    assert file.read_text() == expected
    folder.database.unlink()
    moved(folder, "sqlite", switch=True)
    assert file.read_text() == text.replace('url = ""  # SQLite\n', "")


def test_settings_that_can_t_be_edited_stop_it_before_anything_moves(folder: Folder, url: str) -> None:
    file = folder.root / "remit.toml"
    text = 'storage = {url = ""}\n' + file.read_text()
    file.write_text(text)
    with pytest.raises(DocumentError, match="line by line") as caught:
        moved(folder, url, switch=True)
    assert f'url = "{url}"' in caught.value.next_step
    assert file.read_text() == text
    with pytest.raises(asyncpg.UndefinedTableError):
        query(folder, url, "SELECT count(*) FROM records")


def test_settings_that_would_not_load_stop_it_before_anything_moves(folder: Folder, url: str) -> None:
    file = folder.root / "remit.toml"
    text = file.read_text() + '\n[ledger]\nfolder = "log"\nname = "with spaces"\n'
    file.write_text(text)
    with pytest.raises(DocumentError):
        moved(folder, url, switch=True)
    assert file.read_text() == text
    with pytest.raises(asyncpg.UndefinedTableError):
        query(folder, url, "SELECT count(*) FROM records")


# --- the published log ------------------------------------------------------------------------------------------


def test_the_published_log_goes_on_there_and_back(folder: Folder, url: str) -> None:
    with (folder.root / "remit.toml").open("a") as file:
        file.write('\n[ledger]\nfolder = "log"\n')

    def published() -> int:
        publisher = open_publisher(folder, read_settings(folder.root))
        assert publisher is not None
        publisher.stop()
        report = verify_log(FolderSource(folder.root / "log"), publisher.log.key, earlier=earlier)
        assert report.findings == []
        with reader_of(folder) as reader:
            assert report.records == publisher.log.size == reader.count()
        return publisher.log.size

    earlier = b""
    began = published()
    earlier = (folder.root / "log/checkpoint").read_bytes()
    moved(folder, url, switch=True)
    assert published() == began
    desk.make_history(folder)
    # Records of different streams may be published in another order than they were appended.
    query(
        folder,
        url,
        f"INSERT INTO places SELECT {began} + row_number() OVER (ORDER BY stream, n) - 1, seq FROM records "
        "WHERE seq NOT IN (SELECT seq FROM places)",
    )
    there = published()
    assert there > began
    folder.database.rename(folder.root / "old.db")
    moved(folder, "sqlite", switch=True)
    assert published() == there


# --- the commands -------------------------------------------------------------------------------------------


def test_the_commands_say_what_they_did(folder: Folder, url: str) -> None:
    remit = desk.command_in(folder.root)
    shown = json.loads(remit("store", "show", "--json").stdout)
    assert (shown["kind"], shown["moved"]) == ("sqlite", "")
    secret = str(folder.root / PASSWORD)
    first = remit("store", "migrate", "--to", url, "--password-file", secret)
    assert first.exit_code == 0, first.output
    assert f"copied {shown['records']} records of {shown['streams']} streams" in first.output
    assert f'  url = "{url}"' in first.output
    assert "--switch" in first.output
    second = remit("store", "migrate", "--to", url, "--password-file", secret, "--switch", "--json")
    said = json.loads(second.stdout)
    assert (said["switched"], said["done"]["copied"], said["done"]["records"]) == (True, False, shown["records"])
    there = json.loads(remit("store", "show", "--json").stdout)
    assert there["kind"] == "postgresql"
    assert {name: there[name] for name in ("records", "streams", "openings", "texts")} == {
        name: shown[name] for name in ("records", "streams", "openings", "texts")
    }
    assert there["bytes"] > 100_000
    text = remit("store", "show").output
    assert "PostgreSQL" in text
    assert (folder.root / PASSWORD).read_text() not in text + first.output + second.output
    for command in (("log",), ("verify",), ("task", "list"), ("log", "--denied", "--json")):
        assert remit(*command).exit_code == 0, remit(*command).output


def test_an_installation_on_postgresql_is_read_by_every_command(folder: Folder, url: str) -> None:
    remit = desk.command_in(folder.root)
    before = {command: remit(*command).output for command in (("log",), ("task", "list"), ("log", "--json"))}
    moved(folder, url, switch=True)
    for command, output in before.items():
        assert remit(*command).output == output
    (folder.root / "remit.toml").write_text((folder.root / "remit.toml").read_text().replace(f"{PASSWORD}", "none"))
    failed = remit("log")
    assert failed.exit_code == 1
    assert "there is no such file" in failed.output
