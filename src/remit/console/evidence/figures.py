"""The figures of a period, counted from the records in one pass beside a running service.

1. Identities and configurations are read first: who was registered in which state, and what decided.
2. All records are then read once, in the order in which they were appended. Those of the period are counted; later
   ones only for what became of the period's permits.
3. What can be said at the end only (permits without an outcome, privileges without use) is added.

Memory grows with the identities, with what stays open, and with the different names that breakdowns show; not with the
records.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from remit.console.evidence import deciding
from remit.console.evidence.frameworks import meanings
from remit.console.evidence.period import Period
from remit.console.evidence.register import STOPPED, Register
from remit.console.evidence.samples import Candidate, Chooser, leaf_of
from remit.core.errors import RemitError
from remit.core.obligations import LIMIT, NOTIFY, REDACT
from remit.ledger.record import Record
from remit.storage.reader import Reader, Stored

Progress = Callable[[str, int, int], None]  # what is being done, done, in all

UNUSED: Final = 500  # privileges without use that are listed
SHOWN: Final = 20  # names in one breakdown; the others are added up
OTHERS: Final = "(others)"
NOVEL: Final = 80  # of 100: `[novelty] rises_from` as it is unless set
DAY_MS: Final = 86_400_000
_EVERY: Final = 2048
_KEPT: Final = 10_000  # denials remembered for the records that repeat them
_OBLIGING: Final = frozenset({REDACT, LIMIT, NOTIFY})  # the others are about how outcomes are reported
_COMMITTED: Final = b'{"commitment":"'
# What reading a body raises whose fields are not those of its kind.
_MALFORMED: Final = (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


class Figure(msgspec.Struct, kw_only=True, rename="camel"):
    """One figure: its value, what it is counted among (None where nothing), and how it divides."""

    id: str
    value: int = 0
    of: int | None = None
    by: dict[str, int] = {}
    more: int = 0  # what of `by` is not shown

    @property
    def is_evidence(self) -> bool:
        """Whether it shows that what it is about was at work."""
        shows = meanings()[self.id].shows
        return shows != "none" and (self.value > 0 or (shows == "base" and bool(self.of)))

    @property
    def is_concern(self) -> bool:
        """Whether it should be 0 and is not."""
        return meanings()[self.id].wanted == "zero" and self.value > 0


class _Head(msgspec.Struct):
    """Of a record, what says whether it is looked at at all."""

    kind: str
    t: int


_read_head: Final = msgspec.json.Decoder(_Head).decode


class Tally:
    """The figures of one period of one installation's records."""

    def __init__(
        self, reader: Reader, period: Period, chooser: Chooser, published: Callable[[Stored], bool] | None = None
    ) -> None:
        """`published` says whether a record stands below the log's checkpoint; None where there is no log."""
        self._reader = reader
        self.period = period
        self._chooser = chooser
        self._published = published
        self._values: Counter[str] = Counter()
        self._of: Counter[str] = Counter()
        self._by: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._candidate: Candidate | None = None  # of the record in hand
        self.register = Register()
        self.configurations: list[tuple[Stored, Record]] = []
        self.changes: list[deciding.Change] = []
        self.unread = 0
        self.read = 0
        self.held: list[deciding.Held] | None = []  # None: the texts that it follows from are not kept
        self.unused: list[deciding.Privilege] = []  # the first of them, in order
        self._open: dict[str, bytes] = {}  # permits without an outcome so far, with their leaf hashes
        self._unknown: dict[str, bytes] = {}
        self._used: set[deciding.Privilege] = set()
        self._denials_told: OrderedDict[str, tuple[tuple[str, str], ...]] = OrderedDict()  # by id: what they count for
        self._codes = {figure: frozenset(meaning.codes) for figure, meaning in meanings().items() if meaning.codes}

    def count(self, progress: Progress = lambda *_: None) -> dict[str, Figure]:
        """Counts; all figures by id."""
        self._prepare()
        total = self._reader.count()
        for stored in self._reader.records():
            self.read += 1
            if self.read % _EVERY == 0:
                progress("counting", self.read, total)
            self._take(stored)
        progress("counting", self.read, max(total, self.read))
        self._conclude()
        return {id_: self._figure(id_) for id_ in meanings()}

    # --- first, who and what decided -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        for stored in self._reader.records(kinds=("identity", "configuration")):
            try:
                record = stored.record
                if record.t >= self.period.end:
                    continue
                if record.kind == "identity":
                    self._registration(stored, record)
                else:
                    self._configuration(stored, record)
            except (RemitError, *_MALFORMED):
                continue  # counted when all are read

    def _registration(self, stored: Stored, record: Record) -> None:
        before = self.register.key_of(str(record.body["registration"]["id"]))
        entry = self.register.take(record.t, record.body)
        if not self.period.has(record.t):
            return
        self._add("registrations", stored, entry.by)
        if entry.state in STOPPED:
            self._offer("stopped-identities", stored)
        if entry.by == _service(record) and entry.state == "quarantined":
            self._add("stopped-by-service", stored, "identity quarantined")
        if before and before != entry.key:
            self._add("keys-changed", stored, str(entry.registration["id"]))

    def _configuration(self, stored: Stored, record: Record) -> None:
        before = self.configurations[-1][1].body if self.configurations else None
        self.configurations.append((stored, record))
        if not self.period.has(record.t) or (before and before["config"] == record.body["config"]):
            return
        parts = deciding.changed(before, record.body, self._reader.text)
        self.changes.append(
            deciding.Change(
                at=record.t,
                stream=stored.stream,
                n=stored.n,
                config=str(record.body["config"]),
                before=str(before["config"]) if before else "",
                parts=parts,
                digests={part: [str((before or {}).get(part, "")), str(record.body.get(part, ""))] for part in parts},
            )
        )
        self._add("changes", stored, *parts)

    # --- then, record by record ------------------------------------------------------------------------------------

    def _take(self, stored: Stored) -> None:
        try:
            head = _read_head(stored.data)
            if head.t >= self.period.end:
                if head.kind in ("outcome", "resolution"):
                    self._became(stored.record.body)
                return
            if head.t < self.period.start:
                return
            record = stored.record
            self._of["unreadable"] += 1
            self._add("recorded", None, record.kind)
            if self._published is not None:
                self._of["published"] += 1
                self._values["published"] += self._published(stored)
            self._personal(stored, record.kind)
            take = _KINDS.get(record.kind)
            if take is not None:
                take(self, stored, record)
        except (RemitError, *_MALFORMED):
            self._values["unreadable"] += 1

    def _personal(self, stored: Stored, kind: str) -> None:
        if kind in ("decision", "task", "outcome"):
            self._of["personal"] += 1
            if _COMMITTED in stored.data:
                self._add("personal", stored, kind)

    def _decision(self, stored: Stored, record: Record) -> None:
        body = record.body
        told = self._told(body)
        for figure, name in told:
            self._add(figure, stored, name)
        self._of["identity-refused"] += 1
        if body["effect"] == "deny":
            self._remember(str(body["id"]), told)
        if "/" not in body["action"]:
            return
        told_to = [str(each.get("to", "")) for each in body.get("obligations", ()) if each["id"] == NOTIFY]
        if told_to:
            self._add("told", stored, *told_to)
        self._novelty(stored, body)
        if body["effect"] == "permit":
            self._permit(stored, record)
        elif body.get("requestable"):
            self._add("requestable", stored, str(body["reason"]["code"]))

    def _told(self, body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """The figures that a decision counts for, and as what; each repetition of a denial counts for them too."""
        action, effect, code = str(body["action"]), str(body["effect"]), str(body["reason"]["code"])
        is_tool = "/" in action
        told = [("decided", effect)] if is_tool else [("administration", f"{action}: {effect}")]
        if effect == "deny":
            told += [
                (figure, code)
                for figure, codes in self._codes.items()
                if code in codes and (is_tool or figure == "identity-refused")
            ]
        if is_tool:
            told += [("denied", code)] if effect == "deny" else []
            told += [("executions", effect)] if body.get("serverEffect") == "execute" else []
            context = body.get("context", {})
            told += [("after-untrusted", effect)] if context.get("session", {}).get("untrusted") is True else []
            told += [("outward", effect)] if context.get("destination", {}).get("internal") is False else []
        return tuple(told)

    def _novelty(self, stored: Stored, body: Mapping[str, Any]) -> None:
        novelty = body.get("context", {}).get("novelty")
        if novelty:
            self._of["novel"] += 1
            most = max(novelty.get(name, 0) for name in ("tool", "step", "destination"))
            if not novelty.get("isLearning", True) and most >= NOVEL:
                self._add("novel", stored, str(body["effect"]))

    def _permit(self, stored: Stored, record: Record) -> None:
        body = record.body
        id_, subject = str(body["id"]), str(body["subject"])
        self._add("permitted", stored, str(body.get("mode", "")))
        self._open[id_] = leaf_of(stored.data)
        self._add("effects", stored, str(body.get("serverEffect", "")))
        if body.get("would") == "deny":
            self._add("observed", stored, str(body["action"]))
        obliged = {str(each["id"]) for each in body.get("obligations", ())} & _OBLIGING
        if obliged:
            self._add("obliged", stored, *sorted(obliged))
        if body.get("adds", {}).get("untrusted"):
            self._add("untrusted-read", stored, str(body["action"]))
        if self.register.kind(subject) == "person":
            self._add("persons-acting", stored, subject)
        if any(self.register.is_stopped(str(who), record.t) for who in (subject, body.get("pep", ""))):
            self._add("permitted-after-stop", stored, subject)
        intent = body.get("context", {}).get("task", {}).get("intent", "")
        self._used.add(deciding.Privilege(subject, str(intent), str(body["action"])))

    def _remember(self, id_: str, told: tuple[tuple[str, str], ...]) -> None:
        self._denials_told[id_] = told
        if len(self._denials_told) > _KEPT:
            self._denials_told.popitem(last=False)

    def _denials(self, stored: Stored, record: Record) -> None:
        id_, times = str(record.body["decision"]), int(record.body["count"])
        told = self._denials_told.get(id_)
        if told is None:
            found = self._reader.find(id_)
            told = self._told(found.record.body) if found is not None else ()
            self._remember(id_, told)
        self._of["identity-refused"] += times
        for figure, name in told:
            self._add(figure, stored, name, times=times)

    def _outcome(self, stored: Stored, record: Record) -> None:
        body = record.body
        if body["standing"] == "believed" and body["result"] != "unknown":
            self._of["late"] += 1
            if body.get("late"):
                self._add("late", stored, str(body["by"]))
        self._became(body)

    def _resolution(self, stored: Stored, record: Record) -> None:
        self._add("resolved", stored, str(record.body["by"]))
        self._became(record.body)

    def _became(self, body: Mapping[str, Any]) -> None:
        """What became of a permit, also after the period."""
        id_ = str(body["decision"])
        leaf = self._open.pop(id_, None)
        if body.get("result") == "unknown":
            if leaf is not None:
                self._unknown[id_] = leaf
        elif body.get("standing", "believed") == "believed":
            self._unknown.pop(id_, None)

    def _task(self, stored: Stored, record: Record) -> None:
        body = record.body
        if "intent" not in body:
            if body["state"] in ("suspended", "cancelled"):
                self._add("suspended", stored, f"{body['state']} by {body['by']}")
                if body["by"] == _service(record):
                    self._add("stopped-by-service", stored, "task suspended")
            return
        intent, starter = str(body["intent"]), str(body["starter"])
        self._add("tasks", stored, intent)
        if body.get("parent"):
            self._add("children", stored, intent)
        else:
            self._of["self-started"] += 1
            self._of["started-by-persons"] += 1
            if starter == body["workload"]:
                self._add("self-started", stored, intent)
            if self.register.kind(starter) == "person":
                self._add("started-by-persons", stored, starter)
        if body.get("onBehalfOf"):
            self._add("on-behalf", stored, intent)
        if body.get("emergency"):
            self._add("emergencies", stored, intent)

    def _identity(self, _stored: Stored, record: Record) -> None:
        _ = record.body["registration"]["id"]  # counted when all were read; here for what can't be

    def _exchange(self, stored: Stored, record: Record) -> None:
        self._add("outside-tokens", stored, str(record.body["source"]))

    def _risk(self, stored: Stored, record: Record) -> None:
        if record.body["value"]:
            self._add("signals", stored, str(record.body["signal"]))

    def _mode(self, stored: Stored, record: Record) -> None:
        self._add("modes", stored, f"{record.body['mode']} by {record.body.get('by', '')}")

    def _habit(self, stored: Stored, record: Record) -> None:
        self._add("habits", stored, record.kind)

    def _erasure(self, stored: Stored, record: Record) -> None:
        self._add("erasures", stored, f"{record.body['what']} by {record.body['by']}")

    # --- at the end ------------------------------------------------------------------------------------------------

    def _conclude(self) -> None:
        values, of = self._values, self._of
        for figure, waiting in (("no-outcome", self._open), ("unknown-outcomes", self._unknown)):
            values[figure] = len(waiting)
            for id_, leaf in waiting.items():
                self._chooser.offer(figure, Candidate(leaf, id=id_))
        for figure in ("permitted", "denied", "executions", "without-purpose", "tools-refused", "limits-stopped",
                       "after-untrusted", "outward", "told"):  # fmt: skip
            of[figure] = values["decided"]
        for figure in ("effects", "observed", "no-outcome", "unknown-outcomes", "obliged", "untrusted-read",
                       "persons-acting"):  # fmt: skip
            of[figure] = values["permitted"]
        of["requestable"] = values["denied"]
        for figure in ("children", "on-behalf", "emergencies", "suspended"):
            of[figure] = values["tasks"]
        self._registered()
        self._held()

    def _registered(self) -> None:
        values, of = self._values, self._of
        keys: dict[str, list[str]] = {}
        ages: dict[str, int] = {}
        for id_, entry in self.register.last():
            values["identities"] += 1
            self._divide("identities", f"{entry.registration.get('kind', '')}: {entry.state}")
            if entry.state == "retired":
                continue
            if entry.key:
                keys.setdefault(entry.key, []).append(id_)
                ages[id_] = (self.period.end - self.register.key_since(id_)) // DAY_MS
            if "workload" in entry.registration.get("roles", ()):
                of["ownerless"] += 1
                of["environments"] += 1
                if not entry.registration.get("owner"):
                    self._add("ownerless", None, id_)
                if environment := entry.registration.get("environment"):
                    self._add("environments", None, str(environment))
        for figure in ("keys-changed", "key-age", "shared-keys"):
            of[figure] = len(ages)
        values["key-age"] = max(ages.values(), default=0)
        self._by["key-age"] = Counter(ages)
        shared = {key: ids for key, ids in keys.items() if len(ids) > 1}
        values["shared-keys"] = len(shared)
        self._by["shared-keys"] = Counter({", ".join(ids): len(ids) for ids in shared.values()})
        stopped = self.register.stopped_in(self.period)
        values["stopped-identities"] = of["permitted-after-stop"] = len(stopped)
        of["stopped-identities"] = values["identities"]
        for states in stopped.values():
            for state in sorted(states):
                self._divide("stopped-identities", state)

    def _held(self) -> None:
        if not self.configurations:
            return
        try:
            self.held = deciding.held(self.configurations[-1][1].body, self.register, self._reader.text)
        except _MALFORMED:
            self.held = None
        self._of["unused-privileges"] = sum(each.size for each in self.held or ())
        for each in deciding.unused(self.held or (), self._used):
            self._add("unused-privileges", None, each.workload)
            if len(self.unused) < UNUSED:
                self.unused.append(each)

    # --- counting --------------------------------------------------------------------------------------------------

    def _add(self, figure: str, stored: Stored | None, *names: str, times: int = 1) -> None:
        self._values[figure] += times
        for name in names:
            self._divide(figure, name, times)
        if stored is not None:
            self._offer(figure, stored)

    def _offer(self, figure: str, stored: Stored) -> None:
        if self._candidate is None or self._candidate.stored is not stored:
            self._candidate = Candidate(leaf_of(stored.data), stored)
        self._chooser.offer(figure, self._candidate)

    def _divide(self, figure: str, name: str, times: int = 1) -> None:
        self._by[figure][name] += times

    def _figure(self, id_: str) -> Figure:
        names = sorted(self._by[id_].items(), key=lambda item: (-item[1], item[0]))
        return Figure(
            id=id_,
            value=self._values[id_],
            of=self._of[id_] if meanings()[id_].of else None,
            by=dict(names[:SHOWN]),
            more=len(names[SHOWN:]),
        )


def _service(record: Record) -> str:
    """Who records what Remit does by itself."""
    return f"spiffe://{record.td}/remit"


_KINDS: Final[Mapping[str, Callable[[Tally, Stored, Record], None]]] = {
    "decision": Tally._decision,
    "denials": Tally._denials,
    "outcome": Tally._outcome,
    "resolution": Tally._resolution,
    "task": Tally._task,
    "identity": Tally._identity,
    "exchange": Tally._exchange,
    "risk": Tally._risk,
    "mode": Tally._mode,
    "practice": Tally._habit,
    "forgotten": Tally._habit,
    "erasure": Tally._erasure,
}
