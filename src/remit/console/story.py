"""The whole life of a task and those below it, gathered from the records: what a timeline, a page or JSON then tells.

One pass over the session's stream. What is large (arguments, facts) is not kept here: `Told.found` reads it again for
the few events that are shown. Records of kinds that nobody here knows are events too, and never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from remit.console.detail import checked, revealed
from remit.console.history import MALFORMED
from remit.console.policy_places import PolicyPlace, PolicyPlaces
from remit.console.rows import name_of
from remit.core.errors import InvalidInput, RemitError
from remit.ledger.bodies import scaled, shown
from remit.ledger.record import Record, leaf_hash
from remit.storage.reader import Reader, Stored

FINAL: Final = ("completed", "cancelled", "expired")
WORKLOADS: Final = 32  # of one session, whose own lives are looked at
AROUND: Final = 1_000  # events of lives and of the installation that are told
_CHANGES: Final = ("mode", "configuration")


class Places(Protocol):
    """What is known of the published log (`remit.app.pending`)."""

    def is_pending(self, stored: Stored) -> bool:
        """Whether the record is not in a checkpoint yet."""
        ...


class Came(msgspec.Struct, rename="camel", kw_only=True):
    """What became of a permit: one outcome or resolution."""

    at: int
    kind: str  # outcome or resolution
    result: str
    by: str
    believed: bool
    late: bool = False
    reason: str = ""
    n: int = 0


class Event(msgspec.Struct, rename="camel", kw_only=True):
    """One thing that happened. `kind` is that of its record; what a kind has no use for is empty."""

    seq: int
    stream: str
    n: int
    at: int  # ms
    kind: str
    task: str = ""
    hash: str = ""
    is_pending: bool = False
    result: str = ""  # permit, deny, observed; open, suspended, resumed, completed, …; response, unknown, …
    by: str = ""
    note: str = ""  # why, in the words of the record
    # a decision
    id: str = ""
    action: str = ""
    effect: str = ""  # of the action, as the catalogue says
    code: str = ""
    next_step: str = ""
    policies: list[PolicyPlace] = []
    obligations: list[str] = []
    requestable: list[str] = []  # who could approve what was denied
    usage: dict[str, str] = {}
    came: list[Came] = []
    again: int = 0  # further identical denials,
    again_until: int = 0  # and when the last of them was recorded
    labels: list[str] = []  # that the session had not before
    destination: str = ""  # that the session had not before
    to: str = ""  # where it went
    deadline: int = 0

    @property
    def is_decision(self) -> bool:
        """Whether it is one."""
        return self.kind == "decision"

    @property
    def outcome(self) -> Came | None:
        """What counts as its outcome: the last believed one."""
        return next((each for each in reversed(self.came) if each.believed), None)


class Limit(msgspec.Struct, rename="camel", kw_only=True):
    """What a task may spend, and what was spent of it in the whole session by the end of the story."""

    name: str
    task: str
    counts: bool  # calls; a sum otherwise
    most: str  # "" where the bound is a parameter that was erased
    spent: str = "0"


class Life(msgspec.Struct, rename="camel", kw_only=True):
    """One task of the tree."""

    id: str
    parent: str
    depth: int  # below the task that the story is of
    intent: str
    workload: str
    starter: str
    on_behalf_of: str
    case_type: str
    emergency: bool
    params: dict[str, Any]  # as `revealed` gives them: personal ones are marked, erased ones too
    prompt: Any
    opened: int
    expires: int
    state: str = "open"
    ended: int = 0
    ended_by: str = ""
    reason: str = ""
    pauses: list[list[int]] = []  # from, to (0: still suspended)
    permits: int = 0
    denials: int = 0
    id_n: int = 0
    is_over: bool = False  # its time is up, which no record says yet

    @property
    def standing(self) -> str:
        """Its state, as it is now."""
        return "expired" if self.is_over else self.state


class Grown(msgspec.Struct, rename="camel", kw_only=True):
    """A label or a destination that the session has from some moment on."""

    kind: str  # label or destination
    name: str
    at: int
    decision: str
    task: str


class Told(msgspec.Struct, rename="camel", kw_only=True):
    """The story of one task and those below it; `events` are in the order of their records."""

    task: str
    root: str
    lives: list[Life]
    events: list[Event]
    limits: list[Limit]
    grown: list[Grown]
    records: int  # of the session, that were read
    pending: int | None  # None where the records are not published
    unreadable: int
    is_whole: bool = True  # False where more happened around the task than is told
    now: int = 0

    @property
    def begin(self) -> int:
        """When it began."""
        return self.lives[0].opened

    @property
    def end(self) -> int:
        """When it ended; the last event of one that goes on."""
        last = max((max(e.at, e.again_until, *(c.at for c in e.came), 0) for e in self.events), default=self.begin)
        return max(last, self.begin)


def story_of(reader: Reader, stored: Stored, now: int, places: Places | None = None) -> Told:
    """Everything that happened under the task that `stored` opens; `InvalidInput` where that can't be read."""
    opened = checked(stored)
    if opened.kind != "task" or "intent" not in opened.body:
        raise InvalidInput("task_unreadable", "this record does not open a task", "`remit task list` shows tasks")
    return _Teller(reader, opened.body["task"], now, places).tell(stored.stream)


