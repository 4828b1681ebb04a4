"""All state that decisions read, by stream; changed only by applying records, in the sequencer's order.

A stream's state can be forgotten at any time: the next reader replays its records. That is how a failed commit is
undone, and how memory stays bounded.
"""

from __future__ import annotations

import heapq
import logging
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from remit.core.errors import Unavailable
from remit.core.identities import Registration
from remit.core.ids import root_of
from remit.core.tasks import RiskSignal
from remit.decide.folding import Denials
from remit.decide.habits import Habits, day_of
from remit.decide.histories import History
from remit.decide.lessons import Lessons
from remit.decide.refusals import Refusals
from remit.decide.session import PERMIT_OPEN, Session
from remit.policy.dogwood.temporal import Scope, Temporal

log = logging.getLogger("remit.decide")

ADMINISTRATION: Final = "administration"
EVERYBODY: Final = "identity/"  # no stream: all of those that are one identity's life
LIFE_KINDS: Final = ("identity", "exchange", "risk", "practice", "forgotten")  # what the state of a life follows from
SESSIONS_IN_MEMORY: Final = 20_000
WORKLOADS_IN_MEMORY: Final = 10_000  # whose histories are at hand
DUMP_AFTER: Final = 1_000  # records of a workload's history after which its state is dumped
PERMITS_IN_MEMORY: Final = 200_000  # of all sessions together, but for the one that was used last
SETTLED_IN_MEMORY: Final = 4_096  # permits whose record or outcome may not be durable yet: more than a batch has
FOLDED_AGAIN_MS: Final = 60_000  # denials this young are folded into again after they were replayed
TOKENS_BEFORE_A_LOOK: Final = 64  # outside tokens of one identity, before expired ones are forgotten
SKIPPED: Final = 10_000  # what is no longer due, looked at in one go

# One record as state sees it: kind, body with the personal values that are still kept, time in ms.
Replayed = tuple[str, dict[str, Any], int]
Replay = Callable[[str], Iterable[Replayed]]


def session_stream(task_id: str) -> str:
    """The stream of the task tree that `task_id` belongs to."""
    return "session/" + root_of(task_id)


def workload_stream(spiffe_id: str) -> str:
    """The stream of what a workload did over all its tasks, as far as temporal policies are about it."""
    return "workload/" + spiffe_id


def identity_stream(spiffe_id: str) -> str:
    """The stream of one identity's life."""
    return "identity/" + spiffe_id


class Dumps(Protocol):
    """States of histories that storage keeps, so that a start need not read all that happened."""

    def find(self, stream: str, digest: str) -> tuple[int, bytes] | None:
        """The newest one of a stream for clauses of this digest, and the record up to which it reaches."""
        ...

    def after(self, stream: str, number: int) -> Iterable[Replayed]:
        """The records of a stream after that one."""
        ...


class Access(Protocol):
    """Is told which streams a work uses, where other processes append to them too.

    All but `postpone` raise `Unreadable` when something is not at hand: then the work is run again once it is.
    """

    def read(self, stream: str) -> None:
        """The work is about to use the state of `stream`, or of `EVERYBODY`."""
        ...

    def append(self, streams: Iterable[str]) -> None:
        """The work is about to use these streams, and may append to them."""
        ...

    def count(self) -> None:
        """The work is about to count what is no entry, so that it must not be run again afterwards."""
        ...

    def due(self, most: int) -> list[str]:
        """At most `most` roots of sessions in which something may be due; no other process is given them for now."""
        ...

    def postpone(self, roots: Iterable[str], until: int) -> None:
        """These were not done; they are given again, not before `until` (ms)."""
        ...


