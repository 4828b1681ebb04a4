"""Processes on one database see each other for as long as they run, and say when they differ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from remit.core.errors import Unavailable
from remit.storage import presence as module
from remit.storage.address import Address
from remit.storage.presence import Presence
from tests.postgres import PostgresServer


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)


@asynccontextmanager
async def there(url: str, *abouts: list[str], schema: str = "remit") -> AsyncIterator[list[Presence]]:
    """Processes that are about these: the digest of the configuration, and the keys; both may be changed."""
    async with AsyncExitStack() as stack:
        found = []
        for about in abouts:
            each = Presence(Address(url, "postgresql://the.database", schema), lambda about=about: (about[0], about[1]))  # type: ignore[misc]
            await each.open()
            stack.push_async_callback(each.close)
            found.append(each)
        yield found


async def until(one: Presence, **wanted: int) -> None:
    end = asyncio.get_running_loop().time() + 10
    while {name: one.gauges()[name] for name in wanted} != wanted:
        assert asyncio.get_running_loop().time() < end, one.gauges()
        await asyncio.sleep(0.01)


def test_processes_count_each_other_for_as_long_as_they_run(postgres: PostgresServer) -> None:
    async def story() -> None:
        url = postgres.database()
        same = ["c" * 64, "k"]
        async with there(url, same, same) as (one, other):
            await until(one, processes=2, processes_differing=0, processes_other_keys=0)
            await until(other, processes=2)
            async with there(url, same) as (third,):
                await until(one, processes=3)
                # However it ends: nothing is left behind.
                assert third._db is not None
                third._db.terminate()
                third._watcher.cancel()  # type: ignore[union-attr]
                await until(one, processes=2)
            # Another installation in the same database is nobody of theirs.
            async with there(url, same, schema="other"):
                await asyncio.sleep(0.2)
                assert one.gauges()["processes"] == 2

    asyncio.run(story())


def test_another_configuration_is_said_once_and_is_no_alarm(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        old, new = ["a" * 64, "k"], ["b" * 64, "k"]
        async with there(postgres.database(), old, new) as (one, other):
            await until(one, processes_differing=1)
            await until(other, processes_differing=1)
            await asyncio.sleep(0.2)
            old[0] = "b" * 64
            await until(one, processes_differing=0)
            await until(other, processes_differing=0)

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "decides with another configuration" in line]) == 2
    assert not any("ALARM" in line for line in said)


def test_attack_a_process_with_keys_of_its_own_is_an_alarm(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        one, other = ["a" * 64, "k"], ["a" * 64, "k"]
        async with there(postgres.database(), one, other) as (first, second):
            await until(first, processes=2)
            one[1] = other[1] = "k 2"  # a rotation that both read
            await asyncio.sleep(0.3)
            assert not caplog.records
            other[1] = "mine"
            await until(first, processes_other_keys=1)
            await until(second, processes_other_keys=1)
            await asyncio.sleep(0.5)

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    alarms = [record.getMessage() for record in caplog.records if "ALARM" in record.getMessage()]
    assert len(alarms) == 2
    assert all("other signing keys" in line for line in alarms)


def test_a_process_takes_its_place_again_after_the_database_was_away(own_postgres: PostgresServer) -> None:
    async def story() -> None:
        same = ["a" * 64, "k"]
        async with there(own_postgres.database(), same, same) as (one, other):
            await until(one, processes=2)
            assert one.why_not() == ""
            own_postgres.stop()
            while not one.why_not():
                await asyncio.sleep(0.01)
            assert "does not answer" in one.why_not()
            own_postgres.start()
            while one.why_not() or other.why_not():
                await asyncio.sleep(0.01)
            await until(one, processes=2)
            await until(other, processes=2)
            assert one.refusal is None

    asyncio.run(story())


def test_a_database_that_does_not_answer_is_said_without_its_password() -> None:
    async def story() -> None:
        url = "postgresql://remit:secret@127.0.0.1:1/remit"
        presence = Presence(Address(url, "postgresql://the.database"), lambda: ("a", "k"))
        with pytest.raises(Unavailable) as refused:
            await presence.open()
        assert refused.value.code == "storage_unavailable"
        assert "secret" not in str(refused.value)
        await presence.close()

    asyncio.run(story())