class _Teller:
    def __init__(self, reader: Reader, task: str, now: int, places: Places | None) -> None:
        self._reader = reader
        self._task = task
        self._now = now
        self._places = places
        self._policies = PolicyPlaces(reader)
        self._lives: dict[str, Life] = {}
        self._depths: dict[str, int] = {}
        self._events: list[Event] = []
        self._decisions: dict[str, Event] = {}
        self._limits: dict[tuple[str, str], Limit] = {}
        self._spent: dict[str, int] = {}
        self._back: set[str] = set()  # decisions whose usage was given back
        self._grown: dict[tuple[str, str], Grown] = {}
        self._records = self._pending = self._unreadable = self._time = 0
        # One for each kind of the session; credentials and approvals get theirs here.
        self._tellers: Final[Mapping[str, Callable[[Stored, Record], Event | None]]] = {
            "task": self._change,
            "decision": self._decision,
            "denials": self._denials,
            "outcome": self._outcome,
            "resolution": self._resolution,
        }

    def tell(self, stream: str) -> Told:
        for stored in self._reader.stream(stream):
            self._take(stored)
        is_whole = self._around()
        for limit in self._limits.values():
            limit.spent = shown(self._spent.get(limit.name, 0))
        for life in self._lives.values():
            life.is_over = life.state in ("open", "suspended") and life.expires <= self._now
        return Told(
            task=self._task,
            root=stream.partition("/")[2],
            lives=list(self._lives.values()),
            events=self._events,
            limits=list(self._limits.values()),
            grown=list(self._grown.values()),
            records=self._records,
            pending=None if self._places is None else self._pending,
            unreadable=self._unreadable,
            is_whole=is_whole,
            now=self._now,
        )

    def _take(self, stored: Stored) -> None:
        self._records += 1
        is_pending = self._places is not None and self._places.is_pending(stored)
        try:
            record = checked(stored)
            self._time = record.t
            teller = self._tellers.get(record.kind) if record.understood else None
            event = teller(stored, record) if teller else self._stranger(stored, record)
        except (RemitError, *MALFORMED):
            self._unreadable += 1
            event = Event(seq=stored.seq, stream=stored.stream, n=stored.n, at=self._time, kind="unreadable",
                          task=self._task, note="`remit verify` says what is wrong with it")  # fmt: skip
        if event is not None and self._is_told(event.task):
            event.is_pending = is_pending
            self._pending += is_pending
            event.hash = leaf_hash(stored.data)
            self._events.append(event)

    def _is_told(self, task: str) -> bool:
        return not task or task == self._task or task.startswith(self._task + ".")

    def _event(self, stored: Stored, record: Record, task: str, **more: Any) -> Event:
        return Event(seq=stored.seq, stream=stored.stream, n=stored.n, at=record.t, kind=record.kind, task=task, **more)

    # --- by kind ----------------------------------------------------------------------------------------------

    def _stranger(self, stored: Stored, record: Record) -> Event:
        """A record of a kind or version that this program does not know, shown as such."""
        task, by = record.body.get("task"), record.body.get("by")
        note = "of a kind that this program does not know" if record.v == 1 else f"of format version {record.v}"
        return self._event(
            stored, record, task if isinstance(task, str) else "", note=note, by=by if isinstance(by, str) else ""
        )

    def _change(self, stored: Stored, record: Record) -> Event:
        body, task = record.body, record.body["task"]
        if "intent" in body:
            self._open(stored, record)
            return self._event(stored, record, task, result="open", by=str(body["starter"]), note=str(body["intent"]))
        life, state = self._lives.get(task), str(body["state"])
        if life is not None:
            if state == "suspended":
                life.pauses = [*life.pauses, [record.t, 0]]
            elif life.pauses and not life.pauses[-1][1]:
                life.pauses[-1][1] = record.t
            life.state, life.reason = state, str(body.get("reason", ""))
            if state in FINAL:
                life.ended, life.ended_by = record.t, str(body.get("by", ""))
        result = "resumed" if state == "open" else state
        by, note = str(body.get("by", "")), str(body.get("reason", ""))
        return self._event(stored, record, task, result=result, by=by, note=note, id=str(body.get("decision", "")))

    def _open(self, stored: Stored, record: Record) -> None:
        body, task = record.body, record.body["task"]
        above = self._task.count(".")
        is_above = self._task.startswith(f"{task}.")
        opened = revealed(self._reader, stored, record) if self._is_told(task) or is_above else body
        for limit in body.get("limits", ()):
            if self._is_told(task) or is_above:
                self._limits[limit["name"], task] = _limit(limit, task, opened.get("params", {}))
        if not self._is_told(task):
            return
        self._lives[task] = Life(
            id=task,
            parent=str(body.get("parent", "")),
            depth=task.count(".") - above,
            intent=body["intent"],
            workload=body["workload"],
            starter=body["starter"],
            on_behalf_of=str(body.get("onBehalfOf", "")),
            case_type=str(body.get("caseType", "")),
            emergency=bool(body.get("emergency")),
            params=opened.get("params", {}),
            prompt=opened.get("prompt", ""),
            opened=record.t,
            expires=body["expires"],
            id_n=stored.n,
        )

    def _decision(self, stored: Stored, record: Record) -> Event:
        body = record.body
        task, adds = str(body.get("task", "")), body.get("adds", {})
        reason = body["reason"]
        is_permit = body["effect"] == "permit"
        context = body.get("context", {})
        to = adds.get("destination") or _host(context.get("destination"))
        event = self._event(
            stored,
            record,
            task,
            id=body["id"],
            result="observed" if reason["code"] == "observed" else body["effect"],
            action=body["action"],
            effect=str(body.get("serverEffect", "")),
            code=reason["code"],
            note=str(reason.get("message", "")),
            next_step=str(reason.get("nextStep", "")),
            by=body["pep"],
            to=to,
            deadline=body.get("deadline", 0),
            usage={name: str(amount) for name, amount in body.get("usage", {}).items()},
            obligations=[_obligation(each) for each in body.get("obligations", ())],
        )
        if reason["code"] != "permitted" and self._is_told(task):
            event.policies = self._policies.of(str(body.get("config", "")), reason.get("policies", ()))
        if body.get("requestable"):
            approvals = body["requestable"]["approvals"]
            event.requestable = sorted({by for each in approvals for by in each["by"]}) or ["any approver"]
        if is_permit:
            self._spend(event, spend=True)
            self._grow(event, adds)
        life = self._lives.get(task)
        if life is not None:
            life.permits += is_permit
            life.denials += not is_permit
        self._decisions[event.id] = event
        return event

    def _grow(self, event: Event, adds: Mapping[str, Any]) -> None:
        names = [("label", str(label)) for label in adds.get("labels", ())]
        names += [("label", "untrusted content")] if adds.get("untrusted") else []
        names += [("destination", str(adds["destination"]))] if adds.get("destination") else []
        for kind, name in names:
            if (kind, name) in self._grown:
                continue
            self._grown[kind, name] = Grown(kind=kind, name=name, at=event.at, decision=event.id, task=event.task)
            if kind == "label":
                event.labels = [*event.labels, name]
            else:
                event.destination = name

    def _denials(self, stored: Stored, record: Record) -> Event | None:
        denied, count = self._decisions.get(record.body["decision"]), record.body["count"]
        if denied is None:
            return self._event(stored, record, "", result="deny", note=f"{count} further identical denials",
                               id=record.body["decision"])  # fmt: skip
        denied.again += count
        denied.again_until = record.t
        life = self._lives.get(denied.task)
        if life is not None:
            life.denials += count
        return None

    def _outcome(self, stored: Stored, record: Record) -> Event | None:
        body = record.body
        is_believed = body["standing"] == "believed"
        came = Came(at=record.t, kind="outcome", result=body["result"], by=body["by"], believed=is_believed,
                    late=bool(body.get("late")), n=stored.n)  # fmt: skip
        return self._became(stored, record, came, alone=body["result"] == "unknown" or came.late)

    def _resolution(self, stored: Stored, record: Record) -> Event | None:
        body = record.body
        came = Came(at=record.t, kind="resolution", result=body["result"], by=body["by"], believed=True,
                    reason=str(body.get("reason", "")), n=stored.n)  # fmt: skip
        return self._became(stored, record, came, alone=True)

    def _became(self, stored: Stored, record: Record, came: Came, *, alone: bool) -> Event | None:
        """What became of a permit; `alone`: also an event of its own, at its own time."""
        event = self._decisions.get(record.body["decision"])
        if event is not None:
            event.came = [*event.came, came]
            if came.believed:
                gives_back = came.result == "not_executed" or (
                    came.result in ("error", "unknown") and event.effect == "read"
                )
                self._spend(event, spend=not gives_back)
            if not alone:
                return None
        return self._event(
            stored, record, event.task if event else "", result=came.result, by=came.by, id=record.body["decision"],
            action=event.action if event else "", note=came.reason or ("late" if came.late else ""),
        )  # fmt: skip

    def _spend(self, event: Event, *, spend: bool) -> None:
        is_spent = event.id in self._decisions and event.id not in self._back
        if spend == is_spent and event.id in self._decisions:
            return
        for name, amount in event.usage.items():
            self._spent[name] = self._spent.get(name, 0) + (scaled(amount) or 0) * (1 if spend else -1)
        if spend:
            self._back.discard(event.id)
        else:
            self._back.add(event.id)

    # --- around the task --------------------------------------------------------------------------------------

    def _around(self) -> bool:
        """Adds what happened meanwhile to its workloads and to the installation; False where it is too much to tell."""
        if not self._lives:
            return True
        begin = min(life.opened for life in self._lives.values())
        lives = list(self._lives.values())
        end = self._now if any(not life.ended for life in lives) else max(life.ended for life in lives)
        found: list[tuple[Stored, Event]] = []
        workloads = dict.fromkeys(life.workload for life in lives)
        for workload in list(workloads)[:WORKLOADS]:
            for stored in self._reader.stream(f"identity/{workload}"):
                if b'"kind":"identity"' in stored.data or b'"kind":"risk"' in stored.data:
                    found += _within(stored, _life_event(stored), begin, end)
        for stored in self._reader.stream("administration"):
            if any(f'"kind":"{kind}"'.encode() in stored.data for kind in _CHANGES):
                found += _within(stored, _installation_event(stored), begin, end)
        for stored, event in found[:AROUND]:
            event.is_pending = self._places is not None and self._places.is_pending(stored)
            self._events.append(event)
        if found:
            self._events.sort(key=lambda event: (event.at, event.seq))
        return len(found) <= AROUND and len(workloads) <= WORKLOADS


