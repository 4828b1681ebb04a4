"""Builds the streams of a small installation record by record, honest or not, and exports them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from remit.core import canonical
from remit.ledger.export import STREAMS, export, open_export, stream_file
from remit.ledger.findings import Report
from remit.ledger.record import decode_record, encode_record, leaf_hash
from remit.ledger.verify import verify

TD = "acme.example"
AGENT = f"spiffe://{TD}/workload/agent"
OTHER = f"spiffe://{TD}/workload/other"
PEP = f"spiffe://{TD}/pep/gateway"
STARTER = f"spiffe://{TD}/starter/accounts"
SERVICE = f"spiffe://{TD}/remit"
ROOT = "t_1"
SESSION = f"session/{ROOT}"
NOON = 1_800_000_000_000

TEXT = "permit (principal, action, resource);"
INDEX = canonical.encode({"a.cedar": canonical.sha256(TEXT.encode())}).decode()
PARTS = {"policies": canonical.sha256(INDEX.encode())}
CONFIG = canonical.digest(PARTS)
TEXTS = {canonical.sha256(text.encode()): text for text in (TEXT, INDEX)}


class Story:
    """Streams of bytes; `now` moves by hand."""

    def __init__(self) -> None:
        self.now = NOON
        self.streams: dict[str, list[bytes]] = {}
        self.texts: dict[str, str] = dict(TEXTS)
        self._ids = 0

    def append(self, stream: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Adds a record at the end of a stream, numbered and linked as it must be."""
        lines = self.streams.setdefault(stream, [])
        link = leaf_hash(lines[-1]) if lines else ""
        lines.append(encode_record(TD, stream, len(lines) + 1, link, self.now, kind, body))
        return body

    def rewrite(self, stream: str, edit: Callable[[int, dict[str, Any]], None]) -> None:
        """Changes bodies and links everything again: what someone who holds the database can do."""
        old, self.streams[stream] = self.streams[stream], []
        for line in old:
            record = decode_record(line)
            edit(record.n, record.body)
            self.now = record.t
            self.append(stream, record.kind, record.body)

    # --- honest records -------------------------------------------------------------------------------------

    def configure(self) -> None:
        self.append("administration", "configuration", {"config": CONFIG, **PARTS})

    def identity(self, who: str, state: str = "active", **more: Any) -> None:
        role = who.removeprefix(f"spiffe://{TD}/").partition("/")[0]
        registration = {"id": who, "kind": "agent", "roles": [role], "owner": "", "key": "", "state": state}
        registration |= {"servers": ["payments", "billing", "web", "crm"]} if role == "pep" else {}
        self.append(f"identity/{who}", "identity", {"registration": registration, "by": STARTER, "reason": ""} | more)

    def task(self, task: str = ROOT, state: str = "open", **more: Any) -> None:
        root = task.partition(".")[0]
        body: dict[str, Any] = {"task": task, "root": root, "state": state}
        if state == "open":
            body |= {
                "parent": task.rpartition(".")[0],
                "intent": "pay-invoice",
                "workload": AGENT,
                "starter": STARTER,
                "params": {},
                "key": "k",
                "expires": NOON + 3_600_000,
                "emergency": False,
                "limits": [],
                "config": CONFIG,
            }
        self.append(f"session/{root}", "task", body | more)

    def decision(self, effect: str = "permit", *, root: str = ROOT, **more: Any) -> str:
        self._ids += 1
        body: dict[str, Any] = {
            "id": f"d_{self._ids}",
            "effect": effect,
            "reason": {"code": "permitted", "message": "", "nextStep": "", "policies": []},
            "action": "payments/pay",
            "serverEffect": "pay",
            "digest": canonical.request_digest("payments/pay", {"n": self._ids}),
            "task": root,
            "subject": AGENT,
            "pep": PEP,
            "enforcement": "pep",
            "expires": self.now + 5000 if effect == "permit" else 0,
            "mode": "enforce",
            "context": {"input": {"amount": {"__extn": {"fn": "decimal", "arg": "10.00"}}}},
            "config": CONFIG,
        }
        if effect == "permit":
            body |= {"deadline": self.now + 120_000, "usage": {}}
        self.append(f"session/{root}", "decision", body | more)
        return str((body | more)["id"])

    def outcome(self, decision: str, result: str = "response", *, root: str = ROOT, **more: Any) -> None:
        body: dict[str, Any] = {
            "decision": decision,
            "digest": self.body_of(decision, root)["digest"],
            "result": result,
            "standing": "believed",
            "by": SERVICE if result == "unknown" else PEP,
            "started": 0 if result == "unknown" else self.now,
            "late": False,
            "selected": {},
            "bytes": 0,
        }
        self.append(f"session/{root}", "outcome", body | more)

    def body_of(self, decision: str, root: str = ROOT) -> dict[str, Any]:
        for line in self.streams[f"session/{root}"]:
            body = decode_record(line).body
            if body.get("id") == decision:
                return body
        return {"digest": "0" * 64}

    # --- the export and its verification --------------------------------------------------------------------

    def write(self, folder: Path) -> Path:
        records = ((name, n, line) for name, lines in self.streams.items() for n, line in enumerate(lines, 1))
        export(records, self.texts, folder, td=TD, created=self.now)
        return folder

    def verify(self, tmp_path: Path) -> Report:
        return verify(self.write(tmp_path / "export"))


def begin() -> Story:
    """An installation with a configuration, an agent, another one, an enforcement point and an open task."""
    story = Story()
    story.configure()
    for who in (AGENT, OTHER, PEP, STARTER):
        story.identity(who)
    story.task()
    story.now += 1000
    return story


