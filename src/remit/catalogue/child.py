"""One MCP server as a child process, spoken to over stdio: one JSON-RPC message a line (MCP, transports/stdio).

Only what an import needs: requests one after another, each with a bound on time and bytes. What the child writes
is a stranger's: lines that are no JSON-RPC are skipped, requests of its own are answered with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Mapping
from typing import Any, Final, Self

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError, TooLarge, Unavailable

METHOD_NOT_FOUND: Final = -32601
_LINES: Final = 10_000  # in one import; a server that keeps talking is not waited for
_STDERR_BYTES: Final = 4_096
_CLOSE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.01
_CONTROL: Final = re.compile(r"[^\x20-\x7e\n\u00a1-\ufffd]")


class RpcError(Exception):
    """The server answered a request with a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Child:
    """A running server; an asynchronous context manager that ends it, with all that it started."""

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._stderr = bytearray()
        self._reader: asyncio.Task[None] | None = None
        self._next_id = 1
        self._lines = 0
        self._bytes = 0

    async def __aenter__(self) -> Self:
        if not self._command:
            raise InvalidInput("command_missing", "no command was given", "name the server's command after `--`")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                limit=bounds.FRAME_BYTES,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "its name can't be used"
            raise Unavailable(
                "server_not_started",
                f"can't start `{self._command[0][:200]}`: {reason.lower()}",
                "check the command, and that it is installed",
            ) from None
        self._reader = asyncio.create_task(self._keep_stderr())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Closes its input and gives it a moment to go (MCP, transports/stdio, "Shutdown"); after an error, none."""
        process = _started(self._process)
        if process.stdin is not None:
            process.stdin.close()
        try:
            if kind is None and not await self._gone(_CLOSE_SECONDS):
                self._signal(signal.SIGTERM)
                await self._gone(_CLOSE_SECONDS)
        finally:
            # The whole group, also when its leader has gone: a launcher may leave the server behind.
            self._signal(signal.SIGKILL)
            if self._reader is not None:
                self._reader.cancel()
            process._transport.close()  # type: ignore[attr-defined]  # asyncio offers no other way to close the pipes
            await self._gone(_CLOSE_SECONDS)

    def _signal(self, signal_: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(_started(self._process).pid, signal_)

    async def _gone(self, seconds: float) -> bool:
        """Whether the process ended within the time; `Process.wait` would also wait for unread output."""
        process = _started(self._process)
        for _ in range(int(seconds / _POLL_SECONDS)):
            if process.returncode is not None:
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return process.returncode is not None

    async def send(self, method: str, params: dict[str, Any]) -> int:
        """Sends a request and returns its id; the answer is awaited with `receive`."""
        request = self._next_id
        self._next_id += 1
        await self._write({"jsonrpc": "2.0", "id": request, "method": method, "params": params})
        return request

    async def notify(self, method: str) -> None:
        """Sends a notification."""
        await self._write({"jsonrpc": "2.0", "method": method})

    async def receive(self, request: int, *, answers: bool = True) -> dict[str, Any]:
        """The result of a request; `RpcError` for an error, a `RemitError` when no usable answer comes.

        Answers to earlier requests are passed over. `answers` says whether the server's own requests are answered:
        revision 2026-07-28 knows none.
        """
        while True:
            message = await self._read()
            if "method" in message and "id" in message and answers:
                await self._answer(message)
            if "method" in message or message.get("id") != request or isinstance(message.get("id"), bool):
                continue
            error = message.get("error")
            if error is not None:
                raise _rpc_error(error)
            result = message.get("result")
            if not isinstance(result, dict):
                raise InvalidInput("listing_invalid", "the server answered without a result")
            return result

    async def request(self, method: str, params: dict[str, Any], *, answers: bool = True) -> dict[str, Any]:
        """`send` and `receive`."""
        return await self.receive(await self.send(method, params), answers=answers)

    async def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": METHOD_NOT_FOUND, "message": "not offered while tools are imported"}
        await self._write(answer)

    async def _write(self, message: dict[str, Any]) -> None:
        stdin = _started(self._process).stdin
        try:
            if stdin is None:
                raise ConnectionResetError
            stdin.write(json.dumps(message).encode() + b"\n")
            await stdin.drain()
        except (ConnectionError, RuntimeError):
            raise await self._ended() from None

    async def _read(self) -> dict[str, Any]:
        """The next line that is a JSON-RPC message."""
        stdout = _started(self._process).stdout
        while stdout is not None:
            try:
                line = await stdout.readline()
            except ValueError:
                line = b" " * bounds.FRAME_BYTES
            except ConnectionError:
                line = b""
            self._lines += 1
            self._bytes += len(line)
            # SECURITY: a server decides how much it writes; Remit decides how much it reads.
            if self._bytes >= bounds.FRAME_BYTES or self._lines > _LINES:
                raise TooLarge(
                    "listing_too_large", f"the server wrote more than {bounds.FRAME_BYTES} bytes or too often"
                )
            if not line:
                raise await self._ended()
            message = _message(line)
            if message is not None:
                return message
        raise await self._ended()

    async def _ended(self) -> RemitError:
        await self._gone(_CLOSE_SECONDS)
        code = _started(self._process).returncode
        how = f"with code {code}" if code is not None and code >= 0 else "by itself"
        return Unavailable("server_ended", f"the server ended {how} before it had listed its tools", self.said())

    def said(self) -> str:
        """The end of what the server wrote to its error output, without characters that a terminal obeys."""
        text = _CONTROL.sub("", bytes(self._stderr).decode("utf-8", "replace")).strip()
        return f"it wrote: {text[-1000:]}" if text else "it wrote nothing to its error output"

    async def _keep_stderr(self) -> None:
        stderr = _started(self._process).stderr
        while stderr is not None and (chunk := await stderr.read(_STDERR_BYTES)):
            self._stderr += chunk
            del self._stderr[:-_STDERR_BYTES]


def _started(process: asyncio.subprocess.Process | None) -> asyncio.subprocess.Process:
    if process is None:
        raise Unavailable("server_not_started", "the server was not started")
    return process


def _message(line: bytes) -> dict[str, Any] | None:
    """A JSON-RPC message, or None for anything else; duplicate keys and NaN make it anything else."""
    try:
        value = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("jsonrpc") == "2.0" else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # SECURITY: which of two values counts would depend on the reader.
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not a JSON number")


def _rpc_error(error: Any) -> RpcError:
    if not isinstance(error, dict):
        return RpcError(0, "an error of no known form", None)
    code, message = error.get("code"), error.get("message")
    return RpcError(
        code if isinstance(code, int) else 0,
        _CONTROL.sub("", message)[:200] if isinstance(message, str) else "",
        error.get("data"),
    )
