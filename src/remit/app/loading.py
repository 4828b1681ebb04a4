"""Reads a folder in a process of its own, beside a service that decides: `python -P -m remit.app.loading FOLDER`.

What it found out about policies is in the cache when it ends (`remit.policy.cache`), so that the service itself has
little left to do. Nothing it says is believed otherwise: the service reads the folder too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from remit.app.folder import Folder
from remit.app.project import load_project
from remit.core.errors import RemitError

log = logging.getLogger("remit.reload")

NICE: Final = 10  # the service goes first
SECONDS: Final = 120.0  # then the service does it all by itself


async def load_beside(folder: Folder) -> None:
    """Reads the folder in another process, whatever comes of it; a mistake is found again by whoever reads it next."""
    # SECURITY: -P keeps the working directory out of the places that code is loaded from.
    command = [sys.executable, "-P", "-m", "remit.app.loading", str(folder.root)]
    await asyncio.to_thread(_run, command)


def _run(command: list[str]) -> None:
    nothing = subprocess.DEVNULL
    try:
        subprocess.run(command, stdin=nothing, stdout=nothing, stderr=nothing, timeout=SECONDS, check=False)  # noqa: S603 - our own program
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("no other process could read the folder, so the service does it alone: %s", error)


def main() -> None:
    """Reads the folder that is named."""
    os.nice(NICE)
    try:
        load_project(Folder(Path(sys.argv[1])))
    except (RemitError, OSError):
        sys.exit(1)


if __name__ == "__main__":
    main()