def full() -> Story:
    """Everything that an honest installation may hold, once."""
    story = begin()
    limit = {"name": "pay-invoice/total#sum", "calls": None, "atMost": "params.most", "sum": "input.amount"}
    once = {"name": "pay-invoice/once", "calls": 1, "atMost": None, "actions": ["payments/refund"]}
    story.append("administration", "mode", {"mode": "observe", "until": NOON + 10_000, "by": STARTER})
    erasure = {
        "id": "e_1",
        "by": STARTER,
        "reason": "",
        "what": "subject",
        "count": 0,
        "openings": [],
        "keys": ["a" * 16],
    }
    story.append("administration", "erasure", erasure)
    risk = {"id": AGENT, "signal": "edr", "value": 20, "source": "edr", "expires": NOON}
    story.append(f"identity/{AGENT}", "risk", risk)
    story.decision("deny")
    story.task("t_1.1", limits=[limit, once], params={"most": "25"}, expires=NOON + 60_000)
    first = story.decision(task="t_1.1", usage={"pay-invoice/total#sum": "10.00"}, idempotencyKey="a" * 64)
    second = story.decision(task="t_1.1", usage={"pay-invoice/total#sum": "10"})
    story.now += 100
    story.outcome(first)
    story.outcome(second, "not_executed")
    third = story.decision(task="t_1.1", usage={"pay-invoice/total#sum": "10.0"})
    refund = story.decision(task="t_1.1", action="payments/refund", usage={"pay-invoice/once": "1"})
    watched: dict[str, Any] = {
        "mode": "observe",
        "would": "deny",
        "usage": {"pay-invoice/once": "1"},
        "action": "payments/refund",
    }
    story.outcome(story.decision(task="t_1.1", **watched))
    story.task("t_1.1", "suspended", by=STARTER, reason="lunch")
    story.task("t_1.1", "open", by=STARTER, reason="back")
    read = story.decision(task="t_1.1", serverEffect="read", action="payments/read", pep=AGENT, enforcement="self")
    story.outcome(read, standing="claimed", by=AGENT)
    denied = story.decision("deny")
    story.append(SESSION, "denials", {"decision": denied, "count": 3})
    story.now += 130_000
    story.outcome(third, "unknown")
    story.outcome(refund, "unknown")
    story.append(SESSION, "resolution", {"decision": refund, "result": "response", "by": STARTER, "reason": "seen"})
    story.outcome(third, started=NOON, late=False)
    story.task("t_1.1", "expired", by=SERVICE, reason="")
    story.task("t_1", "completed", by=STARTER, reason="")
    outside = {"action": "task.start", "task": "", "enforcement": ""}
    body = {**story.body_of(denied), **outside, "id": "d_outside"}
    story.append(f"identity/{STARTER}", "decision", body)
    story.append(f"identity/{STARTER}", "denials", {"decision": "d_outside", "count": 1})
    day = NOON // 86_400_000
    pay, steps = {"payments/pay": 1}, {"": {"payments/pay": 1}}
    story.append(f"identity/{AGENT}", "practice", practice(day, tools=pay, steps=steps))
    forgotten = {"id": AGENT, "everything": True, "tools": [], "destinations": [], "by": STARTER, "reason": "new owner"}
    story.append(f"identity/{AGENT}", "forgotten", forgotten)
    raised = {"id": OTHER, "signal": "denials", "value": 90, "source": "", "expires": story.now + 1000, "by": SERVICE}
    story.append(f"identity/{OTHER}", "decision", {**body, "id": "d_other", "subject": OTHER})
    story.append(f"identity/{OTHER}", "risk", raised | {"decision": "d_other"})
    story.identity(OTHER, "quarantined", by=SERVICE, signal="denials")
    story.identity(OTHER, "retired")
    return story


def practice(day: int, who: str = AGENT, **items: Any) -> dict[str, Any]:
    """The body of a `practice` record."""
    return {"id": who, "day": day, "tools": {}, "steps": {}, "destinations": {}} | items


def lines_of(folder: Path, stream: str = SESSION) -> list[bytes]:
    """The lines of a stream's file, without line feeds."""
    return (folder / STREAMS / stream_file(stream)).read_bytes().splitlines()


def replace_lines(folder: Path, lines: list[bytes], stream: str = SESSION) -> None:
    """Puts other lines into a stream's file, leaving `export.json` as it was."""
    (folder / STREAMS / stream_file(stream)).write_bytes(b"".join(line + b"\n" for line in lines))


def fix_manifest(folder: Path, stream: str = SESSION) -> None:
    """Makes `export.json` say what the stream's file now holds."""
    manifest = open_export(folder).manifest
    lines = lines_of(folder, stream)
    raw = canonical.encode(manifest)
    for entry in manifest.streams:
        if entry.name == stream:
            old = canonical.encode(entry)
            new = old.replace(entry.head.encode(), leaf_hash(lines[-1]).encode())
            new = new.replace(b'"records":%d' % entry.records, b'"records":%d' % len(lines))
            raw = raw.replace(old, new)
    (folder / "export.json").write_bytes(raw)


def checks_of(report: Report) -> set[str]:
    """The checks that found something."""
    return {finding.check for finding in report.findings}


def found(tmp_path: Path, story: Story) -> list[tuple[str, str]]:
    """The findings' checks and messages."""
    return [(finding.check, finding.message) for finding in story.verify(tmp_path).findings]


def only(tmp_path: Path, story: Story, check: str, said: str) -> None:
    """There is one finding, of this check, and it says this."""
    assert found(tmp_path, story) == [(check, said)]
