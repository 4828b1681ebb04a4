"""A small installation in a temporary folder, from readable files, with a clock that stands until it is told.

Callers and proofs are given as verified identities: what verifies them is tested in `tests/identity`.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from remit.app.exports import export_folder
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.app.records import reader_of
from remit.app.reevaluating import CedarEvaluator
from remit.core.decisions import Ask, Decision, Outcome, OutcomeReceipt, OutcomeResult, TaskHandle
from remit.core.identities import Identity, Lifecycle, Registration
from remit.core.obligations import KNOWN
from remit.core.tasks import RiskSignal, TaskEnd, TaskRequest, TaskView
from remit.decide.governor import Governor
from remit.decide.world import World
from remit.ledger.findings import Report
from remit.ledger.record import Record
from remit.ledger.verify import verify
from remit.storage.sqlite import SqliteStore

T = TypeVar("T")

TD = "example.org"
START = 1_795_000_000_000
FAR = START + 10 * 365 * 86_400_000
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

READ = "billing/read_invoice"
PAY = "payments/pay_invoice"
LOOKUP = "people/lookup"
FETCH = "web/fetch"
INVOICE = {"invoice": "INV-1"}
PAYMENT = {"invoice": "INV-1", "account": "DE89", "amount": 120.5}
PARAMS = {"invoice": "INV-1", "account": "DE89", "amount": "120.50"}
PAID = {"account": "DE89", "amount": 120.5, "status": "open"}

SETTINGS = """
trust_domain = "example.org"
[service]
listen = ""
[limits]
rate_per_second = 100000
rate_burst = 1000000
[[workloads]]
name = "finance"
kind = "agent"
owner = "ada"
groups = ["agents"]
key = "k-finance"
[[workloads]]
name = "helper"
kind = "agent"
owner = "ada"
groups = ["agents"]
key = "k-helper"
[[workloads]]
name = "stranger"
kind = "bot"
owner = "ada"
key = "k-stranger"
[[starters]]
name = "app"
owner = "ada"
key = "k-app"
[[starters]]
name = "other"
owner = "ada"
key = "k-other"
[[enforcement_points]]
name = "gateway"
owner = "ada"
servers = ["billing", "payments", "people", "web", "unlisted"]
key = "k-gateway"
[[enforcement_points]]
name = "elsewhere"
owner = "ada"
servers = ["web"]
key = "k-elsewhere"
[[people]]
name = "admin"
roles = ["administrator"]
key = "k-admin"
[[people]]
name = "carol"
roles = ["approver"]
key = "k-carol"
[[people]]
name = "eve"
roles = ["starter"]
groups = ["staff"]
key = "k-eve"
"""

CATALOGUE = {
    "billing": """
server: billing
tools:
  read_invoice:
    effect: read
    labels: [financial]
    trusted: true
    select: {account: string, amount: decimal, status: string, lines: integer, paid: boolean}
    reviewed: true
    input_schema: '{"type": "object", "required": ["invoice"], "properties":
      {"invoice": {"type": "string"}, "note": {"type": "string"}, "pages": {"type": "integer"}}}'
  guessed:
    effect: read
    input_schema: '{"type": "object"}'
""",
    "payments": """
server: payments
tools:
  pay_invoice:
    effect: pay
    trusted: true
    redact: [secret]
    reviewed: true
    input_schema: '{"type": "object", "required": ["invoice"], "properties": {"invoice": {"type": "string"},
      "account": {"type": "string"}, "amount": {"type": "number"}}}'
""",
    "people": """
server: people
tools:
  lookup:
    effect: read
    labels: [personal]
    trusted: true
    personal: [input.email, output.name]
    select: {name: string, team: string}
    reviewed: true
    input_schema: '{"type": "object", "required": ["email"], "properties":
      {"email": {"type": "string"}, "reason": {"type": "string"}}}'
""",
    "web": """
server: web
tools:
  fetch:
    effect: read
    labels: [untrusted]
    destination: input.url
    reviewed: true
    input_schema: '{"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}'
  search:
    effect: read
    trusted: true
    reviewed: true
    input_schema: '{"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}}}}'
