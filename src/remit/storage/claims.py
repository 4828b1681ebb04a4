"""Which proofs were used, remembered for all processes that are reached by one name.

A proof names the origin that it is for (RFC 9449). Where processes have origins of their own, each remembers its own
proofs and that is enough. Behind one name, such as that of a load balancer, a proof that somebody saw could be used
once at each of them within its thirty seconds; so each proof is also claimed in the database, by whoever is first.

Claims of requests that come together are one statement. The table is not logged: what a crash of the database forgets,
and what happens while it is away, is refused as too old (`on_lost`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from remit.core.errors import Unauthenticated, Unavailable
from remit.storage.address import Address
from remit.storage.postgres_link import FAILURES, Db, advice, describe
from remit.storage.presence import connect, leave

log = logging.getLogger("remit.storage")

KEPT_MS: Final = 120_000  # longer than any proof is accepted, with clocks that differ
BATCH: Final = 256
WAITING: Final = 20_000
CLEAN_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 3.0

_CLAIM: Final = """
    INSERT INTO proofs (mark, until) SELECT mark, $2 FROM unnest($1::bytea[]) AS mark
    ON CONFLICT (mark) DO NOTHING RETURNING mark
"""
_CLEAN: Final = "DELETE FROM proofs WHERE until < floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


class PostgresClaims:
    """The proofs that were used at any process; `open`, then `close`."""

    def __init__(self, address: Address, on_lost: Callable[[], None]) -> None:
        """`on_lost` is called before a claim is taken on a new connection: what came before may be forgotten."""
        self._address = address
        self._on_lost = on_lost
        self._db: Db | None = None
        self._waiting: deque[tuple[bytes, int, asyncio.Future[bool]]] = deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._cleaned = 0.0

    async def open(self) -> None:
        """Begins to take claims."""
        self._task = asyncio.create_task(self._take())

    async def close(self) -> None:
        """Takes no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._refuse(
            [future for _, _, future in self._waiting], Unavailable("storage_closed", "the service is stopping")
        )
        await leave(self._db)

    async def use(self, mark: bytes, now: int) -> None:
        """Claims the proof with this mark (its digest) at `now` (ms).

        Raises `Unauthenticated("proof_replayed")` where another request did before, at whichever process, and
        `Unavailable("storage_unavailable")` while that can't be said.
        """
        if len(self._waiting) >= WAITING:
            raise Unavailable("queue_full", "too many requests are waiting to be decided", "slow down and retry")
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((mark, now, future))
        self._wanted.set()
        # SECURITY: what can't be remembered is not accepted.
        if not await future:
            raise Unauthenticated("proof_replayed", "the proof was used before", "make a fresh proof for each request")

    async def _take(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(0)  # with what is ready in this turn
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._wanted.clear()
            futures = [future for _, _, future in batch]
            try:
                db = await self._connected()
                marks = list({mark: None for mark, _, _ in batch})
                rows = await db.fetch(_CLAIM, marks, max(now for _, now, _ in batch) + KEPT_MS)
                await self._clean(db)
            except FAILURES as error:
                log.critical("ALARM used proofs can't be remembered, so none is accepted: %s", describe(error))
                await leave(self._db)
                self._db = None
                message = "the proof could not be remembered, so it is not accepted"
                self._refuse(futures, Unavailable("storage_unavailable", message, advice(error)))
                continue
            except BaseException:
                self._refuse(futures, Unavailable("storage_closed", "the service is stopping"))
                raise
            claimed = {bytes(row[0]) for row in rows}
            for mark, _, future in batch:
                if not future.done():
                    future.set_result(mark in claimed)
                claimed.discard(mark)  # the second of two in one batch is a repetition

    async def _clean(self, db: Db) -> None:
        """Forgets, now and then, what is too old to be accepted anyway."""
        now = asyncio.get_running_loop().time()
        if now > self._cleaned + CLEAN_SECONDS:
            self._cleaned = now
            await db.execute(_CLEAN)

    async def _connected(self) -> Db:
        if self._db is None or self._db.is_closed():
            db = await connect(self._address, seconds=ANSWER_SECONDS)
            await db.execute("SET synchronous_commit = off")
            self._on_lost()
            self._db = db
        return self._db

    def _refuse(self, futures: list[asyncio.Future[bool]], error: Unavailable) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(error)
