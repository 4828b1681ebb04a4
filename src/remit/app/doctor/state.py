"""The state folder `.remit`: keys, socket, database, disk and clock."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from remit.app.doctor.finding import Finding, Situation, listed
from remit.app.local import is_served
from remit.app.records import reader_of
from remit.app.service import listen_address
from remit.core import bounds
from remit.core.errors import RemitError
from remit.storage.sqlite_reader import SqliteReader

LOW_BYTES: Final = 1024**3
FULL_BYTES: Final = 100 * 1024**2


def folder(situation: Situation) -> Iterator[Finding]:
    """`.remit` is this user's alone."""
    path = situation.folder.state
    if not path.is_dir():
        yield Finding(
            check="state folder", level="warn", message="there is no `.remit` yet", next_step="`remit up` makes it"
        )
        return
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        yield Finding(
            check="state folder",
            level="fail",
            message=f"`.remit` has mode {mode:04o}: others can look into it",
            next_step=f"chmod 700 {path}",
        )
    else:
        yield Finding(check="state folder", level="ok", message=f"`.remit` has mode {mode:04o}")


def keys(situation: Situation) -> Iterator[Finding]:
    """Keys and grants are readable by their owner alone, and his own."""
    folder = situation.folder
    files = [path for place in (folder.trust, folder.keys, folder.run) for path in _files(place)]
    if not files:
        return
    owner = folder.state.stat().st_uid
    exposed = [path for path in files if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    foreign = [path for path in files if path.lstat().st_uid not in (owner, 0)]
    if exposed:
        yield Finding(
            check="keys",
            level="fail",
            message=f"others may have read {listed(str(path.relative_to(folder.root)) for path in exposed)}",
            next_step="make new keys (delete the file, start the service again); `chmod 600` if nobody can have",
        )
    if foreign:
        yield Finding(
            check="keys",
            level="fail",
            message=f"another user put {listed(str(path.relative_to(folder.root)) for path in foreign)} here",
            next_step="delete what you did not make",
        )
    if not exposed and not foreign:
        yield Finding(check="keys", level="ok", message=f"{len(files)} keys and grants, each for its owner alone")


def socket(situation: Situation) -> Iterator[Finding]:
    """The socket is for this user alone; whether a service answers."""
    path = situation.folder.socket
    if not path.exists():
        yield Finding(check="socket", level="ok", message="no service runs")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            check="socket",
            level="fail",
            message=f"the socket has mode {mode:04o}: others can connect",
            next_step="stop the service and start it again; it makes the socket with mode 0600",
        )
    elif not is_served(situation.folder):
        yield Finding(
            check="socket",
            level="warn",
            message="there is a socket, but no service answers",
            next_step="`remit up` replaces it",
        )
    else:
        yield Finding(check="socket", level="ok", message=f"a service answers; the socket has mode {mode:04o}")


def listener(situation: Situation) -> Iterator[Finding]:
    """The HTTP listener stays on this machine, unless it has TLS."""
    if situation.settings is None:
        return
    try:
        host, port = listen_address(situation.settings.service.listen)
    except RemitError as error:
        yield Finding(check="listener", level="fail", message=error.message, next_step=error.next_step)
        return
    if port is None:
        yield Finding(check="listener", level="ok", message="no HTTP listener; the socket alone")
    elif situation.settings.service.tls_certificate:
        reached = listed(situation.settings.service.reached_at)
        yield Finding(check="listener", level="ok", message=f"HTTPS on {host}:{port}, reached at {reached}")
    elif _is_loopback(host):
        yield Finding(check="listener", level="ok", message=f"HTTP on {host}:{port}, this machine only")
    else:
        yield Finding(
            check="listener",
            level="fail",
            message=f"`{host}` is not a loopback address, so the service does not start",
            next_step='set `listen = "127.0.0.1:8181"`, or `tls_certificate` and `tls_key` for other machines',
        )


def clock(situation: Situation) -> Iterator[Finding]:
    """The clock is not behind the records."""
    last = _last_record(situation)
    if last is None:
        return
    behind = last - situation.now
    if behind > bounds.CLOCK_BACK_MS:
        yield Finding(
            check="clock",
            level="fail",
            message=f"the clock is {behind / 1000:.0f} s behind the last record: everything is refused until then",
            next_step="set the clock right, and keep it so with NTP",
        )
    else:
        yield Finding(check="clock", level="ok", message="the clock is not behind the records")


def database(situation: Situation) -> Iterator[Finding]:
    """The database is whole, as SQLite sees it; what it means is what `remit verify` checks."""
    path = situation.folder.database
    if not path.exists() or (situation.settings is not None and situation.settings.storage.url):
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding(
            check="database",
            level="fail",
            message="others can read or change the records",
            next_step=f"chmod 600 {path}*",
        )
    try:
        with SqliteReader(path) as reader:
            damage = reader.damage()
            count = reader.count()
    except RemitError as error:
        damage, count = [error.message], 0
    if damage:
        yield Finding(
            check="database",
            level="fail",
            message=f"the database is damaged: {'; '.join(damage[:3])[:300]}",
            next_step="stop the service, keep the file, restore the last backup; `remit verify` shows what holds",
        )
    else:
        yield Finding(check="database", level="ok", message=f"{count} records; `remit verify` checks what they mean")


def disk(situation: Situation) -> Iterator[Finding]:
    """There is room for records: without it everything is refused."""
    free = situation.free_bytes
    room = f"{free / 1024**3:.1f} GiB free"
    if free < FULL_BYTES:
        yield Finding(
            check="disk",
            level="fail",
            message=f"{room}: where a record can't be written, nothing is permitted",
            next_step="make room",
        )
    elif free < LOW_BYTES:
        yield Finding(check="disk", level="warn", message=room, next_step="make room before it is full")
    else:
        yield Finding(check="disk", level="ok", message=room)


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir() and os.access(place, os.R_OK | os.X_OK):
        yield from (path for path in sorted(place.iterdir()) if not path.is_dir())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _last_record(situation: Situation) -> int | None:
    try:
        with reader_of(situation.folder) as reader:
            return max((stored.record.t for stored in reader.records(last=1)), default=None)
    except RemitError:
        return None