""",
    "own": """
server: own
self_enforced: true
tools:
  look: {effect: read, trusted: true, reviewed: true, select: {found: string}, input_schema: {type: object}}
  wire: {effect: pay, reviewed: true, input_schema: {type: object}}
""",
}

INTENTS = {
    "answer": """
description: Answer a question.
effects: [read]
starters: [starter/app, group:staff]
workloads: [group:agents]
""",
    "pay-invoice": """
description: Pay one invoice.
actions: [billing/read_invoice, payments/pay_invoice]
starters: [starter/app]
workloads: [group:agents]
params:
  invoice: {type: string}
  account: {type: string}
  amount: {type: decimal}
order:
  - {name: invoice-read, before: [payments/pay_invoice], done: billing/read_invoice,
     where: {input.invoice: params.invoice, output.status: "'open'"}, within: 10m}
limits:
  - {name: once, actions: [payments/pay_invoice], calls: 1}
  - {name: amount, actions: [payments/pay_invoice], sum: input.amount, at_most: params.amount}
bindings:
  - {action: payments/pay_invoice, argument: input.invoice, equals: params.invoice}
  - {action: payments/pay_invoice, argument: input.account, equals: done.invoice-read.account}
risk_at_most: 60
""",
}

CHILDREN = {
    "answer": INTENTS["answer"] + "children: [narrow]\n",
    "narrow": """
description: Read invoices.
actions: [billing/read_invoice]
starters: [workload/finance, starter/app]
workloads: [group:agents]
time_to_live: 2h
""",
}
FETCHING_CHILD = {
    "answer": INTENTS["answer"] + "children: [narrow]\n",
    "narrow": CHILDREN["narrow"].replace("billing/read_invoice", "web/fetch"),
}


class Clock:
    """Integer milliseconds, UTC, that stand still."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def pass_(self, ms: int) -> None:
        self.now += ms


@dataclass(frozen=True)
class Grant:
    """A started task, as whoever acts under it can prove it."""

    task: str
    workload: str
    key: str
    expires: int

    @property
    def handle(self) -> TaskHandle:
        return TaskHandle(task=self.task, workload=self.workload, key=self.key, expires=self.expires)


def spiffe(path: str) -> str:
    return f"spiffe://{TD}/{path}"


def identity(path: str, key: str = "", expires: int = FAR) -> Identity:
    return Identity(id=spiffe(path), key=key or "k-" + path.rpartition("/")[2], expires=expires)


APP = identity("starter/app")
GATEWAY = identity("pep/gateway")
ELSEWHERE = identity("pep/elsewhere")
ADMIN = identity("person/admin")
FINANCE = identity("workload/finance")
HELPER = identity("workload/helper")


async def together(*asked: Awaitable[T]) -> list[T]:
    """All of these at once, as one batch of the sequencer."""
    return list(await asyncio.gather(*asked))


