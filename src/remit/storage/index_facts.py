"""What of a record can be filtered by: its terms, pairs of a field and a value.

An outcome, a repeated denial and a resolution have the terms of the decision that they are about, and everything in a
session those of its task. Nothing enters here but ids and names that the record has in clear.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from remit.core.errors import RemitError
from remit.ledger.record import KINDS, VERSION
from remit.storage.reader import Reader, Stored

EVENTS: Final = ("decision", "denials", "outcome", "resolution", "task")
FIELDS: Final = (
    *("action", "decision", "denied", "destination", "effect", "intent", "kind", "label"),
    *("pep", "person", "policy", "reason", "result", "workload"),
)
_REMEMBERED: Final = 16_384  # decisions, and tasks, that later records refer to
_NOT_REPEATED: Final = frozenset({"policy", "reason"})  # of a decision: what came of it was not decided by them

Term = tuple[str, str]
V = TypeVar("V")


class Facts(NamedTuple):
    """One record: when it was appended, its task, its terms."""

    at: int  # ms
    task: str
    terms: tuple[Term, ...]


class _Shape(msgspec.Struct, rename="camel"):
    """Fields that nobody filters by are not read."""


class _Reason(_Shape, rename="camel"):
    code: str = ""
    policies: list[Any] = []


class _Adds(_Shape, rename="camel"):
    labels: list[str] = []
    destination: str = ""


class _TaskFacts(_Shape, rename="camel"):
    intent: str = ""


class _SessionFacts(_Shape, rename="camel"):
    labels: list[str] = []


class _Destination(_Shape, rename="camel"):
    host: str = ""


class _Context(_Shape, rename="camel"):
    task: _TaskFacts | None = None
    session: _SessionFacts | None = None
    destination: _Destination | None = None
    intent: str = ""


class _Registration(_Shape, rename="camel"):
    state: str = ""


class _Body(_Shape, rename="camel"):
    action: str = ""
    adds: _Adds | None = None
    by: str = ""
    context: _Context | None = None
    decision: str = ""
    effect: str = ""
    id: str = ""
    intent: str = ""
    mode: str = ""
    on_behalf_of: str = ""
    pep: str = ""
    reason: _Reason | str = ""
    registration: _Registration | None = None
    result: str = ""
    server_effect: str = ""
    starter: str = ""
    state: str = ""
    subject: str = ""
    task: str = ""
    workload: str = ""


class _Record(msgspec.Struct):
    body: _Body
    kind: str
    stream: str
    t: int
    v: int


class _Frame(msgspec.Struct):
    """What a record has whose body is not what it should be."""

    t: int = 0


_records: Final = msgspec.json.Decoder(_Record)
_frames: Final = msgspec.json.Decoder(_Frame)


class _About(NamedTuple):
    """What later records take over from a decision or a task."""

    task: str
    terms: tuple[Term, ...]


_NOTHING: Final = _About("", ())


class Lookup:
    """Reads facts from records, and remembers what later records refer to; for one thread at a time."""

    def __init__(self, reader: Reader, *, tasks: bool = True) -> None:
        """Without `tasks`, intents and persons are left out where only the opening of the task says them."""
        self._reader = reader
        self._of_tasks = tasks
        self._decisions: _Memory[_About] = _Memory()
        self._tasks: _Memory[_About] = _Memory()

    def facts(self, stored: Stored) -> Facts:
        """The record's facts; of one that can't be read, that alone. `Unavailable` when the records can't be read."""
        record = _read(stored)
        if record is None:
            return Facts(_time(stored), "", (("kind", "unreadable"),))
        if record.v != VERSION or record.kind not in KINDS:
            return Facts(record.t, "", (("kind", record.kind),))
        about, terms = self._terms(record)
        every = dict.fromkeys((("kind", record.kind), *about.terms, *terms))
        return Facts(record.t, about.task, tuple([term for term in every if term[1]]))

    def _terms(self, record: _Record) -> tuple[_About, Iterable[Term]]:
        """What the record takes over, and what is its own."""
        body, kind = record.body, record.kind
        if kind == "decision":
            made = self._decided(body)
            self._decisions.keep(body.id, made)
            return made, _answer(body)
        if kind == "denials":
            made = self._decision(body.decision)
            return made, (("decision", "deny"), ("denied", "yes"), ("result", "deny"))
        if kind in ("outcome", "resolution"):
            made = self._decision(body.decision)
            by: Term = ("pep" if kind == "outcome" else "person", body.by)
            kept = tuple(term for term in made.terms if term[0] not in _NOT_REPEATED)
            return _About(made.task, kept), (("result", body.result), by)
        if kind == "task":
            opened = _opened(body) if body.intent else self._task(body.task)
            if body.intent:
                self._tasks.keep(body.task, opened)
            own = (("action", "task"), ("result", body.state), ("person", body.by))
            return _About(body.task, opened.terms), own
        return _NOTHING, _other(record)

    def _decided(self, body: _Body) -> _About:
        """What a decision is about; its task says under which intent and for whom."""
        context, adds, reason = body.context, body.adds, body.reason
        terms: list[Term] = [
            ("workload", body.subject), ("pep", body.pep), ("action", body.action), ("effect", body.server_effect),
        ]  # fmt: skip
        intent = ""
        if adds is not None:
            terms.append(("destination", adds.destination))
            terms += [("label", label) for label in adds.labels]
        if context is not None:
            intent = (context.task.intent if context.task is not None else "") or context.intent
            if context.session is not None:
                terms += [("label", label) for label in context.session.labels]
            if context.destination is not None:
                terms.append(("destination", context.destination.host))
        if isinstance(reason, _Reason):
            terms.append(("reason", reason.code))
            terms += [("policy", _policy(named)) for named in reason.policies]
        opened = self._task(body.task) if body.task and self._of_tasks else _NOTHING
        terms += [term for term in opened.terms if term[0] != "workload"] or [("intent", intent)]
        terms += [("person", each) for each in (body.pep, body.subject) if "/person/" in each]
        return _About(body.task, tuple(dict.fromkeys(terms)))

    def _decision(self, key: str) -> _About:
        found = self._decisions.get(key)
        if found is None:
            record = self._find(key)
            found = self._decided(record.body) if record is not None and record.kind == "decision" else _NOTHING
            self._decisions.keep(key, found)
        return found

    def _task(self, key: str) -> _About:
        found = self._tasks.get(key)
        if found is None:
            record = self._find(key)
            found = _opened(record.body) if record is not None and record.kind == "task" else _NOTHING
            self._tasks.keep(key, found)
        return found

    def _find(self, key: str) -> _Record | None:
        stored = self._reader.find(key) if key else None
        return _read(stored) if stored is not None else None


