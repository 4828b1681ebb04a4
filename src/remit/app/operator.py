"""The person at this keyboard, as whom commands administer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from remit.app.api import open as open_folder
from remit.app.folder import Folder
from remit.app.session import operator_path
from remit.core.settings import read_settings
from remit.sdk.api import Remit

T = TypeVar("T")


async def as_operator(folder: Folder, work: Callable[[Remit], Awaitable[T]], *, identity: str = "") -> T:
    """Does `work` as the operator, or as `identity`: through the folder's service if one runs, else embedded."""
    remit = await open_folder(folder.root, identity=identity or operator_path(read_settings(folder.root)))
    try:
        return await work(remit)
    finally:
        await remit.close()


def run_as_operator(folder: Folder, work: Callable[[Remit], Awaitable[T]], *, identity: str = "") -> T:
    """`as_operator`, for callers that are not asynchronous."""
    return asyncio.run(as_operator(folder, work, identity=identity))
