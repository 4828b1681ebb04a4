"""Where a value came from and went to: its places, read again in the records, and what held it before each call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from remit.console.detail import checked
from remit.console.history import MALFORMED
from remit.console.rows import name_of
from remit.core.errors import RemitError
from remit.ledger.record import Record
from remit.storage.lineage import Sighting
from remit.storage.reader import Reader, Stored

_KEPT: Final = 10_000
_AT_ONCE: Final = 512
ROLES: Final = ("parameter", "prompt", "result", "argument", "destination")
NOT_SEEN: Final = (
    "what is only a part of a longer string",
    "a value that was encoded, translated or calculated with",
    "fields of results that the catalogue does not select",
    "what never came by Remit",
    "values that were erased",
)


class Use(msgspec.Struct, rename="camel", kw_only=True):
    """One place where the value stood."""

    at: int
    role: str  # parameter, prompt or result: it came from here; argument or destination: it was to go there
    what: str  # the intent of a parameter or prompt; the action of a result or call
    name: str  # of the parameter, field or argument, as a dotted path
    task: str
    root: str
    intent: str
    workload: str
    result: str  # permit, deny, observed; response, …; "" of a task
    code: str = ""
    to: str = ""  # the host that a call went to
    by: str = ""  # who started the task, or reported the outcome
    decision: str = ""
    stream: str
    n: int
    seq: int
    is_personal: bool
    held_before: list[int] = []  # of a call: the places (numbers in the list) that held it before, in its own session
    elsewhere: list[int] = []  # where none did: those of other sessions

    @property
    def is_source(self) -> bool:
        """Whether the value came from here."""
        return self.role in ("parameter", "prompt", "result")

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes several uses one node of a picture."""
        return (self.role, self.what, self.name)


class Lines(msgspec.Struct, rename="camel", kw_only=True):
    """Everything that is known of one value, the oldest use first."""

    uses: list[Use]
    total: int  # places in all, also those beyond what is told
    unreadable: int = 0
    not_seen: tuple[str, ...] = NOT_SEEN


def lineage_of(reader: Reader, sightings: Sequence[Sighting], total: int, *, task: str = "", since: int = 0) -> Lines:
    """The uses at these places; only those of a task and below it, and not before a time, where that is asked for."""
    finder = _Finder(reader)
    found = [use for use in finder.uses(sightings) if use.at >= since and _is_of(use.task, task)]
    _join(found)
    return Lines(uses=found, total=total, unreadable=finder.unreadable)


def _is_of(task: str, wanted: str) -> bool:
    return not wanted or task == wanted or task.startswith(wanted + ".")


def _join(uses: Sequence[Use]) -> None:
    """Notes for each call where the value was before: the last use of each source of its session, else of others."""
    sources: dict[str, OrderedDict[tuple[str, str, str], int]] = {}
    anywhere: OrderedDict[tuple[str, str, str], int] = OrderedDict()
    for number, use in enumerate(uses):
        if use.is_source:
            sources.setdefault(use.root, OrderedDict())[use.key] = number
            anywhere[use.key] = number
            anywhere.move_to_end(use.key)
        else:
            use.held_before = list(sources.get(use.root, {}).values())
            if not use.held_before:
                use.elsewhere = list(anywhere.values())[-8:]


class _Finder:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._bodies: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.unreadable = 0

    def uses(self, sightings: Sequence[Sighting]) -> Iterable[Use]:
        for start in range(0, len(sightings), _AT_ONCE):
            some = sightings[start : start + _AT_ONCE]
            stored = {each.seq: each for each in self._reader.at(sorted({each.place for each in some}))}
            for sighting in some:
                try:
                    found = self._use(sighting, stored[sighting.place])
                except (RemitError, *MALFORMED):
                    self.unreadable += 1
                    continue
                if found is not None:
                    yield found

    def _use(self, sighting: Sighting, stored: Stored) -> Use | None:
        record = checked(stored)
        if record.kind == "task":
            return self._of_task(sighting, stored, record)
        if record.kind == "decision":
            return self._of_decision(sighting, stored, record)
        return self._of_outcome(sighting, stored, record)

    def _of_task(self, sighting: Sighting, stored: Stored, record: Record) -> Use:
        body = record.body
        is_prompt = sighting.path == "/prompt"
        return self._made(
            sighting, stored, record, body["task"], role="prompt" if is_prompt else "parameter", what=body["intent"],
            name="prompt" if is_prompt else _name(sighting.path, "/params"), by=body["starter"], result="",
        )  # fmt: skip

    def _of_decision(self, sighting: Sighting, stored: Stored, record: Record) -> Use:
        body = record.body
        is_host = sighting.path == "/context/destination/host"
        host = body.get("context", {}).get("destination", {})
        to = body.get("adds", {}).get("destination") or (host.get("host", "") if isinstance(host, dict) else "")
        return self._made(
            sighting, stored, record, str(body.get("task", "")), role="destination" if is_host else "argument",
            what=body["action"], name="host" if is_host else _name(sighting.path, "/context/input"),
            result="observed" if body["reason"]["code"] == "observed" else body["effect"],
            code=body["reason"]["code"], to=str(to), by=body["pep"], decision=body["id"],
        )  # fmt: skip

    def _of_outcome(self, sighting: Sighting, stored: Stored, record: Record) -> Use:
        body = record.body
        decided = self._body(body["decision"])
        name = _name(sighting.path, "/selected")
        return self._made(
            sighting, stored, record, str(decided.get("task", "")), role="result", what=str(decided.get("action", "")),
            name=name, result=body["result"], by=body["by"], decision=body["decision"],
        )  # fmt: skip

    def _made(self, sighting: Sighting, stored: Stored, record: Record, task: str, **more: Any) -> Use:
        opened = self._body(task) if task else {}
        return Use(
            at=record.t, task=task, root=task.partition(".")[0], intent=str(opened.get("intent", "")),
            workload=str(opened.get("workload", "")), stream=stored.stream, n=stored.n, seq=stored.seq,
            is_personal=sighting.is_personal, **more,
        )  # fmt: skip

    def _body(self, key: str) -> dict[str, Any]:
        body = self._bodies.get(key)
        if body is None:
            stored = self._reader.find(key)
            body = checked(stored).body if stored is not None else {}
            self._bodies[key] = body
            if len(self._bodies) > _KEPT:
                self._bodies.popitem(last=False)
        return body


