"""Records that several processes share: this folder's lock, this process's place among the others, and the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self, TypeVar

from remit.decide.sequence import NOTHING_KNOWN, Kept, Needs, Wanted, Work
from remit.decide.world import World
from remit.storage.address import Address
from remit.storage.lock import FolderLock
from remit.storage.port import Store
from remit.storage.postgres import PostgresStore
from remit.storage.presence import Presence

T = TypeVar("T")


class SharedStore:
    """Fulfils `Store` with a `PostgresStore`; refuses while the records are moved, or after they were.

    Opening also raises `Conflict("folder_in_use")` when another process has the folder.
    """

    def __init__(self, store: Store, presence: Presence, held: AsyncExitStack) -> None:
        self._store = store
        self._presence = presence
        self._held = held

    @classmethod
    async def open(cls, address: Address, trust_domain: str, lock: Path, about: Callable[[], tuple[str, str]]) -> Self:
        """The records at `address`, for the folder whose lock this is; `about` as for `Presence`."""
        held = AsyncExitStack()
        try:
            # SECURITY: two processes in one folder would share its socket and its grants.
            held.callback(FolderLock(lock).release)
            presence = Presence(address, about)
            await presence.open()
            held.push_async_callback(presence.close)
            store = await PostgresStore.open(address.url, trust_domain, schema=address.schema)
            held.push_async_callback(store.close)
        except BaseException:
            await held.aclose()
            raise
        return cls(store, presence, held)

    @property
    def world(self) -> World:
        """As `Store.world`."""
        return self._store.world

    @property
    def presence(self) -> Presence:
        """Who else is there."""
        return self._presence

    def why_not(self) -> str:
        """Why nothing can be decided and recorded now; empty when it can."""
        return self._presence.why_not()

    async def run(self, work: Work[T], needs: Needs = NOTHING_KNOWN) -> T:
        """As `Sequencer.run`."""
        if self._presence.refusal is not None:
            raise self._presence.refusal
        return await self._store.run(work, needs)

    async def kept(self, wanted: Wanted) -> Kept:
        """As `Sequencer.kept`."""
        return await self._store.kept(wanted)

    def renew(self, streams: Iterable[str]) -> None:
        """As `Sequencer.renew`."""
        self._store.renew(streams)

    def keep_text(self, digest: str, text: str) -> None:
        """As `Sequencer.keep_text`."""
        self._store.keep_text(digest, text)

    def gauges(self) -> dict[str, float]:
        """As `Sequencer.gauges`, and `processes`, `processes_differing`, `processes_other_keys`."""
        return {**self._store.gauges(), **self._presence.gauges()}

    async def close(self) -> None:
        """As `Store.close`; then leaves the others and the folder."""
        await self._held.aclose()