@dataclass(slots=True)
class Life:
    """What the stream of one identity says: its registration, its live risk signals and its habits.

    Quarantine stops its days: what it is used to is afterwards what it was before.
    """

    registration: Registration | None = None
    risk: dict[str, RiskSignal] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)  # by signal: when it was last set, in ms
    novel: tuple[str, ...] = ()  # what the signal `novelty` counts
    habits: Habits = field(default_factory=Habits)
    active_since: int = 0  # ms; when it last came back
    stopped_on: int | None = None  # the day on which it was stopped; None while it is active
    stopped_days: int = 0  # days that it was stopped before
    registered_by: str = ""  # who registered it, or changed what is registered
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)  # outside ones: digest -> key, until (ms)

    def apply(self, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes one record into the state; unknown kinds change nothing."""
        if kind == "identity":
            before, after = self.registration, msgspec.convert(body["registration"], Registration)
            self._register(after, at)
            if before is None or msgspec.structs.replace(before, state=after.state) != after:
                self.registered_by = body.get("by", "")
        elif kind == "exchange":
            self._exchanged(body, at)
        elif kind == "risk":
            # The record also says who set it, and may say more later.
            signal = msgspec.convert({name: body[name] for name in RiskSignal.__struct_fields__}, RiskSignal)
            self.risk[signal.signal] = signal
            self.raised[signal.signal] = at
            if signal.signal == "novelty":
                self.novel = tuple(body.get("items", ()))
        elif kind == "practice":
            # SECURITY: nothing is learned in quarantine.
            if self.stopped_on is None:
                self.habits.practise(body, body["day"] - self.stopped_days)
        elif kind == "forgotten":
            self.habits.forget(body)

    def risk_at(self, now: int, signals: Container[str]) -> int:
        """The highest of these signals that has not expired; 0 without one."""
        return max(
            (signal.value for name, signal in self.risk.items() if signal.expires > now and name in signals), default=0
        )

    def today(self, now: int) -> int:
        """The day at `now` as this workload counts days: without those on which it was stopped."""
        return (day_of(now) if self.stopped_on is None else self.stopped_on) - self.stopped_days

    def _exchanged(self, body: dict[str, Any], at: int) -> None:
        if len(self.tokens) >= TOKENS_BEFORE_A_LOOK:
            self.tokens = {token: used for token, used in self.tokens.items() if used[1] > at}
        self.tokens[body["token"]] = (body["key"], body["until"])

    def _register(self, registration: Registration, at: int) -> None:
        self.registration = registration
        if registration.state != "active":
            self.stopped_on = day_of(at) if self.stopped_on is None else self.stopped_on
        elif self.stopped_on is not None:
            self.stopped_days += day_of(at) - self.stopped_on
            self.stopped_on, self.active_since = None, at


@dataclass(slots=True)
class Noted:
    """What was appended to sessions, by stream: number, kind, body, time. `broken`: streams that were forgotten."""

    records: dict[str, list[tuple[int, str, dict[str, Any], int]]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


def _digest(scope: Scope | None) -> str:
    return scope.digest if scope is not None else ""


class World:
    """Registrations, sessions and what is due, in memory.

    `replay` reads a stream's records from storage; `find` names the stream of the record that has a key. `access` is
    told what works use; None where this process alone appends.
    """

    def __init__(
        self, replay: Replay, find: Callable[[str], str | None], latest: int = 0, access: Access | None = None
    ) -> None:
        self._replay = replay
        self._find = find
        self._access = access
        self._latest = latest  # ms of the last record
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._permits = 0  # of those sessions
        self._lives: dict[str, Life] = {}
        self._configuration: dict[str, Any] = {}
        self._modes: dict[str, Any] = {}
        self._due: list[tuple[int, str, str]] = []  # (ms, "permit" | "task", id)
        self.open_permits: dict[str, str] = {}  # without an outcome: decision -> root
        self.unknown_permits: dict[str, str] = {}  # likewise, of sessions in memory
        self._settled: OrderedDict[str, str] = OrderedDict()
        self._digests: OrderedDict[str, str] = OrderedDict()  # of permits without an outcome, that were erased
        self._temporal = Temporal()
        self._noted: Noted | None = None
        self._watched = ""
        self._workloads: OrderedDict[str, History] = OrderedDict()
        self.dumps: Dumps | None = None
        self._denials = Denials()
        self.lessons = Lessons()
        self.refusals = Refusals()

    @property
    def configuration(self) -> dict[str, Any]:
        """The body of the last `configuration` record; empty before the first."""
        if self._access is not None:
            self._access.read(ADMINISTRATION)
        return self._configuration

    @property
    def modes(self) -> dict[str, Any]:
        """The body of the last `mode` record; empty before the first."""
        if self._access is not None:
            self._access.read(ADMINISTRATION)
        return self._modes

    @property
    def denials(self) -> Denials:
        """The denials that identical ones are folded into."""
        if self._access is not None:
            self._access.count()
        return self._denials

    def life(self, spiffe_id: str) -> Life | None:
        """The life of a registered identity, or None; nobody's for the empty id."""
        if self._access is not None and spiffe_id:
            self._access.read(identity_stream(spiffe_id))
        return self._lives.get(spiffe_id)

    def registration(self, spiffe_id: str) -> Registration | None:
        """The registration of an identity, or None."""
        life = self.life(spiffe_id)
        return life.registration if life else None

    def registrations(self) -> list[Registration]:
        """All registrations."""
        if self._access is not None:
            self._access.read(EVERYBODY)
        return [life.registration for life in self._lives.values() if life.registration is not None]

    def glance(self, spiffe_id: str) -> Registration | None:
        """What was last heard of an identity, outside a work: nothing is decided on it alone."""
        life = self._lives.get(spiffe_id)
        return life.registration if life else None

    def expect(self, streams: Iterable[str]) -> None:
        """Says which streams the work will use and append to, so that it need not be run again for each."""
        if self._access is not None:
            self._access.append(streams)

    def session(self, task_id: str) -> Session | None:
        """The session that `task_id` belongs to, or None when no record of it exists."""
        root = root_of(task_id)
        if self._access is not None:
            self._access.read("session/" + root)
        session = self._sessions.get(root)
        if session is not None:
            self._sessions.move_to_end(root)
            return session
        return self._load(root)

    @property
    def temporal(self) -> Temporal:
        """The clauses that histories are kept for."""
        return self._temporal

    @property
    def latest(self) -> int:
        """The time (ms) of the last record that is known here; 0: there is none."""
        return self._latest

    def note(self, on: bool) -> None:
        """Keeps what is appended to sessions from now on, for histories that are made meanwhile."""
        self._noted = Noted() if on else None

    @property
    def noted(self) -> Noted:
        """What was appended to sessions since `note`."""
        if self._noted is None:
            raise LookupError("nothing is noted")
        return self._noted

    @property
    def watched(self) -> str:
        """The digest of the clauses about workloads for which their streams are kept; empty: none."""
        if self._access is not None:
            self._access.read(ADMINISTRATION)
        return self._watched

    def watch(self, temporal: Temporal, ready: Mapping[str, History] | None = None) -> list[str]:
        """Keeps histories for these clauses from now on; returns the streams that must be read again for it.

        `ready` are histories of them, by stream, up to some record; the others are made from the records, where these
        are at hand here and not in a database that others write too. Raises, and nothing has changed, where a history
        can't be made.
        """
        before = self._temporal
        is_same = _digest(before.task) == _digest(temporal.task)
        made: dict[str, History | None] = {}
        if not is_same:
            for root, session in self._sessions.items():
                stream = session_stream(root)
                made[root] = self._history(stream, temporal.task, session.records, (ready or {}).get(stream))
        self._temporal = temporal
        lacking: list[str] = []
        if _digest(before.workload) != _digest(temporal.workload):
            lacking += self._workloads
            self._workloads.clear()
        for root, history in made.items():
            self._sessions[root].history = history
            if history is None and temporal.task is not None:
                lacking.append(session_stream(root))
        return lacking

    def histories(self) -> dict[str, int]:
        """The sessions in memory, each with the number of its records."""
        return {session_stream(root): session.records for root, session in self._sessions.items()}

    def workload_history(self, spiffe_id: str) -> History | None:
        """What a workload did over all its tasks; None where no policy asks."""
        if self._temporal.workload is None:
            return None
        stream = workload_stream(spiffe_id)
        if self._access is not None:
            self._access.read(stream)
        history = self._workloads.get(stream)
        if history is not None:
            self._workloads.move_to_end(stream)
            return history
        return self._load_workload(stream)

    def dumpable(self) -> Iterator[tuple[str, History]]:
        """Histories of workloads that have grown since their last dump. Only when all is durable."""
        for stream, history in self._workloads.items():
            if history.n - history.dumped >= DUMP_AFTER:
                yield stream, history

    def is_completed(self, stream: str, decision: str) -> bool:
        """Whether a permit has a believed response, as far as its session is in memory; nothing is read for it."""
        session = self._sessions.get(stream.removeprefix("session/"))
        permit = session.permits.get(decision) if session is not None else None
        return session is None or (permit is not None and permit.state == "response")

    def locate(self, decision_id: str) -> str | None:
        """The root of the session in which a decision was recorded, or None."""
        if root := self.remembered(decision_id):
            return root
        stream = self._find(decision_id)
        return stream.removeprefix("session/") if stream and stream.startswith("session/") else None

    def remembered(self, decision_id: str) -> str | None:
        """The same without asking storage: only if its permit is in memory or was of late."""
        for known in (self.open_permits, self.unknown_permits, self._settled):
            if root := known.get(decision_id):
                return root
        return None

    def apply(self, stream: str, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes one new record into the state of its stream."""
        if stream.startswith("session/"):
            root = stream[len("session/") :]
            session = self._sessions.get(root)
            if session is None:
                session = self._load(root) or self._keep(self._new(root))
            session.apply(kind, body, at)
            if self._noted is not None:
                self._noted.records.setdefault(stream, []).append((session.records, kind, body, at))
            self._follow(session, kind, body)
        elif stream.startswith("identity/"):
            self._lives.setdefault(stream[len("identity/") :], Life()).apply(kind, body, at)
        elif stream.startswith("workload/"):
            if self._temporal.workload is not None:
                (self._workloads.get(stream) or self._load_workload(stream)).take(kind, body, at)
        elif kind == "configuration":
            self._configuration = body
        elif kind == "mode":
            self._modes = body
        elif kind == "watch":
            self._watched = body["workloads"]
        self._latest = max(self._latest, at)
        if kind == "decision" and body["effect"] == "deny":
            self._denials.note(stream, body, at)

    def forget(self, streams: Iterable[str]) -> None:
        """Puts the state of these streams back to what their records say, after a failed commit.

        Raises what reading raises; then it must be called again, with the same streams, before anything is decided.
        """
        streams = tuple(streams)
        self.drop(streams)
        for stream in streams:
            self.load(stream)

    def drop(self, streams: Iterable[str]) -> None:
        """Forgets these streams: nothing is known of them until they are loaded."""
        streams = tuple(streams)
        self._denials.forget(streams)
        self.lessons.forget(streams)
        roots = {stream.removeprefix("session/") for stream in streams if stream.startswith("session/")}
        for permits in (self.open_permits, self.unknown_permits, self._settled):
            for decision in [decision for decision, root in permits.items() if root in roots]:
                del permits[decision]
        for root in roots:
            self._drop(root)
        for stream in streams:
            if stream.startswith("identity/"):
                self._lives.pop(stream[len("identity/") :], None)
            elif stream.startswith("workload/"):
                self._workloads.pop(stream, None)
            elif stream == ADMINISTRATION:
                self._configuration, self._modes, self._watched = {}, {}, ""
        if self._noted is not None:
            self._noted.broken.update(streams)

    def renew(self, streams: Iterable[str]) -> None:
        """Drops histories and sessions some of whose personal values were erased: who needs one next reads it again.

        The request digests of permits without an outcome stay in memory, so that what is under way can be reported.
        """
        streams = tuple(dict.fromkeys(streams))
        for stream in streams:
            self._workloads.pop(stream, None)
        for root in (stream.removeprefix("session/") for stream in streams):
            session = self._sessions.get(root)
            if session is None:
                continue
            for permit in session.permits.values():
                if permit.state in (PERMIT_OPEN, "unknown"):
                    self._digests[permit.decision] = permit.digest
                    if len(self._digests) > SETTLED_IN_MEMORY:
                        self._digests.popitem(last=False)
            self._drop(root)

    def load(self, stream: str) -> None:
        """Replays one stream's records into the state, in place of what was known of it."""
        space, _, name = stream.partition("/")
        if space == "session":
            self._load(name)
            return
        if space == "workload":
            self._workloads.pop(stream, None)
            if self._temporal.workload is not None:
                self._load_workload(stream)
            return
        if space == "identity":
            life = Life()
            for kind, body, at in self._replay(stream):
                life.apply(kind, body, at)
            if life.registration is None and not life.risk:
                self._lives.pop(name, None)
            else:
                self._lives[name] = life
            return
        self._configuration, self._modes, self._watched = {}, {}, ""
        for kind, body, at in self._replay(stream):
            self.apply(stream, kind, body, at)

    def trim(self) -> list[str]:
        """Forgets the sessions used longest ago while there are too many; their streams. Only when all is durable."""
        gone = []
        while len(self._sessions) > SESSIONS_IN_MEMORY or (
            self._permits > PERMITS_IN_MEMORY and len(self._sessions) > 1
        ):
            gone.append(session_stream(self._forget_oldest()))
        while len(self._workloads) > WORKLOADS_IN_MEMORY:
            gone.append(self._workloads.popitem(last=False)[0])
        return gone

    def is_pending(self, root: str) -> bool:
        """Whether time alone can still change a session in memory."""
        session = self._sessions.get(root)
        return session is not None and session.is_pending()

    def next_due(self, root: str) -> int | None:
        """When (ms) time alone may next change a session in memory; None: never."""
        session = self._sessions.get(root)
        if session is None or not session.is_pending():
            return None
        permits = (permit.deadline for permit in session.permits.values() if permit.state == PERMIT_OPEN)
        tasks = (task.expires for task in session.tasks.values() if task.state in ("open", "suspended"))
        return min((*permits, *tasks))

    def due(self, now: int, most: int) -> list[tuple[str, str]]:
        """At most `most` of what is due by `now`, no longer scheduled then: ("permit" | "task", id).

        Where other processes append too: ("session", root) for sessions in which something may be due.
        """
        if self._access is not None:
            return [("session", root) for root in self._access.due(most)]
        found: dict[tuple[str, str], None] = {}  # what was replayed twice is scheduled twice
        for _ in range(most + SKIPPED):
            if not self._due or self._due[0][0] > now or len(found) >= most:
                break
            _, what, id_ = heapq.heappop(self._due)
            if what == "task" or id_ in self.open_permits:
                found[what, id_] = None
        return list(found)

    def postpone(self, due: Iterable[tuple[str, str]], until: int) -> None:
        """Schedules again what could not be done."""
        if self._access is not None:
            self._access.postpone([id_ for _, id_ in due], until)
            return
        for what, id_ in due:
            heapq.heappush(self._due, (until, what, id_))

    def _load(self, root: str) -> Session | None:
        session: Session | None = None
        for kind, body, at in self._replay("session/" + root):
            session = session or self._new(root)
            session.apply(kind, body, at)
            if kind == "decision" and body["effect"] == "deny" and at > self._latest - FOLDED_AGAIN_MS:
                self._denials.note("session/" + root, body, at)
        if session is None:
            return None
        session.look_for_erased()
        for permit in session.permits.values():
            permit.digest = self._digests.get(permit.decision, permit.digest)
            if permit.state == PERMIT_OPEN:
                self._expect(permit.decision, root, permit.deadline)
            elif permit.state == "unknown":
                self.unknown_permits[permit.decision] = root
        for task in session.tasks.values():
            if task.state in ("open", "suspended"):
                self._schedule(task.expires, "task", task.id)
        return self._keep(session)

    def _new(self, root: str) -> Session:
        scope = self._temporal.task
        return Session(root, history=History(scope) if scope is not None else None)

    def _history(self, stream: str, scope: Scope | None, records: int, ready: History | None) -> History | None:
        """The history of a session in memory, from `ready` or from its records; None where they are not at hand."""
        if scope is None:
            return None
        if ready is not None and self._noted is not None and stream not in self._noted.broken:
            for n, kind, body, at in self._noted.records.get(stream, ()):
                if n == ready.n + 1:
                    ready.take(kind, body, at)
            if ready.n == records:
                return ready
        if self._access is not None:
            return None
        history = History(scope)
        for kind, body, at in self._replay(stream):
            history.take(kind, body, at)
        if history.n != records:
            # Records that are decided and not yet durable stand nowhere else.
            raise Unavailable("history_unfinished", "records of a session are not durable yet", "try again")
        return history

    def _load_workload(self, stream: str) -> History:
        scope = self._temporal.workload
        if scope is None:
            raise LookupError("no policy is about what workloads did")
        history = self._restored(stream, scope) or History(scope)
        records = self.dumps.after(stream, history.n) if self.dumps and history.n else self._replay(stream)
        for kind, body, at in records:
            history.take(kind, body, at)
        self._workloads[stream] = history
        if self._access is None and len(self._workloads) > WORKLOADS_IN_MEMORY:
            self._workloads.popitem(last=False)
        return history

    def _restored(self, stream: str, scope: Scope) -> History | None:
        found = self.dumps.find(stream, scope.digest) if self.dumps is not None else None
        if found is None:
            return None
        try:
            return History.restored(scope, *found)
        except Exception:  # whatever a dump is: the records say the same
            log.warning("the dumped history of %s can't be read; its records are", stream, exc_info=True)
            return None

    def _keep(self, session: Session) -> Session:
        self._drop(session.root)
        self._sessions[session.root] = session
        self._permits += len(session.permits)
        if self._access is None and len(self._sessions) > SESSIONS_IN_MEMORY:
            self._forget_oldest()
        return session

    def _forget_oldest(self) -> str:
        root, session = next(iter(self._sessions.items()))
        self._drop(root)
        for decision in session.permits:
            self.unknown_permits.pop(decision, None)
            if self._access is not None:
                self.open_permits.pop(decision, None)
        return root

    def _drop(self, root: str) -> None:
        session = self._sessions.pop(root, None)
        if session is not None:
            self._permits -= len(session.permits)

    def _expect(self, decision: str, root: str, deadline: int) -> None:
        self._schedule(deadline, "permit", decision)
        self.open_permits[decision] = root

    def _schedule(self, at: int, what: str, id_: str) -> None:
        """Where other processes append too, storage says what is due."""
        if self._access is None:
            heapq.heappush(self._due, (at, what, id_))

    def _follow(self, session: Session, kind: str, body: dict[str, Any]) -> None:
        """Keeps up with one new record: what is due, and which permits wait for an outcome."""
        if kind == "decision" and body["effect"] == "permit":
            self._permits += 1
            self._expect(body["id"], session.root, body["deadline"])
        elif kind in ("outcome", "resolution"):
            decision = body["decision"]
            state = session.permits[decision].state
            if state != PERMIT_OPEN:
                self.open_permits.pop(decision, None)
                self.unknown_permits.pop(decision, None)
                if state == "unknown":
                    self.unknown_permits[decision] = session.root
                else:
                    self._settle(decision, session.root)
        elif kind == "task" and body["state"] == "open" and "expires" in body:
            self._schedule(body["expires"], "task", body["task"])

    def _settle(self, decision: str, root: str) -> None:
        self._digests.pop(decision, None)
        self._settled[decision] = root
        if len(self._settled) > SETTLED_IN_MEMORY:
            self._settled.popitem(last=False)