class Stage:
    """An open installation and what a test does with it."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.folder = Folder(root)
        self.clock = clock
        self._numbers = itertools.count()
        self._opened: Installation | None = None

    @property
    def installation(self) -> Installation:
        assert self._opened is not None
        return self._opened

    @property
    def governor(self) -> Governor:
        return self.installation.governor

    @property
    def store(self) -> SqliteStore:
        return self.installation.store

    @property
    def world(self) -> World:
        return self.store.world

    async def open(self) -> None:
        self._opened = await self.compose()
        sweeper = self.governor._sweeper
        assert sweeper is not None
        sweeper.cancel()  # tests sweep themselves, so that time passes when they say

    async def compose(self) -> Installation:
        return await open_installation(self.folder, self.clock)

    async def close(self) -> None:
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def pass_(self, ms: int) -> None:
        """Lets time pass, and what is due be recorded."""
        self.clock.pass_(ms)
        while await self.governor.sweep_now():
            pass
        await self.governor.record_practice()

    # --- tasks and questions --------------------------------------------------------------------------------

    async def start(
        self,
        intent: str = "answer",
        workload: str = "workload/finance",
        starter: Identity = APP,
        *,
        person: Identity | None = None,
        key: str = "",
        **more: Any,
    ) -> Grant:
        """Starts a task; `more` are fields of the request."""
        key = key or f"task-key-{next(self._numbers)}"
        request = TaskRequest(intent=intent, workload=spiffe(workload), key=key, **more)
        view = await self.governor.start_task(starter, request, person)
        return Grant(view.id, view.workload, key, view.expires)

    async def start_payment(self, **more: Any) -> Grant:
        """A task under `pay-invoice` whose invoice has been read."""
        grant = await self.start("pay-invoice", params=PARAMS, **more)
        read = await self.permit(grant, READ, INVOICE)
        await self.report(read, output=PAID)
        return grant

    def ask(self, grant: Grant | None, action: str = READ, input: dict[str, Any] | None = None, **replaced: Any) -> Ask:
        """The question that the gateway asks with a grant; `replaced` are other fields of it."""
        ask = Ask(
            caller=GATEWAY,
            subject=spiffe("workload/finance"),
            action=action,
            input=dict(INVOICE) if input is None else input,
            supports=KNOWN,
        )
        if grant is not None:
            proof = Identity(id=grant.workload, key=grant.key, expires=FAR)
            ask = msgspec.structs.replace(ask, subject=grant.workload, proof=proof, task=grant.handle)
        return msgspec.structs.replace(ask, **replaced)

    def ask_itself(self, grant: Grant, action: str = "own/look", input: dict[str, Any] | None = None) -> Ask:
        """The question of the workload itself."""
        own = Identity(id=grant.workload, key=grant.key, expires=FAR)
        return self.ask(grant, action, input if input is not None else {}, caller=own, proof=None)

    async def authorize(
        self, grant: Grant | None, action: str = READ, input: dict[str, Any] | None = None, **replaced: Any
    ) -> Decision:
        return await self.governor.authorize(self.ask(grant, action, input, **replaced))

    async def probe(
        self, grant: Grant | None, action: str = READ, input: dict[str, Any] | None = None, **replaced: Any
    ) -> Decision:
        return await self.governor.probe(self.ask(grant, action, input, **replaced))

    async def permit(
        self, grant: Grant, action: str = READ, input: dict[str, Any] | None = None, **replaced: Any
    ) -> Decision:
        decision = await self.authorize(grant, action, input, **replaced)
        assert decision.effect == "permit", decision.reason
        return decision

    async def refusal(
        self, grant: Grant | None, action: str = READ, input: dict[str, Any] | None = None, **replaced: Any
    ) -> str:
        """The reason code of a deny."""
        decision = await self.authorize(grant, action, input, **replaced)
        assert decision.effect == "deny", decision.reason
        return decision.reason.code

    async def pays(self, grant: Grant) -> str:
        """The reason code of the answer to the payment."""
        return (await self.authorize(grant, PAY, PAYMENT)).reason.code

    async def report(
        self,
        decision: Decision,
        result: OutcomeResult = "response",
        output: dict[str, Any] | None = None,
        by: Identity = GATEWAY,
        **more: Any,
    ) -> OutcomeReceipt:
        durable = more.pop("durable", True)
        fields = {"decision": decision.id, "digest": decision.digest, "result": result, "output": output or {}}
        return await self.governor.report(by, Outcome(**(fields | more)), durable=durable)

    async def end(self, grant: Grant, state: TaskEnd = "completed", by: Identity = APP) -> TaskView:
        return await self.governor.end_task(by, grant.task, state, "")

    async def change(self, path: str, state: Lifecycle, by: Identity = ADMIN) -> Registration:
        return await self.governor.change(by, spiffe(path), state, "")

    async def risk(self, value: int, expires: int, path: str = "workload/finance") -> None:
        signal = RiskSignal(id=spiffe(path), signal="manual", value=value, source="test", expires=expires)
        await self.governor.set_risk(ADMIN, signal)

    # --- what was recorded ----------------------------------------------------------------------------------

    def records(self, kind: str = "", stream: str = "") -> list[Record]:
        with reader_of(self.folder) as reader:
            found = [stored.record for stored in reader.records()]
        return [r for r in found if r.kind == (kind or r.kind) and r.stream == (stream or r.stream)]

    def record_of(self, decision: Decision) -> dict[str, Any]:
        """The body of a decision's record."""
        return next(r.body for r in self.records("decision") if r.body["id"] == decision.id)

    def bytes_(self) -> bytes:
        """All records, as they are hashed."""
        with reader_of(self.folder) as reader:
            return b"\n".join(stored.data for stored in reader.records())

    def state(self) -> dict[str, Any]:
        """Everything that decisions read, by stream, but for indexes that are made when they are needed."""
        sessions = {}
        for record in self.records("task"):
            session = self.world.session(record.body["root"])
            assert session is not None
            sessions[record.body["root"]] = replace(session, indexes={})
        return copy.deepcopy(
            {
                "sessions": sessions,
                "lives": dict(self.world._lives),
                "open": dict(self.world.open_permits),
                "administration": (self.world.configuration, self.world.modes),
            }
        )

    def verify(self) -> Report:
        """Exports the records and verifies them; nothing may be wrong."""
        target = self.folder.root / f"export-{next(self._numbers)}"
        export_folder(self.folder, target)
        report = verify(target, evaluator=CedarEvaluator())
        wrong = [(f.check, f.stream, f.message) for f in report.findings]
        assert not wrong, wrong
        return report


