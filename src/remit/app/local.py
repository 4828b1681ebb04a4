"""Finds the service of a folder, or starts one that stops when nobody is attached to it any more."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from remit.app.credentials import URL, certified_for, holder_of, key_for_tokens, service_of, tokens_for
from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.core.errors import Conflict, Unavailable
from remit.core.settings import read_settings
from remit.identity.holder import Holder
from remit.sdk.client import Client
from remit.sdk.notifiers import Notifiers
from remit.storage.lock import FolderLock

START_SECONDS: Final = 20.0
ENDING_SECONDS: Final = 6.0  # a service that stops lets open requests finish for 5

# Services that this process started: they outlive it, and nobody waits for them.
_started: list[subprocess.Popen[bytes]] = []


def is_served(folder: Folder) -> bool:
    """Whether a service answers at the folder's socket; one elsewhere is taken to."""
    if os.environ.get(URL):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(folder.socket))
        except OSError:
            return False
    return True


async def ensure_service(folder: Folder) -> bool:
    """Starts a service that ends by itself when none runs; whether one had to be started.

    Those who need one at the same time start one: the others wait until it answers.
    """
    if is_served(folder):
        return False
    folder.state.mkdir(mode=0o700, exist_ok=True)
    until = time.monotonic() + START_SECONDS
    async with _starting(folder, until):
        await _let_end(folder)
        if is_served(folder):
            return False
        process = _start(folder)
        while time.monotonic() < until:
            if is_served(folder):
                return True
            if process.poll() is not None and not is_served(folder):
                break
            await asyncio.sleep(0.05)
    lines = folder.log.read_text("utf-8", "replace").strip().splitlines()
    raise Unavailable(
        "service_not_started", "the service did not start", "\n  ".join(lines[-6:]) or f"look at `{folder.log}`"
    )


@asynccontextmanager
async def _starting(folder: Folder, until: float) -> AsyncIterator[None]:
    """Held while a service is being started; waits for whoever does so already."""
    descriptor = os.open(folder.state / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    raise Unavailable(
                        "service_not_started", "another process has been starting the service for too long", "try again"
                    ) from None
            await asyncio.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


async def _let_end(folder: Folder) -> None:
    """Waits for a process that has the folder and does not answer (yet, or any more)."""
    until = time.monotonic() + ENDING_SECONDS
    while not is_served(folder) and (holder := FolderLock.holder(folder.lock)) is not None:
        if time.monotonic() > until:
            raise Conflict(
                "folder_in_use",
                f"another process (pid {holder or 'unknown'}) has this folder",
                "it may have opened it with `remit.open()`; let it end first",
            )
        await asyncio.sleep(0.05)


def _start(folder: Folder) -> subprocess.Popen[bytes]:
    # SECURITY: -P keeps the working directory, which may be the agent's, out of the places that code is loaded from.
    command = [sys.executable, "-P", "-m", "remit", "up", "--project", str(folder.root), "--while-attached", "--plain"]
    with os.fdopen(os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program with fixed arguments
            command, cwd=folder.root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    # It may end before this process does: somebody has to take its exit code.
    threading.Thread(target=process.wait, name="remit-service-exit", daemon=True).start()
    return process


async def connect_as(folder: Folder, path: str, *, token_file: str = "") -> Client:
    """A client of the folder's service, as one of its identities (`person/alice`, `pep/gateway`).

    By the certificate that the environment names, where it is this identity's; by its key in `.remit/keys`; or, where
    there is none, by a token from elsewhere: the one in `token_file`, or what the environment gives.
    """
    settings = read_settings(folder.root)
    id_ = spiffe_id(settings.trust_domain, path)
    certified = None if token_file else certified_for(folder, id_)
    if certified is not None:
        return await Client.connect(*certified, notifiers=Notifiers(settings.notifiers, folder.root))
    tokens = tokens_for(folder, settings, id_, token_file=token_file)
    return await Client.connect(
        service_of(folder),
        Holder(key_for_tokens(folder, id_), "", id_) if tokens else holder_of(folder, id_),
        notifiers=Notifiers(settings.notifiers, folder.root),
        tokens=tokens,
    )
