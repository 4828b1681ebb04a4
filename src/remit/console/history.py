"""What happened, as lines that people read: decisions, tasks and outcomes, from the records of a database.

Reads beside a running service and changes nothing. Lines come in the order in which the records were appended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from remit.console.rows import name_of, row_of
from remit.console.screen import printable
from remit.console.shapes import check_shape
from remit.core.errors import RemitError
from remit.ledger.record import Record
from remit.storage.reader import Reader, Stored

# What reading a body raises whose fields are not those of its kind.
MALFORMED: Final = (KeyError, TypeError, AttributeError, ValueError, OverflowError)
KINDS: Final = ("decision", "denials", "outcome", "resolution", "task")
_KEPT: Final = 10_000  # records looked up for lines that refer to them


class Choice(NamedTuple):
    """Which lines are wanted. `task` is an id (with all below it), `workload` a SPIFFE ID or the end of one."""

    task: str = ""
    workload: str = ""
    denied: bool = False


class Line(NamedTuple):
    """One line of the log."""

    seq: int
    id: str  # of the decision or task that it is about
    kind: str  # decision, denials, outcome, resolution or task
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

    @property
    def denied(self) -> bool:
        """Whether it says that something was refused."""
        return self.kind in ("decision", "denials") and self.result != "permit"


class History:
    """The lines of one database."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._bodies: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def last(self, choice: Choice, most: int) -> list[Line]:
        """The last `most` lines that fit, oldest first."""
        if choice.task:
            stored: Iterator[Stored] = reversed(list(self._reader.stream("session/" + choice.task.partition(".")[0])))
        else:
            stored = self._reader.backwards(KINDS)
        return list(islice(self._chosen(stored, choice), most))[::-1]

    def lines(self, stored: Iterable[Stored], choice: Choice) -> Iterator[Line]:
        """The lines of these records, where they fit."""
        return self._chosen(iter(stored), choice)

    def _chosen(self, stored: Iterator[Stored], choice: Choice) -> Iterator[Line]:
        for each in stored:
            line = self._line(each)
            if line is not None and fits(line, choice):
                yield line

    def _line(self, stored: Stored) -> Line | None:
        """The line of a record; one that can't be read is still a line, and `remit verify` says what is wrong."""
        try:
            record = stored.record
            if not record.understood or record.kind not in KINDS:
                return None
            check_shape(record.kind, record.body)
            found = getattr(self, f"_{record.kind}")(record)
        except (RemitError, *MALFORMED):
            return Line(
                stored.seq, "", "unreadable", 0, "", "", "", "", "unreadable", "see `remit verify`", "",
                printable(stored.stream), stored.n,
            )  # fmt: skip
        id_, workload, task, intent, action, result, note, latency = (printable(str(part)) for part in found)
        return Line(
            stored.seq, id_, record.kind, record.t, workload, task, intent, action, result, note, latency,
            record.stream, record.n,
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


def fits(line: Line, choice: Choice) -> bool:
    """Whether the line is among those chosen."""
    if choice.task and line.task != choice.task and not line.task.startswith(choice.task + "."):
        return False
    if choice.workload and line.workload != choice.workload and not line.workload.endswith("/" + choice.workload):
        return False
    return line.denied or not choice.denied