def write_project(
    root: Path,
    *,
    settings: str = "",
    intents: Mapping[str, str] | None = None,
    policies: str = "",
    catalogue: Mapping[str, str] | None = None,
    temporal: str = "",
    workloads: str = "",
    providers: str = "",
) -> None:
    """A project folder; what is given is added to, or stands in place of, what every stage has."""
    for folder in ("intents", "policies", "catalogue"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "remit.toml").write_text(SETTINGS + settings)
    for name, text in (INTENTS | dict(intents or {})).items():
        (root / "intents" / f"{name}.yaml").write_text(text)
    for name, text in (CATALOGUE | dict(catalogue or {})).items():
        (root / "catalogue" / f"{name}.yaml").write_text(text)
    (root / "policies" / "own.cedar").write_text(policies)
    for path, text in (("own.dw", temporal), ("workload/own.dw", workloads)):
        (root / "policies" / path).parent.mkdir(exist_ok=True)
        if text:
            (root / "policies" / path).write_text(text)
    if providers:
        (root / "providers").mkdir(exist_ok=True)
        (root / "providers" / "own.py").write_text(providers)
    (root / ".remit").mkdir(mode=0o700, exist_ok=True)


Story = Callable[..., Awaitable[None]]


def play(
    root: Path,
    story: Callable[[Stage], Awaitable[None]],
    build: Callable[[Path, Clock], Stage] = Stage,
    **project: Any,
) -> None:
    """Runs a story on a new stage, and verifies the records at its end."""

    async def run() -> None:
        write_project(root, **project)
        stage = build(root, Clock())
        await stage.open()
        try:
            await story(stage)
        finally:
            await stage.close()
        stage.verify()

    asyncio.run(run())


def staged(**project: Any) -> Callable[[Story], Callable[..., None]]:
    """Makes a test of `async def test(stage, …)`: a new stage before it, the verifier after it."""

    def wrap(story: Story) -> Callable[..., None]:
        def test(tmp_path: Path, **parameters: Any) -> None:
            play(tmp_path, lambda stage: story(stage, **parameters), **project)

        _, *others = inspect.signature(story).parameters.values()
        first = inspect.Parameter("tmp_path", inspect.Parameter.KEYWORD_ONLY, annotation=Path)
        kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in others]
        test.__signature__ = inspect.Signature([first, *kept])  # type: ignore[attr-defined]  # what pytest reads
        test.__name__, test.__doc__, test.__module__ = story.__name__, story.__doc__, story.__module__
        test.story, test.project = story, project  # type: ignore[attr-defined]  # tests/storage plays it elsewhere too
        return test

    return wrap
