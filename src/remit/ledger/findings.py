"""What a verification found: how often each check was made, and what is wrong, precisely."""

from __future__ import annotations

from typing import Final

import msgspec

LISTED: Final = 1000  # findings that a report lists; the others are counted

# The checks of a published log, which come first.
LOG_CHECKS: Final[dict[str, str]] = {
    "log_checkpoint": "the checkpoint is signed by the log, and by the witnesses that are wanted",
    "log_entries": "every entry of the log is the one that its tree has there",
    "log_tiles": "every tile of the log is what the entries below it make",
    "log_root": "all entries together have the root that was signed",
    "log_archived": "the entries that the log has archived are those of its tree",
    "log_history": "the log continues what an earlier checkpoint signed",
}

# Every check of the records, in the order in which they are made, with what it says.
CHECKS: Final[dict[str, str]] = {
    "files": "the export holds what it lists and nothing else",
    "texts": "every text is what its digest says",
    "format": "every line is a record within its bounds",
    "canonical": "every record has its canonical bytes",
    "kind": "version and kind are known and stand in the right stream",
    "stream": "every record names the stream that it stands in",
    "trust_domain": "every record belongs to this installation",
    "numbers": "every stream counts from 1 without a gap",
    "links": "every record names the hash of the one before it",
    "time": "time never goes back within a stream",
    "heads": "every stream ends with the record that the export says",
    "history": "every stream continues what an earlier export showed",
    "body": "every body has the fields of its kind",
    "configuration": "every decision quotes a configuration that was recorded before it",
    "identities": "every identity's stream tells its own life",
    "tasks": "tasks open once, end once, and children only narrow",
    "decisions": "every decision has an id of its own and belongs to a task of its session",
    "permits": "every permit is given to the task's workload while the task is open",
    "limits": "no limit is exceeded",
    "idempotency": "no idempotency key is permitted for two requests",
    "quarantine": "nobody is permitted anything before registration or while quarantined or retired",
    "outcomes": "every outcome has its permit, and only its enforcement point is believed",
    "resolutions": "operators resolve unknown outcomes only, and once",
    "denials": "counted denials repeat one that is recorded",
    "practice": "what a workload is said to have practised was completed",
    "events": "what a workload is said to have done over all its tasks, its sessions show",
    "erasures": "what was erased was committed to, and somebody had it erased",
    "causes": "what the service did by itself names what it follows from",
    "openings": "every value that is shown is what its record commits to",
    "facts": "what was decided on is what the records before it show",
    "reevaluation": "every decision is what its recorded policies say to its recorded facts",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: which check, where (stream "" and n 0 for the export as a whole), and what."""

    check: str
    stream: str
    n: int
    message: str


class Report(msgspec.Struct, kw_only=True):
    """The result of a verification; `failed` is what an exit code should say."""

    td: str
    streams: int = 0
    records: int = 0
    permits: int = 0
    open_permits: int = 0  # permits without an outcome so far; no fault by itself
    late: int = 0  # outcomes of actions that began after their permit had run out, as the records themselves say
    unread: int = 0  # entries of a log that are archived and were not read
    checks: dict[str, int] = {}  # how often each check was made
    unchecked: dict[str, int] = {}  # what could not be checked, and how often
    findings: list[Finding] = []
    more: int = 0  # findings beyond those listed

    @property
    def failed(self) -> bool:
        """Whether anything is wrong, or nothing was there to be checked."""
        return bool(self.findings) or self.records == 0

    @property
    def said(self) -> str:
        """What was looked at, in words."""
        said = f"{self.records} records of {self.streams} streams"
        if self.unread:
            return f"{said} that are left; {self.unread} archived entries were not read"
        said += f", {self.permits} permits"
        said += f", {self.open_permits} without an outcome so far" if self.open_permits else ""
        return said + (f", {self.late} begun late" if self.late else "")

    def made(self, check: str, times: int = 1) -> None:
        """Counts a check that was made."""
        self.checks[check] = self.checks.get(check, 0) + times

    def skipped(self, what: str, times: int = 1) -> None:
        """Counts something that could not be checked."""
        self.unchecked[what] = self.unchecked.get(what, 0) + times

    def find(self, check: str, stream: str, n: int, message: str) -> None:
        """Adds a finding, in printable characters and at most 500 of them; beyond `LISTED` they are only counted."""
        if len(self.findings) < LISTED:
            # SECURITY: messages quote records, which may carry what drives a terminal.
            self.findings.append(Finding(check, _printable(stream), n, _printable(message)))
        else:
            self.more += 1


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:500])
