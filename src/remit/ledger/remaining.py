"""Verifies what is left of the streams of a log whose first entries are archived and were not read.

Each record by itself, and how the records of a stream follow each other from the first one that is left. Nothing of
what records mean together: what a decision rests on may be archived. That is counted as not done.
"""

from __future__ import annotations

import hashlib
from typing import Final

from remit.core.errors import RemitError
from remit.ledger.export import Export, StreamEntry
from remit.ledger.findings import Report
from remit.ledger.record import VERSION, check_stream, decode_record, is_canonical, leaf_hash

UNREAD: Final = "archived entries, which were not read (--archive names where they are)"
MEANING: Final = "what records mean together, because records before them are archived"

_PER_RECORD: Final = ("format", "canonical", "kind", "stream", "trust_domain", "numbers", "links", "time")


class Remaining:
    """The verification of what is left of one log's streams."""

    def __init__(self, export: Export, report: Report, unread: int) -> None:
        """`unread` is how many entries are archived: so many records may be missing at the streams' beginnings."""
        self._export = export
        self._report = report
        self._unread = unread
        self._missing = 0

    def run(self) -> Report:
        """Makes all checks; once."""
        for digest in sorted(self._export.manifest.texts):
            self._report.made("texts")
            if hashlib.sha256(self._export.text(digest)).hexdigest() != digest:
                self._report.find("texts", "", 0, f"the text `{digest}` is not what its digest says")
        for entry in self._export.manifest.streams:
            count = self._stream(entry)
            for check in _PER_RECORD:
                self._report.made(check, count)
            self._report.records += count
            self._report.skipped(MEANING, count)
        # SECURITY: no more may be missing than what is archived, or a record was left out of the log.
        if self._missing > self._unread:
            self._report.find(
                "numbers", "", 0, f"{self._missing} records are missing, and {self._unread} entries are archived"
            )
        return self._report

    def _stream(self, entry: StreamEntry) -> int:
        """The records of one stream that are left; how many."""
        find, name = self._report.find, entry.name
        count = expected = last = 0
        link = ""
        try:
            check_stream(name)
        except RemitError as error:
            find("stream", name, 0, error.message)
        for line in self._export.lines(entry):
            count += 1
            leaf = leaf_hash(line.data)
            try:
                record = decode_record(line.data)
            except RemitError as error:
                find("format", name, expected, error.message)
                expected, link = expected + 1, leaf
                continue
            if record.v != VERSION:
                find("kind", name, record.n, f"version {record.v} is not known")
            elif not is_canonical(record, line.data):
                find("canonical", name, record.n, "the bytes are not the canonical ones of the record")
            if record.td != self._export.manifest.td:
                find("trust_domain", name, record.n, f"the record belongs to `{record.td}`")
            if not expected:
                # The first one that is left: those before it are archived, all of them.
                self._missing += record.n - 1
                expected, link = record.n, record.prev
                if (record.n == 1) != (record.prev == ""):
                    find("links", name, record.n, f"record {record.n} does not follow what it must")
            if record.n != expected:
                find("numbers", name, record.n, f"record {record.n} stands where record {expected} should")
            elif record.prev != link:
                find("links", name, record.n, f"record {record.n} does not follow the one before it: another `prev`")
            if record.t < last:
                find("time", name, record.n, f"time goes back by {last - record.t} ms")
            expected, link, last = record.n + 1, leaf, max(last, record.t)
        return count
