"""One connection to PostgreSQL that is replaced when it is lost, and what to say when there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg import exceptions

from remit.core.errors import Unavailable

log = logging.getLogger("remit.storage")

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_SECONDS: Final = 3.0
IDLE_SECONDS: Final = 3.0  # a process that stops in the middle of a batch has lost its locks after this
LOCK_SECONDS: Final = 5.0  # longer than that, so that the others wait for it and go on
STATEMENT_SECONDS: Final = 6.0
ANSWER_SECONDS: Final = 8.0  # a server that does not answer at all is given up
CLOSE_SECONDS: Final = 2.0
ALARM_SECONDS: Final = 30.0  # between alarms about one outage
AGAIN_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)  # between attempts to connect; the last one from then on

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    exceptions.OperatorInterventionError,
    exceptions.IdleInTransactionSessionTimeoutError,
    OSError,
    EOFError,
)
# The database says that nothing of the transaction happened, and that it may be tried again at once.
_TRANSIENT: Final = (exceptions.SerializationError, exceptions.DeadlockDetectedError, exceptions.UniqueViolationError)
_NOT_LOCKED: Final = "RM001"  # raised by `append`
_ERASED: Final = "RM002"  # likewise: a key was erased by somebody else; another one is taken

_MESSAGE: Final = "the record could not be stored, so nothing is permitted"


class Link:
    """A connection for one thing at a time. Whoever finds it broken calls `discard`; the next `get` makes another.

    `greet` is called with each connection before it is used.
    """

    def __init__(
        self, url: str, schema: str, application: str, greet: Callable[[Db], Awaitable[None]] | None = None
    ) -> None:
        self._url = url
        self._schema = schema
        self._application = application
        self._greet = greet
        self._db: Db | None = None
        self._failed = 0
        self._not_before = 0.0
        self._quiet_until = 0.0
        self._why = Unavailable("storage_unavailable", _MESSAGE)
        self.made = 0  # connections so far: whoever has state from an earlier one compares it

    async def get(self) -> Db:
        """The connection, or a new one; `Unavailable` when there is none, at once while the last attempt is young."""
        if self._db is not None and not self._db.is_closed():
            return self._db
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            raise self._why
        try:
            self._db = await self._connect()
            if self._greet is not None:
                await self._greet(self._db)
        except (*FAILURES, ValueError) as error:
            self.discard()
            pause = AGAIN_SECONDS[min(self._failed, len(AGAIN_SECONDS) - 1)]
            self._failed += 1
            self._not_before = loop.time() + pause
            self._why = refusal(error)
            if loop.time() >= self._quiet_until:
                self._quiet_until = loop.time() + ALARM_SECONDS
                log.critical("ALARM no connection to the database: %s", describe(error))
            raise self._why from error
        self._failed = 0
        self.made += 1
        return self._db

    def discard(self) -> None:
        """Ends the connection without a word; what was under way on it is rolled back, or was committed."""
        if self._db is not None:
            self._db.terminate()
            self._db = None

    async def rollback(self) -> None:
        """Ends the transaction under way; where that fails, the connection."""
        try:
            if self._db is not None and self._db.is_in_transaction():
                await self._db.execute("ROLLBACK")
        except FAILURES:
            self.discard()

    async def close(self) -> None:
        """Ends the connection."""
        db, self._db = self._db, None
        if db is not None:
            try:
                await db.close(timeout=CLOSE_SECONDS)
            except FAILURES:
                db.terminate()

    async def _connect(self) -> Db:
        settings = {
            "application_name": self._application,
            "search_path": self._schema,
            # SECURITY: no record, no permit; a commit is on the disk when it is answered, whatever the role has set.
            "synchronous_commit": "on",
            # SECURITY: heads are read after the locks are had, so each statement needs a snapshot of its own.
            "default_transaction_isolation": "read committed",
            "idle_in_transaction_session_timeout": _ms(IDLE_SECONDS),
            "lock_timeout": _ms(LOCK_SECONDS),
            "statement_timeout": _ms(STATEMENT_SECONDS),
            # Every statement is a look-up by key; a plan made while a table was empty must not scan it later.
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "jit": "off",
        }
        more: dict[str, Any] = {}
        if "target_session_attrs" not in self._url:
            # Of several hosts, the one that can be written to: after a failover another one.
            more["target_session_attrs"] = "read-write"
        return await asyncpg.connect(
            self._url, timeout=CONNECT_SECONDS, command_timeout=ANSWER_SECONDS, server_settings=settings, **more
        )


def is_lost(error: BaseException) -> bool:
    """Whether it ended the connection, or says that another one should be tried."""
    cancelled = isinstance(error, exceptions.QueryCanceledError)
    return (isinstance(error, _LOST) and not cancelled) or isinstance(error, exceptions.ReadOnlySQLTransactionError)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may be tried again at once: nothing of it happened."""
    return isinstance(error, _TRANSIENT) or getattr(error, "sqlstate", "") in (_NOT_LOCKED, _ERASED)


def refusal(error: BaseException) -> Unavailable:
    """What everybody who waited is told."""
    return Unavailable("storage_unavailable", _MESSAGE, advice(error))


def describe(error: BaseException) -> str:
    """The error for the log."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def advice(error: BaseException) -> str:
    """What an operator can do."""
    for kinds, text in _ADVICE:
        if isinstance(error, kinds):
            return text
    return "look at the service's log; it recovers by itself when storage answers again"


_ADVICE: Final[tuple[tuple[Any, str], ...]] = (
    (exceptions.DiskFullError, "the database's disk is full: free space; the service recovers by itself"),
    (
        (exceptions.ReadOnlySQLTransactionError, exceptions.TargetServerAttributeNotMatched),
        "the database is read-only: make it writable, or name its primary; the service recovers by itself",
    ),
    (
        (
            exceptions.LockNotAvailableError,
            exceptions.QueryCanceledError,
            exceptions.IdleInTransactionSessionTimeoutError,
        ),
        "a process held what this one waited for: look whether one hangs; the service recovers by itself",
    ),
    (exceptions.OutOfMemoryError, "raise `max_locks_per_transaction` in the database's settings"),
    (
        (exceptions.InvalidAuthorizationSpecificationError, exceptions.InvalidCatalogNameError),
        "check the role, its password and the database's name in `[storage]`",
    ),
    (exceptions.InsufficientPrivilegeError, "give the role the right to create the schema, or create it for the role"),
    (
        (OSError, TimeoutError, exceptions.PostgresConnectionError, exceptions.OperatorInterventionError),
        "check that the database runs and can be reached; the service recovers by itself",
    ),
)


def _ms(seconds: float) -> str:
    return f"{int(seconds * 1000)}ms"
