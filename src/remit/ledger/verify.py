"""Verifies an export, alone: it reads published files and imports nothing of Remit but `core` and `ledger`.

    1 export.json  2 files  3 texts  4 every stream: `administration`, then identities, workloads, then sessions
      for each line: format -> canonical -> kind -> stream, trust domain -> number -> link -> time -> history -> meaning
      at its end: head

What it can't see without the transparency log stands in docs/design/records.md. After a gap or an unreadable line a
stream's later findings may follow from what is missing; the first one is the cause.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from remit.core.errors import RemitError
from remit.core.evaluations import Evaluator
from remit.ledger.export import STREAMS, TEXTS, Export, Manifest, StreamEntry, open_export, stream_file
from remit.ledger.findings import Report
from remit.ledger.lives import Lives
from remit.ledger.opened import Openings
from remit.ledger.record import ADMINISTRATION, leaf_hash
from remit.ledger.reevaluation import Reevaluation
from remit.ledger.streams import Stream

Progress = Callable[[int, int], None]  # records done, records in all

_EVERY: Final = 2048  # records between two calls of progress
_PER_RECORD: Final = ("format", "canonical", "kind", "stream", "trust_domain", "numbers", "links", "time", "body")


def verify(
    folder: Path,
    progress: Progress | None = None,
    *,
    known: Manifest | None = None,
    evaluator: Evaluator | None = None,
    openings: Openings | None = None,
) -> Report:
    """Checks the export in `folder`: bytes, numbers, links, and what they mean.

    `known` is the manifest of an earlier export, kept elsewhere: each of its streams must still hold the record that
    was its head. `evaluator` evaluates each decision again; without one, they are counted as not evaluated.
    `openings` are the personal values that this reader was shown. Memory is bounded by the largest session, by the
    number of identities with what they practised, and by that of streams. Raises
    `NotFound` or `InvalidInput` when there is no readable `export.json`; anything else that is wrong is a finding.
    """
    return Verification(open_export(folder), progress, known, evaluator=evaluator, openings=openings).run()


class Verification:
    """The verification of one export, which adds to `report` when one is given."""

    def __init__(
        self,
        export: Export,
        progress: Progress | None,
        known: Manifest | None,
        report: Report | None = None,
        *,
        evaluator: Evaluator | None = None,
        openings: Openings | None = None,
    ) -> None:
        self.export = export
        self.report = report or Report(td=export.manifest.td, streams=len(export.manifest.streams))
        self.lives = Lives()
        self.reevaluation = Reevaluation(self.report, self.lives, export.text, evaluator)
        self.openings = openings or Openings()
        self._progress = progress
        self._total = sum(entry.records for entry in export.manifest.streams)
        self._known = {entry.name: entry for entry in known.streams} if known else {}
        if known and known.td != export.manifest.td:
            self.report.find("history", "", 0, f"the earlier export is of `{known.td}`")

    def run(self) -> Report:
        """Makes all checks; once."""
        self._files()
        self._texts()
        for entry in sorted({entry.name: entry for entry in self.export.manifest.streams}.values(), key=_order):
            self._stream(entry)
        self.reevaluation.flush()
        self.lives.practised.finish(self.report)
        self.lives.deeds.finish(self.report)
        self.lives.erasures.finish(self.lives.refusal, self.report)
        for leaf in self.openings.unused():
            self.report.find("openings", "", 0, f"a value is shown of a record `{leaf}` that is not here")
        for name in self._known:
            self.report.find("history", name, 0, "the stream was in the earlier export and is not in this one")
        if self._progress:
            self._progress(self.report.records, self._total)
        return self.report

    # --- the export as a whole ------------------------------------------------------------------------------

    def _files(self) -> None:
        manifest = self.export.manifest
        listed: set[str] = set()
        for entry in manifest.streams:
            self.report.made("files")
            if entry.file in listed:
                self.report.find("files", entry.name, 0, "the stream is listed twice")
            listed.add(entry.file)
        for name in sorted(self.export.present(STREAMS) - listed):
            self.report.find("files", "", 0, f"`{STREAMS}/{name[:100]}` is not listed")
        for name in sorted(self.export.present(TEXTS) - set(manifest.texts)):
            self.report.find("files", "", 0, f"`{TEXTS}/{name[:100]}` is not listed")

    def _texts(self) -> None:
        for digest in sorted(self.export.manifest.texts):
            self.report.made("texts")
            try:
                text = self.export.text(digest)
            except RemitError as error:
                self.report.find("texts", "", 0, error.message)
                continue
            if hashlib.sha256(text).hexdigest() != digest:
                self.report.find("texts", "", 0, f"the text `{digest}` is not what its digest says")

    # --- one stream -----------------------------------------------------------------------------------------

    def _stream(self, entry: StreamEntry) -> None:
        stream = Stream(self.export, entry, self.lives, self.report, self.reevaluation, self.openings)
        earlier = self._known.pop(entry.name, None)
        count, head = 0, ""
        try:
            for line in self.export.lines(entry):
                head = leaf_hash(line.data)
                count += 1
                if line.complete:
                    stream.take(line.data, head)
                else:
                    self.report.find("format", entry.name, stream.expected, "the line does not end as a record does")
                if earlier is not None and earlier.records == count:
                    stream.compare(earlier, head)
                self.report.records += 1
                if self._progress and self.report.records % _EVERY == 0:
                    self._progress(self.report.records, self._total)
        except RemitError as error:
            self.report.find("files", entry.name, 0, error.message)
        for check in _PER_RECORD:
            self.report.made(check, count)
        self._head(entry, count, head, earlier)
        stream.finish()

    def _head(self, entry: StreamEntry, count: int, head: str, earlier: StreamEntry | None) -> None:
        self.report.made("heads")
        if count != entry.records:
            self.report.find(
                "heads", entry.name, count, f"the stream has {count} records, the export says {entry.records}"
            )
        elif head != entry.head:
            self.report.find("heads", entry.name, count, "the last record is not the one that the export says")
        if earlier is not None and earlier.records > count:
            lost = f"records {count + 1} to {earlier.records} were in the earlier export and are gone"
            self.report.find("history", entry.name, count, lost)


def _order(entry: StreamEntry) -> tuple[int, str]:
    space = entry.name.partition("/")[0]
    return ({ADMINISTRATION: 0, "identity": 1, "workload": 2}.get(space, 3), stream_file(entry.name))
