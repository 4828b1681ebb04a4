from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from remit.core.errors import Conflict, InvalidInput, Unavailable
from remit.server.listener import Listener, serve
from remit.server.sockets import UNIX_PATH_BYTES, answers, bind_loopback, bind_unix, origin_of

from .stage import Stage, ask, run, running


def test_only_its_owner_may_connect(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with bind_unix(tmp_path / "r.sock"):
            assert stat.S_IMODE((tmp_path / "r.sock").stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    bind_unix(path).close()
    assert path.exists()
    with bind_unix(path):
        assert answers(path)


def test_a_socket_that_answers_is_never_taken(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with bind_unix(path):
        with pytest.raises(Conflict) as caught:
            bind_unix(path)
        assert caught.value.code == "service_running"
        assert answers(path)


def test_a_socket_whose_queue_is_full_is_not_stale(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_UNIX) as first:
        deaf.bind(str(path))
        deaf.listen(0)
        first.connect(str(path))
        with pytest.raises(Conflict):
            bind_unix(path)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput) as caught:
        bind_unix(path)
    assert caught.value.code == "socket_path_taken"
    assert path.is_symlink() or path.exists()


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        bind_unix(tmp_path / ("x" * UNIX_PATH_BYTES))
    assert caught.value.code == "socket_path_too_long"


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        bind_unix(tmp_path / "none" / "r.sock")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "127.0.0.1.evil.example"])
def test_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bind_loopback(host, 0)
    assert caught.value.code == "listen_not_loopback"


def test_a_port_in_use() -> None:
    with bind_loopback("127.0.0.1", 0) as sock, pytest.raises(Unavailable) as caught:
        bind_loopback("127.0.0.1", sock.getsockname()[1])
    assert caught.value.code == "socket_failed"


def test_origins() -> None:
    with bind_loopback("localhost", 0) as sock:
        assert origin_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_a_configured_origin_is_what_proofs_name(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        stage.authenticator._origins = frozenset({"http://localhost:8181"})
        listener = Listener(stage.app, unix=None, tcp=stage.tcp, origins=("http://localhost:8181",))
        await listener.start()
        try:
            named = await ask(
                stage, "GET", "/v1/identities", holder=stage.holder(), tcp=True, origin="http://localhost:8181"
            )
            assert named.status == 200
            by_address = await ask(stage, "GET", "/v1/identities", holder=stage.holder(), tcp=True)
            assert by_address.status == 401
        finally:
            await listener.stop()
            stage.unix.close()

    run(main())


def test_stops_gracefully(tmp_path: Path) -> None:
    """A request that is under way is answered; then nobody is served any more."""

    async def main() -> None:
        async with running(tmp_path) as stage:
            entered, go = asyncio.Event(), asyncio.Event()
            original = stage.service.identities

            async def slow(caller: object) -> object:
                entered.set()
                await go.wait()
                return await original(caller)  # type: ignore[arg-type]

            stage.service.identities = slow  # type: ignore[method-assign, assignment]
            request = asyncio.create_task(ask(stage, "GET", "/v1/identities", holder=stage.holder()))
            await entered.wait()
            stopping = asyncio.create_task(stage.listener.stop())
            await asyncio.sleep(0.3)
            go.set()
            assert (await request).status == 200
            await stopping
            assert not answers(stage.path)

    run(main())


def test_serves_both_until_told_to_stop_and_removes_its_socket(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        stage.unix.close()
        stage.tcp.close()
        path = tmp_path / "s.sock"
        seen: list[Listener] = []

        def listening(listener: Listener) -> None:
            seen.append(listener)
            assert answers(path)
            listener.should_exit = True

        await asyncio.wait_for(serve(stage.app, socket_path=path, port=0, on_listening=listening), 5)
        assert seen
        assert not path.exists()

    run(main())


def test_a_socket_that_another_service_put_in_place_is_not_removed(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        stage.unix.close()
        stage.tcp.close()
        path = tmp_path / "s.sock"

        def listening(listener: Listener) -> None:
            path.unlink()
            path.write_text("another")
            listener.should_exit = True

        await asyncio.wait_for(serve(stage.app, socket_path=path, port=None, on_listening=listening), 5)
        assert path.read_text() == "another"

    run(main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it(tmp_path: Path, number: signal.Signals) -> None:
    program = """
import sys, uvloop
from pathlib import Path
from server.stage import Stage
from remit.server.listener import serve
folder = Path(sys.argv[1])
stage = Stage(folder); stage.unix.close(); stage.tcp.close()
uvloop.run(serve(stage.app, socket_path=folder / "s.sock", port=0, on_listening=lambda _: print("up", flush=True)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert answers(tmp_path / "s.sock")
        process.send_signal(number)
        process.wait(5)
    assert not (tmp_path / "s.sock").exists()
