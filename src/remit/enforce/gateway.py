"""`remit gateway -- COMMAND`: a drop-in for COMMAND in any MCP client's configuration (stdio transport).

The gateway starts the server with what the client configured, relays the frames of both sides (`relay`), decides what
must be decided (`enforcement`), passes stderr through, and ends as the server ends: with its exit code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from remit.core import bounds
from remit.enforce.enforcement import Enforcement
from remit.enforce.environment import child_environment
from remit.enforce.frames import FrameReader
from remit.enforce.pipes import Outlet, open_inlet, open_outlet
from remit.enforce.port import Decider
from remit.enforce.relay import HANG_SECONDS, Relay
from remit.sdk.grant import TaskGrant

CHUNK: Final = 256 * 1024
DECIDING_SECONDS: Final = 1.0  # after the client's end: for calls that are being decided
ENDING_SECONDS: Final = 5.0  # after that: for the server to answer and exit
TERMINATE_SECONDS: Final = 1.5  # after SIGTERM, before SIGKILL
LAST_WORDS_SECONDS: Final = 2.0  # after the server's end: for outcomes to be reported and answers to be written

CANNOT_EXECUTE: Final = 126  # as a shell answers
NOT_FOUND: Final = 127

Log = Callable[[str], None]


def log_to_stderr(message: str) -> None:
    """Writes one line to stderr, beside the server's own."""
    sys.stderr.write(f"remit gateway: {message}\n")
    sys.stderr.flush()


async def gateway(
    command: Sequence[str],
    *,
    server: str,
    decider: Decider,
    grant: TaskGrant | None,
    hang_seconds: float = HANG_SECONDS,
    environment: Mapping[str, str] = os.environ,
    log: Log = log_to_stderr,
    stdin: int = 0,
    stdout: int = 1,
) -> int:
    """Runs `command` behind the gateway for `server` until either side ends; the exit code is the server's.

    A server that a signal ended gives 128 plus its number; one that can't be started 126 or 127, with the reason on
    stderr. Without a `grant` everything that must be decided is refused.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(environment),
        )
    except (OSError, ValueError) as error:
        log(f"can't start `{command[0]}`: {getattr(error, 'strerror', None) or error}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE
    try:
        session = await _open(process, log, hang_seconds, stdin, stdout)
        Enforcement(session.relay, decider, grant, server)
        await _run(session)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
    return 128 - code if code < 0 else code


@dataclass(slots=True)
class _Session:
    """One run of the gateway: the server's process, both ways in and out, and the tasks that pump them."""

    process: asyncio.subprocess.Process
    to_server: asyncio.StreamWriter
    from_server: asyncio.StreamReader
    from_client: asyncio.StreamReader
    to_client: Outlet
    relay: Relay
    flooded: asyncio.Event
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


async def _open(
    process: asyncio.subprocess.Process, log: Log, hang_seconds: float, stdin: int, stdout: int
) -> _Session:
    to_server, from_server = process.stdin, process.stdout
    if to_server is None or from_server is None:
        raise RuntimeError("the server was started without pipes")
    outlet = await open_outlet(stdout)
    flooded = asyncio.Event()

    def write_server(frame: bytes) -> None:
        if not to_server.is_closing():
            to_server.write(frame)
            if to_server.transport.get_write_buffer_size() > bounds.UNREAD_BYTES:
                flooded.set()

    def write_client(frame: bytes) -> None:
        outlet.write(frame)
        if outlet.waiting > bounds.UNREAD_BYTES:
            flooded.set()

    relay = Relay(to_client=write_client, to_server=write_server, log=log, hang_seconds=hang_seconds)
    return _Session(process, to_server, from_server, await open_inlet(stdin), outlet, relay, flooded)


async def _run(session: _Session) -> None:
    relay, outlet = session.relay, session.to_client
    client = asyncio.create_task(_pump(session.from_client, relay, "client", session.to_server.drain))
    server = asyncio.create_task(_pump(session.from_server, relay, "server", outlet.drain))
    with _signals() as received:
        events = [asyncio.create_task(e.wait()) for e in (received.event, session.flooded, outlet.closed)]
        try:
            await asyncio.wait((client, server, *events), return_when=asyncio.FIRST_COMPLETED)
            if session.flooded.is_set():
                relay.log("a side does not read what it is sent; ending")
            elif client.done() and not received.event.is_set():
                await _let_finish(session, server, received)
            if not server.done():
                await _terminate(session, server, received.number)
            relay.end()
            await _last_words(session)
        finally:
            tasks = (client, server, *events, *relay.tasks, *relay.background)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            outlet.close()
            session.to_server.close()


async def _pump(source: asyncio.StreamReader, relay: Relay, name: str, drain: Callable[[], Awaitable[None]]) -> None:
    """Reads one side to its end, no faster than the other side reads."""
    side = relay.client if name == "client" else relay.server
    reader = FrameReader()
    with suppress(ConnectionError):
        while data := await source.read(CHUNK):
            for frame in reader.feed(data):
                relay.receive(side, frame)
            with suppress(ConnectionError):
                await drain()
    if reader.partial:
        relay.log(f"the {name} ended in the middle of a frame")


async def _let_finish(session: _Session, server: asyncio.Task[None], received: _Received) -> None:
    """The client has ended: what is being decided is finished, then the server sees the end of its input."""
    stop = asyncio.create_task(received.event.wait())
    try:
        end = asyncio.get_running_loop().time() + DECIDING_SECONDS
        while session.relay.deciding and not stop.done() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)  # at most a second, once, at the end
        session.to_server.close()
        await asyncio.wait({server, stop}, timeout=ENDING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()


async def _terminate(session: _Session, server: asyncio.Task[None], number: int) -> None:
    """Ends a server that has not ended by itself: the signal, then SIGKILL."""
    session.to_server.close()
    with suppress(ProcessLookupError):
        session.process.send_signal(number)
    await asyncio.wait({server}, timeout=TERMINATE_SECONDS)
    if session.process.returncode is None:
        with suppress(ProcessLookupError):
            session.process.kill()


async def _last_words(session: _Session) -> None:
    """The server has ended: calls under way are answered and reported, and the client gets what was written."""
    end = asyncio.get_running_loop().time() + LAST_WORDS_SECONDS
    while waiting := {*session.relay.tasks, *session.relay.background}:  # a call that ends may leave a report behind
        left = end - asyncio.get_running_loop().time()
        if left <= 0:
            session.relay.log(f"{len(waiting)} calls or reports were not finished; their outcomes stay unknown")
            break
        await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await session.to_client.flush()
    if session.process.returncode is None:
        with suppress(TimeoutError):
            async with asyncio.timeout(TERMINATE_SECONDS):
                await session.process.wait()


@dataclass(slots=True)
class _Received:
    """The signal that ends the gateway."""

    event: asyncio.Event
    number: int = signal.SIGTERM


@contextmanager
def _signals() -> Iterator[_Received]:
    received = _Received(asyncio.Event())
    loop = asyncio.get_running_loop()

    def take(number: int) -> None:
        received.number = number
        received.event.set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, take, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
