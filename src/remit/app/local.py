"""Finds the service of a folder, or starts one that stops when nobody is attached to it any more."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Final

from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.app.tasks import holder_of
from remit.core.errors import Unavailable
from remit.core.settings import read_settings
from remit.sdk.client import Client

START_SECONDS: Final = 20.0

# Services that this process started: they outlive it, and nobody waits for them.
_started: list[subprocess.Popen[bytes]] = []


def is_served(folder: Folder) -> bool:
    """Whether a service answers at the folder's socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(folder.socket))
        except OSError:
            return False
    return True


async def ensure_service(folder: Folder) -> bool:
    """Starts a service that ends by itself when none runs; whether one had to be started."""
    if is_served(folder):
        return False
    folder.state.mkdir(mode=0o700, exist_ok=True)
    process = _start(folder)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if is_served(folder):
            _started.append(process)
            return True
        if process.poll() is not None and not is_served(folder):
            break
        await asyncio.sleep(0.05)
    lines = folder.log.read_text("utf-8", "replace").strip().splitlines()
    raise Unavailable(
        "service_not_started", "the service did not start", "\n  ".join(lines[-6:]) or f"look at `{folder.log}`"
    )


def _start(folder: Folder) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "remit", "up", "--project", str(folder.root), "--while-attached", "--plain"]
    with os.fdopen(os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program with fixed arguments
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    # It may end before this process does: somebody has to take its exit code.
    threading.Thread(target=process.wait, name="remit-service-exit", daemon=True).start()
    return process


async def connect_as(folder: Folder, path: str) -> Client:
    """A client of the folder's running service, as one of its identities (`person/alice`, `pep/gateway`)."""
    settings = read_settings(folder.root)
    return await Client.connect(folder.socket, holder_of(folder, spiffe_id(settings.trust_domain, path)))
