"""The witnesses of the published log: do they answer, and have they seen what is published here?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from remit.app.doctor.finding import Finding, Level, Situation
from remit.app.publishing import key_file, signer_of
from remit.app.witnessing import Witnesses, open_witnesses
from remit.core.errors import Conflict, RemitError
from remit.ledger.tlog.folder import published
from remit.ledger.tlog.merkle import range_hash
from remit.ledger.tlog.source import FolderSource, read_hashes
from remit.ledger.tlog.tiles import node_reader

_CHECK: Final = "witnesses"


def witnesses(situation: Situation) -> Iterator[Finding]:
    """Each witness answers and has cosigned this log, as it is published here; enough of them for the quorum."""
    settings = situation.settings
    if settings is None or not settings.ledger.folder:
        return
    if not settings.ledger.witnesses:
        yield _finding(
            "warn",
            "the published log has no witness: records that were restored from an old backup would not be noticed",
            "name one in `[[ledger.witnesses]]` (docs/guides/verifying.md, “Run a witness”)",
        )
        return
    if not key_file(situation.folder, settings).exists():
        return  # nothing was published yet
    try:
        signer = signer_of(situation.folder, settings)
        asked = open_witnesses(settings.ledger, signer.key, situation.folder.root)
        if asked is None:
            return
        asked.alarm = _told_otherwise
        try:
            yield from _asked(situation, asked)
        finally:
            asked.close()
    except RemitError as error:
        yield _finding("fail", error.message, error.next_step)


def _asked(situation: Situation, asked: Witnesses) -> Iterator[Finding]:
    settings = situation.settings
    folder = situation.folder.root / (settings.ledger.folder if settings else "")
    signed = published(folder, asked.origin)
    if signed is None:
        return
    here, source = signed.checkpoint, FolderSource(folder)
    node = node_reader(here.size, lambda tile: read_hashes(source, tile))

    def root_at(size: int) -> bytes | None:
        return range_hash(0, size, node) if size <= here.size else None

    try:
        asked.check(here.size, here.root, root_at)
    except Conflict as error:
        # One that has seen a little more than was published when this looked is no fault, while a service runs.
        level: Level = "warn" if error.code == "witness_ahead" else "fail"
        yield _finding(level, error.message, "ask again; if it stays: " + error.next_step)
        return
    failing = [each for each in asked.state() if each.failing]
    short = len(asked.witnesses) - len(failing) < asked.quorum
    for each in failing:
        yield _finding(
            "fail" if short else "warn",
            f"the witness `{each.name}` {each.failing}",
            "see that it runs and can be reached" + ("; records stay pending until then" if short else ""),
        )
    for each in asked.state():
        if not each.failing:
            yield _finding("ok", f"`{each.name}` has cosigned {each.size} of {here.size} entries", "")


def _told_otherwise(*_: object) -> None:
    """What would be an alarm is a finding here."""


def _finding(level: Level, message: str, next_step: str) -> Finding:
    return Finding(check=_CHECK, level=level, message=message, next_step=next_step)
