"""SQLite storage: one sequencer decides in order, appends a batch, commits, then answers.

It takes turns in the event loop of whoever asks, after everything else that is ready: what arrives together is decided
and committed together, and a single question costs no switch to another thread.

1. Take what is waiting, at most `BATCH` works.
2. Read the time; run each work alone; take its entries into the world; number and link them.
3. Insert all entries and commit (WAL, synchronous=FULL). Entries that nobody waits for, such as outcomes that were
   answered once they were in order, wait a moment for the next batch and share its commit.
4. Answer.

Whatever fails in 2 or 3 answers `Unavailable` to the batch and puts the state of the touched streams back to what the
database says; until that has succeeded, nothing is decided.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from remit.core import bounds
from remit.core.clock import Clock, system_clock
from remit.core.errors import RemitError, Unavailable
from remit.decide.histories import History
from remit.decide.sequence import NOTHING_KNOWN, Entry, Erased, Kept, Needs, Step, Unreadable, Wanted, Work
from remit.decide.world import LIFE_KINDS, Replayed, World
from remit.ledger.record import decode_record, encode_record, leaf_hash
from remit.storage import schema, sqlite_erasing
from remit.storage.lock import FolderLock
from remit.storage.reveal import reveal
from remit.storage.sealing import Sealed, Vault, owner_of
from remit.storage.soundness import damaged

log = logging.getLogger("remit.storage")

T = TypeVar("T")

BATCH: Final = 128
QUEUE: Final = 20_000
HEADS: Final = 100_000  # streams whose last record is known without a look
DEFER_SECONDS: Final = 0.01  # entries that nobody waits for are committed with the next batch, or after this

# number, leaf hash and time (ms) of a stream's last record
Head = tuple[int, str, int]


@dataclass(slots=True)
class _Uncommitted:
    """What was taken into the world since the last commit."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    openings: list[Sealed] = field(default_factory=list)
    erased: list[Erased] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


class _Inconsistent(Exception):
    """A record that the state can't take: a bug, or a database that was changed from outside."""


