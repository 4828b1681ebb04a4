"""Reads the folder again while the service decides, and has what was read decide from then on.

1. Another process reads the folder, and leaves in the cache what it found out about policies.
2. A thread of this one reads it again, with little left to do; a mistake ends here, and nothing has changed.
3. What can't be changed without a restart is found, and named.
4. `prepare` makes ready what the new configuration needs, such as histories for new temporal policies.
5. The governor records the new configuration and takes it (`remit.decide.configuration_operations`).
6. Identities that `remit.toml` names anew are registered.

Python runs one thread at a time, and hands over every 5 ms if nobody waits for input. Here it hands over sooner while
a configuration is read, and garbage is not collected meanwhile, which would stop everything for as long as it takes to
look at all policies.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from remit.app.folder import Folder
from remit.app.identities import declared, without_key
from remit.app.loading import load_beside
from remit.app.project import load_project, notices
from remit.core.errors import DocumentError, RemitError
from remit.core.pausing import no_collection
from remit.core.reloading import Reloaded
from remit.core.settings import FILE, Settings
from remit.decide.configuration import Configuration
from remit.decide.deeds import Made
from remit.decide.governor import Governor

log = logging.getLogger("remit.reload")

# Share of it that is done (0 to 1), and what is being done.
Progress = Callable[[float, str], None]
Prepare = Callable[[Configuration, Progress], Awaitable[Made | None]]

SWITCH_SECONDS: Final = 0.000_1  # how long another thread waits for Python while a configuration is read
GAUGES: Final = ("reloads", "reload_failures", "reload_failing")
IN_FLIGHT_SECONDS: Final = 1.0  # until nothing is decided any more by the configuration before
AT_ONCE: Final = 100  # of its parts
# Settings that decide, and are part of a configuration; identities are registered when they are read.
LIVE: Final = frozenset({
    "limits", "mode", "destinations", "risk", "novelty", "denials", "retention", "authzen", "operator", "workload",
    "workloads", "starters", "enforcement_points", "people", "providers",
})  # fmt: skip


def told(share: float, what: str) -> None:
    """Progress into the log."""
    log.info("reload: %s (%d %%)", what, share * 100)


async def ready(_: Configuration, __: Progress) -> Made | None:
    """Nothing has to be prepared."""
    return None


class Reloader:
    """Reloads one folder's configuration into one governor, one reload at a time."""

    def __init__(self, folder: Folder, settings: Settings, governor: Governor) -> None:
        self._folder = folder
        self._settings = settings  # as the service was started with, but for what is live
        self._governor = governor
        self._one_at_a_time = asyncio.Lock()
        self._last = dict.fromkeys(GAUGES, 0.0)
        self._letting_go: asyncio.Task[None] | None = None
        self.prepare: Prepare = ready

    def gauges(self) -> dict[str, float]:
        """How many reloads there were, how many changed nothing because of a mistake, and whether the last one did."""
        return dict(self._last)

    async def reload(self) -> Reloaded:
        """Has what the folder says now decide. Raises `DocumentError` for a mistake in it: then nothing has changed."""
        async with self._one_at_a_time:
            began = time.monotonic()
            try:
                found = await self._reload()
            except RemitError as error:
                self._last["reload_failures"] += 1
                self._last["reload_failing"] = 1
                log.critical(
                    "ALARM the folder was not reloaded, %s goes on deciding: %s",
                    self._governor.configuration.digest[:12],
                    error,
                )
                raise
            self._last["reloads"] += 1
            self._last["reload_failing"] = 0
            found = msgspec.structs.replace(found, seconds=round(time.monotonic() - began, 3))
        log.info("reloaded in %.1f s: %s decides now (before: %s)", found.seconds, found.config[:12], found.before[:12])
        for name in found.restart:
            log.warning("`%s` of %s has changed, and needs a restart", name, FILE)
        return found

    async def _reload(self) -> Reloaded:
        await load_beside(self._folder)
        before = self._governor.configuration
        settings, configuration, found = await asyncio.to_thread(self._load, before)
        if settings.trust_domain != self._settings.trust_domain:
            raise DocumentError(
                f"the trust domain is `{self._settings.trust_domain}` as long as the service runs",
                path=self._folder.root / FILE,
                next_step="put it back; another trust domain needs a folder of its own",
                code="restart_needed",
            )
        restart = needs_restart(self._settings, settings)
        if configuration.digest != before.digest:
            try:
                await self._governor.adopt(configuration, await self.prepare(configuration, told))
            finally:
                self._governor.prepared()
        await self._register(settings)
        changed = {name for name in {**before.parts, **configuration.parts} if _differ(name, before, configuration)}
        if configuration is not before:
            self._letting_go = asyncio.create_task(_let_go(before.policies.parts()))
        return Reloaded(
            config=configuration.digest,
            before=before.digest,
            changed=tuple(sorted(changed)),
            restart=restart,
            notices=found,
        )

    def _load(self, before: Configuration) -> tuple[Settings, Configuration, tuple[str, ...]]:
        with quietly():
            settings, configuration = load_project(self._folder)
            if configuration.digest == before.digest:
                configuration = before
            else:
                configuration.policies.warm(before.policies)
            return settings, configuration, tuple(notices(configuration))

    async def _register(self, settings: Settings) -> None:
        """Registers what `remit.toml` names of identities, where that has changed."""
        is_shared = bool(settings.storage.url)
        known = self._governor.registration if is_shared else None
        registrations = await asyncio.to_thread(declared, settings, self._folder, known)
        made = without_key(settings) if is_shared else frozenset[str]()
        if any(self._governor.registration(each.id) != each for each in registrations):
            await self._governor.bootstrap(registrations, FILE, made)


async def _let_go(parts: list[object]) -> None:
    """Forgets the parts of a configuration that decides no more, a few at a time: all at once would hold up others."""
    await asyncio.sleep(IN_FLIGHT_SECONDS)
    while parts:
        del parts[-AT_ONCE:]
        await asyncio.sleep(0)


def needs_restart(before: Settings, now: Settings) -> tuple[str, ...]:
    """The tables of `remit.toml` that have changed and are read at the start alone."""
    # How policies are evaluated is part of what is loaded; only who watches is not.
    now = msgspec.structs.replace(now, policy=msgspec.structs.replace(before.policy, watch=now.policy.watch))
    return tuple(
        name for name in now.__struct_fields__ if name not in LIVE and getattr(before, name) != getattr(now, name)
    )


def _differ(part: str, one: Configuration, other: Configuration) -> bool:
    return one.parts.get(part) != other.parts.get(part)


_quiet = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """While something long runs in a thread: others wait less for Python, and no garbage is looked for."""
    with _quiet, no_collection():
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            yield
        finally:
            sys.setswitchinterval(interval)
            # What was made lasts; else the next collection would look at all of it, and hold up everything.
            gc.freeze()
