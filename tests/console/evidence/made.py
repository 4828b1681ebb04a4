"""A made project with a known history, and what is to be counted of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from remit.app.evidence import Made, Wanted, make_pack
from remit.app.folder import Folder
from remit.app.publishing import open_publisher
from remit.app.records import reader_of
from remit.console.evidence.figures import Figure, Tally
from remit.console.evidence.frameworks import chosen
from remit.console.evidence.period import Period
from remit.console.evidence.samples import Chooser
from remit.core.settings import read_settings
from remit.core.tasks import TaskRequest
from remit.ledger.record import decode_record
from remit.storage.reader import Reader, Stored
from tests.decide.stage import (
    ADMIN,
    CHILDREN,
    FETCH,
    FINANCE,
    HOUR,
    INVOICE,
    LOOKUP,
    PARAMS,
    PAY,
    PAYMENT,
    READ,
    START,
    Stage,
    identity,
)
from tests.ledger.story import Story

MINUTE = 60_000
LOG = '[ledger]\nfolder = ".remit/log"\n'
EVE = identity("person/eve")
INTENTS = CHILDREN | {
    "by-itself": """
description: Look after invoices.
effects: [read]
starters: [workload/finance]
workloads: [workload/finance]
self_start: true
""",
    "break-glass": """
description: Get an invoice out at night.
effects: [read]
starters: [starter/app]
workloads: [workload/finance]
emergency: true
""",
}
POLICY = """
@id("no-web-for-eve")
@reason("not_for_eve")
forbid (principal, action == Remit::Action::"web/fetch", resource)
when { context.task.starter == "spiffe://example.org/person/eve" };
"""
WHOLE = Period(START, START + 3 * HOUR)


async def history(stage: Stage) -> dict[str, str]:
    """Two hours of a small installation; the ids of what tests name."""
    ids: dict[str, str] = {}
    grant = await stage.start()
    await stage.report(await stage.permit(grant, READ, INVOICE))
    fetched = await stage.permit(grant, FETCH, {"url": "https://elsewhere.example/page"})
    await stage.report(fetched)
    await stage.report(await stage.permit(grant, READ, {"invoice": "INV-2"}), "error")
    for _ in range(3):  # identical denials are one record, and a count
        assert await stage.refusal(grant, PAY, PAYMENT) == "not_justified"
    await stage.pass_(2 * MINUTE)
    forgotten = await stage.permit(grant, READ, {"invoice": "INV-3"})
    unknown = await stage.permit(grant, READ, {"invoice": "INV-4"})
    await stage.pass_(3 * MINUTE)  # both become unknown
    await stage.governor.resolve(ADMIN, forgotten.id, "not_executed", "seen at the server")
    ids["unknown"] = unknown.id

    paying = await stage.start("pay-invoice", params=PARAMS)
    await stage.report(await stage.permit(paying, READ, INVOICE), output={"account": "DE89", "status": "open"})
    paid = await stage.permit(paying, PAY, PAYMENT)
    await stage.report(paid)
    ids["paid"] = paid.id
    assert await stage.pays(paying) == "limit_reached"
    assert await stage.refusal(paying, "billing/guessed", {}) == "action_unreviewed"

    eves = await stage.start(starter=EVE)
    assert await stage.refusal(eves, FETCH, {"url": "https://elsewhere.example/"}) == "not_for_eve"
    await stage.report(await stage.permit(eves, LOOKUP, {"email": "kim@example.org"}), output={"name": "Kim"})
    child = await stage.governor.start_task(
        identity("starter/app"),
        TaskRequest(intent="narrow", workload=FINANCE.id, key="child-key", parent=grant.task),
        None,
    )
    ids["child"] = child.id
    await stage.start("by-itself", starter=FINANCE)
    await stage.start("break-glass")

    helpers = await stage.start(workload="workload/helper")
    await stage.report(await stage.permit(helpers, READ, INVOICE))
    stage.clock.pass_(1)
    await stage.change("workload/helper", "quarantined")
    stage.clock.pass_(1)
    assert await stage.refusal(helpers, READ, INVOICE) == "identity_quarantined"
    await stage.change("workload/stranger", "retired")
    await stage.risk(50, START + 2 * HOUR)
    await stage.end(helpers, "cancelled")

    await stage.pass_(HOUR)
    (stage.folder.root / "policies" / "own.cedar").write_text(POLICY + "// reviewed\n")
    (stage.folder.root / "intents" / "late.yaml").write_text(INTENTS["by-itself"].replace("self_start: true\n", ""))
    await stage.restart()
    last = await stage.start()
    open_ = await stage.permit(last, READ, {"invoice": "INV-9"})
    ids["open"] = open_.id
    ids["last"] = last.task
    return ids


# What stands above, counted by hand: the value, and what it is counted among (None where nothing).
EXPECTED: dict[str, tuple[int, int | None]] = {
    "decided": (17, None),
    "permitted": (10, 17),
    "denied": (7, 17),
    "effects": (10, 10),
    "executions": (0, 17),
    "without-purpose": (3, 17),
    "tools-refused": (1, 17),
    "limits-stopped": (1, 17),
    "requestable": (0, 7),
    "observed": (0, 10),
    "no-outcome": (1, 10),
    "unknown-outcomes": (1, 10),
    "resolved": (1, None),
    "late": (0, 7),
    "tasks": (8, None),
    "self-started": (1, 7),
    "children": (1, 8),
    "started-by-persons": (1, 7),
    "persons-acting": (0, 10),
    "emergencies": (1, 8),
    "suspended": (1, 8),
    "on-behalf": (0, 8),
    "ownerless": (0, 2),
    "environments": (0, 2),
    "identities": (10, None),
    "registrations": (12, None),
    "stopped-identities": (2, 10),
    "permitted-after-stop": (0, 2),
    "keys-changed": (0, 9),
    "key-age": (0, 9),
    "shared-keys": (0, 9),
    "outside-tokens": (0, None),
    "changes": (2, None),
    "modes": (1, None),
    "signals": (1, None),
    "stopped-by-service": (0, None),
    "untrusted-read": (1, 10),
    "after-untrusted": (6, 17),
    "outward": (2, 17),
    "erasures": (0, None),
}


def counted(folder: Folder, period: Period) -> dict[str, Figure]:
    """The figures of a period of a project's records."""
    with reader_of(folder) as reader:
        return Tally(reader, period, Chooser(b"seed", 3)).count()


