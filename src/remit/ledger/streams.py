"""The checks of one stream, line by line: bytes, numbers, links, time, and what the records mean."""

from __future__ import annotations

from typing import Final

import msgspec

from remit.core import canonical
from remit.core.errors import RemitError
from remit.ledger import bodies
from remit.ledger.concealed import may_conceal, put
from remit.ledger.export import DIGEST, Export, StreamEntry
from remit.ledger.findings import Report
from remit.ledger.lives import Lives
from remit.ledger.opened import DIGEST as DIGEST_PATH
from remit.ledger.opened import Openings
from remit.ledger.practice import Caused
from remit.ledger.record import ADMINISTRATION, KINDS, VERSION, Record, check_stream, decode_record, is_canonical
from remit.ledger.reevaluation import FOLDED, Recorded, Reevaluation
from remit.ledger.sessions import Session

_DECIDING: Final = frozenset({"decision", "denials"})
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    ADMINISTRATION: frozenset({"configuration", "mode", "erasure", "watch"}) | _DECIDING,
    "identity": frozenset({"identity", "exchange", "risk", "practice", "forgotten"}) | _DECIDING,
    "workload": frozenset({"event", "events"}),
    "session": frozenset({"task", "outcome", "resolution"}) | _DECIDING,
}


def listed_in(text: bytes) -> list[tuple[str, str]]:
    """The names and digests that a text lists, where it is an index: an object of them, or an array of pairs."""
    try:
        found = msgspec.json.decode(text, type=dict[str, str] | list[tuple[str, str]])
    except (ValueError, RecursionError):
        return []
    return list(found.items()) if isinstance(found, dict) else found


