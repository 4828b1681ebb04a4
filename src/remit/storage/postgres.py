"""PostgreSQL storage: many processes decide and append on one database (docs/design/storage.md).

Each process takes batches of what waits, one after the other:

1. What the works need is known: what they said, what earlier runs lacked, the streams of the ids that they name.
2. Streams that are not in memory are read, without locks.
3. BEGIN. The streams are locked in one order for everybody: exclusively where something may be appended, else shared.
4. Then their heads are read, what others appended since is applied, and the database's clock is read.
5. Each work runs alone; its entries are numbered, linked and taken into the world. A work that turns out to need more
   is put back for the next batch.
6. All entries are inserted, COMMIT, and then everybody is answered.

Works that promise nothing (probes, listings) run beside this on the same world, without locks: their streams are
compared with the database and brought up to date first.

Whatever fails in 3 to 6 answers `Unavailable` to the batch, and the touched streams are forgotten: they are read again
before anything is decided on them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

import asyncpg

from remit.core import bounds
from remit.core.clock import Clock
from remit.core.errors import Unavailable
from remit.decide.sequence import NOTHING_KNOWN, Kept, Needs, Unreadable, Wanted, Work
from remit.decide.world import ADMINISTRATION, EVERYBODY, World
from remit.storage import postgres_erasing
from remit.storage.postgres_draft import CALL, EVERYTHING, Draft
from remit.storage.postgres_hand import RUNS, Hand, Job, NotAtHand, is_key, is_stream
from remit.storage.postgres_link import FAILURES, Db, Link, advice, describe, is_lost, is_transient, refusal
from remit.storage.postgres_reach import Reach
from remit.storage.postgres_schema import lock_key, prepare
from remit.storage.postgres_state import Followed
from remit.storage.sealing import Vault
from remit.storage.spent import Spent

log = logging.getLogger("remit.storage")

T = TypeVar("T")

BATCH: Final = 128
QUEUE: Final = 20_000
PAGE: Final = 1_000  # records of one stream that are fetched at once
NAMES: Final = 2_000  # streams that are asked for at once
ATTEMPTS: Final = 3  # of one batch, where the database says that it may be tried again
LEASE_MS: Final = 10_000  # sessions that are due are given to one process for so long
BUSY_SECONDS: Final = 0.5  # of deciding in one batch, while it holds locks; then it commits what it has
LOOK_SECONDS: Final = 0.5  # what no notification told is found after this
CLOSE_SECONDS: Final = 10.0
REMEMBERED: Final = 10_000  # sessions of which is known what else their works read
OLD_MS: Final = 86_400_000  # processes that wrote nothing for so long are forgotten

_ENTER: Final = "SELECT * FROM enter($1, $2, $3, $4, $5, $6)"
_FIND: Final = "SELECT key, stream FROM records WHERE key = ANY($1::text[])"
_SEEN: Final = "SELECT coalesce(sum(lives), 0)::bigint, coalesce(max(t), 0)::bigint FROM processes"
_REGISTER: Final = """
    WITH gone AS (
        DELETE FROM processes WHERE t < (SELECT max(t) FROM processes) - $3 RETURNING lives
    ) INSERT INTO processes SELECT $1, $2, 0, coalesce(sum(lives), 0) FROM gone
"""
_CLAIM: Final = """
    UPDATE streams SET due = found.now + $3 FROM (
        SELECT name AS due_name, c.now FROM streams, (
            SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
        ) c WHERE due <= c.now ORDER BY due LIMIT $2 FOR UPDATE OF streams SKIP LOCKED
    ) found WHERE name = due_name RETURNING name