class _Memory(Generic[V]):
    """The values that were kept or asked for last: as many as `_REMEMBERED`, or twice as many."""

    def __init__(self) -> None:
        self._new: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        found = self._new.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.keep(key, found)
        return found

    def keep(self, key: str, value: V) -> None:
        if len(self._new) >= _REMEMBERED:
            self._old, self._new = self._new, {}
        self._new[key] = value


def _read(stored: Stored) -> _Record | None:
    try:
        return _records.decode(stored.data)
    except (ValueError, RecursionError, OverflowError, RemitError):
        return None


def _time(stored: Stored) -> int:
    try:
        return _frames.decode(stored.data).t
    except (ValueError, RecursionError, OverflowError):
        return 0


def _opened(body: _Body) -> _About:
    """What the opening of a task says of all that follows in it."""
    people = dict.fromkeys((body.starter, body.on_behalf_of))
    return _About(
        body.task,
        (("intent", body.intent), ("workload", body.workload), *(("person", each) for each in people if each)),
    )


def _answer(body: _Body) -> tuple[Term, ...]:
    observed = isinstance(body.reason, _Reason) and body.reason.code == "observed"
    answer = "observed" if observed else body.effect
    refused: tuple[Term, ...] = () if answer == "permit" else (("denied", "yes"),)
    return (("decision", answer), ("result", answer), *refused)


def _other(record: _Record) -> tuple[Term, ...]:
    """The life of an identity, and what happens to the installation."""
    body = record.body
    id_ = record.stream.removeprefix("identity/") if record.stream.startswith("identity/") else ""
    state = body.registration.state if body.registration is not None else body.mode
    return (("person" if _is_person(id_) else "workload", id_), ("person", body.by), ("result", state))


def _policy(named: Any) -> str:
    if isinstance(named, dict):
        named = named.get("id", "")
    return named if isinstance(named, str) else ""


def _is_person(spiffe_id: str) -> bool:
    return "/person/" in spiffe_id