class Stream:
    """The checks of one stream, line by line."""

    def __init__(
        self,
        export: Export,
        entry: StreamEntry,
        lives: Lives,
        report: Report,
        reevaluation: Reevaluation,
        openings: Openings,
    ) -> None:
        self.report = report
        self.reevaluation = reevaluation
        self.openings = openings
        self.lives = lives
        self.export = export
        self.td = export.manifest.td
        self.name = entry.name
        self.expected = 1
        self._link = ""
        self._time = 0
        self.space, _, self.owner = entry.name.partition("/")
        self._denied: set[str] = set()
        self._signals: dict[str, bodies.Risk] = {}
        self._service = f"spiffe://{self.td}/remit"
        self._session: Session | None = None
        try:
            check_stream(entry.name)
        except RemitError as error:
            self._find("stream", 0, error.message)
        if self.space == "session":
            self._session = Session(self.owner, entry.name, lives, report, reevaluation)

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
            self.lives.erasures.check(self.name, record.n, record.body, self.report)
            self._open(record, leaf)
            self._meaning(record, data)

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

    def _open(self, record: Record, leaf: str) -> None:
        """Puts the values that this reader was shown in the place of the commitments to them."""
        shown = self.openings.of(leaf)
        if not shown:
            return
        self.report.made("openings", len(shown))
        try:
            self.openings.reveal(leaf, record.body)
        except RemitError as error:
            self._find("openings", record.n, error.message)
            return
        for opening in shown:
            if opening.path != DIGEST_PATH:
                put(record.body, opening.path, opening.value)

    def _meaning(self, record: Record, data: bytes) -> None:
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
            above = self._session.chain(body.task) if self._session is not None else ()
            intents = tuple(task.intent for task in above)
            conceals = may_conceal(data)
            self.reevaluation.take(Recorded(self.name, record.n, record.t, body, len(data), conceals, intents))
        elif isinstance(body, bodies.Denials):
            self.report.skipped(FOLDED, body.count)
        if self._session is not None:
            self._session.n, self._session.t = record.n, record.t
            getattr(self._session, kind)(body)
        else:
            self._outside(body, record)

    def _outside(self, body: object, record: Record) -> None:
        """The records of `administration`, of identities and of what workloads did."""
        if isinstance(body, bodies.Decision):
            self._decision(body, record.n)
        elif isinstance(body, bodies.Denials):
            self.report.made("denials")
            if body.decision not in self._denied:
                self._find("denials", record.n, f"there is no denial `{body.decision}` before it")
        elif isinstance(body, bodies.Identity):
            self.lives.enter(self.owner, body, record.t, record.n, self.report)
            self._follows(body, record)
        elif isinstance(body, bodies.Exchange):
            self.lives.exchange(self.owner, body, record.t, record.n, self.report)
        elif isinstance(body, bodies.Risk):
            self._risk(body, record)
        elif isinstance(body, bodies.Practice):
            self._practice(body, record)
        elif isinstance(body, bodies.Forgotten):
            self.report.made("identities")
            if body.id != self.owner:
                self._find("identities", record.n, f"it is about `{body.id}`, whose stream this is not")
        elif isinstance(body, bodies.Configuration):
            self._configuration(record)
        elif isinstance(body, bodies.Event):
            self.lives.deeds.claim(self.name, self.owner, record.n, body, self.report)
        elif isinstance(body, bodies.Events):
            for event in body.events:
                self.lives.deeds.claim(self.name, self.owner, record.n, event, self.report)
        elif isinstance(body, bodies.Erasure):
            self.lives.erasures.take(body, record.t, record.n, self.report)

    def _risk(self, body: bodies.Risk, record: Record) -> None:
        self.report.made("identities")
        if body.id != self.owner:
            self._find("identities", record.n, f"the signal is about `{body.id}`, whose stream this is not")
        self.lives.risk(self.owner, body, record.t)
        if body.by == self._service:
            self.report.made("causes")
            if not body.decision:
                self._find("causes", record.n, f"the service raises `{body.signal[:64]}` and names no decision")
            elif body.decision not in self._denied:
                caused = Caused(self.name, record.n, record.t, self.owner)
                self.lives.practised.cause(body.decision, caused)
        self._signals[body.signal] = body

    def _follows(self, body: bodies.Identity, record: Record) -> None:
        """A quarantine by the service follows from a signal that lives."""
        if body.by != self._service:
            return
        self.report.made("causes")
        signal = self._signals.get(body.signal)
        if signal is None or not signal.value or signal.expires <= record.t:
            state, named = body.registration.state, f"`{body.signal[:64]}`"
            self._find("causes", record.n, f"the service makes it {state}, and no signal {named} lives")

    def _practice(self, body: bodies.Practice, record: Record) -> None:
        self.report.made("practice")
        refusal = self.lives.practised.claim(self.owner, body, record.t, record.n)
        if not refusal and (stopped := self.lives.refusal(self.owner, record.t)):
            refusal = f"something is learned, and {stopped}"
        if refusal:
            self._find("practice", record.n, refusal)

    def _configuration(self, record: Record) -> None:
        parts = {name: value for name, value in record.body.items() if name != "config"}
        config = record.body["config"]
        if canonical.digest(parts) != config:
            self._find("configuration", record.n, f"the digest `{config[:16]}…` is not that of its parts")
        self.lives.configurations.setdefault(config, record.t)
        self.lives.parts.setdefault(config, parts)
        for name, digest in parts.items():
            self._kept(name, digest, record.n)

    def _kept(self, name: str, digest: object, n: int) -> None:
        """Checks that the text of a part is in the export, and where it is an index, the texts that it lists."""
        texts = self.export.manifest.texts
        self.report.made("texts")
        if not isinstance(digest, str) or digest not in texts:
            self._find("texts", n, f"the text of the {name} `{str(digest)[:16]}…` is not in the export")
            return
        try:
            listed = listed_in(self.export.text(str(digest)))
        except RemitError:
            return  # one that can't be read is a finding of its own
        for file, below in listed:
            if DIGEST.fullmatch(below) and below not in texts:
                self._find("texts", n, f"the text of `{file[:100]}` in the {name} is not in the export")

    def _decision(self, body: bodies.Decision, n: int) -> None:
        self.report.made("decisions")
        if body.id in self._denied:
            self._find("decisions", n, f"the id `{body.id}` was given to an earlier decision")
        self._denied.add(body.id)
        if body.effect == "permit" and "/" in body.action:
            self._find("permits", n, f"`{body.action[:100]}` is permitted outside any session")
