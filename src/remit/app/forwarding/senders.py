"""How events reach a receiver. `send` returns once the receiver has them; until then nothing counts as sent."""

from __future__ import annotations

import array
import fcntl
import http.client
import os
import socket
import ssl
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from remit.app.forwarding import ocsf, otlp, syslog
from remit.app.forwarding.events import Event
from remit.core.errors import DocumentError, Unavailable
from remit.core.forward import ForwardSettings
from remit.identity.private_file import read_private

SECONDS: Final = 10.0
_ANSWER_BYTES: Final = 1 << 16
_HEADERS: Final = 16
_POLL: Final = 0.01


class Sender(Protocol):
    """One receiver."""

    def send(self, events: Sequence[Event], now: int) -> None:
        """Sends them, in order; `Unavailable("forward_failed")` when it is not certain that they arrived."""
        ...

    def close(self) -> None:
        """Lets go of a connection."""
        ...


def sender_of(settings: ForwardSettings, root: Path) -> Sender:
    """The sender of one `[[forward]]`; `DocumentError` for a file that it names and that can't be used."""
    if settings.to.startswith("file:"):
        return FileSender(root / settings.to.removeprefix("file:"))
    tls = _tls(settings, root)
    if settings.format == "syslog":
        return SyslogSender(settings, tls)
    return HttpSender(settings, tls, _headers(settings, root))


class HttpSender:
    """OTLP/HTTP (protobuf) to `/v1/logs` and `/v1/traces`, or OCSF as JSON Lines to the address itself."""

    def __init__(self, settings: ForwardSettings, tls: ssl.SSLContext | None, headers: dict[str, str]) -> None:
        self._settings = settings
        self._url = urlsplit(settings.to)
        self._tls = tls
        self._headers = headers
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: Sequence[Event], now: int) -> None:
        """As `Sender.send`."""
        if self._settings.format == "otlp":
            prefix = self._url.path.rstrip("/")
            self._post(f"{prefix}/v1/logs", otlp.logs_of(events, now), "application/x-protobuf")
            if spans := otlp.spans_of(events):
                self._post(f"{prefix}/v1/traces", spans, "application/x-protobuf")
            return
        lines = b"".join(msgspec.json.encode(ocsf.event_of(event)) + b"\n" for event in events)
        path = self._url.path or "/"
        self._post(f"{path}?{self._url.query}" if self._url.query else path, lines, "application/x-ndjson")

    def close(self) -> None:
        """As `Sender.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, body: bytes, media: str) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            headers = {"Content-Type": media, "User-Agent": "remit", **self._headers}
            self._connection.request("POST", path, body, headers)
            with self._connection.getresponse() as response:
                response.read(_ANSWER_BYTES)
                status = response.status
                if not response.isclosed():
                    self.close()  # an answer that does not end
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise _failed(f"`{self._settings.name}`: {_why(error)}") from error
        # SECURITY: a redirect is no receipt, and nothing is sent where nobody said.
        if not 200 <= status < 300:
            self.close()
            raise _failed(f"`{self._settings.name}` answers {status}")

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=SECONDS)


class SyslogSender:
    """RFC 5424 messages over one connection.

    Syslog has no receipts. A batch counts as sent when the receiver's host has acknowledged all of its bytes; when the
    connection breaks before, the batch is sent again, and some of its messages twice.
    """

    def __init__(self, settings: ForwardSettings, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._url = urlsplit(settings.to)
        self._tls = tls
        self._host = syslog.host_name()
        self._socket: socket.socket | None = None

    def send(self, events: Sequence[Event], now: int) -> None:
        """As `Sender.send`."""
        data = b"".join(syslog.framed(syslog.message_of(event, self._host)) for event in events)
        try:
            if self._socket is not None and self._is_closed(self._socket):
                self.close()
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(data)
            self._wait_acknowledged(self._socket)
        except OSError as error:
            self.close()
            raise _failed(f"`{self._settings.name}`: {_why(error)}") from error

    def close(self) -> None:
        """As `Sender.close`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        host, port = self._url.hostname or "", self._url.port or 0
        plain = socket.create_connection((host, port), SECONDS)
        return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=host)

    def _is_closed(self, connection: socket.socket) -> bool:
        """Whether the receiver has ended the connection: it never sends anything else."""
        connection.setblocking(False)
        try:
            return connection.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            connection.settimeout(SECONDS)

    def _wait_acknowledged(self, connection: socket.socket) -> None:
        """Until the kernel has nothing more to send, or to send again (SIOCOUTQ)."""
        until = time.monotonic() + SECONDS
        waiting = array.array("i", [1])
        while True:
            fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
            if not waiting[0]:
                if self._is_closed(connection):
                    raise ConnectionResetError("the receiver has ended the connection")
                return
            if time.monotonic() > until:
                raise TimeoutError("the receiver does not take what is sent")
            time.sleep(_POLL)


class FileSender:
    """OCSF as JSON Lines, appended to a file; opened anew for each batch, so that it can be rotated by renaming."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, events: Sequence[Event], now: int) -> None:
        """As `Sender.send`."""
        lines = b"".join(msgspec.json.encode(ocsf.event_of(event)) + b"\n" for event in events)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._end_line(descriptor)
                view = memoryview(lines)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failed(f"`{self._path.name}`: {_why(error)}") from error

    def close(self) -> None:
        """As `Sender.close`."""

    def _end_line(self, descriptor: int) -> None:
        """Ends a line that a crash or a full disk has cut off."""
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")


def _tls(settings: ForwardSettings, root: Path) -> ssl.SSLContext | None:
    if urlsplit(settings.to).scheme not in ("https", "tls"):
        return None
    try:
        context = ssl.create_default_context(cafile=str(root / settings.ca_file) if settings.ca_file else None)
    except (OSError, ssl.SSLError):
        message = "the certificates can't be read"
        raise DocumentError(message, path=root / settings.ca_file, next_step="write them as PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _headers(settings: ForwardSettings, root: Path) -> dict[str, str]:
    if not settings.headers_file:
        return {}
    path = root / settings.headers_file
    found: dict[str, str] = {}
    try:
        lines = read_private(path).decode("ascii").splitlines()
    except UnicodeDecodeError:
        lines = ["?"]
    for line in filter(str.strip, lines):
        name, parted, value = line.partition(":")
        if not parted or not name.replace("-", "").isalnum() or not value.strip().isprintable():
            # SECURITY: the line may be a secret; it is not quoted.
            raise DocumentError("a line is no header", path=path, next_step="write `Authorization: Bearer …`")
        found[name] = value.strip()
    if len(found) > _HEADERS:
        raise DocumentError(f"there are more than {_HEADERS} headers", path=path, next_step="remove some")
    return found


def _failed(why: str) -> Unavailable:
    return Unavailable("forward_failed", f"records can't be forwarded: {why}", "they wait, and are sent again")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:200].lower()
