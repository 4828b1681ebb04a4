"""Verifies a published log, alone: signatures, every entry and tile, and then what the records of each stream mean.

1. The checkpoint, every entry, every tile, and an earlier checkpoint (`remit.ledger.tlog.audit`).
2. Every entry is put with those of its stream, in the order of the log.
3. The texts that configurations name are fetched; what they are not is found below.
4. Every stream, as in an export (`remit.ledger.verify`); where entries are archived and not there, what is left of
   it (`remit.ledger.remaining`).
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from remit.core import bounds
from remit.core.errors import NotFound, RemitError
from remit.core.evaluations import Evaluator
from remit.ledger.export import DIGEST, TEXTS, Export, Line, Manifest, StreamEntry, stream_file
from remit.ledger.findings import Report
from remit.ledger.opened import Openings
from remit.ledger.record import ADMINISTRATION, check_stream
from remit.ledger.remaining import UNREAD, Remaining
from remit.ledger.streams import listed_in
from remit.ledger.tlog.audit import Audit
from remit.ledger.tlog.merkle import leaf_hash
from remit.ledger.tlog.note import VerifierKey
from remit.ledger.tlog.source import Source
from remit.ledger.verify import Verification

Progress = Callable[[str, int, int], None]  # what is being done, done, in all

_EVERY: Final = 2048
_TEXT_BYTES: Final = 16 * bounds.DOCUMENT_BYTES
_TEXTS: Final = 100_000


class _Named(msgspec.Struct):
    """What of a record says where it belongs."""

    kind: str
    n: int
    stream: str
    td: str
    body: msgspec.Raw


_read_name = msgspec.json.Decoder(_Named).decode


def verify_log(
    source: Source,
    log: VerifierKey,
    *,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
    earlier: bytes = b"",
    progress: Progress = lambda *_: None,
    evaluator: Evaluator | None = None,
    openings: Openings | None = None,
) -> Report:
    """Checks the log that `source` holds and `log` signs; `earlier` is a checkpoint that was kept from before.

    `evaluator` evaluates each decision again; `openings` are the personal values that this reader was shown.
    What is wrong is a finding. Raises `RemitError` where there is no checkpoint that can be trusted: not signed by
    `log`, or by fewer than `quorum` of `witnesses`. Entries are kept in a temporary file while it runs; memory grows
    with their number (16 bytes each), not with their size.
    """
    report = Report(td="")
    audit = Audit(
        source,
        log,
        lambda check, place, message: report.find(f"log_{check}", "log" if place >= 0 else "", max(0, place), message),
        witnesses,
        quorum,
        earlier,
    )
    checkpoint = audit.checkpoint().checkpoint
    with tempfile.TemporaryFile() as file:
        spool = _Spool(file, report)
        for place, entry in audit.entries(checkpoint):
            spool.take(place, entry)
            if place % _EVERY == 0:
                progress("reading", place, checkpoint.size)
        progress("reading", checkpoint.size, checkpoint.size)
        for check, times in audit.checks.items():
            report.made(f"log_{check}", times)
        export = _Spooled(spool, source, report)
        report.td = export.manifest.td
        report.streams = len(export.manifest.streams)
        if audit.unread:
            report.unread = audit.unread
            report.skipped(UNREAD, audit.unread)
            return Remaining(export, report, audit.unread).run()
        return Verification(
            export,
            lambda done, total: progress("verifying", done, total),
            None,
            report,
            evaluator=evaluator,
            openings=openings,
        ).run()


class _Spool:
    """Entries in one file, and where those of each stream stand in it."""

    def __init__(self, file: IO[bytes], report: Report) -> None:
        self.file = file
        self.report = report
        self.streams: dict[str, array[int]] = {}  # offset and length of each entry, one after the other
        self.configurations: list[dict[str, Any]] = []
        self.td = ""
        self._end = 0

    def take(self, place: int, entry: bytes) -> None:
        """Takes the next entry of the log; one that is no record is a finding."""
        try:
            named = _read_name(entry)
            check_stream(named.stream)
        except (RemitError, ValueError, RecursionError):
            self.report.find("format", "log", place, "the entry is no record")
            return
        self.td = self.td or named.td
        if named.kind == "configuration" and named.stream == ADMINISTRATION:
            try:
                self.configurations.append(msgspec.json.decode(named.body, type=dict[str, Any]))
            except (ValueError, RecursionError):
                self.report.find("format", named.stream, named.n, "the configuration can't be read")
        self.file.write(entry)
        self.streams.setdefault(named.stream, array("Q")).extend((self._end, len(entry)))
        self._end += len(entry)

    def head(self, stream: str) -> str:
        """The leaf hash of the last entry of a stream."""
        offset, length = self.streams[stream][-2:]
        self.file.seek(offset)
        return leaf_hash(self.file.read(length)).hex()

    def lines(self, stream: str) -> Iterator[Line]:
        """The entries of one stream."""
        places = self.streams.get(stream, array("Q"))
        for at in range(0, len(places), 2):
            self.file.seek(places[at])
            yield Line(self.file.read(places[at + 1]), True)


class _Spooled(Export):
    """A log's entries as the streams of an export."""

    def __init__(self, spool: _Spool, source: Source, report: Report) -> None:
        self._spool = spool
        self._source = source
        self._report = report
        self._texts: dict[str, bytes] = {}
        for body in spool.configurations:
            for digest in body.values():
                self._fetch(digest, nested=True)
        streams = tuple(
            StreamEntry(
                name=name,
                file=stream_file(name),
                records=len(places) // 2,
                head=spool.head(name),
            )
            for name, places in spool.streams.items()
        )
        manifest = Manifest(td=spool.td or "-", created=0, streams=streams, texts=frozenset(self._texts))
        super().__init__(Path(), manifest)

    def lines(self, entry: StreamEntry) -> Iterator[Line]:
        """As `Export.lines`."""
        return self._spool.lines(entry.name)

    def text(self, digest: str) -> bytes:
        """As `Export.text`."""
        try:
            return self._texts[digest]
        except KeyError:
            raise NotFound("export_file_missing", f"the text `{digest[:80]}` was not published") from None

    def present(self, kind: str) -> set[str]:
        """As `Export.present`: what was fetched, no more."""
        if kind == TEXTS:
            return set(self._texts)
        return {entry.file for entry in self.manifest.streams}

    def _fetch(self, digest: Any, *, nested: bool) -> None:
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or digest in self._texts:
            return
        if len(self._texts) >= _TEXTS:
            return
        try:
            text = self._source.read(f"{TEXTS}/{digest}", _TEXT_BYTES)
        except NotFound:
            return  # found where a configuration quotes it
        except RemitError as error:
            self._report.find("texts", "", 0, error.message)
            return
        self._texts[digest] = text
        if nested:
            for _, below in listed_in(text):
                self._fetch(below, nested=False)
