"""Changing what decides while decisions are made: who may, and the swap itself.

1. The texts behind the new configuration are kept, a bounded part at a time.
2. Its `configuration` record is durable.
3. In a turn of the sequencer of its own, every holder takes it: a work sees one configuration or the other, whole. What
   workloads did is recorded with it, where new temporal policies ask.

A decision names the configuration that made it. Those in flight between 2 and 3 name the one before, whose record
stands too. Where 1 or 2 fails, nothing has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from remit.core.errors import Conflict, RemitError
from remit.core.identities import Identity
from remit.core.reloading import Reloaded
from remit.decide.configuration import Configuration
from remit.decide.deeds import Made, watched
from remit.decide.operations import Operations
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.world import ADMINISTRATION, World, identity_stream, workload_stream

Reload = Callable[[], Awaitable[Reloaded]]

BACK_ATTEMPTS: Final = 100  # after a change that could not be recorded
BACK_SECONDS: Final = 0.05
TEXT_AT_ONCE: Final = 256 * 1024  # characters of texts that one commit takes


class ConfigurationOperations(Operations):
    """Operations on what decides."""

    on_reload: Reload | None = None  # composition sets it: reads the folder again, and has `adopt` called

    async def reload(self, caller: Identity) -> Reloaded:
        """Reads the folder again, for whoever may; a mistake in it is a `DocumentError`, and changes nothing."""

        def work(world: World, now: int) -> Step[None]:
            self._active(caller, world, now)
            self._require(caller, "configuration.reload", self._installation(), {}, world, now)
            return Step(None, durable=False)

        await self._run(work, Needs(reads=(identity_stream(caller.id),)))
        if self.on_reload is None:
            raise Conflict("reload_not_here", "what decides here does not come from a folder", "restart the service")
        return await self.on_reload()

    async def announce(self) -> None:
        """Records which configuration decides from now on, and a switch of the mode; at the start."""
        await self._announce(self.configuration)

    async def adopt(self, configuration: Configuration, made: Made | None = None) -> None:
        """Has `configuration` decide from now on. Raises `Unavailable` where that can't be recorded; nothing changed.

        Its trust domain must be this one's. `made` are histories for its temporal policies, as far as they are made.
        """
        before = self.configuration
        await self._announce(configuration)

        def swap(world: World, now: int) -> Step[None]:
            entries = watched(world, configuration, made, now)
            # SECURITY: in the sequencer's order, so that no work sees a part of each.
            self._take(configuration, made)
            return Step(None, entries, durable=bool(entries))

        def back(_: World, __: int) -> Step[None]:
            self._take(before, None)
            return Step(None, durable=False)

        needs = Needs(records=False)
        if made is not None and made.deeds is not None:
            needs = Needs(appends=(ADMINISTRATION, *(workload_stream(each) for each in made.deeds.workloads())))
        try:
            await self._run(swap, needs)
        except BaseException:
            if self.configuration is not before:
                await self._back(back)
            raise

    async def _back(self, back: Callable[[World, int], Step[None]]) -> None:
        """Has the configuration before decide again, as soon as its histories can be read."""
        for attempt in range(BACK_ATTEMPTS):
            try:
                await self._run(back, Needs(records=False))
                return
            except RemitError:
                if attempt == BACK_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(BACK_SECONDS)

    def _take(self, configuration: Configuration, made: Made | None) -> None:
        """Every holder takes it, without a point in between at which another work could run."""
        self.configuration = configuration

    async def _announce(self, configuration: Configuration) -> None:
        await self._keep(configuration)
        body = {"config": configuration.digest, **configuration.parts}
        mode = {"by": "remit.toml", "mode": configuration.mode, "until": configuration.observe_until}

        def work(world: World, now: int) -> Step[None]:
            new = () if world.configuration == body else (Entry("administration", "configuration", body),)
            switched = () if world.modes == mode else (Entry("administration", "mode", mode),)
            return Step(None, (*new, *switched))

        await self._run(work, Needs(appends=(ADMINISTRATION,)))

    async def _keep(self, configuration: Configuration) -> None:
        """SECURITY: a decision must never name a configuration whose texts are not kept."""
        known = self.configuration.texts if configuration is not self.configuration else {}
        size = 0
        for digest, text in configuration.texts.items():
            if digest in known:
                continue
            if size and size + len(text) > TEXT_AT_ONCE:
                # Committed before there are too many: a commit holds up decisions.
                await self._run(lambda _, __: Step(None), Needs(appends=(ADMINISTRATION,)))
                size = 0
            self._sequencer.keep_text(digest, text)
            size += len(text)
