"""Who holds the service open: `remit run` attaches, and a service started on demand stops when nobody does."""

from __future__ import annotations

import asyncio
from typing import Final

ATTACHED: Final = 256  # at once


class Attachments:
    """Counts the open `GET /v1/attach` streams and ends them when the service stops."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self._changed = asyncio.Condition()
        self.stopping = asyncio.Event()

    async def enter(self) -> None:
        """One more."""
        async with self._changed:
            self.count += 1
            self.total += 1
            self._changed.notify_all()

    async def leave(self) -> None:
        """One less."""
        async with self._changed:
            self.count -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Ends all streams; those who come later are refused."""
        self.stopping.set()

    async def wait_unattended(self, grace_s: float = 2.0, first_s: float = 10.0) -> None:
        """Returns when nobody has been attached for `grace_s` seconds.

        The first one has `first_s` seconds to come, so that a service that was just started is not stopped at once.
        """
        try:
            async with asyncio.timeout(first_s), self._changed:
                await self._changed.wait_for(lambda: self.total > 0)
        except TimeoutError:
            return
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.count == 0)
            try:
                async with asyncio.timeout(grace_s), self._changed:
                    await self._changed.wait_for(lambda: self.count > 0)
            except TimeoutError:
                if self.count == 0:
                    return
