"""What happened, as temporal policies see it: the events of a task tree or of a workload, as a fold over records.

| record | events |
|---|---|
| `decision` that reached policy | `request`; with a permit also `permitted`, at the same time and after it |
| `outcome`, believed, `response` or `error` | `response` (with the selected result fields), or `error` |
| `event`, in a workload's stream | the event that it says |
| `events`, in a workload's stream | those that it says; the first such record is in place of all before it, after a
  change of the policies. Only for the clauses that it names |

A history is a function of the records and of the clauses alone. At its bound it is full, and as long as clauses look
back to where a value was erased that they may read it is incomplete: then nothing is decided on it, and the question is
denied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from remit.core import bounds, canonical
from remit.policy.compiled.values import Entity, value_of
from remit.policy.dogwood.ast import Path
from remit.policy.dogwood.history import Event, Exceeded, Monitor
from remit.policy.dogwood.temporal import Scope

ACTION: Final = "Remit::Action"
WORKLOAD: Final = "Remit::Workload"
SERVER: Final = "Remit::Server"
OUTCOMES: Final = ("response", "error")
_ERASED: Final = "commitment"


class Unknowable(Exception):
    """Clauses can't be evaluated on this history: `code` and `message` say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Told:
    """What an event is about, in the form of records."""

    action: str  # "<server>/<tool>"
    subject: str
    decision: str
    task: str
    input: Mapping[str, Any]
    output: Mapping[str, Any] = field(default_factory=dict)  # by path


class Waiting(msgspec.Struct, frozen=True):
    """What of a permit its outcome will need."""

    action: str
    subject: str
    task: str
    input: dict[str, Any]


class _Dump(msgspec.Struct, frozen=True):
    monitor: bytes
    waiting: dict[str, Waiting]
    full: bool
    erased: int


