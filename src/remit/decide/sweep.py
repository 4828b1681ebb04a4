"""What time alone changes: permits become `unknown` at their deadline, tasks expire, counted denials are recorded."""

from __future__ import annotations

import logging
from typing import Final

from remit.decide import entries
from remit.decide.configuration import Configuration
from remit.decide.sequence import Entry, Step, Unreadable
from remit.decide.session import PERMIT_OPEN
from remit.decide.world import World, session_stream

log = logging.getLogger("remit.decide")

RETRY_MS: Final = 60_000
BATCH: Final = 256  # records in one sweep, so that no sweep holds up decisions for long


def sweep(configuration: Configuration, world: World, now: int, *, everything: bool = False) -> Step[int]:
    """The records of what is due by `now`; the answer is their number. Costs what is due, not what is kept.

    With `everything`, fresh counts of denials too.
    """
    found: list[Entry] = []
    service = f"spiffe://{configuration.trust_domain}/remit"
    due = world.due(now, BATCH)
    for what, id_ in due:
        try:
            found.extend(_unknown(world, id_, service) if what == "permit" else _expired(world, id_, service))
        except Unreadable:
            world.postpone(due, now)
            raise
        except Exception:
            # One session that can't be replayed must not keep the others from ending.
            log.critical("ALARM the %s %s is due and its session can't be read", what, id_, exc_info=True)
            world.postpone([(what, id_)], now + RETRY_MS)
    before = now if everything else now - configuration.limits.denial_fold_ms
    found.extend(entries.repeated(*counted) for counted in world.denials.settle(before, BATCH))
    return Step(len(found), tuple(found))


def _unknown(world: World, decision: str, service: str) -> list[Entry]:
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


def _expired(world: World, task_id: str, service: str) -> list[Entry]:
    session = world.session(task_id)
    task = session.tasks.get(task_id) if session else None
    if task is None or task.state not in ("open", "suspended"):
        return []
    return [entries.task_change(task.id, task.root, "expired", service, "its time is over")]
