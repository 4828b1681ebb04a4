"""The sockets that the service listens on: one in the project folder, one for TCP."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Final

from remit.core.errors import Conflict, InvalidInput, Unavailable

UNIX_PATH_BYTES: Final = 103  # sun_path is 108 bytes on Linux and 104 elsewhere, with its final NUL
BACKLOG: Final = 512


def bind_unix(path: Path) -> socket.socket:
    """Binds and listens on a unix socket of mode 0600.

    A stale socket is replaced only when nobody answers on it; `Conflict` when somebody does, `InvalidInput` when the
    path is too long or is something else than a socket.
    """
    raw = os.fsencode(path)
    if len(raw) > UNIX_PATH_BYTES:
        raise InvalidInput(
            "socket_path_too_long",
            f"the socket's path `{path}` is longer than {UNIX_PATH_BYTES} bytes",
            "use a project folder with a shorter path",
        )
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # SECURITY: the mode is set before the name exists, so that at no moment another user may connect.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(raw)
        os.chmod(path, 0o600)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise _running(path) from None
        raise Unavailable("socket_failed", f"can't listen on `{path}`: {os.strerror(error.errno or 0)}") from None
    return sock


def bind_tcp(host: str, port: int, *, tls: bool) -> socket.socket:
    """Binds and listens on an IP address, without TLS on a loopback address only; port 0 takes a free one."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    # SECURITY: without TLS the service is for this machine only.
    if not tls and (address is None or not address.is_loopback):
        raise InvalidInput(
            "listen_not_loopback",
            f"`{host}` is not a loopback address, and there is no TLS",
            "listen on 127.0.0.1 or ::1, or give `tls_certificate` and `tls_key` under `[service]`",
        )
    if address is None:
        raise InvalidInput("listen_invalid", f"`{host[:64]}` is not an IP address", "write an address of this machine")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise Unavailable(
            "socket_failed",
            f"can't listen on `{host}:{port}`: {os.strerror(error.errno or 0)}",
            "choose another port in `remit.toml`",
        ) from None
    return sock


def bind_loopback(host: str, port: int) -> socket.socket:
    """Binds and listens on a loopback address, without TLS; port 0 takes a free one."""
    return bind_tcp(host, port, tls=False)


def origin_of(sock: socket.socket, *, tls: bool = False) -> str:
    """The URL of a socket's own address, without a path."""
    host, port = sock.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def answers(path: Path) -> bool:
    """Whether somebody accepts connections on the unix socket `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        try:
            sock.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # SECURITY: busy, or not ours to judge: never take its place
    return True


def socket_file(path: Path) -> tuple[int, int] | None:
    """Which file stands at `path` now: device and inode."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def remove_socket(path: Path, mine: tuple[int, int] | None) -> None:
    """Removes the socket's file, unless another service has put its own there since."""
    if mine is not None and socket_file(path) == mine:
        path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InvalidInput("socket_path_taken", f"`{path}` exists and is not a socket", "move it away")
    if answers(path):
        raise _running(path)
    path.unlink(missing_ok=True)


def _running(path: Path) -> Conflict:
    return Conflict("service_running", f"a service already answers on `{path}`", "use it, or stop it first")
