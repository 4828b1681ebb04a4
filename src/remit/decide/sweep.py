"""What time alone changes: permits become `unknown` at their deadline, tasks expire, counted denials are recorded."""

from __future__ import annotations

import logging
from typing import Final

from remit.decide import entries
from remit.decide.configuration import Configuration
from remit.decide.folding import Counted
from remit.decide.sequence import Entry, Step, Unreadable
from remit.decide.session import PERMIT_OPEN
from remit.decide.world import World, session_stream

log = logging.getLogger("remit.decide")

RETRY_MS: Final = 60_000
BATCH: Final = 256  # records in one sweep, so that no sweep holds up decisions for long


class Sweep:
    """The work that records what is due; it costs what is due, not what is kept. Its answer is the number of records.

    With `everything`, fresh counts of denials too. It may be run again: what it once took stays its own until it is
    recorded or given back.
    """

    def __init__(self, configuration: Configuration, *, everything: bool = False) -> None:
        self._service = f"spiffe://{configuration.trust_domain}/remit"
        self._fold_ms = 0 if everything else configuration.limits.denial_fold_ms
        self._due: list[tuple[str, str]] | None = None
        self._counted: list[Counted] = []
        self._now = 0

    def __call__(self, world: World, now: int) -> Step[int]:
        """The records of what is due by `now`."""
        self._now = now
        if self._due is None:
            self._due = world.due(now, BATCH)
            self._counted = world.denials.settle(now - self._fold_ms, BATCH)
            world.expect(self._streams(world))
        found: list[Entry] = []
        unread = []
        for what, id_ in self._due:
            try:
                due = _KINDS[what](world, id_, self._service, now)
                # What is left of a session is due again: storage looks when next, as it records this.
                found.extend(due if what != "session" else due[: max(0, BATCH - len(found))])
            except Unreadable:
                raise
            except Exception:
                # One session that can't be replayed must not keep the others from ending.
                log.critical("ALARM the %s %s is due and its session can't be read", what, id_, exc_info=True)
                unread.append((what, id_))
        world.postpone(unread, now + RETRY_MS)
        self._due = [each for each in self._due if each not in unread]
        found.extend(entries.repeated(*counted) for counted in self._counted)
        return Step(len(found), tuple(found))

    def give_back(self, world: World) -> None:
        """Schedules again what was taken, because it was not recorded. Counts of denials may be lost."""
        world.postpone(self._due or (), self._now)

    def _streams(self, world: World) -> list[str]:
        streams = {counted.stream for counted in self._counted}
        for what, id_ in self._due or ():
            root = world.open_permits.get(id_) if what == "permit" else id_
            if root:
                streams.add(session_stream(root))
        return sorted(streams)


def _session(world: World, root: str, service: str, now: int) -> list[Entry]:
    """All that is due in a session."""
    session = world.session(root)
    if session is None:
        return []
    permits = [p.decision for p in session.permits.values() if p.state == PERMIT_OPEN and p.deadline <= now]
    tasks = [task.id for task in session.tasks.values() if task.expires <= now]
    found = [entry for decision in permits for entry in _unknown(world, decision, service, now)]
    return found + [entry for task in tasks for entry in _expired(world, task, service, now)]


def _unknown(world: World, decision: str, service: str, now: int) -> list[Entry]:
    root = world.open_permits.get(decision)
    session = world.session(root) if root else None
    permit = session.permits.get(decision) if session else None
    if session is None or permit is None or permit.state != PERMIT_OPEN:
        return []
    body = {
        "by": service,
        "bytes": 0,
        "decision": decision,
        "digest": permit.recorded_digest,
        "late": False,
        "result": "unknown",
        "selected": {},
        "standing": "believed",
        "started": 0,
    }
    return [Entry(session_stream(session.root), "outcome", body)]


def _expired(world: World, task_id: str, service: str, now: int) -> list[Entry]:
    session = world.session(task_id)
    task = session.tasks.get(task_id) if session else None
    if task is None or task.state not in ("open", "suspended"):
        return []
    return [entries.task_change(task.id, task.root, "expired", service, "its time is over")]


_KINDS: Final = {"permit": _unknown, "task": _expired, "session": _session}
