"""Histories for temporal policies that are new, made from the records while others decide.

A task tree's history is made from its own stream. What a workload did over all its tasks stands in many streams, and
from then on in one of its own, which begins with the events that its sessions say (`events`). A record of
administration (`watch`) says for which clauses these streams are kept; for others that are to decide they are
made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from remit.core import canonical
from remit.decide import entries
from remit.decide.configuration import Configuration
from remit.decide.histories import History, Told, Waiting, event_body, happened
from remit.decide.sequence import Entry
from remit.decide.world import ADMINISTRATION, Noted, World
from remit.policy.dogwood.temporal import Scope

EVENTS_IN_RECORD: Final = 100
BYTES_IN_RECORD: Final = 32 * 1024


class Deeds:
    """What workloads did, as the records of sessions say, one record after the other."""

    def __init__(self, scope: Scope, since: int) -> None:
        """Events before `since` (ms) are left out: no clause looks back so far."""
        self.scope = scope
        self._since = since
        self._seen: dict[str, int] = {}
        self._waiting: dict[str, dict[str, Waiting]] = {}
        self._found: dict[str, list[dict[str, Any]]] = {}

    def take(self, stream: str, n: int, kind: str, body: dict[str, Any], at: int) -> None:
        """Takes a record of a session, unless it was taken before."""
        if n <= self._seen.get(stream, 0):
            return
        self._seen[stream] = n
        for name, told in happened(self.scope, self._waiting.setdefault(stream, {}), kind, body):
            if at >= self._since and self.scope.watches(told.action, name):
                self._note(name, told, at)

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
            for part in _parts(sorted(events, key=lambda event: int(event["at"]))):
                yield entries.events(configuration, workload, self.scope.digest, part, is_first=is_first)
                is_first = False

    def _note(self, kind: str, told: Told, at: int) -> None:
        self._found.setdefault(told.subject, []).append({**event_body(kind, told, self.scope), "at": at})


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


def _parts(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    size = 0
    for event in events:
        more = len(canonical.encode(event))
        if part and (size + more > BYTES_IN_RECORD or len(part) >= EVENTS_IN_RECORD):
            yield part
            part, size = [], 0
        part.append(event)
        size += more
    if part:
        yield part
