"""Databases of version 1 are upgraded at the first start: whole or not at all, and nothing stays in plain."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from remit.app.records import reader_of
from remit.core.errors import Conflict
from remit.storage import schema
from remit.storage.upgrading import subject_in
from tests.decide.stage import LOOKUP, READ, Clock, Stage, identity, spiffe, staged, write_project
from tests.decide.test_personal import INTENT, SECRETS
from tests.postgres import PostgresServer
from tests.storage.contract.stages import PostgresStage
from tests.storage.version_1 import PLAIN_POSTGRES, make_version_1, openings_of

EVE = identity("person/eve")


async def history(stage: Stage) -> None:
    params = {"email": SECRETS["param"], "most": SECRETS["amount"]}
    grant = await stage.start("reach", params=params, prompt=SECRETS["prompt"], person=EVE)
    await stage.report(await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]}), output={"name": SECRETS["name"]})
    await stage.permit(await stage.start(), READ)
    await stage.start("reach", params=params)


def everything(stage: Stage) -> bytes:
    return b"".join(path.read_bytes() for path in stage.folder.state.glob("remit.db*"))


@staged(intents=INTENT)
async def test_an_upgrade_keeps_every_value_for_its_person_and_none_in_plain(stage: Stage) -> None:
    await history(stage)
    await stage.pass_(0)  # a service that stops records what was practised
    state = stage.state()
    await stage.close()
    rows = make_version_1(stage.folder.database)
    assert SECRETS["prompt"].encode() in everything(stage)
    assert openings_of(stage.folder.database) == rows  # a reader reads it before it is upgraded
    await stage.open()
    assert openings_of(stage.folder.database) == rows
    assert stage.state() == state
    for value in (SECRETS["prompt"], SECRETS["param"], SECRETS["name"]):
        assert value.encode() not in everything(stage)
    with reader_of(stage.folder) as reader:
        by = {who: {row[0] for row in reader.opened(spiffe(who))} for who in ("person/eve", "starter/app")}
    assert [len(streams) for streams in by.values()] == [1, 1]
    assert by["person/eve"].isdisjoint(by["starter/app"])
    await stage.start("reach", params={"email": "x", "most": "1"}, person=EVE)


@staged(intents=INTENT)
async def test_an_upgrade_that_is_interrupted_begins_again(stage: Stage) -> None:
    await history(stage)
    await stage.close()
    rows = make_version_1(stage.folder.database)

    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with closing(sqlite3.connect(stage.folder.database, isolation_level=None)) as db:
        with pytest.raises(KeyboardInterrupt):
            schema.prepare(db, interrupt)
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT * FROM openings ORDER BY 1, 2, 3").fetchall() == sorted(rows)
    await stage.open()
    assert openings_of(stage.folder.database) == rows
    grants = [record.body["task"] for record in stage.records("task")]
    assert len(grants) == 3


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "remit.db", isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        with pytest.raises(Conflict, match="version 3, this program knows 2"):
            schema.prepare(db)


def test_whose_values_are_where_a_first_record_says_nothing() -> None:
    assert subject_in("session/t_1", None) == "session/t_1"
    assert subject_in("session/t_1", b"no record") == "session/t_1"
    assert subject_in("identity/spiffe://a/person/ann", None) == "spiffe://a/person/ann"
    assert subject_in("administration", None) == "administration"


def test_an_upgrade_of_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    url, name = postgres.place()
    write_project(tmp_path, intents=INTENT)
    stage = PostgresStage(tmp_path, Clock(), url, name)

    def sql(statement: str) -> list[str]:
        return postgres.sql(f'SET search_path TO "{name}"; {statement}', url)

    def rows() -> list[tuple[str, int, str, bytes, bytes]]:
        with reader_of(stage.folder) as reader:
            return [(s.stream, s.n, *opening) for s in reader.records() for opening in reader.openings(s.stream, s.n)]

    async def story() -> None:
        await stage.open()
        await history(stage)
        await stage.close()
        before = rows()
        sql(f"DROP TABLE openings, subjects, subject_streams; {PLAIN_POSTGRES}; UPDATE installation SET version = 1")
        for stream, n, path, salt, value in before:
            sql(f"INSERT INTO openings VALUES ('{stream}', {n}, '{path}', '\\x{salt.hex()}', '\\x{value.hex()}')")
        assert rows() == before
        await stage.open()
        try:
            assert rows() == before
            assert sql("SELECT version FROM installation")[-1] == "2"
            assert sql("SELECT to_regclass('openings_1') IS NULL")[-1] in ("t", "True", "true")
            grant = await stage.start("reach", params={"email": "x", "most": "1"}, person=EVE)
            await stage.permit(grant, LOOKUP, {"email": "x"})
            with reader_of(stage.folder) as reader:
                assert len({row[0] for row in reader.opened(EVE.id)}) == 2
        finally:
            await stage.close()
        stage.verify()

    asyncio.run(story())
