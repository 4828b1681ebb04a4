"""When a running service reads its folder again: on SIGHUP, and, with `[policy] watch`, when a file in it has changed.

Files are looked at every two seconds, and what has changed is read once it has stood still for as long: an editor or a
deployment writes several files, one after the other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import Final

from remit.app.folder import Folder
from remit.app.installation import Installation
from remit.app.watching import marks
from remit.core.errors import RemitError

log = logging.getLogger("remit.reload")

LOOK_SECONDS: Final = 2.0


async def keep_reloading(installation: Installation) -> None:
    """Until it is cancelled. What goes wrong is in the log, and the configuration that decides goes on."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A service that belongs to a terminal ends with it; any other has no use for the signal.
    listens = threading.current_thread() is threading.main_thread() and not _has_terminal()
    if listens:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    watcher = asyncio.create_task(_watch(installation.folder, asked)) if installation.settings.policy.watch else None
    try:
        while True:
            await asked.wait()
            asked.clear()
            try:
                await installation.reloader.reload()
            except RemitError:
                pass  # it has sounded its alarm
            except Exception:
                log.critical("ALARM the folder could not be read again", exc_info=True)
    finally:
        if listens:
            loop.remove_signal_handler(signal.SIGHUP)
        if watcher is not None:
            watcher.cancel()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def _watch(folder: Folder, asked: asyncio.Event) -> None:
    read = seen = await asyncio.to_thread(marks, folder.root)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = await asyncio.to_thread(marks, folder.root)
        if now != read and now == seen:
            read = now
            asked.set()
        seen = now
