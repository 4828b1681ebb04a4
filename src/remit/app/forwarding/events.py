"""What a record says, in the words that every format needs: made once, rendered three times.

Nothing here opens a commitment: what is personal in a record leaves the installation as the commitment that stands
there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from remit.core.errors import RemitError
from remit.ledger.record import Record
from remit.storage.reader import Reader, Stored

Level = Literal["info", "warning", "error"]

_KEPT: Final = 10_000  # records looked up for events that refer to them
_TEXT: Final = 1_024
_FINAL: Final = frozenset({"completed", "cancelled", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One record. Ids are "" where a kind has none."""

    stored: Stored
    td: str
    kind: str  # of the record
    at: int  # ms
    level: Level = "info"
    text: str = ""  # one line for people
    decision: str = ""
    effect: str = ""  # permit, deny
    code: str = ""  # why
    policies: tuple[str, ...] = ()
    action: str = ""
    server_effect: str = ""
    subject: str = ""  # who acts
    pep: str = ""
    by: str = ""  # who changed, reported, resolved
    task: str = ""
    root: str = ""
    parent: str = ""
    intent: str = ""
    state: str = ""  # of a task or an identity
    result: str = ""  # of an outcome or a resolution
    mode: str = ""
    trace: str = ""  # the agent's `traceparent`
    count: int = 1
    began: int = 0  # ms: of what ends with this record (an outcome's permit, a task's opening)
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """The same however often it is sent: a receiver tells a repetition by it."""
        return hashlib.sha256(f"{self.td}\n{self.stored.stream}\n{self.stored.n}".encode()).hexdigest()[:32]

    @property
    def ends_task(self) -> bool:
        """Whether its task is over with it."""
        return self.kind == "task" and self.state in _FINAL

    @property
    def ends_decision(self) -> bool:
        """Whether its decision is over with it: a denial, or what became of a permit."""
        return (self.kind == "decision" and self.effect != "permit") or (self.kind == "outcome" and bool(self.action))


class Events:
    """Makes events of records, looking up what they refer to."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._found: OrderedDict[str, Record | None] = OrderedDict()

    def of(self, stored: Stored) -> Event:
        """The event of a record; one that can't be read is an event too."""
        try:
            record = stored.record
            facts = getattr(self, f"_{record.kind}", self._other)(record)
        except (RemitError, KeyError, TypeError, AttributeError, ValueError):
            return Event(stored=stored, td="", kind="unreadable", at=0, level="error", text="a record can't be read")
        root = stored.stream.removeprefix("session/") if stored.stream.startswith("session/") else ""
        facts = {"root": root, **facts}
        text = "".join(c if c.isprintable() else "\ufffd" for c in str(facts.pop("text", ""))[:_TEXT])
        return Event(stored=stored, td=record.td, kind=record.kind, at=record.t, text=text, **facts)

    def _decision(self, record: Record) -> dict[str, Any]:
        body = record.body
        reason, denied = body["reason"], body["effect"] != "permit"
        return self._about(body) | {
            "level": "warning" if denied or body.get("would") == "deny" else "info",
            "text": f"{body['effect']} {body['action']} ({reason['code']}): {reason['message']}",
            "extra": {"digest": str(body["digest"]), "config": str(body["config"])},
        }

    def _denials(self, record: Record) -> dict[str, Any]:
        about = self._about(self._body(record.body["decision"]))
        count = int(record.body["count"])
        return about | {
            "count": count,
            "level": "warning",
            "text": f"{count} more denials of {about.get('action', '')}",
        }

    def _outcome(self, record: Record) -> dict[str, Any]:
        body = record.body
        decided = self._record(body["decision"])
        about = self._about(decided.body if decided else {})
        bad = body["result"] in ("error", "unknown") or bool(body.get("late"))
        return about | {
            "level": "warning" if bad else "info",
            "text": f"{about.get('action', 'an action')}: {body['result']}, {body['standing']}",
            "decision": str(body["decision"]),
            "result": str(body["result"]),
            "by": str(body["by"]),
            "began": decided.t if decided else 0,
            "extra": {"standing": str(body["standing"]), "bytes": str(body.get("bytes", 0))},
        }

    def _resolution(self, record: Record) -> dict[str, Any]:
        body = record.body
        about = self._about(self._body(body["decision"]))
        text = f"{about.get('action', 'an action')} resolved as {body['result']}: {body['reason']}"
        return about | {"text": text, "result": str(body["result"]), "by": str(body["by"])}

    def _task(self, record: Record) -> dict[str, Any]:
        body = record.body
        opened = record if "intent" in body else self._record(body["task"])
        facts = opened.body if opened else {}
        state = str(body["state"])
        return {
            "level": "warning" if state == "suspended" else "info",
            "text": f"task {state} under {facts.get('intent', '')}: {body.get('reason', '')}",
            "task": str(body["task"]),
            "parent": str(facts.get("parent", "")),
            "intent": str(facts.get("intent", "")),
            "subject": str(facts.get("workload", "")),
            "by": str(body["by"]),
            "state": state,
            "began": opened.t if opened else 0,
        }

    def _identity(self, record: Record) -> dict[str, Any]:
        body = record.body
        registration = body["registration"]
        state = str(registration.get("state", ""))
        return {
            "level": "info" if state == "active" else "warning",
            "text": f"{registration['id']} is {state or 'registered'}: {body['reason']}",
            "subject": str(registration["id"]),
            "by": str(body["by"]),
            "state": state,
        }

    def _risk(self, record: Record) -> dict[str, Any]:
        body = record.body
        text = f"risk signal {body['signal']} of {body['id']} is {body['value']}"
        return {"level": "warning" if body["value"] else "info", "text": text, "subject": str(body["id"])} | {
            "by": str(body["by"])
        }

    def _other(self, record: Record) -> dict[str, Any]:
        body = record.body
        subject = body.get("id", "") if record.stream.startswith("identity/") else ""
        extra = {name: str(value)[:256] for name, value in body.items() if isinstance(value, str | int)}
        return {"text": record.kind, "subject": str(subject), "by": str(body.get("by", "")), "extra": extra}

    def _about(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a decision's record says of who, what and why."""
        if not body:
            return {}
        task = body.get("context", {}).get("task", {})
        return {
            "decision": str(body["id"]),
            "effect": str(body["effect"]),
            "code": str(body["reason"]["code"]),
            "policies": tuple(str(name) for name in body["reason"]["policies"]),
            "action": str(body["action"]),
            "server_effect": str(body.get("serverEffect", "")),
            "subject": str(body["subject"]),
            "pep": str(body["pep"]),
            "task": str(body.get("task", "")),
            "intent": str(task.get("intent", "")),
            "mode": str(body["mode"]),
            "trace": str(body.get("trace", "")),
        }

    def _body(self, key: str) -> Mapping[str, Any]:
        record = self._record(key)
        return record.body if record else {}

    def _record(self, key: str) -> Record | None:
        if key not in self._found:
            stored = self._reader.find(key)
            self._found[key] = stored.record if stored else None
            if len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return self._found[key]
