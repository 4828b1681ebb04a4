"""One question on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from remit.core.actions import Action
from remit.core.decisions import Approval, Ask, Obligation, Reason
from remit.core.identities import Identity, Mode, Registration
from remit.decide.destination import Destination
from remit.decide.session import Session, Task
from remit.decide.world import identity_stream, session_stream


@dataclass(slots=True)
class Case:
    """One question on its way: what was established so far. A refusal keeps what was known by then."""

    ask: Ask
    now: int
    digest: str
    subject: Registration | None = None
    enforcement: str = ""  # "pep", "self" or "" (may only ask, not act)
    session: Session | None = None
    tasks: tuple[Task, ...] = ()  # the task and those above it
    action: Action | None = None
    arguments: dict[str, Any] = field(default_factory=dict)  # typed
    provided: dict[str, Any] = field(default_factory=dict)  # what information providers gave, by call
    unprovided: Reason | None = None  # why one gave nothing
    contexts: list[dict[str, Any]] = field(default_factory=list)  # one for each of `tasks`
    mattered: tuple[str, ...] = ()  # the paths of the facts that the deciding policies read
    usage: dict[str, str] = field(default_factory=dict)
    destination: Destination | None = None
    mode: Mode = "enforce"
    would: Literal["permit", "deny", ""] = ""
    demanded: tuple[Obligation, ...] = ()  # what the deciding policies oblige to
    obligations: tuple[Obligation, ...] = ()
    denied: Reason | None = None  # why the policies refuse, if they do
    approvals: tuple[Approval, ...] = ()  # whose approvals that denial needs; none when it is final
    asked: float = 0.0  # `time.perf_counter` when the question came in; shown, never decided on

    @property
    def proof(self) -> Identity | None:
        """Who will act, as proved: the caller itself, or whom the caller forwards the proof of."""
        return self.ask.caller if self.ask.caller.id == self.ask.subject else self.ask.proof

    @property
    def stream(self) -> str:
        """Where the record belongs: the session, or the life of the one who acts or asks."""
        if self.session is not None:
            return session_stream(self.session.root)
        return identity_stream(self.subject.id if self.subject else self.ask.caller.id)
