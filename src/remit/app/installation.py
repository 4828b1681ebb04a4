"""An open project folder: keys, storage and governor composed; one process has it at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from remit.app.elsewhere import elsewhere_of
from remit.app.folder import Folder
from remit.app.histories import make_histories, told
from remit.app.identities import declared, without_key
from remit.app.key_sources import KeySource, sources_of
from remit.app.project import load_project
from remit.app.records import OpenStore, has_records, open_store
from remit.app.reloading import Progress, Reloader
from remit.app.soundness import check_records
from remit.app.trust import open_keyring, rotate_when_due
from remit.core.clock import Clock, system_clock
from remit.core.identities import Registration
from remit.core.settings import Settings
from remit.decide.configuration import Configuration
from remit.decide.deeds import Deeds, Made
from remit.decide.governor import Governor
from remit.identity.authenticator import Authenticator
from remit.identity.authority import Authority
from remit.identity.elsewhere import Elsewhere
from remit.identity.keyring import KeyRing
from remit.storage.port import Store
from remit.storage.soundness import Walk

UNIX_ORIGIN = "http://remit.local"


@dataclass(slots=True)
class Installation:
    """The parts of one running Remit. Close it with `close`."""

    folder: Folder
    settings: Settings
    store: Store
    keyring: KeyRing
    authority: Authority
    authenticator: Authenticator
    governor: Governor
    clock: Clock
    elsewhere: Elsewhere  # who vouches from elsewhere, with the keys that are known of them
    reloader: Reloader
    sources: tuple[KeySource, ...] = ()  # where those keys come from
    unchecked: Walk | None = None  # the records that the start had no time to look at

    @property
    def configuration(self) -> Configuration:
        """What decides now."""
        return self.governor.configuration

    async def close(self) -> None:
        """Records what is due, commits, stops the sequencer and releases the folder."""
        try:
            await self.governor.stop()
        finally:
            await self.store.close()

    def refresh_keys(self) -> None:
        """Reads signing keys that another process changed, and replaces the one that signs when it is old enough.

        Tokens that a rotated key signed stay valid; those of a revoked one are refused from now on.
        """
        now = self.clock()
        changed = self.keyring.refresh()
        if rotate_when_due(self.keyring, self.settings, now) or changed:
            self.authenticator.trust(self.settings.trust_domain, self.keyring.bundle())


def audience_of(trust_domain: str) -> str:
    """The audience that identity documents for this service name."""
    return f"spiffe://{trust_domain}/remit"


def make_state(folder: Folder) -> None:
    """Makes `.remit/` with its folders, mode 0700, where they are missing."""
    for path in (folder.state, folder.keys, folder.run):
        path.mkdir(mode=0o700, exist_ok=True)


async def open_installation(
    folder: Folder, clock: Clock = system_clock, *, listen: str | None = None, storage: OpenStore = open_store
) -> Installation:
    """Opens a folder exclusively; `Conflict("folder_in_use")` when a service has it.

    `Unavailable("records_damaged")` when the records are not what was written (`remit.app.soundness`). `listen` is in
    place of what `remit.toml` says: processes that share one file listen at addresses of their own. `storage` opens
    the records that it names.
    """
    settings, configuration = load_project(folder)
    if listen is not None:
        service = msgspec.structs.replace(settings.service, listen=listen)
        settings = msgspec.structs.replace(settings, service=service)
    make_state(folder)
    elsewhere = elsewhere_of(folder, settings)
    sources = sources_of(elsewhere, folder, clock)
    recorded = await asyncio.to_thread(has_records, folder)
    keyring = open_keyring(folder, settings, clock(), has_records=recorded)
    unchecked = await asyncio.to_thread(check_records, folder, settings)
    opened: Installation | None = None

    def about() -> tuple[str, str]:
        return (opened.configuration if opened else configuration).digest, keyring.fingerprint()

    store = await storage(folder, settings, clock, about)
    try:
        is_shared = bool(settings.storage.url)  # then another folder may have the identities' keys
        registrations = declared(settings, folder, store.world.glance if is_shared else None)
    except BaseException:
        await store.close()
        raise
    made = without_key(settings) if is_shared else frozenset()
    opened = await compose(
        folder, settings, configuration, keyring, registrations, clock, store, made=made, elsewhere=elsewhere
    )
    opened.sources = sources
    opened.unchecked = unchecked
    return opened


async def compose(
    folder: Folder,
    settings: Settings,
    configuration: Configuration,
    keyring: KeyRing,
    registrations: tuple[Registration, ...],
    clock: Clock,
    store: Store,
    *,
    made: frozenset[str] = frozenset(),
    elsewhere: Elsewhere | None = None,
) -> Installation:
    """An installation on an open store, with these identities registered; it closes the store, also when it fails.

    `made` are those whose key is only registered where they have none yet.
    """
    try:
        elsewhere = elsewhere or elsewhere_of(folder, settings)
        governor = Governor(configuration, store, store.world)
        is_new = not settings.storage.url and not store.world.latest
        await governor.announce()
        await _watch(folder, settings, store, governor, clock, is_new=is_new)
        await governor.bootstrap(registrations, "remit.toml", made)
        audience = audience_of(settings.trust_domain)
        authenticator = Authenticator(
            settings.trust_domain,
            {settings.trust_domain: keyring.bundle()},
            audience,
            [UNIX_ORIGIN, *settings.service.reached_at],
            started=clock(),
            elsewhere=elsewhere,
        )
        governor.start()
    except BaseException:
        await store.close()
        raise
    authority = Authority(settings.trust_domain, keyring)
    reloader = Reloader(folder, settings, governor)

    async def prepare(changed: Configuration, progress: Progress) -> Made | None:
        return await make_histories(folder, settings, store, changed, clock(), progress)

    reloader.prepare = prepare
    governor.on_reload = reloader.reload
    installation = Installation(
        folder, settings, store, keyring, authority, authenticator, governor, clock, elsewhere, reloader
    )
    installation.refresh_keys()
    return installation


async def _watch(
    folder: Folder, settings: Settings, store: Store, governor: Governor, clock: Clock, *, is_new: bool
) -> None:
    """Begins the histories of workloads anew, where other policies ask about them than before."""
    configuration = governor.configuration
    scope = configuration.policies.temporal.workload
    if store.world.watched == (scope.digest if scope is not None else ""):
        return
    try:
        if is_new and scope is not None:
            store.world.note(True)
            made: Made | None = Made(deeds=Deeds(scope, 0))  # nothing ever happened here
        else:
            made = await make_histories(folder, settings, store, configuration, clock(), told)
        await governor.adopt(configuration, made)
    finally:
        governor.prepared()
