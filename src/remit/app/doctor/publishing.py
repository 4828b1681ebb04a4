"""The published log: is what was recorded in it, and if not, why?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from remit.app.doctor.finding import Finding, Situation
from remit.app.local import is_served
from remit.app.pending import published_of
from remit.core.errors import NotFound, RemitError

SOON_MS: Final = 2_000  # what was recorded a moment ago is published in a moment


def pending(situation: Situation) -> Iterator[Finding]:
    """How many records are not in the published log, since when, and why."""
    settings = situation.settings
    if settings is None or not settings.ledger.folder:
        return
    try:
        published = published_of(situation.folder, settings)
        waiting = published.waiting() if published is not None else None
    except NotFound:
        return  # nothing was recorded yet
    except RemitError as error:
        yield Finding(check="published log", level="fail", message=error.message, next_step=error.next_step)
        return
    if published is None or waiting is None:
        return
    late = situation.now - waiting.since
    if not waiting.number or late < SOON_MS:
        message = f"{published.size} entries, nothing waits" if not waiting.number else f"{published.size} entries"
        yield Finding(check="published log", level="ok", message=message)
        return
    why, next_step = _why(situation)
    yield Finding(
        check="published log",
        level="warn",
        message=f"{waiting.number} records are pending, the first for {_duration(late)}: {why}",
        next_step=next_step,
    )


def _why(situation: Situation) -> tuple[str, str]:
    """What is known of it, and what to do."""
    try:
        why = situation.folder.log_failing.read_text(errors="replace")[:300]
    except OSError:
        why = ""
    if why and is_served(situation.folder):
        return why, "nothing is denied for it; it goes on by itself when that is put right"
    if not is_served(situation.folder):
        return "no service runs here", "`remit up`; it publishes them when it starts"
    return "the service publishes them now, or another process that is elected can't", "look at the services' logs"


def _duration(ms: int) -> str:
    seconds = ms // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
