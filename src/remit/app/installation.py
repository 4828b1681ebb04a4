"""An open project folder: keys, storage and governor composed; one process has it at a time."""

from __future__ import annotations

from dataclasses import dataclass

from remit.app.folder import Folder
from remit.app.identities import declared
from remit.app.project import load_project
from remit.core.clock import Clock, system_clock
from remit.core.errors import DocumentError
from remit.core.identities import Registration
from remit.core.settings import Settings
from remit.decide.configuration import Configuration
from remit.decide.governor import Governor
from remit.identity.authenticator import Authenticator
from remit.identity.authority import Authority
from remit.identity.keyring import KeyRing
from remit.storage.sqlite import SqliteStore

UNIX_ORIGIN = "http://remit.local"
DAY_MS = 24 * 3600 * 1000


@dataclass(slots=True)
class Installation:
    """The parts of one running Remit. Close it with `close`."""

    folder: Folder
    settings: Settings
    configuration: Configuration
    store: SqliteStore
    keyring: KeyRing
    authority: Authority
    authenticator: Authenticator
    governor: Governor
    clock: Clock

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
        if now - self.keyring.signs_since(now) >= self.settings.identity.rotate_days * DAY_MS:
            self.keyring.rotate(now)
            changed = True
        if changed:
            self.authenticator.trust(self.settings.trust_domain, self.keyring.bundle())


def audience_of(trust_domain: str) -> str:
    """The audience that identity documents for this service name."""
    return f"spiffe://{trust_domain}/remit"


def make_state(folder: Folder, now: int) -> KeyRing:
    """Makes `.remit/` with its keys, mode 0700 and 0600, or reads it; records without keys are refused."""
    for path in (folder.state, folder.trust, folder.keys, folder.run):
        path.mkdir(mode=0o700, exist_ok=True)
    if any(folder.trust.iterdir()):
        return KeyRing.load(folder.trust)
    if folder.database.exists():
        raise DocumentError(
            "the records are here but the trust domain's keys are not",
            path=folder.trust,
            next_step="restore `.remit/trust` from the backup that goes with `.remit/remit.db`",
        )
    return KeyRing.create(folder.trust, now)


async def open_installation(folder: Folder, clock: Clock = system_clock) -> Installation:
    """Opens a folder exclusively; `Conflict("folder_in_use")` when a service has it."""
    settings, configuration = load_project(folder)
    keyring = make_state(folder, clock())
    return await compose(folder, settings, configuration, keyring, declared(settings, folder), clock)


async def compose(
    folder: Folder,
    settings: Settings,
    configuration: Configuration,
    keyring: KeyRing,
    registrations: tuple[Registration, ...],
    clock: Clock,
) -> Installation:
    """Opens the records of `folder` under a configuration, with these identities registered."""
    store = await SqliteStore.open(folder.database, settings.trust_domain, clock)
    try:
        governor = Governor(configuration, store, store.world)
        await governor.announce()
        await governor.bootstrap(registrations, "remit.toml")
        audience = audience_of(settings.trust_domain)
        authenticator = Authenticator(
            settings.trust_domain,
            {settings.trust_domain: keyring.bundle()},
            audience,
            [UNIX_ORIGIN, *settings.service.reached_at],
            started=clock(),
        )
        governor.start()
    except BaseException:
        await store.close()
        raise
    authority = Authority(settings.trust_domain, keyring)
    installation = Installation(
        folder, settings, configuration, store, keyring, authority, authenticator, governor, clock
    )
    installation.refresh_keys()
    return installation
