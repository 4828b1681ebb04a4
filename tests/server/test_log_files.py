"""`/log/`: the published log for anybody, and nothing else of the machine that it stands on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.tiles import decode_bundle
from remit.server import log_folder
from tests.ledger.tlog.test_notes import LOG

from .stage import Answered, Stage, ask, run, running

FOREVER = "public, max-age=31536000, immutable"


def serving(tmp_path: Path, work: Any, entries: int = 600) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            log = LogFolder(stage.log, LOG)
            log.extend([f"entry {n}".encode() for n in range(entries)])
            log.keep_text("ab" * 32, b"permit(principal, action, resource);")
            await work(stage)

    run(main())


async def got(stage: Stage, path: str, **more: Any) -> Answered:
    return await ask(stage, "GET", f"/log/{path}", tcp=True, **more)


def test_files_are_served_to_anybody_with_their_types_and_how_long_they_hold(tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        note = await got(stage, "checkpoint")
        assert note.body == (stage.log / "checkpoint").read_bytes()
        assert note.headers["content-type"] == "text/plain; charset=utf-8"
        assert note.headers["cache-control"] == "no-cache"
        for path in ("tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"):
            tile = await got(stage, path)
            assert (tile.status, tile.body) == (200, (stage.log / path).read_bytes()), path
            assert tile.headers["content-type"] == "application/octet-stream"
            assert tile.headers["cache-control"] == FOREVER
        text = await got(stage, f"texts/{'ab' * 32}")
        assert (text.status, text.body) == (200, b"permit(principal, action, resource);")
        assert text.headers["x-content-type-options"] == "nosniff"
        async with aiohttp.ClientSession() as session, session.head(f"{stage.url}/log/checkpoint") as head:
            assert (head.status, head.headers["content-length"]) == (200, str(len(note.body)))

    serving(tmp_path, work)


def test_a_partial_tile_is_cut_from_the_full_one_that_took_its_place(tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        assert not (stage.log / "tile/0/000.p").exists()
        tile = await got(stage, "tile/0/000.p/7")
        assert tile.body == (stage.log / "tile/0/000").read_bytes()[: 7 * 32]
        bundle = await got(stage, "tile/entries/000.p/3")
        assert decode_bundle(bundle.body, 3) == [b"entry 0", b"entry 1", b"entry 2"]
        assert (await got(stage, "tile/0/002.p/89")).status == 404

    serving(tmp_path, work)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint/",
        "checkpoint.new",
        ".lock",
        "/etc/passwd",
        "../remit.toml",
        "%2e%2e/remit.toml",
        "texts/../checkpoint",
        f"texts/{'AB' * 32}",
        f"texts/{'ab' * 31}",
        "texts",
        "tile",
        "tile/0/0",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/x000/000",
        "tile/entries/",
        "tile/64/000",
        "tile/0/003",
        "tile/0/000\x00",
        "%ff",
    ],
)
def test_nothing_but_the_paths_of_a_log_is_served(tmp_path: Path, path: str) -> None:
    async def work(stage: Stage) -> None:
        (stage.log / "checkpoint.new").write_text("half")
        (stage.log.parent / "remit.toml").write_text("secret")
        answer = await got(stage, path)
        assert answer.status in (400, 404), answer
        assert b"secret" not in answer.body

    serving(tmp_path, work, entries=3)


def test_only_reading_is_public(tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        for method in ("POST", "PUT", "DELETE"):
            assert (await ask(stage, method, "/log/checkpoint")).status == 401
        # A page in a browser can't read it under a name of its own either.
        assert (await got(stage, "checkpoint", headers={"Host": "evil.example.org"})).status == 400
        assert (await ask(stage, "GET", "/log")).status == 401

    serving(tmp_path, work, entries=1)


def test_a_service_that_serves_no_log_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            assert (await got(stage, "checkpoint")).json["code"] == "log_file_missing"
            object.__setattr__(stage.app.state.serving, "log_files", None)
            assert (await got(stage, "checkpoint")).json["code"] == "log_not_served"

    run(main())


def test_many_slow_readers_of_the_log_leave_the_service_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_folder, "SECONDS", 1.0)

    async def work(stage: Stage) -> None:
        big = [bytes(60_000)] * 256
        log = LogFolder(stage.log.with_name("big"), LOG)
        log.extend(big)
        bundle = (log.folder / "tile/entries/000").read_bytes()
        (stage.log / "tile/entries/000").write_bytes(bundle)
        host, port = stage.tcp.getsockname()
        slow = [await asyncio.open_connection(host, port, limit=1) for _ in range(log_folder.AT_ONCE)]
        for _, writer in slow:
            writer.write(b"GET /log/tile/entries/000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await writer.drain()
        async with asyncio.timeout(5):
            while (answer := await got(stage, "checkpoint")).status != 503:
                await asyncio.sleep(0.01)
        assert answer.json["code"] == "busy"
        assert (await ask(stage, "GET", "/healthz", tcp=True)).status == 200
        # And whoever does not read is let go of.
        async with asyncio.timeout(5):
            while (await got(stage, "checkpoint")).status != 200:
                await asyncio.sleep(0.05)
        for _, writer in slow:
            writer.transport.abort()

    serving(tmp_path, work)
