"""What one workload really did: its tasks, and what was completed, permitted and refused in them, from the records.

Only the sessions of its own tasks are read, the latest first and at most `SESSIONS` of them, so that it costs what this
workload did and not what everybody did. Reads beside a running service and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from remit.console.history import MALFORMED
from remit.console.shapes import check_shape
from remit.core.errors import RemitError
from remit.ledger.record import Record
from remit.storage.reader import Reader, Stored

SESSIONS: Final = 5_000


@dataclass(slots=True)
class Deed:
    """One action, or one destination of it: how often, and when it was first and last completed (ms)."""

    completed: int = 0
    first: int = 0
    last: int = 0

    def take(self, at: int) -> None:
        """One completion more."""
        self.completed += 1
        self.first = min(self.first or at, at)
        self.last = max(self.last, at)


@dataclass(slots=True)
class Acts(Deed):
    """One action: what became of its permits, and where it went."""

    permitted: int = 0
    refused: int = 0
    destinations: dict[str, Deed] = field(default_factory=dict)
    intents: set[str] = field(default_factory=set)  # under which it was completed


@dataclass(slots=True)
class Run:
    """The tasks under one intent: how many, with which case types, and when one was last started (ms)."""

    tasks: int = 0
    last: int = 0
    case_types: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Deeds:
    """What was done since a time; `is_whole` unless there were more sessions than are read."""

    since: int
    actions: dict[str, Acts] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)  # by intent
    is_whole: bool = True
    unreadable: int = 0  # records that `remit verify` has something to say of

    @property
    def tasks(self) -> int:
        """How many tasks there were."""
        return sum(run.tasks for run in self.runs.values())


def deeds_of(reader: Reader, workload: str, since: int) -> Deeds:
    """What the workload did in tasks that were started since then."""
    found = Deeds(since)
    roots: dict[str, None] = {}
    for stored in reader.backwards(("task",)):
        record = _read(stored, found)
        if record is None:
            continue
        if record.t < since:
            break
        if record.body.get("workload") == workload:
            roots[record.body.get("root") or record.body["task"]] = None
            if len(roots) > SESSIONS:
                del roots[next(reversed(roots))]
                found.is_whole = False
                break
    for root in roots:
        _session(reader, root, workload, found)
    return found


def _session(reader: Reader, root: str, workload: str, found: Deeds) -> None:
    tasks: dict[str, str] = {}  # of this workload: id -> intent
    decided: dict[str, Mapping[str, Any]] = {}
    for stored in reader.stream(f"session/{root}"):
        record = _read(stored, found)
        if record is None:
            continue
        body = record.body
        if record.kind == "task" and body.get("workload") == workload and record.t >= found.since:
            tasks[body["task"]] = body["intent"]
            run = found.runs.setdefault(body["intent"], Run())
            run.tasks += 1
            run.last = max(run.last, record.t)
            run.case_types |= {body["caseType"]} if body.get("caseType") else set()
        elif record.kind == "decision" and body.get("task") in tasks:
            decided[body["id"]] = body
            acts = found.actions.setdefault(body["action"], Acts())
            if body["effect"] == "permit":
                acts.permitted += 1
            else:
                acts.refused += 1
        elif body.get("decision") in decided:
            _became(record, decided[body["decision"]], tasks, found)


def _became(record: Record, decision: Mapping[str, Any], tasks: Mapping[str, str], found: Deeds) -> None:
    """What became of a decision: it was completed, or asked again and refused."""
    acts, body = found.actions[decision["action"]], record.body
    if record.kind == "denials":
        acts.refused += body["count"]
    elif record.kind == "outcome" and body["result"] == "response" and body["standing"] == "believed":
        acts.take(record.t)
        acts.intents.add(tasks[decision["task"]])
        if host := decision.get("adds", {}).get("destination"):
            acts.destinations.setdefault(host, Deed()).take(record.t)


def _read(stored: Stored, found: Deeds) -> Record | None:
    """The record, None where it is not what its kind must be."""
    try:
        record = stored.record
        check_shape(record.kind, record.body)
    except (RemitError, *MALFORMED):
        found.unreadable += 1
        return None
    return record
