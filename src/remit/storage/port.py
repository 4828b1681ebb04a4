"""What composition needs of a storage: a sequencer with its world, that is opened and closed."""

from __future__ import annotations

from typing import Protocol

from remit.decide.sequence import Sequencer
from remit.decide.world import World


class Store(Sequencer, Protocol):
    """The records of one installation, and the state that follows from them.

    Opening (`SqliteStore.open`, `PostgresStore.open`) raises `Unavailable("storage_unavailable")` when storage does
    not answer, `Conflict` when it is another's: in use, of a later version, of another trust domain.
    """

    @property
    def world(self) -> World:
        """The state; what is read of it outside a work may be behind."""
        ...

    async def close(self) -> None:
        """Finishes what is waiting and lets go of the records; once is enough. `run` is refused from now on."""
        ...