"""


class PostgresStore:
    """The records of one installation in a PostgreSQL database, one of many sequencers that write it.

    It belongs to the event loop that opened it; other loops may call `run`.
    """

    def __init__(self, url: str, trust_domain: str, schema: str, clock: Clock | None) -> None:
        self._td = trust_domain
        self._schema = schema
        self._clock = clock  # tests have one; else the database's counts
        self._id = secrets.token_hex(8)
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._writer = Link(url, schema, "remit")
        self._reader = Link(url, schema, "remit reader", self._listen)
        self._reading = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._state = Followed()
        self._reach = Reach(self._state)
        self.world = World(self._state.replay, self._reach.find, access=self._reach)
        self._state.world = self.world
        self._writes: deque[Job] = deque()
        self._reads: deque[Job] = deque()
        self._wanted = {True: asyncio.Event(), False: asyncio.Event()}
        self._look = asyncio.Event()
        self._told: set[str] = set()
        self._also: OrderedDict[str, set[str]] = OrderedDict()  # by session: what its works read beside what they say
        self._texts: dict[str, str] = {}
        self._kept: set[str] = set()
        self._latest = 0  # ms; no time that this process has seen is later
        self._seen = 0  # changes of identities, of all processes
        self._lives_of = 0  # the connection from which identities were read
        self._is_writing = False
        self._may_be_committed = False
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._spent = Spent()
        self._vault = Vault(lambda _: None)  # they are fetched before
        self._commits = 0
        self._failed_commits = 0

    @classmethod
    async def open(cls, url: str, trust_domain: str, *, schema: str = "remit", clock: Clock | None = None) -> Self:
        """Connects; makes schema and tables where there are none. Raises as `remit.storage.port.Store` says.

        `clock` stands in for the database's; for tests.
        """
        store = cls(url, trust_domain, schema, clock)
        try:
            db = await store._writer.get()
            await prepare(db, schema, trust_domain)
            await db.execute(_REGISTER, store._id, store._name, OLD_MS)
            store._kept.update(row[0] for row in await db.fetch("SELECT digest FROM texts"))
            await store._renew_lives(db)
            await store._reader.get()
        except (*FAILURES, Unavailable) as error:
            await store._disconnect()
            cause = error.__cause__
            if isinstance(error, Unavailable) and cause is None:
                raise
            cause = cause or error
            message = f"can't open the records in PostgreSQL: {describe(cause)}"
            raise Unavailable("storage_unavailable", message, advice(cause)) from error
        except BaseException:
            await store._disconnect()
            raise
        lanes = (store._lane(writes=True), store._lane(writes=False), store._follow())
        store._tasks = [asyncio.create_task(lane) for lane in lanes]
        return store

    def gauges(self) -> dict[str, float]:
        """What an operator watches: how many works wait, how commits went since the start, where their time went."""
        waiting = len(self._writes) + len(self._reads)
        commits = {"queue_depth": waiting, "commits": self._commits, "failed_commits": self._failed_commits}
        return {**commits, **self._spent.gauges()}

    async def run(self, work: Work[T], needs: Needs = NOTHING_KNOWN) -> T:
        """Runs `work` in order with all other processes' and returns its answer after its entries are durable."""
        if asyncio.get_running_loop() is not self._loop:
            there = asyncio.run_coroutine_threadsafe(self.run(work, needs), self._loop)
            return await asyncio.wrap_future(there)
        if self._closed:
            raise Unavailable("storage_closed", "the service is stopping", "try again when it runs")
        if len(self._writes) + len(self._reads) >= QUEUE:
            raise Unavailable("queue_full", "too many requests are waiting to be decided", "slow down and retry")
        future: asyncio.Future[T] = self._loop.create_future()
        self._put(Job(work, needs, future))
        return await future

    async def kept(self, wanted: Wanted) -> Kept:
        """As `Sequencer.kept`."""
        if asyncio.get_running_loop() is not self._loop:
            there = asyncio.run_coroutine_threadsafe(self.kept(wanted), self._loop)
            return await asyncio.wrap_future(there)
        async with self._reading:
            try:
                return await postgres_erasing.find(
                    await self._reader.get(), wanted, lock_key(self._schema, "retention")
                )
            except FAILURES as error:
                self._reader.discard()
                raise refusal(error) from error

    def keep_text(self, digest: str, text: str) -> None:
        """Keeps a text under its digest; it becomes durable with the next commit."""
        if digest not in self._kept:
            self._texts[digest] = text

    def renew(self, streams: Iterable[str]) -> None:
        """As `Sequencer.renew`."""
        self._state.forget(streams)

    async def close(self) -> None:
        """Finishes what is waiting, and ends the connections."""
        if self._closed:
            return
        self._closed = True
        for event in (*self._wanted.values(), self._look):
            event.set()
        _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if waiting := [*self._writes, *self._reads]:
            self._refuse(waiting, Unavailable("storage_closed", "the service is stopping", "try again when it runs"))
        await self._disconnect()

    async def _disconnect(self) -> None:
        await self._writer.close()
        await self._reader.close()

    # --- lanes: one for works that append, one for works that promise nothing -------------------------------

    def _put(self, job: Job, *, first: bool = False) -> None:
        queue = self._writes if job.writes else self._reads
        (queue.appendleft if first else queue.append)(job)
        self._wanted[job.writes].set()

    async def _lane(self, *, writes: bool) -> None:
        queue, wanted = (self._writes if writes else self._reads), self._wanted[writes]
        while queue or not self._closed:
            if not queue:
                wanted.clear()
                await wanted.wait()
                continue
            jobs = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            try:
                await (self._write(jobs) if writes else self._read(jobs))
            except BaseException as error:
                self._refuse([job for job in jobs if not job.answered], error)
                if not isinstance(error, Exception):
                    raise

    async def _write(self, jobs: list[Job]) -> None:
        """One batch; tried again where nothing of it can have happened."""
        for attempt in range(1, ATTEMPTS + 1):
            self._is_writing = True
            self._may_be_committed = False
            draft: Draft | None = None
            try:
                self._spent.begin(len(jobs))
                db = await self._writer.get()
                await self._prepare(db, jobs)
                self._spent.done("prepare")
                hand = Hand.of(jobs, writes=True)
                await self._enter(db, hand)
                self._spent.done("lock")
                draft = Draft(self._td, hand, self._now(hand))
                waiting = self._run(jobs, hand, draft)
                self._spent.done("decide")
                await self._commit(db, draft)
                self._spent.done("commit")
            except BaseException as error:
                await self._give_up(draft, error)
                again = is_transient(error) or (is_lost(error) and not self._may_be_committed and attempt == 1)
                if attempt == ATTEMPTS or not again:
                    raise
                log.warning("a batch of %d is tried again: %s", len(jobs), describe(error))
                jobs = [job for job in jobs if job.recorded or not job.answered]
            else:
                self._state.trim()
                self._answer(waiting)
                return
            finally:
                self._is_writing = False

    async def _give_up(self, draft: Draft | None, error: BaseException) -> None:
        """Leaves nothing of a batch in the state, and no transaction behind."""
        self._vault.clear()  # some of its keys may not be stored, or be erased
        if draft is not None:
            # SECURITY: what may not be in the records is not decided on.
            self._state.forget(draft.streams)
            self._seen = -1  # so that forgotten identities are read again
        self._look.set()
        if is_lost(error) or not isinstance(error, asyncpg.PostgresError | Unavailable):
            self._writer.discard()
        else:
            await self._writer.rollback()

    # --- 1 and 2: what the works need -----------------------------------------------------------------------

    async def _prepare(self, db: Db, jobs: list[Job]) -> None:
        if self._lives_of != self._writer.made:
            # It may be another server, which some commits have not reached.
            self._state.forget_lives()
            await self._renew_lives(db)
        await self._give_due(db, jobs)
        await self._locate(db, jobs)
        for job in jobs:
            for stream in [*job.reads, *job.appends]:
                job.reads |= self._also.get(stream, set())
        cold = {stream for job in jobs for stream in (*job.reads, *job.appends) if not self._state.holds(stream)}
        if names := sorted(stream for stream in cold if is_stream(stream)):
            await self._bring(db, Hand(writes=False), names)

    async def _renew_lives(self, db: Db) -> None:
        """Reads all identities and administration."""
        row = await db.fetchrow(_SEEN)
        self._seen = row[0] if row else 0
        hand = Hand(writes=False, everybody=True)
        await self._bring(db, hand, [ADMINISTRATION, *self._state.identities()])
        self._latest = max(self._latest, hand.latest)
        self._lives_of = self._writer.made

    async def _give_due(self, db: Db, jobs: list[Job]) -> None:
        """Takes sessions that are due, for the works that ask for them; no two processes get the same."""
        for job in jobs:
            if job.due and job.given is None:
                now = self._clock() if self._clock else None
                rows = await db.fetch(_CLAIM, now, job.due, LEASE_MS)
                found = [row[0].removeprefix("session/") for row in rows]
                job.given = list(dict.fromkeys([*found, *self._reach.given_back(now or self._latest)]))
                job.appends.update(f"session/{root}" for root in job.given)

    async def _locate(self, db: Db, jobs: list[Job]) -> None:
        """The streams of the records that works name by their ids."""
        asked: set[str] = set()
        for job in jobs:
            for key in job.keys:
                if root := self.world.remembered(key):
                    job.found[key] = f"session/{root}"
                elif key not in job.found and is_key(key):
                    asked.add(key)
        found = {row[0]: row[1] for row in await db.fetch(_FIND, sorted(asked))} if asked else {}
        for job in jobs:
            for key in job.keys:
                stream = job.found.setdefault(key, found.get(key))
                if stream is not None and stream.startswith("session/"):
                    job.appends.add(stream)

    # --- 3 and 4: locks, and what others appended -----------------------------------------------------------

    async def _enter(self, db: Db, hand: Hand) -> None:
        """Locks what is in the hand, and brings it up to date."""
        names = sorted({*hand.streams, *(self._state.identities() if hand.everybody else ())})
        locks: dict[int, bool] = {}
        for name, exclusive in hand.locks().items():
            key = lock_key(self._schema, name)
            locks[key] = locks.get(key, False) or exclusive
        await db.execute("BEGIN")
        await self._bring(db, hand, names, dict(sorted(locks.items())))

    async def _bring(self, db: Db, hand: Hand, names: list[str], locks: dict[int, bool] | None = None) -> None:
        """Brings streams up to date, page by page; with locks, under them. Reads the time in any case."""
        locked = hand.streams if locks else set()
        keys, exclusive, everybody = list(locks or {}), list((locks or {}).values()), hand.everybody
        behind: set[str] = set()
        while True:
            asked = {name: self._state.known(name) for name in names[:NAMES]}
            rows = await db.fetch(_ENTER, keys, exclusive, list(asked), list(asked.values()), everybody, PAGE)
            behind |= self._state.take(rows, asked, hand, locked)
            keys, exclusive, everybody, names = [], [], False, names[NAMES:]
            if not names:
                names, behind = sorted(behind), set()
            if not names:
                return

    def _now(self, hand: Hand) -> int:
        """The time of a batch: the database's, and never before that of a batch that was committed before it."""
        latest = max(self._latest, hand.latest)
        now = self._clock() if self._clock else hand.clock
        if now < latest - bounds.CLOCK_BACK_MS:
            # SECURITY: a clock set back would reopen expired permits, tasks and windows.
            log.critical("ALARM the clock moved back by %d ms", latest - now)
            raise Unavailable(
                "clock_moved_back",
                "the clock moved back by more than 2 s",
                "set the clock of the database's host right",
            )
        self._latest = max(now, latest)
        return self._latest

    # --- 5: decide ------------------------------------------------------------------------------------------

    def _run(self, jobs: list[Job], hand: Hand, draft: Draft) -> list[Job]:
        """Runs the works in their order; returns those that wait for the commit."""
        durable: list[Job] = []
        at_once: list[Job] = []
        now = self._latest
        enough = self._loop.time() + BUSY_SECONDS
        with self._reach.within(hand):
            for position, job in enumerate(jobs):
                if position and self._loop.time() > enough:
                    for late in reversed(jobs[position:]):
                        self._put(late, first=True)
                    break
                self._reach.runs(job)
                try:
                    step = job.work(self.world, now)
                    numbered = draft.number(step.entries)
                except NotAtHand as missing:
                    self._again(job, missing)
                    continue
                except Unreadable:
                    raise
                except Exception as error:  # noqa: BLE001 - handed to the pipeline, which alone turns it into a deny
                    job.result = error
                    at_once.append(job)
                    continue
                draft.add(numbered, self.world)
                for root in job.given or ():
                    draft.look(f"session/{root}")
                job.result = step.answer
                job.recorded = bool(numbered)
                (durable if step.durable else at_once).append(job)
        self._answer(at_once)
        return durable

    def _again(self, job: Job, missing: NotAtHand) -> None:
        """Puts a work back with what it lacked."""
        job.runs += 1
        if job.runs >= RUNS:
            log.critical("ALARM a work still lacks %s after %d runs", missing.reads or missing.appends, job.runs)
            self._refuse([job], missing)
            return
        for stream in (*job.appends, *job.reads):
            if stream.startswith("session/") and missing.reads:
                self._also.setdefault(stream, set()).update(each for each in missing.reads if each != EVERYBODY)
                if len(self._also) > REMEMBERED:
                    self._also.popitem(last=False)
        job.lacks(missing)
        self._put(job, first=True)

    # --- 6: commit and answer -------------------------------------------------------------------------------

    async def _commit(self, db: Db, draft: Draft) -> None:
        texts, self._texts = self._texts, {}
        try:
            if not draft and not texts:
                await db.execute("ROLLBACK")
                return
            draft.schedule(self.world)
            self._state.advance(draft.heads())
            await self._fetch_keys(db, draft)
            gone = await db.fetchval(CALL, *draft.arguments(self._id, self._name, self._schema, texts, self._vault))
            self._may_be_committed = True
            self._spent.done("append")
            await db.execute("COMMIT")
        except BaseException:
            self._texts = texts | self._texts
            raise
        self._commits += 1
        self._kept.update(texts)
        self._vault.forget(gone)
        for each in draft.erased():
            self._state.renew(stream for stream, _, _ in each.openings)

    async def _fetch_keys(self, db: Db, draft: Draft) -> None:
        """Looks for keys of subjects that this process has not sealed for yet."""
        if names := sorted(name for name in draft.subjects() if not self._vault.holds(name)):
            for name, keys in (await postgres_erasing.keys_of(db, names)).items():
                self._vault.know(name, *keys[0])

    def _answer(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            job.answered = True
            if job.future.done():
                continue
            if isinstance(job.result, StopIteration):
                job.future.set_exception(RuntimeError("a work ended as an iterator does"))  # futures can't hold it
            elif isinstance(job.result, BaseException):
                job.future.set_exception(job.result)
            else:
                job.future.set_result(job.result)

    def _refuse(self, jobs: list[Job], error: BaseException) -> None:
        """Answers that nothing is permitted; the state holds nothing of what they did."""
        known = isinstance(error, Unavailable) and not isinstance(error, Unreadable)
        log.critical("ALARM %d requests are refused: %s", len(jobs), describe(error), exc_info=None if known else error)
        self._failed_commits += 1
        for job in jobs:
            job.result = error if known else refusal(error)
        self._answer(jobs)

    # --- works that promise nothing -------------------------------------------------------------------------

    async def _read(self, jobs: list[Job]) -> None:
        """Runs works on streams that are as the database has them now, or further."""
        hand = Hand.of(jobs, writes=False)
        names = sorted({*hand.streams, *(self._state.identities() if hand.everybody else ())})
        try:
            await self._ask(hand, names)
        except Exception as error:
            if not is_lost(error):
                raise
            await self._ask(hand, names)
        now = self._now(hand)
        answered = []
        with self._reach.within(hand):
            for job in jobs:
                self._reach.runs(job)
                try:
                    step = job.work(self.world, now)
                    if step.durable or step.entries:
                        raise NotAtHand(appends=[entry.stream for entry in step.entries], writes=True)
                    job.result = step.answer
                except NotAtHand as missing:
                    self._again(job, missing)
                    continue
                except Exception as error:  # noqa: BLE001 - handed to the pipeline, which alone turns it into a deny
                    job.result = error
                answered.append(job)
        if not self._is_writing:
            self._state.trim()
        self._answer(answered)

    async def _ask(self, hand: Hand, names: list[str]) -> None:
        """Brings streams up to date over the connection that reads."""
        async with self._reading:
            try:
                await self._bring(await self._reader.get(), hand, names)
            except BaseException as error:
                if is_lost(error) or not isinstance(error, asyncpg.PostgresError | Unavailable):
                    self._reader.discard()
                raise

    # --- what others did ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Keeps identities current: told by notifications, and by looking where one was lost."""
        is_blind = False
        while not self._closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), LOOK_SECONDS)
            self._look.clear()
            try:
                await self._catch_up()
                is_blind = False
            except Exception as error:  # noqa: BLE001 - it is tried again
                if not is_blind:
                    log.warning("what other processes did can't be read: %s", describe(error))
                is_blind = True

    async def _catch_up(self) -> None:
        async with self._reading:
            db = await self._reader.get()
            try:
                row = await db.fetchrow(_SEEN)
            except FAILURES:
                self._reader.discard()
                raise
        seen = row[0] if row else 0
        told, self._told = self._told, set()
        everybody = seen != self._seen or EVERYTHING in told
        names = [name for name in sorted(told) if self._state.holds(name)]
        if everybody:
            names = sorted({*names, ADMINISTRATION, *self._state.identities()})
        self._seen = seen
        if names or everybody:
            try:
                await self._ask(Hand(writes=False, everybody=everybody), names)
            except BaseException:
                self._seen = -1
                raise

    async def _listen(self, db: Db) -> None:
        """For each connection that reads; what was said before is looked for."""
        await db.add_listener(self._schema, self._hear)
        self._seen = -1

    def _hear(self, _db: Any, _pid: int, _channel: str, payload: Any) -> None:
        """A notification says where to look, and nothing else."""
        names = str(payload).split("\n")
        self._told.update(names if len(self._told) + len(names) < NAMES else (EVERYTHING,))
        self._look.set()
