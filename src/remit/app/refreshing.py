"""Keeps the keys from elsewhere fresh: one task for each source, with bounds on how often it asks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import msgspec

from remit.app.key_sources import FileSource, KeySource
from remit.core.clock import Clock
from remit.core.errors import RemitError

log = logging.getLogger("remit.issuers")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often sources are read, in seconds."""

    usual: float = 300.0  # where the publisher says nothing (SPIFFE Trust Domain and Bundle, section 6.1)
    least: float = 60.0  # between two tries, whatever a header, a refresh hint or an unknown `kid` says
    most: float = 3600.0
    first_retry: float = 15.0  # after a failure; then twice as long each time
    file: float = 5.0  # how often a file is looked at


class Refresher:
    """Reads every source now and again, until it is stopped. `wake` asks for one early read of a source."""

    def __init__(self, sources: Sequence[KeySource], clock: Clock, pace: Pace | None = None) -> None:
        self.sources = tuple(sources)
        self._clock = clock
        self._pace = pace or Pace()
        self._early = {source.state.source: asyncio.Event() for source in self.sources}
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins, with a first read of all. Needs a running loop."""
        self._loop = asyncio.get_running_loop()
        for source in self.sources:
            run = self._watch(source) if isinstance(source, FileSource) else self._poll(source)
            self._tasks.append(self._loop.create_task(run))

    async def stop(self) -> None:
        """Ends, in the middle of whatever it is reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def wake(self, source: str) -> None:
        """Reads a source early, since a token names a key that it lacks; at most once in `Pace.least` seconds."""
        early = self._early.get(source)
        if early is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(early.set)

    async def _poll(self, source: KeySource) -> None:
        while True:
            wait = await self._try(source)
            # SECURITY: strangers can make tokens with any `kid`: between two tries this much time passes, always.
            least = min(wait, self._pace.least)
            await asyncio.sleep(least)
            early = self._early[source.state.source]
            early.clear()
            try:
                async with asyncio.timeout(wait - least):
                    await early.wait()
            except TimeoutError:
                continue

    async def _watch(self, source: FileSource) -> None:
        await source.keep()
        while True:
            error = source.state.error
            try:
                await source.look(self._clock)
            except RemitError:
                if source.state.error != error:
                    log.error("ALARM the keys of %s can't be used: %s", source.state.source, source.state.error)
            else:
                if error:
                    log.info("%s: its file can be used again", source.state.source)
            await asyncio.sleep(self._pace.file)

    async def _try(self, source: KeySource) -> float:
        """Reads it once; the seconds until it should be read again."""
        pace, state = self._pace, source.state
        error = state.error
        try:
            hint = await source.refresh(self._clock)
        except RemitError:
            if state.error != error:
                log.error("ALARM the keys of %s can't be read: %s", state.source, state.error)
            wait = min(pace.first_retry * 2.0 ** min(state.failures - 1, 20), pace.most)
            return wait * random.uniform(0.5, 1.0)  # noqa: S311 - so that many processes do not ask at once
        except Exception:
            log.critical("ALARM reading the keys of %s failed; it is tried again", state.source, exc_info=True)
            return pace.usual
        if error:
            log.info("%s is in reach again", state.source)
        wait = min(max(pace.usual if hint is None else hint, pace.least), pace.most)
        return wait * random.uniform(0.9, 1.0)  # noqa: S311 - as above