def _within(stored: Stored, event: Event | None, begin: int, end: int) -> list[tuple[Stored, Event]]:
    return [(stored, event)] if event is not None and begin < event.at <= end else []


def _life_event(stored: Stored) -> Event | None:
    """What became of a workload's identity."""
    record = _readable(stored)
    if record is None:
        return None
    body = record.body
    by = str(body.get("by", ""))
    about: dict[str, Any] = {"seq": stored.seq, "stream": stored.stream, "n": stored.n, "at": record.t}
    about |= {"kind": record.kind, "by": by, "hash": leaf_hash(stored.data)}
    registration = body.get("registration")
    if record.kind == "identity" and isinstance(registration, dict):
        who = name_of(str(registration.get("id", "")))
        return Event(**about, result=str(registration.get("state", "")), action=who, note=str(body.get("reason", "")))
    if record.kind == "risk":
        said = f"{body.get('signal', '')} {body.get('value', '')}"
        return Event(**about, result="risk", action=name_of(str(body.get("id", ""))), note=said)
    return None


def _installation_event(stored: Stored) -> Event | None:
    """What changed for everybody."""
    record = _readable(stored)
    if record is None or record.kind not in _CHANGES:
        return None
    body = record.body
    result = str(body.get("mode", "")) if record.kind == "mode" else "changed"
    note = "" if record.kind == "mode" else f"from here on {str(body.get('config', ''))[:12]} decides"
    return Event(seq=stored.seq, stream=stored.stream, n=stored.n, at=record.t, kind=record.kind, result=result,
                 by=str(body.get("by", "")), note=note, hash=leaf_hash(stored.data))  # fmt: skip


