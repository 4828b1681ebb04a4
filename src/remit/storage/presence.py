"""The processes that share a database: each is seen by the others for as long as it runs, and by no more than that.

A process holds one connection with a shared advisory lock, and that connection's name says what it decides with and
which keys it knows. The server gives both up when the process ends, however it ends: nothing has to be cleaned up, and
nobody is counted who is gone. What moves the records elsewhere takes the same lock alone, so that it can't begin while
a process decides, and no process can begin while it goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
from collections.abc import Callable
from typing import Any, Final

import asyncpg
import msgspec

from remit.core.errors import Conflict, Unavailable
from remit.storage.address import Address
from remit.storage.moved import moved, postgres_moved_to
from remit.storage.postgres_link import FAILURES, Db, advice, describe
from remit.storage.postgres_schema import lock_key

log = logging.getLogger("remit.storage")

WATCH_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 10.0
PATIENCE: Final = 3  # looks in a row with other keys, before that is an alarm: a rotation is read within one

_DIGITS: Final = 12
_NAME: Final = re.compile(r"remit c=([0-9a-f]{12}) k=([0-9a-f]{12}) (.*)")
_PRESENT: Final = """
SELECT l.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (l.classid::bigint << 32 | l.objid::bigint) = $1 ORDER BY a.backend_start, l.pid
"""


class Process(msgspec.Struct, frozen=True):
    """One process that decides on these records. What a role may not see of another's is empty."""

    pid: int  # of its connection, at the server
    host: str
    configuration: str  # the first 12 digits of what decides there
    keys: str  # of the signing keys that it knows


class Presence:
    """This process among those that share the records; `open`, then `close`."""

    def __init__(self, address: Address, about: Callable[[], tuple[str, str]]) -> None:
        """`about` gives the digest of what decides here, and that of the signing keys that are known here."""
        self._address = address
        self._about = about
        self._key = lock_key(address.schema, "processes")
        self._db: Db | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._said: frozenset[str] = frozenset()
        self._strange = 0  # looks in a row that found other keys
        self.refusal: Unavailable | None = None  # why nothing may be decided here any more
        self.present: tuple[Process, ...] = ()

    async def open(self) -> None:
        """Takes its place among the others, and begins to look for them.

        `Conflict`: `records_moving`, `records_moved`; `Unavailable("storage_unavailable")`.
        """
        try:
            await self._enter()
        except FAILURES as error:
            raise unavailable(self._address, error) from error
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Leaves."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
        await leave(self._db)
        self._db = None

    def gauges(self) -> dict[str, int]:
        """How many processes share the records, and how many of them decide otherwise, or know other keys."""
        configuration, keys = self._digests()
        return {
            "processes": len(self.present),
            "processes_differing": sum(each.configuration not in ("", configuration) for each in self.present),
            "processes_other_keys": sum(each.keys not in ("", keys) for each in self.present),
        }

    def why_not(self) -> str:
        """Why nothing may be decided on these records now; empty when it may."""
        if self.refusal is not None:
            return self.refusal.message
        if self._db is None or self._db.is_closed():
            return f"the database at `{self._address.shown}` does not answer"
        return ""

    async def _enter(self) -> None:
        db = await connect(self._address)
        try:
            await enter(db, self._address)
            await self._look(db)
        except BaseException:
            await leave(db)
            raise
        self._db, self.refusal = db, None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                if self._db is None or self._db.is_closed():
                    await self._enter()
                else:
                    await self._look(self._db)
            except Conflict as error:
                # SECURITY: what is decided on records that stand elsewhere now is decided on half of the history.
                log.critical("ALARM nothing is decided any more: %s", error.message)
                self.refusal = Unavailable(error.code, error.message, error.next_step)
            except FAILURES as error:
                log.warning("the other processes can't be seen: %s", describe(error))
                await leave(self._db)
                self._db, self.present = None, ()

    async def _look(self, db: Db) -> None:
        """Says who this is, where that has changed, and who else is there."""
        configuration, keys = self._digests()
        name = f"remit c={configuration} k={keys} {socket.gethostname()}"[:63]
        await db.execute("SELECT set_config('application_name', $1, false)", name)
        self.present = await present(db, self._address)
        others = {f"{each.host} ({each.configuration})" for each in self.present if each.configuration != configuration}
        for other in sorted(others - self._said):
            log.warning(
                "another process decides with another configuration: %s; this one with %s", other, configuration
            )
        self._said = frozenset(others)
        strange = [each.host for each in self.present if each.keys not in ("", keys)]
        self._strange = self._strange + 1 if strange else 0
        if self._strange == PATIENCE:
            log.critical("ALARM another process knows other signing keys than this one: %s", ", ".join(strange))

    def _digests(self) -> tuple[str, str]:
        configuration, keys = self._about()
        return configuration[:_DIGITS].ljust(_DIGITS, "0"), hashlib.sha256(keys.encode()).hexdigest()[:_DIGITS]


async def connect(address: Address, *, seconds: float | None = CONNECT_SECONDS, any_server: bool = False) -> Db:
    """A connection that stays open for as long as its lock is needed; `seconds` for each statement.

    Of several hosts to the one that can be written to, unless `any_server`.
    """
    settings = {"application_name": "remit", "search_path": address.schema}
    named = any_server or "target_session_attrs" in address.url
    more: dict[str, Any] = {} if named else {"target_session_attrs": "read-write"}
    return await asyncpg.connect(
        address.url, timeout=CONNECT_SECONDS, command_timeout=seconds, server_settings=settings, **more
    )


async def enter(db: Db, address: Address) -> None:
    """Takes the lock that every process shares; `Conflict` where the records are being moved, or were."""
    if not await db.fetchval("SELECT pg_try_advisory_lock_shared($1)", lock_key(address.schema, "processes")):
        raise Conflict(
            "records_moving",
            f"the records at `{address.shown}` are being moved",
            "wait until `remit store migrate` has ended, then look at `remit.toml`",
        )
    if place := await postgres_moved_to(db):
        raise moved(address.shown, place)


async def exclude(db: Db, address: Address) -> None:
    """Takes the lock alone; `Conflict("records_in_use")` while a process decides on the records."""
    if not await db.fetchval("SELECT pg_try_advisory_lock($1)", lock_key(address.schema, "processes")):
        hosts = sorted({each.host for each in await present(db, address)}) or ["unknown"]
        raise Conflict(
            "records_in_use",
            f"a service runs on the records at `{address.shown}` (on {', '.join(hosts)})",
            "stop every process that uses them",
        )


async def present(db: Db, address: Address) -> tuple[Process, ...]:
    """The processes that decide on the records at `address` now, the first one first."""
    rows = await db.fetch(_PRESENT, lock_key(address.schema, "processes"))
    return tuple(_process(int(row[0]), str(row[1] or "")) for row in rows)


async def leave(db: Db | None) -> None:
    """Closes the connection, and with it gives up its lock."""
    if db is None:
        return
    try:
        await db.close(timeout=2)
    except (*FAILURES, asyncio.CancelledError):
        db.terminate()


def unavailable(address: Address, error: BaseException) -> Unavailable:
    """The refusal when the database does not answer, or not to this role."""
    return Unavailable(
        "storage_unavailable",
        f"can't use the database at `{address.shown}`: {describe(error)}",
        advice(error),
    )


def _process(pid: int, name: str) -> Process:
    match = _NAME.fullmatch(name)
    return Process(pid, match[3], match[1], match[2]) if match else Process(pid, "unknown", "", "")
