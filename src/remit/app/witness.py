"""A witness as a process: its folder with the key and what it has seen, and its listener. It needs no project.

    <state>/key.pem                          the key that cosigns, mode 0600
    <state>/vkey                             its public key, with its name
    <state>/<SHA-256 of origin>/checkpoint   what was cosigned last
    <state>/<SHA-256 of origin>/evidence/    pairs of checkpoints that do not go together

SECURITY: the folder is the witness's memory. One that was restored from an older copy has forgotten, and one process
has it at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from remit.app.note_keys import note_key
from remit.core.clock import Clock, system_clock
from remit.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from remit.ledger.tlog.folder import Disk
from remit.ledger.tlog.note import COSIGNATURE, Signer, VerifierKey, read_key
from remit.ledger.tlog.witness import Witness, known_logs
from remit.server.listener import Listener, serve
from remit.server.tls import ServerTls
from remit.server.witness_app import build_witness_app
from remit.storage.lock import FolderLock

LISTEN: Final = "127.0.0.1:8190"
KEY: Final = "key.pem"
VKEY: Final = "vkey"
_LOCK: Final = "lock"
_CERTIFICATE_SECONDS: Final = 30.0
_NOT_IN_NAMES: Final = re.compile(r"[\s+\x00-\x1f]")

log = logging.getLogger("remit.witness")


@dataclass(frozen=True)
class Opened:
    """A witness that may be started: the rules, and what it is called."""

    witness: Witness
    lock: FolderLock

    @property
    def key(self) -> VerifierKey:
        """The public key that verifies what it cosigns."""
        return self.witness.key


def default_state() -> Path:
    """Where a witness of this user keeps its state: `~/.local/state/remit/witness`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "remit/witness"


def default_name() -> str:
    """`<host name>/witness`."""
    return f"{_NOT_IN_NAMES.sub('-', socket.gethostname()) or 'localhost'}/witness"


def open_witness(state: Path, name: str, logs: Sequence[str]) -> Opened:
    """The witness whose state is in a folder, of the logs with these vkeys; made with `name` at the first time.

    `Conflict("witness_name_changed")` where it has another name already, `Conflict("folder_in_use")` where a process
    has it, and `InvalidInput` or `DocumentError` for keys or a memory that can't be read.
    """
    known = known_logs(list(logs))
    if not known:
        raise InvalidInput("logs_missing", "a witness that knows no log cosigns nothing", "give `--log VKEY`")
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock(state / _LOCK)
    except Conflict as error:
        raise Conflict(error.code, error.message, "stop it first, or give another folder: `--state DIR`") from None
    except OSError as error:
        raise _unusable(state, error) from None
    try:
        signer = _signer(state, name)
        return Opened(Witness(state, signer, known, alarm=_alarm), lock)
    except OSError as error:
        lock.release()
        raise _unusable(state, error) from None
    except BaseException:
        lock.release()
        raise


def key_of(state: Path) -> VerifierKey:
    """The public key of the witness in a folder; `NotFound` where there is none."""
    try:
        return read_key((state / VKEY).read_text("utf-8").strip())
    except FileNotFoundError:
        raise NotFound("witness_missing", f"there is no witness in `{state}`", "start one: `remit witness`") from None
    except UnicodeDecodeError:
        raise InvalidInput("vkey_invalid", f"`{state / VKEY}` is no verifier key", "restore the folder") from None


async def run_witness(
    opened: Opened,
    *,
    host: str,
    port: int,
    tls: ServerTls | None = None,
    clock: Clock = system_clock,
    on_listening: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves until SIGINT or SIGTERM; `on_listening` is told the URL. The state is let go of at the end."""
    app = build_witness_app(opened.witness, lambda: clock() // 1000)
    tasks: list[asyncio.Task[None]] = []

    def listening(_: Listener) -> None:
        if tls is not None:
            tasks.append(asyncio.create_task(_keep_certificate(tls)))
        on_listening(f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")

    try:
        await serve(app, socket_path=None, host=host, port=port, tls=tls, on_listening=listening)
    except InvalidInput as error:
        if error.code != "listen_not_loopback":
            raise
        raise InvalidInput(
            error.code, error.message, "listen on 127.0.0.1 or ::1, or give --tls-certificate and --tls-key"
        ) from None
    finally:
        for task in tasks:
            task.cancel()
        opened.lock.release()


def _signer(state: Path, name: str) -> Signer:
    """The key of the folder, under the name that it was made with."""
    file = state / VKEY
    before = key_of(state) if file.exists() else None
    if before is not None and not (state / KEY).exists():
        # SECURITY: another key under the same name would look like the same witness to people.
        raise Conflict("witness_key_missing", f"the key in `{state}` is gone", "restore it, or begin in another folder")
    if before is not None and name and name != before.name:
        raise Conflict(
            "witness_name_changed",
            f"this witness is called `{before.name}`, which its key belongs to",
            "leave `--name` out, or begin another witness in another folder",
        )
    signer = Signer(before.name if before else name or default_name(), note_key(state / KEY), COSIGNATURE)
    if before is None:
        disk = Disk()
        disk.write(file, f"{signer.key}\n".encode())
        disk.flush(state)
    elif before != signer.key:
        raise Conflict("witness_key_missing", f"`{file}` is of another key", "restore the folder from its backup")
    return signer


async def _keep_certificate(tls: ServerTls) -> None:
    while True:
        await asyncio.sleep(_CERTIFICATE_SECONDS)
        tls.refresh()


def _alarm(what: str) -> None:
    log.critical("ALARM the log %s", what)


def _unusable(state: Path, error: OSError) -> Unavailable:
    why = (error.strerror or "unknown").lower()
    return Unavailable("state_unusable", f"`{state}` can't be used: {why}", "give a folder of this user: `--state DIR`")