class Lines:
    """A reader of records that no honest installation would have: those of a told story, by their times."""

    def __init__(self, story: Story) -> None:
        every = [(name, n, line) for name, lines in story.streams.items() for n, line in enumerate(lines, 1)]
        every.sort(key=lambda each: decode_record(each[2]).t)
        self.stored = [Stored(seq, *each) for seq, each in enumerate(every, 1)]

    def records(self, *, kinds: tuple[str, ...] = (), last: int | None = None) -> Iterator[Stored]:
        found = [each for each in self.stored if not kinds or each.record.kind in kinds]
        yield from found[-last:] if last else found

    def find(self, key: str) -> Stored | None:
        return next((each for each in self.stored if key in (each.record.body.get("id"),)), None)

    def text(self, digest: str) -> str | None:
        return None

    def count(self) -> int:
        return len(self.stored)


def told(story: Story, period: Period) -> dict[str, Figure]:
    """The figures of a story."""
    return Tally(cast(Reader, Lines(story)), period, Chooser(b"seed", 3)).count()


def publish(folder: Folder) -> None:
    """Publishes all records of a project, as its service does when it stops."""
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()


def pack(folder: Folder, target: Path, *names: str, period: Period = WHOLE, now: int = START, **more: object) -> Made:
    """A pack of these frameworks, or of all."""
    wanted = Wanted(chosen(names or ("all",)), period, int(str(more.pop("samples", 3))), str(more.pop("challenge", "")))
    return make_pack(folder, wanted, target, now)


@contextmanager
def changed(path: Path, data: bytes) -> Iterator[None]:
    """A file with other bytes, for a while."""
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)
