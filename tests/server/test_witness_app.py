"""A witness over HTTP: bounded before anything is read, and loud about what it refuses, but not in the log's place."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from remit.ledger.tlog.witness import REQUEST_BYTES, Reply, Witness
from remit.server import witness_app
from remit.server.listener import Listener
from remit.server.sockets import bind_loopback, origin_of
from remit.server.witness_app import WitnessPort, build_witness_app
from tests.ledger.tlog.test_merkle import leaves
from tests.ledger.tlog.test_notes import LOG, WITNESS
from tests.ledger.tlog.test_witness import NOW, step

Work = Callable[[aiohttp.ClientSession], Awaitable[None]]


@asynccontextmanager
async def served(witness: WitnessPort) -> AsyncIterator[str]:
    sock = bind_loopback("127.0.0.1", 0)
    listener = Listener(build_witness_app(witness, lambda: NOW), tcp=sock)
    await listener.start()
    try:
        yield origin_of(sock)
    finally:
        await listener.stop()


def talk(witness: WitnessPort, work: Work) -> None:
    async def main() -> None:
        async with served(witness) as url, aiohttp.ClientSession(url) as session:
            await work(session)

    asyncio.run(main())


def made(folder: Path) -> Witness:
    return Witness(folder, WITNESS, {LOG.key.name: LOG.key})


def test_it_cosigns_and_shows_what_it_cosigned(tmp_path: Path) -> None:
    origin = hashlib.sha256(LOG.key.name.encode()).hexdigest()

    async def work(session: aiohttp.ClientSession) -> None:
        async with session.get(f"/{origin}/checkpoint") as none:
            assert none.status == 404
        async with session.post("/add-checkpoint", data=step(0, leaves(7))) as signed:
            assert (signed.status, signed.headers["Cache-Control"]) == (200, "no-store")
            assert (await signed.read()).startswith("— example.org/witness ".encode())
        async with session.post("/add-checkpoint", data=step(3, leaves(7))) as other:
            assert (other.status, await other.read()) == (409, b"7\n")
            assert other.headers["Content-Type"] == "text/x.tlog.size"
        async with session.get(f"/{origin}/checkpoint") as latest:
            assert (latest.status, latest.headers["Cache-Control"]) == (200, "no-cache")
            assert (await latest.text()).count("— ") == 2

    talk(made(tmp_path), work)


def test_other_paths_and_methods_are_nothing(tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        for method, path in (
            ("GET", "/add-checkpoint"),
            ("POST", f"/{'0' * 64}/checkpoint"),
            ("GET", "/"),
            ("GET", "/checkpoint"),
            ("GET", "/..%2fkey.pem/checkpoint"),
            ("GET", "/../key.pem"),
            ("POST", "/sign-subtree"),
        ):
            async with session.request(method, path, data=b"" if method == "POST" else None) as answer:
                assert answer.status in (404, 405), (method, path)

    talk(made(tmp_path), work)


def test_a_body_is_bounded_in_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.server.bodies.BODY_SECONDS", 0.2)

    async def trickle() -> AsyncIterator[bytes]:
        yield b"old 0\n"
        await asyncio.sleep(5)

    async def work(session: aiohttp.ClientSession) -> None:
        async with session.post("/add-checkpoint", data=bytes(REQUEST_BYTES + 1)) as large:
            assert large.status == 413
        async with session.post("/add-checkpoint", data=trickle()) as slow:
            assert slow.status == 400

    talk(made(tmp_path), work)


class Slow:
    """A witness that answers when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    def add_checkpoint(self, body: bytes, now: int) -> Reply:
        self.asked += 1
        self.go.wait(10)
        return Reply(200, b"")

    def latest(self, origin_hash: str) -> Reply:
        return Reply(404, b"")


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_app, "AT_ONCE", 3)
    witness = Slow()

    async def work(session: aiohttp.ClientSession) -> None:
        async def post() -> int:
            async with session.post("/add-checkpoint", data=b"x") as answer:
                return answer.status

        waiting = [asyncio.create_task(post()) for _ in range(3)]
        async with asyncio.timeout(5):
            while witness.asked < 3:
                await asyncio.sleep(0.01)
        assert await post() == 503
        # Readers are answered all the same.
        async with session.get(f"/{'0' * 64}/checkpoint") as latest:
            assert latest.status == 404
        witness.go.set()
        assert await asyncio.gather(*waiting) == [200, 200, 200]

    talk(witness, work)


def test_refusals_are_told_but_nobody_fills_the_log_with_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "remit.witness")

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in range(20):
            async with session.post("/add-checkpoint", data=b"old 0\n\n\x00\x1b[31m\n\n") as answer:
                assert answer.status == 400
            async with session.post(
                "/add-checkpoint", data=step(1, leaves(3)).replace(b"/log\n3", b"/lug\n3")
            ) as other:
                assert other.status == 404
        async with session.post("/add-checkpoint", data=step(0, leaves(3))) as good:
            assert good.status == 200
        async with session.post("/add-checkpoint", data=step(1, leaves(3))) as behind:
            assert behind.status == 409

    talk(made(tmp_path), work)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["refused with 400", "refused with 404"]
