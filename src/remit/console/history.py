"""What happened, as lines that people read: decisions, tasks and outcomes, from the records of a database.

Reads beside a running service and changes nothing. Lines come in the order in which the records were appended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from remit.console.rows import name_of, row_of
from remit.console.screen import printable
from remit.console.shapes import check_shape
from remit.core.errors import RemitError
from remit.ledger.record import Record
from remit.storage.index_choice import Choice, Predicate
from remit.storage.index_facts import EVENTS, Lookup
from remit.storage.index_folder import IndexFolder
from remit.storage.index_query import Query
from remit.storage.reader import Reader, Stored

# What reading a body raises whose fields are not those of its kind.
MALFORMED: Final = (KeyError, TypeError, AttributeError, ValueError, OverflowError)
KINDS: Final = EVENTS
_KEPT: Final = 10_000  # records looked up for lines that refer to them


class Line(NamedTuple):
    """One line of the log."""

    seq: int
    id: str  # of the decision or task that it is about
    kind: str  # of the record: decision, denials, outcome, resolution, task; others where they are asked for
    at: int  # ms
    workload: str  # SPIFFE ID
    task: str
    intent: str
    action: str
    result: str  # permit, deny, observed, response, error, not_executed, unknown, open, completed, ...
    note: str  # the reason's code, who reported, who started
    latency: str  # ms, of a decision
    stream: str
    n: int
    pending: bool | None = None  # whether it is not in the published log yet; None where records are not published

    @property
    def denied(self) -> bool:
        """Whether it says that something was refused."""
        return self.kind in ("decision", "denials") and self.result != "permit"


class History:
    """The lines of one database."""

    def __init__(
        self, reader: Reader, index: IndexFolder | None = None, pending: Callable[[Stored], bool] | None = None
    ) -> None:
        """With an index, its methods raise `Damaged` where one of its files is not what was written.

        `pending` says of a record whether it is still to be published, where records are.
        """
        self._reader = reader
        self._index = index
        self.pending = pending
        self._lookup = Lookup(reader)
        self._bodies: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def last(self, choice: Choice, most: int) -> list[Line]:
        """The last `most` lines that fit, oldest first."""
        stored = self._reader.backwards(EVENTS) if choice.is_open else self._query(choice).newest()
        lines = (line for each in stored if (line := self._line(each)) is not None)
        return list(islice(lines, most))[::-1]

    def count(self, choice: Choice) -> int:
        """How many records fit."""
        return self._query(choice).count()

    def values(self, field: str) -> set[str]:
        """Every value of a field that can be filtered by."""
        return self._query(Choice()).values(field)

    def lines(self, stored: Iterable[Stored], choice: Choice) -> Iterator[Line]:
        """The lines of these records, where they fit."""
        fits = Predicate(choice)
        for each in stored:
            if choice.is_open or fits.fits(self._lookup.facts(each)):
                line = self._line(each)
                if line is not None:
                    yield line

    def _query(self, choice: Choice) -> Query:
        return Query(self._reader, self._index, choice)

    def _line(self, stored: Stored) -> Line | None:
        """The line of a record; one that can't be read is still a line, and `remit verify` says what is wrong."""
        pending = self.pending(stored) if self.pending is not None else None
        try:
            record = stored.record
            if not record.understood:
                return None
            check_shape(record.kind, record.body)
            found = (getattr(self, f"_{record.kind}") if record.kind in EVENTS else self._other)(record)
        except (RemitError, *MALFORMED):
            return Line(
                stored.seq, "", "unreadable", 0, "", "", "", "", "unreadable", "see `remit verify`", "",
                printable(stored.stream), stored.n, pending,
            )  # fmt: skip
        id_, workload, task, intent, action, result, note, latency = (printable(str(part)) for part in found)
        return Line(
            stored.seq, id_, record.kind, record.t, workload, task, intent, action, result, note, latency,
            record.stream, record.n, pending,
        )  # fmt: skip

    def _decision(self, record: Record) -> tuple[str, ...]:
        task = str(record.body.get("task", ""))
        row = row_of(record, {task: self._intent(task)})
        note = row.reason if row.decision != "permit" else ""
        return (row.id, record.body["subject"], task, row.intent, row.action, row.decision, note, row.latency)

    def _denials(self, record: Record) -> tuple[str, ...]:
        decided, count = self._body(record.body["decision"]), record.body["count"]
        code = decided.get("reason", {}).get("code", "")
        return (*self._about(record, decided), "deny", f"{count}× {code}", "")

    def _outcome(self, record: Record) -> tuple[str, ...]:
        decided = self._body(record.body["decision"])
        note = "claimed by itself" if record.body["standing"] == "claimed" else f"by {name_of(record.body['by'])}"
        return (*self._about(record, decided), record.body["result"], note, "")

    def _resolution(self, record: Record) -> tuple[str, ...]:
        decided = self._body(record.body["decision"])
        note = f"resolved by {name_of(record.body['by'])}"
        return (*self._about(record, decided), record.body["result"], note, "")

    def _task(self, record: Record) -> tuple[str, ...]:
        body = record.body
        opened = body if "intent" in body else self._body(body["task"])
        by = name_of(str(body.get("by") or body.get("starter", "")))
        note = f"{'started ' if opened is body else ''}by {by}"
        if opened.get("emergency"):
            note = f"emergency, {note}"
        task, workload, intent = body["task"], opened.get("workload", ""), opened.get("intent", "")
        return (task, workload, task, intent, "task", body["state"], note, "")

    def _other(self, record: Record) -> tuple[str, ...]:
        """A record about an identity, or about the installation."""
        body = record.body
        id_ = record.stream.removeprefix("identity/") if record.stream.startswith("identity/") else ""
        registration = body.get("registration")
        state = registration.get("state", "") if isinstance(registration, dict) else body.get("mode", "")
        note = f"by {name_of(str(body['by']))}" if body.get("by") else ""
        return ("", id_, "", "", record.kind, str(state) or "recorded", note, "")

    def _about(self, record: Record, decided: Mapping[str, Any]) -> tuple[str, ...]:
        """Id, workload, task, intent and action of the decision that a record is about."""
        task = str(decided.get("task", ""))
        action = str(decided.get("action", ""))
        return (record.body["decision"], str(decided.get("subject", "")), task, self._intent(task), action)

    def _intent(self, task: str) -> str:
        return str(self._body(task).get("intent", "")) if task else ""

    def _body(self, key: str) -> Mapping[str, Any]:
        """The body of the decision, or the opening of the task, that has this id; empty when there is none."""
        body = self._bodies.get(key)
        if body is None:
            stored = self._reader.find(key)
            try:
                record = stored.record if stored else None
                body = record.body if record else {}
                if record is not None:
                    check_shape(record.kind, record.body)
            except (RemitError, ValueError):
                body = {}
            self._bodies[key] = body
            if len(self._bodies) > _KEPT:
                self._bodies.popitem(last=False)
        return body
