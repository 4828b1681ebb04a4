"""Histories for temporal policies that are new, made from the records while others decide.

A task tree's history is made from its own stream. What a workload did over all its tasks stands in many streams, and
from then on in one of its own, which begins with the events that its sessions say (`events`). A record of
administration (`watch`) says for which clauses these streams are kept; for others that are to decide they are
made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from remit.core import canonical
from remit.decide import entries
from remit.decide.configuration import Configuration
from remit.decide.histories import History, Waiting, event_body, happened
from remit.decide.sequence import Entry
from remit.decide.world import ADMINISTRATION, Noted, World
from remit.policy.dogwood.temporal import Scope

EVENTS_IN_RECORD: Final = 100
BYTES_IN_RECORD: Final = 32 * 1024


class _Deed(NamedTuple):
    at: int
    event: dict[str, Any]
    behind: str


class Deeds:
    """What workloads did, as the records of sessions say, one record after the other."""

    def __init__(self, scope: Scope, since: int) -> None:
        """Events before `since` (ms) are left out: no clause looks back so far."""
        self.scope = scope
        self._since = since
        self._seen: dict[str, int] = {}
        self._waiting: dict[str, dict[str, Waiting]] = {}
        self._behind: dict[str, str] = {}  # by stream: whom personal values in it are about
        self._found: dict[str, list[_Deed]] = {}

    def take(self, stream: str, n: int, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes a record of a session, unless it was taken before."""
        if n <= self._seen.get(stream, 0):
            return
        self._seen[stream] = n
        if kind == "task":
            self._behind.setdefault(stream, body.get("onBehalfOf") or body.get("starter", ""))
        for name, told in happened(self.scope, self._waiting.setdefault(stream, {}), kind, body):
            if at >= self._since and self.scope.watches(told.action, name):
                event = {**event_body(name, told, self.scope), "at": at}
                self._found.setdefault(told.subject, []).append(_Deed(at, event, self._behind.get(stream, "")))

    def workloads(self) -> list[str]:
        """Those that did anything."""
        return sorted(self._found)

    def entries(self, configuration: Configuration, noted: Noted) -> Iterator[Entry]:
        """The records with which their streams begin anew, after what was `noted` meanwhile."""
        for stream, records in noted.records.items():
            for n, kind, body, at in records:
                self.take(stream, n, kind, body, at)
        for workload, events in sorted(self._found.items()):
            is_first = True
            for behind, part in _parts(sorted(events, key=lambda each: each.at)):
                yield entries.events(configuration, workload, self.scope.digest, part, behind, is_first=is_first)
                is_first = False


@dataclass(slots=True)
class Made:
    """Histories that were made for a configuration: of sessions, by stream, and what workloads did."""

    histories: dict[str, History] = field(default_factory=dict)
    deeds: Deeds | None = None


def watched(world: World, configuration: Configuration, made: Made | None, now: int) -> tuple[Entry, ...]:
    """The records that must stand when these clauses begin to decide; `now` is that time (ms)."""
    scope = configuration.policies.temporal.workload
    digest = scope.digest if scope is not None else ""
    if world.watched == digest:
        return ()
    found: list[Entry] = []
    if scope is not None:
        deeds = made.deeds if made is not None else None
        if deeds is None or deeds.scope.digest != digest:
            # SECURITY: a history that was not made is not one in which nothing happened.
            raise LookupError("what workloads did was not made ready for these policies")
        found += deeds.entries(configuration, world.noted)
    return (*found, Entry(ADMINISTRATION, "watch", {"at": now, "workloads": digest}))


def _parts(deeds: list[_Deed]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Events that fit one record, in order, each with whom their personal values are about: one for each record."""
    part: list[dict[str, Any]] = []
    size, behind = 0, ""
    for deed in deeds:
        more = len(canonical.encode(deed.event))
        if part and (size + more > BYTES_IN_RECORD or len(part) >= EVENTS_IN_RECORD or deed.behind != behind):
            yield behind, part
            part, size = [], 0
        part.append(deed.event)
        size += more
        behind = deed.behind
    if part:
        yield behind, part