class _Job:
    __slots__ = ("answered", "future", "loop", "result", "work")

    def __init__(self, work: Work[Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self.work = work
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.answered = False


class SqliteStore:
    """The records of one installation in one SQLite database, and the only sequencer that writes it.

    Opening takes an exclusive lock beside the database: a second sequencer is refused with `Conflict`.
    """

    def __init__(self, path: Path, trust_domain: str, clock: Clock = system_clock) -> None:
        self._path = path
        self._td = trust_domain
        self._clock = clock
        self._lock = FolderLock(path.with_suffix(".lock"))
        self._jobs: deque[_Job] = deque()
        self._texts: dict[str, str] = {}
        self._kept: set[str] = set()
        self._guard = threading.Lock()  # for what callers of several loops share
        self._turns = threading.Lock()  # SECURITY: one turn at a time is the order of decisions
        self._scheduled: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._deferred = False
        self._closed = False
        self._heads: dict[str, Head] = {}
        self._pending: set[str] = set()
        self._uncommitted = _Uncommitted()
        self._stale: set[str] = set()  # streams whose state must be read again before anything is decided
        self._is_broken = False  # the connection: to be replaced
        self._commits = 0
        self._failed_commits = 0
        self._vault = Vault(lambda subject: sqlite_erasing.newest_key(self._db, subject))
        self._noted: set[tuple[int, str]] = set()  # keys and streams of which storage knows that they go together
        self._remains = False  # of what was erased, in the WAL
        db: sqlite3.Connection | None = None
        try:
            self._db = db = self._connect()
            row = db.execute("SELECT t FROM records ORDER BY seq DESC LIMIT 1").fetchone()
            self._last = int(row[0]) if row else 0
            self.world = World(self._replay, self._find, self._last)
            self.world.dumps = self
            self._load()
        except BaseException as error:
            if db is not None:
                db.close()
            self._lock.release()
            if isinstance(error, sqlite3.Error):
                raise Unavailable(
                    "storage_unavailable", f"can't open the records at `{path}`: {error}", _advice(error)
                ) from error
            if isinstance(error, Exception) and not isinstance(error, RemitError):
                raise damaged(f"they do not make a state ({type(error).__name__})") from error
            raise

    @classmethod
    async def open(cls, path: Path, trust_domain: str, clock: Clock = system_clock) -> Self:
        """The store at `path`; made when there is none."""
        return cls(path, trust_domain, clock)

    def gauges(self) -> dict[str, int]:
        """What an operator watches: how many works wait, and how commits went since the start."""
        return {"queue_depth": len(self._jobs), "commits": self._commits, "failed_commits": self._failed_commits}

    async def run(self, work: Work[T], needs: Needs = NOTHING_KNOWN) -> T:
        """Runs `work` in the sequencer's order and returns its answer after its entries are durable.

        All streams are at hand here, so that `needs` says nothing new.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._guard:
            if self._closed:
                raise Unavailable("storage_closed", "the service is stopping", "try again when it runs")
            if len(self._jobs) >= QUEUE:
                raise Unavailable("queue_full", "too many requests are waiting to be decided", "slow down and retry")
            self._jobs.append(_Job(work, loop, future))
            if loop not in self._scheduled:
                self._scheduled.add(loop)
                # The turn comes after everything that is ready now, so that what arrived together is one batch.
                loop.call_soon(self._turn, loop)
        return await future

    async def kept(self, wanted: Wanted) -> Kept:
        """As `Sequencer.kept`."""
        with self._turns:
            if self._closed:
                raise Unavailable("storage_closed", "the service is stopping", "try again when it runs")
            self._settle([])
            try:
                return sqlite_erasing.find(self._db, wanted)
            except sqlite3.Error as error:
                raise self._unreadable(error) from error

    def keep_text(self, digest: str, text: str) -> None:
        """Keeps a text under its digest; it becomes durable with the next commit."""
        with self._guard:
            if digest not in self._kept:
                self._texts[digest] = text

    def find(self, stream: str, digest: str) -> tuple[int, bytes] | None:
        """As `Dumps.find`."""
        try:
            sql = "SELECT n, state FROM histories WHERE stream = ? AND clauses = ?"
            row = self._db.execute(sql, (stream, digest)).fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return (row[0], row[1]) if row else None

    def after(self, stream: str, number: int) -> Iterable[Replayed]:
        """As `Dumps.after`."""
        try:
            return self._read(stream, number)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def renew(self, streams: Iterable[str]) -> None:
        """As `Sequencer.renew`: the world reads for itself here."""

    async def close(self) -> None:
        """Finishes what is waiting, commits, and releases the lock."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        try:
            with self._turns:
                while batch := self._take():
                    self._process(batch)
                self._settle([])
                self._db.close()
        finally:
            self._lock.release()

    # --- the sequencer: one turn at a time ------------------------------------------------------------------

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Decides and commits what is waiting, from whichever loop; another turn follows for what is left."""
        self._scheduled.discard(loop)
        with self._turns:
            if batch := self._take():
                self._process(batch)
        with self._guard:
            if self._jobs and not self._closed and loop not in self._scheduled:
                self._scheduled.add(loop)
                loop.call_soon(self._turn, loop)
        if self._uncommitted.rows and not self._deferred:
            self._deferred = True
            loop.call_later(DEFER_SECONDS, self._settle_deferred)

    def _settle_deferred(self) -> None:
        with self._turns:
            self._deferred = False
            if not self._closed:
                self._settle([])

    def _take(self) -> list[_Job]:
        with self._guard:
            return [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]

    def _process(self, batch: list[_Job]) -> None:
        try:
            self._restore()
            self._decide(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, everybody gets an answer
            self._refuse([job for job in batch if not job.answered], error)

    def _decide(self, batch: list[_Job]) -> None:
        durable: list[_Job] = []
        at_once: list[_Job] = []
        for job in batch:
            try:
                step = job.work(self.world, self._now())
                self._append(step)
                job.result = step.answer
                (durable if step.durable else at_once).append(job)
            except (_Inconsistent, Unreadable, sqlite3.Error):
                raise
            except Exception as error:  # noqa: BLE001 - handed to the pipeline, which alone turns it into a deny
                job.result = error
                at_once.append(job)
        if at_once:
            _answer(at_once)
        if durable:
            self._settle(durable)

    def _settle(self, waiting: list[_Job]) -> None:
        """Commits what is uncommitted, and then answers those who wait for it."""
        if self._uncommitted.rows or self._texts:
            try:
                self._commit(self._uncommitted)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing of it is durable
                self._refuse(waiting, error)
                return
            erased, self._uncommitted = self._uncommitted.erased, _Uncommitted()
            self.world.trim()
            if erased:
                self._forget_erased(erased)
        _answer(waiting)
        self._truncate()

    def _forget_erased(self, erased: list[Erased]) -> None:
        """Drops erased values from memory; what is left of them in the WAL goes as soon as nobody reads it."""
        self._remains = True
        self.world.renew(stream for each in erased for stream, _, _ in each.openings)

    def _truncate(self) -> None:
        if self._remains and schema.truncate(self._db):
            self._remains = False

    def _refuse(self, jobs: list[_Job], error: Exception) -> None:
        """Nothing since the last commit happened: puts the state back and refuses everyone who waits."""
        log.critical("ALARM %d requests are refused: %s", len(jobs), error, exc_info=error)
        self._failed_commits += 1
        self._stale |= self._uncommitted.touched
        self._uncommitted = _Uncommitted()
        self._vault.clear()  # some of its keys may not be stored
        for _ in range(2):
            try:
                if not self._is_broken and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._restore()
                break
            except Exception:
                # A new connection is tried at once, and again before the next batch is decided.
                log.exception("the records can't be read")
                self._is_broken = True
        for job in jobs:
            job.result = Unavailable(
                "storage_unavailable", "the record could not be stored, so nothing is permitted", _advice(error)
            )
        _answer(jobs)

    def _restore(self) -> None:
        """Puts the state back to what the database holds, after a failure; raises while that can't be read."""
        if self._is_broken:
            self._db.close()
            self._db = self._connect()
            self._is_broken = False
        if self._stale:
            for stream in self._stale:
                self._heads.pop(stream, None)
            self.world.forget(self._stale)
            self._stale = set()

    def _now(self) -> int:
        now = self._clock()
        if now < self._last - bounds.CLOCK_BACK_MS:
            # SECURITY: a clock set back would reopen expired permits, tasks and windows.
            log.critical("ALARM the clock moved back by %d ms", self._last - now)
            raise Unavailable("clock_moved_back", "the clock moved back by more than 2 s", "set the host's clock right")
        self._last = max(now, self._last)
        return self._last

    def _append(self, step: Step[Any]) -> None:
        """Numbers and links the entries, then takes all of them into the world, or none."""
        uncommitted = self._uncommitted
        heads: dict[str, Head] = {}
        encoded: list[tuple[Entry, int, int, bytes]] = []
        for entry in step.entries:
            number, link, at = heads.get(entry.stream) or self._head(entry.stream)
            at = max(at, self._last)
            recorded = entry.body if entry.recorded is None else entry.recorded
            data = encode_record(self._td, entry.stream, number + 1, link, at, entry.kind, recorded)
            heads[entry.stream] = (number + 1, leaf_hash(data), at)
            encoded.append((entry, number + 1, at, data))
        uncommitted.touched.update(heads)
        self._heads.update(heads)
        for entry, number, at, data in encoded:
            uncommitted.rows.append((entry.stream, number, at, entry.kind, entry.key or None, data))
            if entry.erases is not None:
                uncommitted.erased.append(entry.erases)
                self._vault.forget(entry.erases.keys)
            if entry.openings:
                uncommitted.openings += self._vault.seal(owner_of(entry), entry.stream, number, entry.openings, at)
            try:
                self.world.apply(entry.stream, entry.kind, entry.body, at)
            except Exception as error:
                raise _Inconsistent(f"a {entry.kind} record does not fit the state of {entry.stream}") from error

    def _commit(self, uncommitted: _Uncommitted) -> None:
        with self._guard:
            texts, self._texts = self._texts, {}
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR IGNORE INTO texts(digest, content) VALUES (?, ?)", texts.items())
            db.executemany(
                "INSERT INTO records(stream, n, t, kind, key, bytes) VALUES (?, ?, ?, ?, ?, ?)", uncommitted.rows
            )
            noted = sqlite_erasing.put(db, self._vault.take_made(), uncommitted.openings, self._noted)
            gone = sqlite_erasing.erase(db, uncommitted.erased)
            dumped = self._dump(uncommitted)
            changed = self._pending_changes(uncommitted.touched)
            for root, pending in changed:
                sql = (
                    "INSERT OR IGNORE INTO pending(root) VALUES (?)"
                    if pending
                    else "DELETE FROM pending WHERE root = ?"
                )
                db.execute(sql, (root,))
            db.execute("COMMIT")
        except sqlite3.Error:
            with self._guard:
                self._texts = texts | self._texts
            raise
        self._commits += 1
        self._kept.update(texts)
        if uncommitted.erased or len(self._noted) > HEADS:
            self._noted = set()
        else:
            self._noted |= noted
        self._vault.forget(gone)
        if dumped is not None:
            dumped.dumped = dumped.n
        for root, pending in changed:
            (self._pending.add if pending else self._pending.discard)(root)

    def _dump(self, uncommitted: _Uncommitted) -> History | None:
        """Stores the state of one history that has grown; all that it is made of is durable with it."""
        if uncommitted.erased:
            # SECURITY: what was erased must not be left in a state that was made of it.
            self._db.execute("DELETE FROM histories")
            return None
        found = next(self.world.dumpable(), None)
        if found is None:
            return None
        stream, history = found
        sql = "INSERT OR REPLACE INTO histories (stream, clauses, n, state) VALUES (?, ?, ?, ?)"
        self._db.execute(sql, (stream, history.scope.digest, history.n, history.dump()))
        return history

    def _pending_changes(self, touched: Iterable[str]) -> list[tuple[str, bool]]:
        changes = []
        for stream in touched:
            if stream.startswith("session/"):
                root = stream[len("session/") :]
                session = self.world.session(root)
                pending = session is not None and session.is_pending()
                if pending != (root in self._pending):
                    changes.append((root, pending))
        return changes

    # --- reading --------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=64)
        self._path.chmod(0o600)
        schema.prepare(db)
        return db

    def _load(self) -> None:
        self._kept.update(digest for (digest,) in self._db.execute("SELECT digest FROM texts"))
        for stream in self._streams_of_lives():
            self.world.load(stream)
        self._pending = {root for (root,) in self._db.execute("SELECT root FROM pending").fetchall()}
        for root in self._pending:
            self.world.load("session/" + root)

    def _streams_of_lives(self) -> list[str]:
        """All streams but sessions, found by steps in the index and not by reading every record."""
        found: list[str] = []
        sql = "SELECT min(stream) FROM records WHERE stream > ? AND stream < 'session/'"
        while (name := self._db.execute(sql, (found[-1] if found else "",)).fetchone()[0]) is not None:
            found.append(name)
        return found

    def _head(self, stream: str) -> Head:
        head = self._heads.get(stream)
        if head is None:
            sql = "SELECT n, bytes, t FROM records WHERE stream = ? ORDER BY n DESC LIMIT 1"
            row = self._db.execute(sql, (stream,)).fetchone()
            head = (row[0], leaf_hash(row[1]), row[2]) if row else (0, "", 0)
            if len(self._heads) >= HEADS:
                # SECURITY: what is not committed yet stands nowhere else; a second head of it would end the batch.
                touched = self._uncommitted.touched
                self._heads = {name: head for name, head in self._heads.items() if name in touched}
            self._heads[stream] = head
        return head

    def _replay(self, stream: str) -> list[Replayed]:
        """A stream's records as state takes them; of an identity's, only those that state follows from."""
        try:
            return self._read(stream)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _read(self, stream: str, after: int = 0) -> list[Replayed]:
        opened: dict[int, list[tuple[str, bytes]]] = {}
        for n, (path, _, value) in sqlite_erasing.openings(self._db, stream):
            opened.setdefault(n, []).append((path, value))
        found = []
        sql = "SELECT n, bytes FROM records WHERE stream = ? AND n > ?"
        kinds = LIFE_KINDS if stream.startswith("identity/") else ()
        if kinds:
            sql += f" AND kind IN ({', '.join('?' * len(kinds))})"
        for n, data in self._db.execute(sql + " ORDER BY n", (stream, after, *kinds)):
            record = decode_record(data)
            found.append((record.kind, reveal(record.body, opened.get(n, [])), record.t))
        return found

    def _find(self, key: str) -> str | None:
        """The stream of the record that `key` names."""
        try:
            row = self._db.execute("SELECT stream FROM records WHERE key = ? LIMIT 1", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return str(row[0]) if row else None

    def _unreadable(self, error: sqlite3.Error) -> Unreadable:
        self._is_broken = True
        return Unreadable("storage_unavailable", f"the records can't be read: {error}", _advice(error))


def _answer(jobs: list[_Job]) -> None:
    """Hands results to their event loops, one wake-up a loop; to the one that this runs in, at once."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        job.answered = True
        loops.setdefault(job.loop, []).append(job)
    try:
        here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        here = None  # closing, after the loop has ended
    for loop, theirs in loops.items():
        if loop is here:
            _resolve(theirs)
            continue
        try:
            loop.call_soon_threadsafe(_resolve, theirs)
        except RuntimeError:
            log.warning("%d answers had nobody waiting for them any more", len(theirs))


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if isinstance(job.result, StopIteration):
            job.future.set_exception(RuntimeError("a work ended as an iterator does"))  # futures can't hold the other
        elif isinstance(job.result, BaseException):
            job.future.set_exception(job.result)
        else:
            job.future.set_result(job.result)


def _advice(error: BaseException) -> str:
    name = getattr(error.__cause__ if isinstance(error, Unreadable) else error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return "the disk is full: free space; the service recovers by itself"
    if name.startswith("SQLITE_READONLY"):
        return "the disk or the database is read-only: make it writable; the service recovers by itself"
    return "look at the service's log; it recovers by itself when storage answers again"
