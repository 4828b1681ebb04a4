"""Used proofs are claimed once, at whichever process, also when the database goes away in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from remit.core.errors import Unauthenticated, Unavailable
from remit.storage import claims as module
from remit.storage.address import Address
from remit.storage.claims import PostgresClaims
from remit.storage.postgres_schema import prepare
from tests.postgres import PostgresServer

NOW = 4_000_000_000_000


@asynccontextmanager
async def claiming(url: str, count: int = 2) -> AsyncIterator[tuple[list[PostgresClaims], list[int]]]:
    """Claims of several processes, and how often each found that it may have forgotten some."""
    db = await asyncpg.connect(url, server_settings={"search_path": "remit"})
    await prepare(db, "remit", "example.org")
    await db.close()
    lost = [0] * count

    def count_lost(number: int) -> Any:
        def on_lost() -> None:
            lost[number] += 1

        return on_lost

    made = [PostgresClaims(Address(url, "postgresql://the.database"), count_lost(number)) for number in range(count)]
    for each in made:
        await each.open()
    try:
        yield made, lost
    finally:
        for each in made:
            await each.close()


async def claimed(claims: PostgresClaims, mark: bytes) -> str:
    """ "" when it was the first, else the code of the refusal."""
    try:
        await claims.use(mark, NOW)
    except (Unauthenticated, Unavailable) as error:
        return error.code
    return ""


def test_attack_a_proof_is_used_at_two_processes_at_once_500_of_500(postgres: PostgresServer) -> None:
    async def story() -> None:
        async with claiming(postgres.database(), 3) as (all_of_them, lost):
            for begin in range(0, 500, 50):
                asked = [
                    claimed(each, f"proof {number}".encode())
                    for number in range(begin, begin + 50)
                    for each in all_of_them
                ]
                found = await asyncio.gather(*asked)
                for number in range(50):
                    assert sorted(found[number * 3 : number * 3 + 3]) == ["", "proof_replayed", "proof_replayed"]
            assert lost == [1, 1, 1]  # each began once

    asyncio.run(story())


def test_two_uses_in_one_batch_are_one_claim(postgres: PostgresServer) -> None:
    async def story() -> None:
        async with claiming(postgres.database(), 1) as ((claims,), _):
            found = await asyncio.gather(*(claimed(claims, b"proof") for _ in range(5)))
            assert sorted(found) == ["", *["proof_replayed"] * 4]

    asyncio.run(story())


def test_what_can_t_be_remembered_is_not_accepted_and_what_may_be_forgotten_is_refused(
    own_postgres: PostgresServer,
) -> None:
    async def story() -> None:
        async with claiming(own_postgres.database()) as ((one, other), lost):
            assert [await claimed(one, b"a"), await claimed(other, b"b")] == ["", ""]
            own_postgres.stop("immediate")
            assert [await claimed(one, b"c"), await claimed(other, b"d")] == ["storage_unavailable"] * 2
            own_postgres.start()
            # The table is empty after a crash; `on_lost` has every proof from before refused.
            assert lost == [1, 1]
            assert await claimed(one, b"e") == ""
            assert await claimed(other, b"e") == "proof_replayed"
            assert lost == [2, 2]

    asyncio.run(story())


def test_old_claims_are_removed(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLEAN_SECONDS", 0.0)
    url = postgres.database()

    async def story() -> None:
        async with claiming(url, 1) as ((claims,), _):
            await claims.use(b"old", 1_000)
            await claims.use(b"new", NOW)
            db = await asyncpg.connect(url, server_settings={"search_path": "remit"})
            assert [bytes(row[0]) for row in await db.fetch("SELECT mark FROM proofs")] == [b"new"]
            await db.close()

    asyncio.run(story())


def test_the_queue_is_bounded_and_ends_with_an_answer(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 3)

    async def story() -> None:
        async with claiming(postgres.database(), 1) as ((claims,), _):
            found = await asyncio.gather(*(claimed(claims, bytes([number])) for number in range(5)))
            assert sorted(found) == ["", "", "", "queue_full", "queue_full"]
            last = asyncio.create_task(claimed(claims, b"last"))
            await asyncio.sleep(0)
        assert await last in ("", "storage_closed")

    asyncio.run(story())
