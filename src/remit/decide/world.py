"""All state that decisions read, by stream; changed only by applying records, in the sequencer's order.

A stream's state can be forgotten at any time: the next reader replays its records. That is how a failed commit is
undone, and how memory stays bounded.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from remit.core.identities import Registration
from remit.core.ids import root_of
from remit.core.tasks import RiskSignal
from remit.decide.session import Denial, Session, denial_key

ADMINISTRATION: Final = "administration"
SESSIONS_IN_MEMORY: Final = 20_000

# One record as state sees it: kind, body with the personal values that are still kept, time in ms.
Replayed = tuple[str, dict[str, Any], int]
Replay = Callable[[str], Iterable[Replayed]]


def session_stream(task_id: str) -> str:
    """The stream of the task tree that `task_id` belongs to."""
    return "session/" + root_of(task_id)


def identity_stream(spiffe_id: str) -> str:
    """The stream of one identity's life."""
    return "identity/" + spiffe_id


@dataclass(slots=True)
class Life:
    """What the stream of one identity says: its registration, its live risk signals, its folded denials."""

    registration: Registration | None = None
    risk: dict[str, RiskSignal] = field(default_factory=dict)
    denials: dict[tuple[str, ...], Denial] = field(default_factory=dict)

    def apply(self, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes one record into the state; unknown kinds change nothing."""
        if kind == "identity":
            self.registration = msgspec.convert(body["registration"], Registration)
        elif kind == "risk":
            # The record also says who set it, and may say more later.
            signal = msgspec.convert({name: body[name] for name in RiskSignal.__struct_fields__}, RiskSignal)
            self.risk[signal.signal] = signal
        elif kind == "decision" and body["effect"] == "deny":
            if len(self.denials) > 1024:
                self.denials.clear()
            self.denials[denial_key(body)] = Denial(body, at)

    def risk_at(self, now: int) -> int:
        """The highest signal that has not expired; 0 without one."""
        return max((signal.value for signal in self.risk.values() if signal.expires > now), default=0)


class World:
    """Registrations, sessions and what is due, in memory.

    `replay` reads a stream's records from storage; `find` names the stream of the record that has a key.
    """

    def __init__(self, replay: Replay, find: Callable[[str], str | None]) -> None:
        self._replay = replay
        self._find = find
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self.lives: dict[str, Life] = {}
        self.configuration: dict[str, Any] = {}
        self.modes: dict[str, Any] = {}
        self._due: list[tuple[int, str, str]] = []  # (ms, "permit" | "task", id)
        self.permit_sessions: dict[str, str] = {}  # open permit -> root

    def life(self, spiffe_id: str) -> Life | None:
        """The life of a registered identity, or None."""
        return self.lives.get(spiffe_id)

    def registration(self, spiffe_id: str) -> Registration | None:
        """The registration of an identity, or None."""
        life = self.lives.get(spiffe_id)
        return life.registration if life else None

    def session(self, task_id: str) -> Session | None:
        """The session that `task_id` belongs to, or None when no record of it exists."""
        root = root_of(task_id)
        session = self._sessions.get(root)
        if session is not None:
            self._sessions.move_to_end(root)
            return session
        return self._load(root)

    def locate(self, decision_id: str) -> str | None:
        """The root of the session in which a decision was recorded, or None."""
        stream = self._find(decision_id)
        return stream.removeprefix("session/") if stream and stream.startswith("session/") else None

    def apply(self, stream: str, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes one new record into the state of its stream."""
        if stream.startswith("session/"):
            root = stream[len("session/") :]
            session = self._sessions.get(root)
            if session is None:
                session = self._load(root) or Session(root)
                self._sessions[root] = session
            session.apply(kind, body, at)
            self._schedule(root, kind, body)
        elif stream.startswith("identity/"):
            self.lives.setdefault(stream[len("identity/") :], Life()).apply(kind, body, at)
        elif kind == "configuration":
            self.configuration = body
        elif kind == "mode":
            self.modes = body

    def forget(self, streams: Iterable[str]) -> None:
        """Drops the state of these streams after a failed commit; what is read again comes from the records."""
        for stream in streams:
            if stream.startswith("session/"):
                self._sessions.pop(stream[len("session/") :], None)
            elif stream.startswith("identity/"):
                self.lives.pop(stream[len("identity/") :], None)
                self.load(stream)
            else:
                self.configuration, self.modes = {}, {}
                self.load(stream)

    def load(self, stream: str) -> None:
        """Replays one stream's records into the state."""
        if stream.startswith("session/"):
            self._load(stream[len("session/") :])
            return
        for kind, body, at in self._replay(stream):
            self.apply(stream, kind, body, at)

    def due(self, now: int, most: int) -> list[tuple[str, str]]:
        """At most `most` of what is due by `now`, no longer scheduled then: ("permit" | "task", id)."""
        found: list[tuple[str, str]] = []
        while self._due and self._due[0][0] <= now and len(found) < most:
            _, what, id_ = heapq.heappop(self._due)
            found.append((what, id_))
        return found

    def loaded_sessions(self) -> Iterable[Session]:
        """The sessions in memory."""
        return self._sessions.values()

    def _load(self, root: str) -> Session | None:
        session: Session | None = None
        for kind, body, at in self._replay("session/" + root):
            session = session or Session(root)
            session.apply(kind, body, at)
            self._schedule(root, kind, body)
        if session is None:
            return None
        self._sessions[root] = session
        if len(self._sessions) > SESSIONS_IN_MEMORY:
            self._sessions.popitem(last=False)
        return session

    def _schedule(self, root: str, kind: str, body: dict[str, Any]) -> None:
        if kind == "decision" and body["effect"] == "permit":
            heapq.heappush(self._due, (body["deadline"], "permit", body["id"]))
            self.permit_sessions[body["id"]] = root
        elif kind == "outcome" and body["standing"] == "believed" and body["result"] != "unknown":
            self.permit_sessions.pop(body["decision"], None)
        elif kind == "task" and body["state"] == "open" and "expires" in body:
            heapq.heappush(self._due, (body["expires"], "task", body["task"]))