class History:
    """One history, up to the record `n` of its stream."""

    def __init__(self, scope: Scope, monitor: Monitor | None = None) -> None:
        self.scope = scope
        self.n = 0
        self.dumped = 0  # the record up to which its last dump reaches
        self._monitor = monitor or scope.plan.start()
        self._waiting: dict[str, Waiting] = {}
        self._full = False
        self._erased = -1  # when (ms) the last event happened of which a value was erased; -1: none

    @classmethod
    def restored(cls, scope: Scope, n: int, data: bytes) -> History:
        """The history that was dumped after record `n`; raises where it was not."""
        dump = msgspec.msgpack.decode(data, type=_Dump)
        found = cls(scope, scope.plan.restore(dump.monitor))
        found.n = found.dumped = n
        found._waiting, found._full, found._erased = dump.waiting, dump.full, dump.erased
        return found

    def dump(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        waiting = dict(sorted(self._waiting.items()))
        return msgspec.msgpack.encode(_Dump(self._monitor.dump(), waiting, self._full, self._erased))

    def __eq__(self, other: object) -> bool:
        """Whether the same happened, as far as clauses can tell."""
        return isinstance(other, History) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def serve(self, scope: Scope) -> None:
        """Answers by these clauses from now on; raises where what is kept says nothing about them.

        Clauses that differ in thresholds alone share what is kept, so that a change of one need not begin anew.
        """
        if scope is self.scope:
            return
        if scope.digest != self.scope.digest:
            # SECURITY: a history that is not there is not one in which nothing happened.
            raise LookupError("the history that policies ask about is not at hand")
        self._monitor = scope.plan.restore(self._monitor.dump())
        self.scope = scope

    def take(self, kind: str, body: Mapping[str, Any], at: int) -> None:
        """Takes one record of the stream; those of other kinds change nothing."""
        self.n += 1
        if kind == "event":
            self._observe(body["kind"], _told(body), at)
        elif kind == "events":
            if body["clauses"] != self.scope.digest:
                return
            if body["first"]:
                self._monitor, self._full, self._erased = self.scope.plan.start(), False, -1
            for each in body["events"]:
                self._observe(each["kind"], _told(each), each["at"])
        else:
            for name, told in happened(self.scope, self._waiting, kind, body):
                self._observe(name, told, at)

    def evaluate(
        self,
        names: frozenset[str],
        told: Told,
        principal: Entity,
        context: Mapping[str, Any],
        attributes: Mapping[Entity, Mapping[str, Any]],
        now: int,
    ) -> dict[str, bool]:
        """The clauses of these names, with the `request` that `told` is as the last event; changes nothing."""
        if self._full:
            raise Unknowable("bound_reached", "this history holds as many events as it may")
        event = self._event("request", told, now)
        if event is None or 0 <= self._erased >= now - self.scope.reach:
            # SECURITY: an erased value is left as its commitment; no clause may take it for one that never was.
            raise Unknowable("task_value_erased", "this depends on what happened before, of which values were erased")

        def attribute(entity: Entity, path: Path) -> Any:
            found: Any = attributes.get(entity)
            for name in path:
                found = found.get(name) if isinstance(found, Mapping) else None
            return None if found is None else value_of(found)

        server = Entity((SERVER, told.action.partition("/")[0]))
        request = self.scope.request(principal, server, {**context, "input": plain(context["input"])}, attribute)
        try:
            return self._monitor.evaluate(request, event, names)
        except Exceeded as error:
            raise Unknowable("bound_reached", f"what happened before is more than may be looked at: {error}") from None

    def _observe(self, kind: str, told: Told, at: int) -> None:
        if self._full or not self.scope.watches(told.action, kind):
            return
        event = self._event(kind, told, at)
        if event is None:
            self._erased = max(self._erased, at)
            return
        try:
            self._monitor.observe(event)
        except Exceeded:
            self._full = True

    def _event(self, kind: str, told: Told, at: int) -> Event | None:
        """The event with the fields that clauses read; None where one of them was erased."""
        fields: dict[Path, Any] = {}
        for path in self.scope.paths(told.action, kind):
            value = _field(told, path)
            if value is None:
                continue
            if type(value) is dict and value.keys() == {_ERASED}:
                return None
            fields[path] = value if type(value) is Entity else value_of(plain(value))
        return Event(ACTION, told.action, kind, at, fields)


def happened(
    scope: Scope, waiting: dict[str, Waiting], kind: str, body: Mapping[str, Any]
) -> Iterator[tuple[str, Told]]:
    """The events that one record of a session is; `waiting` keeps of permits what their outcomes will need."""
    if kind == "decision":
        context = body["context"]
        if not context or not body["serverEffect"]:
            return  # it was refused before its facts were known
        told = Told(body["action"], body["subject"], body["id"], body["task"], context.get("input", {}))
        yield "request", told
        if body["effect"] == "permit":
            if any(scope.watches(told.action, each) for each in OUTCOMES):
                waiting[told.decision] = Waiting(told.action, told.subject, told.task, dict(told.input))
            yield "permitted", told
    # SECURITY: what an agent says of itself is stored as claimed, and is nothing that happened.
    elif kind == "outcome" and body["standing"] == "believed" and body["result"] != "unknown":
        permit = waiting.pop(body["decision"], None)
        if permit is not None and body["result"] in OUTCOMES:
            output = body.get("selected", {}) if body["result"] == "response" else {}
            yield (
                body["result"],
                Told(permit.action, permit.subject, body["decision"], permit.task, permit.input, output),
            )


def event_body(kind: str, told: Told, scope: Scope) -> dict[str, Any]:
    """A record of an event, for a workload's stream: with those fields that clauses read."""
    paths = scope.paths(told.action, kind)
    body: dict[str, Any] = {
        "action": told.action,
        "decision": told.decision,
        "input": _cut(told.input, [path[1:] for path in paths if path[0] == "input"]),
        "kind": kind,
        "subject": told.subject,
        "task": told.task,
    }
    read = {".".join(path[1:]) for path in paths if path[0] == "output"}
    if output := {name: value for name, value in told.output.items() if name in read}:
        body["output"] = output
    return body


def plain(value: Any) -> Any:
    """A value as records keep it, so that what is asked compares with what was recorded: long strings as digests."""
    kind = type(value)
    if kind is str:
        if len(value) <= bounds.STRING_IN_RECORD // 4:
            return value
        data = value.encode()
        if len(data) <= bounds.STRING_IN_RECORD:
            return value
        return {"bytes": len(data), "sha256": canonical.sha256(data)}
    if kind is dict:
        return (
            value if "__extn" in value or "__entity" in value else {name: plain(each) for name, each in value.items()}
        )
    if kind is list:
        return [plain(each) for each in value]
    return value


def _told(body: Mapping[str, Any]) -> Told:
    return Told(body["action"], body["subject"], body["decision"], body["task"], body["input"], body.get("output", {}))


def _field(told: Told, path: Path) -> Any:
    match path:
        case ("input", *names):
            value: Any = told.input
            for name in names:
                value = value.get(name) if isinstance(value, Mapping) else None
            return value
        case ("output", *names):
            return told.output.get(".".join(names))
        case ("callerPrincipal",):
            return Entity((WORKLOAD, told.subject))
        case ("callerResource",):
            return Entity((SERVER, told.action.partition("/")[0]))
        case ("requestId",):
            return told.decision
        case ("task", "root") | ("sessionId",):
            return told.task.partition(".")[0]
        case ("task", "id"):
            return told.task
        case _:
            return None


def _cut(record: Mapping[str, Any], paths: list[Path]) -> dict[str, Any]:
    """What of a record stands at these paths."""
    found: dict[str, Any] = {}
    for path in paths:
        if not path or path[0] not in record:
            continue
        value = record[path[0]]
        if len(path) > 1 and isinstance(value, Mapping):
            found[path[0]] = {**found.get(path[0], {}), **_cut(value, [path[1:]])}
        elif len(path) == 1:
            found[path[0]] = value
    return found
