"""The facts that a trace reads, each with who or what says so, and how old that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from remit.console.explanation import Fact
from remit.decide.world import session_stream
from remit.ledger.record import Record
from remit.policy.traced import Clause, Trace
from remit.storage.reader import Reader

_TASK: Final = {
    "id": "the task", "root": "the task", "intent": "the starter, when the task was started",
    "starter": "the starter's proved identity", "caseType": "the starter, when the task was started",
    "onBehalfOf": "the person's own token, when the task was started", "emergency": "the intent",
    "ageSeconds": "the task's record and the clock", "depth": "the task",
    "params": "the starter, when the task was started",
}  # fmt: skip
_CONTEXT: Final = {
    "input": "the arguments of this call, typed by the tool's schema",
    "session": "the records of this task tree",
    "destination": "the catalogue, and the arguments of this call",
    "caller": "who asks, proved",
    "novelty": "the habits of the workload, up to yesterday",
    "risk": "the live signals that `[risk] signals` names",
    "temporal": "the recorded events",
    "providers": "an information provider, asked for this call",
}
_PERMITTED: Final = ("session", "usage")


class Sources:
    """Knows where facts come from, and when that was recorded."""

    def __init__(
        self,
        reader: Reader | None,
        workload: str,
        task: str,
        at: int,
        before: int | None,
        steps: Mapping[str, str],
    ) -> None:
        """`before` is the place of the decision's record, `steps` the actions that prerequisites wait for."""
        self._at = at
        self._steps = steps
        self._started: dict[str, int] = {}
        self._permitted: int | None = None
        self._answered: dict[str, list[int]] = {}
        self._registered: int | None = None
        self._task = task
        if reader is None:
            return
        actions: dict[str, str] = {}
        for stored in reader.stream(session_stream(task)) if task else ():
            if before is not None and stored.seq >= before:
                break
            record = stored.record
            if record.kind == "task" and "intent" in record.body:
                self._started[record.body["task"]] = record.t
            elif record.kind == "decision" and record.body["effect"] == "permit":
                self._permitted = record.t
                actions[record.body["id"]] = record.body["action"]
            elif _is_response(record) and record.body["decision"] in actions:
                self._answered.setdefault(actions[record.body["decision"]], []).append(record.t)
        for stored in reader.stream(f"identity/{workload}"):
            record = stored.record
            if record.t > at:
                break
            if record.kind == "identity":
                self._registered = record.t

    def of(self, path: str) -> tuple[str, int | None]:
        """Where a fact comes from, and its age in ms."""
        root, _, rest = path.partition(".")
        if root == "principal":
            return "the registration", self._age(self._registered)
        if root != "context":
            return "this call", 0
        name, _, below = rest.partition(".")
        if name == "task":
            return self._of_task(below)
        if name == "system":
            return ("the change windows of `windows/`", 0) if below.startswith("windows") else ("the clock", 0)
        age = 0 if name in ("input", "destination", "caller", "providers", "temporal") else None
        if name in _PERMITTED:
            age = self._age(self._permitted)
        if name == "temporal":
            return "the recorded events, at this call", 0
        return _CONTEXT.get(name, "the configuration"), age

    def _of_task(self, below: str) -> tuple[str, int | None]:
        name, _, rest = below.partition(".")
        if name == "usage":
            return "the permits of this task tree", self._age(self._permitted)
        if name == "done":
            action = next((done for step, done in self._steps.items() if rest.startswith(step)), "")
            times = self._answered.get(action, [])
            # Which of several counted depends on their values.
            age = self._age(times[0]) if len(times) == 1 else None
            return f"the enforcement point's report of `{action}`" if action else "reported outcomes", age
        age = self._age(self._started.get(self._task))
        return _TASK.get(name, "the task"), 0 if name == "ageSeconds" else age

    def _age(self, since: int | None) -> int | None:
        return max(0, self._at - since) if since is not None else None


def _is_response(record: Record) -> bool:
    body = record.body
    return record.kind == "outcome" and body["standing"] == "believed" and body["result"] == "response"


def facts_of(traces: Sequence[Trace], sources: Sources) -> Iterator[Fact]:
    """What the traces read, by path."""
    found: dict[str, Clause] = {}
    for trace in traces:
        for clause in (*trace.scope, *trace.conditions):
            _collect(clause, found)
    for path in sorted(found):
        clause = found[path]
        source, age = sources.of(path)
        is_known = clause.state == "value"
        yield Fact(path=path, value=_value(clause), known=is_known, source=source, age=age)


def _collect(clause: Clause, found: dict[str, Clause]) -> None:
    if "." in clause.reads and clause.state != "skipped":
        found.setdefault(clause.reads, clause)
    for part in clause.parts:
        _collect(part, found)


def _value(clause: Clause) -> Any:
    if clause.state == "value":
        return clause.value
    return "(not there)" if clause.state == "failed" else "(concealed or erased)"
