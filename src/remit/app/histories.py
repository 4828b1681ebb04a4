"""Makes histories ready for temporal policies that are new, while the service decides by the ones before.

1. What is appended from now on is noted.
2. What was appended before is made durable, and then read: the streams of sessions in memory, and for policies about
   workloads all decisions and outcomes of as long ago as their windows reach.
3. When the new policies begin to decide, what was noted is added (`remit.decide.deeds`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from remit.app.folder import Folder
from remit.app.recordings import recording_of
from remit.app.records import reader_at
from remit.core.settings import Settings
from remit.decide.configuration import Configuration
from remit.decide.deeds import Deeds, Made
from remit.decide.histories import History
from remit.decide.sequence import Needs, Step
from remit.decide.world import ADMINISTRATION
from remit.policy.dogwood.temporal import Scope
from remit.storage.port import Store
from remit.storage.reader import Reader

log = logging.getLogger("remit.histories")

Progress = Callable[[float, str], None]

_EVERY: Final = 1_000  # records between two calls of progress
_KINDS: Final = ("task", "decision", "outcome")


def told(share: float, what: str) -> None:
    """Progress into the log."""
    log.info("%s (%d %%)", what, share * 100)


async def make_histories(
    folder: Folder, settings: Settings, store: Store, configuration: Configuration, now: int, progress: Progress
) -> Made | None:
    """What the temporal policies of `configuration` need at `now` (ms) that is not there; None: nothing.

    Until `World.note(False)` what is appended is noted.
    """
    temporal, world = configuration.policies.temporal, store.world
    before = world.temporal
    task = temporal.task if _digest(temporal.task) != _digest(before.task) else None
    workload = temporal.workload if _digest(temporal.workload) != world.watched else None
    if task is None and workload is None:
        return None
    world.note(True)
    # What was decided before the noting began is durable after this, or undone.
    await store.run(lambda _, __: Step(None), Needs(appends=(ADMINISTRATION,)))
    streams = world.histories() if task is not None else {}
    reader = partial(reader_at, folder, settings.storage)
    return await asyncio.to_thread(_made, reader, task, workload, list(streams), now, progress)


def _made(
    opened: Callable[[], Reader],
    task: Scope | None,
    workload: Scope | None,
    streams: list[str],
    now: int,
    progress: Progress,
) -> Made:
    with opened() as reader:
        made = Made()
        if task is not None:
            for number, stream in enumerate(streams):
                if number % _EVERY == 0:
                    progress(number / len(streams), f"histories of {len(streams)} sessions")
                made.histories[stream] = _history(reader, task, stream)
        if workload is not None:
            made.deeds = _deeds(reader, workload, now, progress)
        return made


def _history(reader: Reader, scope: Scope, stream: str) -> History:
    history = History(scope)
    for stored in reader.stream(stream):
        record = recording_of(reader, stored)
        history.take(record.kind, record.body, record.t)
    return history


def _deeds(reader: Reader, scope: Scope, now: int, progress: Progress) -> Deeds:
    deeds = Deeds(scope, now - scope.reach)
    count = reader.count()
    for number, stored in enumerate(reader.records(kinds=_KINDS)):
        if number % _EVERY == 0:
            progress(min(1.0, number / max(count, 1)), "what workloads did")
        record = recording_of(reader, stored)
        if record.stream.startswith("session/"):
            deeds.take(record.stream, record.n, record.kind, record.body, record.t)
    return deeds


def _digest(scope: Scope | None) -> str:
    return scope.digest if scope is not None else ""
