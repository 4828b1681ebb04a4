"""Verifies an export, alone: it reads published files and imports nothing of Remit but `core` and `ledger`.

    1 export.json  2 files  3 texts  4 every stream: `administration`, then identities, then sessions
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
from remit.ledger import bodies
from remit.ledger.export import STREAMS, TEXTS, Export, Manifest, StreamEntry, open_export, stream_file
from remit.ledger.findings import Report
from remit.ledger.lives import Lives
from remit.ledger.record import (
    ADMINISTRATION,
    KINDS,
    VERSION,
    Record,
    check_stream,
    decode_record,
    is_canonical,
    leaf_hash,
)
from remit.ledger.sessions import Session

Progress = Callable[[int, int], None]  # records done, records in all

_EVERY: Final = 2048  # records between two calls of progress
_PER_RECORD: Final = ("format", "canonical", "kind", "stream", "trust_domain", "numbers", "links", "time", "body")
_DECIDING: Final = frozenset({"decision", "denials"})
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    ADMINISTRATION: frozenset({"configuration", "mode"}) | _DECIDING,
    "identity": frozenset({"identity", "risk"}) | _DECIDING,
    "session": frozenset({"task", "outcome", "resolution"}) | _DECIDING,
}


def verify(folder: Path, progress: Progress | None = None, *, known: Manifest | None = None) -> Report:
    """Checks the export in `folder`: bytes, numbers, links, and what they mean.

    `known` is the manifest of an earlier export, kept elsewhere: each of its streams must still hold the record that
    was its head. Memory is bounded by the largest session, the number of identities and that of streams. Raises
    `NotFound` or `InvalidInput` when there is no readable `export.json`; anything else that is wrong is a finding.
    """
    return _Verification(open_export(folder), progress, known).run()


class _Verification:
    def __init__(self, export: Export, progress: Progress | None, known: Manifest | None) -> None:
        self.export = export
        self.report = Report(td=export.manifest.td, streams=len(export.manifest.streams))
        self.lives = Lives()
        self._progress = progress
        self._total = sum(entry.records for entry in export.manifest.streams)
        self._known = {entry.name: entry for entry in known.streams} if known else {}
        if known and known.td != export.manifest.td:
            self.report.find("history", "", 0, f"the earlier export is of `{known.td}`")

    def run(self) -> Report:
        self._files()
        self._texts()
        for entry in sorted({entry.name: entry for entry in self.export.manifest.streams}.values(), key=_order):
            self._stream(entry)
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
        for digest in self.export.manifest.texts:
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
        stream = _Stream(self, entry)
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


class _Stream:
    """The checks of one stream, line by line."""

    def __init__(self, run: _Verification, entry: StreamEntry) -> None:
        self.report = run.report
        self.lives = run.lives
        self.td = run.export.manifest.td
        self.name = entry.name
        self.expected = 1
        self._link = ""
        self._time = 0
        self.space, _, self.owner = entry.name.partition("/")
        self._denied: set[str] = set()
        self._session: Session | None = None
        try:
            check_stream(entry.name)
        except RemitError as error:
            self._find("stream", 0, error.message)
        if self.space == "session":
            self._session = Session(self.owner, entry.name, run.lives, run.report)

    def _find(self, check: str, n: int, message: str) -> None:
        self.report.find(check, self.name, n, message)

    def compare(self, earlier: StreamEntry, head: str) -> None:
        """Compares the record at the place where an earlier export ended."""
        self.report.made("history")
        if earlier.head != head:
            self._find("history", earlier.records, "the record is not the one that the earlier export had there")

    def finish(self) -> None:
        """Closes the stream."""
        if self._session:
            self._session.finish()

    def take(self, data: bytes, leaf: str) -> None:
        """Checks one line."""
        try:
            record = decode_record(data)
        except RemitError as error:
            self._find("format", self.expected, error.message)
            self.expected, self._link = self.expected + 1, leaf
            return
        if record.v != VERSION:
            self._find("kind", record.n, f"version {record.v} is not known")
        elif not is_canonical(record, data):
            self._find("canonical", record.n, "the bytes are not the canonical ones of the record")
        if record.stream != self.name:
            self._find("stream", record.n, f"the record belongs to the stream `{record.stream[:100]}`")
        if record.td != self.td:
            self._find("trust_domain", record.n, f"the record belongs to `{record.td}`")
        self._place(record, leaf)
        if record.v == VERSION:
            self._meaning(record)

    def _place(self, record: Record, leaf: str) -> None:
        n = record.n
        if n < self.expected:
            self._find("numbers", n, f"record {n} stands again, after record {self.expected - 1}")
            return
        if n > self.expected:
            missing = (
                f"record {self.expected} is" if n == self.expected + 1 else f"records {self.expected} to {n - 1} are"
            )
            self._find("numbers", n, f"{missing} missing before it")
        elif record.prev != self._link:
            follows = f"record {n - 1} as it stands here" if n > 1 else "nothing, as the first record must"
            self._find("links", n, f"record {n} does not follow {follows}: its `prev` is another hash")
        if record.t < self._time:
            self._find("time", n, f"time goes back by {self._time - record.t} ms")
        self.expected, self._link, self._time = n + 1, leaf, max(self._time, record.t)

    # --- meaning --------------------------------------------------------------------------------------------

    def _meaning(self, record: Record) -> None:
        kind = record.kind
        if kind not in KINDS:
            self._find("kind", record.n, f"the kind `{kind}` is not known")
            return
        if kind not in _ALLOWED.get(self.space, ()):
            self._find("kind", record.n, f"a record of kind `{kind}` has no place in `{self.space}`")
            return
        try:
            body = bodies.read_body(record.body, bodies.BODIES[kind])
        except RemitError as error:
            self._find("body", record.n, error.message)
            return
        if isinstance(body, bodies.Decision):
            self.report.made("configuration")
            if refusal := self.lives.unconfigured(body.config, record.t):
                self._find("configuration", record.n, refusal)
        if self._session is not None:
            self._session.n, self._session.t = record.n, record.t
            getattr(self._session, kind)(body)
        else:
            self._outside(body, record)

    def _outside(self, body: object, record: Record) -> None:
        """The records of `administration` and of identities."""
        if isinstance(body, bodies.Decision):
            self._decision(body, record.n)
        elif isinstance(body, bodies.Denials):
            self.report.made("denials")
            if body.decision not in self._denied:
                self._find("denials", record.n, f"there is no denial `{body.decision}` before it")
        elif isinstance(body, bodies.Identity):
            self.lives.enter(self.owner, body, record.t, record.n, self.report)
        elif isinstance(body, bodies.Risk):
            self.report.made("identities")
            if body.id != self.owner:
                self._find("identities", record.n, f"the signal is about `{body.id}`, whose stream this is not")
        elif isinstance(body, bodies.Configuration):
            self.lives.configure(body, record.t)

    def _decision(self, body: bodies.Decision, n: int) -> None:
        self.report.made("decisions")
        if body.id in self._denied:
            self._find("decisions", n, f"the id `{body.id}` was given to an earlier decision")
        self._denied.add(body.id)
        if body.effect == "permit" and "/" in body.action:
            self._find("permits", n, f"`{body.action[:100]}` is permitted outside any session")


def _order(entry: StreamEntry) -> tuple[int, str]:
    space = entry.name.partition("/")[0]
    return ({ADMINISTRATION: 0, "identity": 1}.get(space, 2), stream_file(entry.name))
