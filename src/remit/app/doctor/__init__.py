"""What `remit doctor` looks at: each check yields findings, ok, warn or fail, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from remit.app.doctor import (
    certificates,
    clients,
    database,
    elsewhere,
    exposure,
    forwarding,
    index,
    notifiers,
    project,
    publishing,
    state,
    trust,
    witnesses,
)
from remit.app.doctor.finding import Finding, Situation

Check = Callable[[Situation], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    project.loads,
    state.folder,
    state.keys,
    trust.shared,
    state.socket,
    state.listener,
    certificates.own,
    certificates.authorities,
    state.clock,
    state.database,
    database.postgres,
    index.index,
    publishing.pending,
    witnesses.witnesses,
    state.disk,
    project.reviews,
    project.points,
    project.mode,
    project.owners,
    project.writable,
    notifiers.notifiers,
    forwarding.forwarding,
    elsewhere.keys,
    elsewhere.rules,
    exposure.users,
    exposure.upstreams,
    exposure.environment,
    clients.configurations,
)


def examine(situation: Situation) -> list[Finding]:
    """All findings, in the order of the checks; a check never changes anything."""
    return [finding for check in CHECKS for finding in check(situation)]


__all__ = ["CHECKS", "Finding", "Situation", "examine"]