def _readable(stored: Stored) -> Record | None:
    try:
        return stored.record
    except RemitError:
        return None


def _limit(limit: Mapping[str, Any], task: str, params: Mapping[str, Any]) -> Limit:
    counts = limit.get("calls") is not None
    most: Any = limit["calls"] if counts else limit.get("atMost")
    if isinstance(most, str) and most.startswith("params."):
        most = params.get(most.removeprefix("params."))
        if isinstance(most, dict):
            most = most.get("personal", "")
    amount = scaled(most)
    return Limit(name=limit["name"], task=task, counts=counts, most="" if amount is None else shown(amount))


def _obligation(body: Mapping[str, Any]) -> str:
    """An obligation in words: `redact secret`, `limit items 20`, `notify security`."""
    terms = [
        *body.get("fields", ()),
        *(f"{path or 'items'} at most {most}" for path, most in body.get("items", {}).items()),
    ]
    terms += [f"at most {body['bytes']} bytes"] if body.get("bytes") else []
    terms += [body["to"]] if body.get("to") else []
    return f"{body['id']} {', '.join(terms)}".strip()


def _host(facts: Any) -> str:
    host = facts.get("host") if isinstance(facts, dict) else ""
    return host if isinstance(host, str) else ""


def arguments_of(reader: Reader, event: Event) -> Any:
    """The arguments of a decision as `revealed` gives them; None where they were not looked at, or can't be read."""
    if not event.effect:
        return None
    stored = reader.find(event.id)
    if stored is None or stored.stream != event.stream:
        return None
    try:
        record = checked(stored)
        return revealed(reader, stored, record).get("context", {}).get("input")
    except (RemitError, *MALFORMED):
        return None


def as_json(reader: Reader, told: Told) -> Iterator[bytes]:
    """The story as one JSON object, in pieces; decisions carry their arguments."""
    head = {
        "task": told.task,
        "root": told.root,
        "begin": told.begin,
        "end": told.end,
        "tasks": told.lives,
        "limits": told.limits,
        "grown": told.grown,
        "records": told.records,
        "pending": told.pending,
        "unreadable": told.unreadable,
        "isWhole": told.is_whole,
    }
    yield msgspec.json.encode(head)[:-1] + b',"events":['
    for number, event in enumerate(told.events):
        shown_ = msgspec.to_builtins(event)
        if event.is_decision:
            shown_["arguments"] = arguments_of(reader, event)
        yield (b"," if number else b"") + msgspec.json.encode(shown_)
    yield b"]}"