def _name(path: str, above: str) -> str:
    """A JSON Pointer below another one, as people write it: `items.0.account`."""
    steps = path.removeprefix(above).split("/")[1:]
    return ".".join(step.replace("~1", "/").replace("~0", "~") for step in steps)


def node(use: Use) -> str:
    """A use in words: `result of billing/read_invoice (account)`."""
    if use.role == "prompt":
        return f"prompt of {use.what}"
    if use.role == "parameter":
        return f"parameter {use.name} of {use.what}"
    if use.role == "result":
        return f"result of {use.what} ({use.name})"
    if use.role == "destination":
        return f"{use.what}, as the host that it goes to"
    return f"{use.what} ({use.name})"


class Flow(msgspec.Struct, rename="camel", kw_only=True):
    """Uses of one sort as one node: how often, when, and what became of them."""

    role: str
    text: str
    uses: list[int]  # numbers in the list of uses
    results: dict[str, int]
    tasks: list[str]
    hosts: dict[str, int]  # where it went, or was to go
    refused: dict[str, int]  # of these, how often it was denied

    def is_refused(self, host: str) -> bool:
        """Whether nothing of it went there."""
        return self.refused.get(host, 0) == self.hosts[host]


class Edge(NamedTuple):
    """How many of a call's uses a source held before, and how many of these it held in another session only."""

    times: int
    across: int


def flows(lines: Lines) -> tuple[list[Flow], list[Flow], dict[tuple[int, int], Edge]]:
    """Sources and calls, each with the first ones first, and what joins them.

    The source -1 stands for calls of whose value nothing recorded held it before.
    """
    found: dict[tuple[str, str, str], Flow] = {}
    for number, use in enumerate(lines.uses):
        flow = found.get(use.key)
        if flow is None:
            flow = found[use.key] = Flow(
                role=use.role, text=node(use), uses=[], results={}, tasks=[], hosts={}, refused={}
            )
        flow.uses.append(number)
        if use.result:
            flow.results[use.result] = flow.results.get(use.result, 0) + 1
        if use.task not in flow.tasks:
            flow.tasks.append(use.task)
        if use.to:
            flow.hosts[use.to] = flow.hosts.get(use.to, 0) + 1
            flow.refused[use.to] = flow.refused.get(use.to, 0) + (use.result == "deny")
    sources = [flow for key, flow in found.items() if key[0] in ROLES[:3]]
    calls = [flow for key, flow in found.items() if key[0] not in ROLES[:3]]
    at = {use: index for index, flow in enumerate(sources) for use in flow.uses}
    edges: dict[tuple[int, int], Edge] = {}
    for index, call in enumerate(calls):
        for number in call.uses:
            use = lines.uses[number]
            for source in {at[before] for before in (use.held_before or use.elsewhere)} or {-1}:
                times, across = edges.get((source, index), (0, 0))
                edges[source, index] = Edge(times + 1, across + (source >= 0 and not use.held_before))
    return sources, calls, edges


def said_results(flow: Flow) -> str:
    """What became of calls in words: `2 permitted, 1 denied`."""
    names = {"permit": "permitted", "deny": "denied", "observed": "observed"}
    return ", ".join(f"{count} {names.get(result, result)}" for result, count in flow.results.items())


def who_of(use: Use) -> str:
    """The workload under whose task it stood."""
    return name_of(use.workload) if use.workload else "no task"
