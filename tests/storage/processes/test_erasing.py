"""Erasing with three processes on one database: no decision is lost, and nothing is stored that nobody can read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from remit.app.records import reader_of
from remit.core.erasing import Erasing
from remit.core.errors import NotFound, Unavailable
from tests.decide.stage import ADMIN, LOOKUP, PAY, identity, write_project
from tests.decide.test_personal import INTENT, SECRETS
from tests.postgres import PostgresServer
from tests.storage.processes.several import Several, look, opened, stage_at, together
from tests.storage.processes.test_one_order import GRANTS

EVE = identity("person/eve")
WANTED = Erasing(what="subject", subject=EVE.id, reason="asked for")


async def begin(several: Several) -> Any:
    params = {"email": SECRETS["param"], "most": "5"}
    return await several.a.start("reach", params=params, prompt=SECRETS["prompt"], person=EVE)


@together(intents=INTENT)
async def test_a_process_whose_key_is_gone_takes_another_and_loses_nothing(several: Several) -> None:
    grant = await begin(several)
    for stage in several.stages:  # each has the key now
        await stage.report(await stage.permit(grant, LOOKUP, {"email": "a@private.example"}))
    for turn in range(3):
        await several.a.governor.erase(ADMIN, WANTED)
        for stage in (several.b, several.c, several.a):
            permit = await stage.permit(grant, LOOKUP, {"email": f"b{turn}@private.example"})
            await stage.report(permit)
    with reader_of(several.a.folder) as reader:
        values = {value for _, _, path, value in reader.opened(EVE.id) if path == "/context/input/email"}
        assert values == {b'"b2@private.example"'}
        assert all(reader.broken(stored.stream, stored.n) == [] for stored in reader.records())
    assert len(several.a.records("decision")) == 12


@together(intents=INTENT)
async def test_others_decide_on_what_is_left_soon_after(several: Several) -> None:
    grant = await begin(several)
    for stage in several.stages:
        found = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
        await stage.report(found, output={"name": SECRETS["name"]})
    for stage in several.stages:
        assert (await stage.probe(grant, PAY, {"invoice": "I", "amount": 1})).permitted
    await several.a.governor.erase(ADMIN, WANTED)

    async def denied() -> bool:
        answers = [await stage.probe(grant, PAY, {"invoice": "I", "amount": 1}) for stage in several.stages]
        return all(answer.reason.code == "task_value_erased" for answer in answers)

    assert (await several.a.probe(grant, PAY, {"invoice": "I", "amount": 1})).reason.code == "task_value_erased"
    begun = asyncio.get_running_loop().time()
    while not await denied():
        assert asyncio.get_running_loop().time() - begun < 5
        await asyncio.sleep(0.02)
    await several.check()


@together(intents=INTENT)
async def test_many_decide_while_one_erases_again_and_again(several: Several) -> None:
    grants = [await begin(several) for _ in range(4)]
    permitted = 0
    is_over = False

    async def decide(number: int) -> None:
        nonlocal permitted
        count = 0
        while not is_over:
            stage = several.stages[number % 3]
            answer = await stage.authorize(grants[number % 4], LOOKUP, {"email": f"n{number}-{count}@private.example"})
            assert answer.permitted, answer.reason
            permitted += 1
            count += 1

    deciding = [asyncio.create_task(decide(number)) for number in range(9)]
    erased = 0
    for _ in range(12):
        await asyncio.sleep(0.1)
        try:
            erased += (await several.b.governor.erase(ADMIN, WANTED)).keys
        except NotFound:
            continue
    is_over = True
    await asyncio.gather(*deciding)
    assert erased >= 6
    decisions = several.a.records("decision")
    assert len(decisions) == permitted
    with reader_of(several.a.folder) as reader:
        assert all(reader.broken(stored.stream, stored.n) == [] for stored in reader.records())
    await several.c.governor.erase(ADMIN, WANTED)
    assert several.sql("SELECT count(*) FROM openings")[-1] == "0"
    assert several.sql("SELECT count(*) FROM subjects")[-1] == "0"
    assert several.sql("SELECT count(*) FROM subject_streams")[-1] == "0"
    for stage in several.stages:
        await look(stage.postgres)


def test_a_role_that_can_only_append_erases_nothing_until_it_may(tmp_path: Path, postgres: PostgresServer) -> None:
    async def story() -> None:
        async with opened(postgres, tmp_path, 1, intents=INTENT) as several:
            url, schema = several.place
            await begin(several)
            postgres.sql("CREATE ROLE eraser LOGIN PASSWORD 'secret'")
            for statement in GRANTS.format(schema=schema, role="eraser").split(";"):
                postgres.sql(statement, url)
            parts = urlsplit(url)
            there = urlunsplit(parts._replace(netloc=f"eraser:secret@{parts.hostname}:{parts.port}"))
            write_project(tmp_path / "eraser", intents=INTENT)
            stage = stage_at(tmp_path / "eraser", (there, schema), tmp_path / "trust")
            await stage.open()
            try:
                with pytest.raises(Unavailable) as caught:
                    await stage.governor.erase(ADMIN, WANTED)
                assert caught.value.code == "erasing_not_granted"
                assert stage.records("erasure") == []
                for table in ("openings", "subjects", "subject_streams"):
                    postgres.sql(f'GRANT DELETE ON "{schema}".{table} TO eraser', url)
                assert (await stage.governor.erase(ADMIN, WANTED)).openings == 3
            finally:
                await stage.close()

    asyncio.run(story())
