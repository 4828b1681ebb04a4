"""The person at this keyboard, as whom commands administer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from remit.app.api import open as open_folder
from remit.app.folder import Folder
from remit.app.session import operator_path
from remit.core.errors import Conflict
from remit.core.settings import read_settings
from remit.sdk.api import Remit

T = TypeVar("T")

WAIT_SECONDS: Final = 5.0


async def as_operator(folder: Folder, work: Callable[[Remit], Awaitable[T]], *, identity: str = "") -> T:
    """Does `work` as the operator, or as `identity`: through the folder's service if one runs, else embedded."""
    remit = await _opened(folder, identity or operator_path(read_settings(folder.root)))
    try:
        return await work(remit)
    finally:
        await remit.close()


async def _opened(folder: Folder, identity: str) -> Remit:
    """Opens the folder, or waits a little: another command may have it, or a service may be about to answer."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await open_folder(folder.root, identity=identity)
        except Conflict as error:
            if error.code != "folder_in_use" or time.monotonic() > until:
                raise
        await asyncio.sleep(0.05)


def run_as_operator(folder: Folder, work: Callable[[Remit], Awaitable[T]], *, identity: str = "") -> T:
    """`as_operator`, for callers that are not asynchronous."""
    return asyncio.run(as_operator(folder, work, identity=identity))
