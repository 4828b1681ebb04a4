"""A small project for tests: a payments server, two intents, and whatever policies a test writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remit.core.actions import Action, Catalogue, Field, Server
from remit.core.effects import Effect
from remit.core.identities import Kind, Registration, Role
from remit.core.intents import Binding, Intent, Limit, Parameter, Prerequisite
from remit.policy import Evaluation, Policies, load, typed_decimal, typed_time

TRUST_DOMAIN = "example.org"
SERVER = ("Server", "payments")
READ = "payments/read_invoice"
PAY = "payments/pay_invoice"
NOTE = "payments/add_note"


def action(name: str, effect: Effect, properties: dict[str, Any], **more: Any) -> Action:
    server, _, tool = name.partition("/")
    schema = {"type": "object", "properties": properties, "required": more.pop("required", [])}
    return Action(
        name=name, server=server, tool=tool, effect=effect, pin="0" * 64, input_schema=schema, reviewed=True, **more
    )


ACTIONS = (
    action(
        READ,
        "read",
        {"invoice": {"type": "string"}},
        required=["invoice"],
        select=(Field(path="account"), Field(path="amount", type="decimal"), Field(path="status")),
    ),
    action(
        PAY,
        "pay",
        {"invoice": {"type": "string"}, "account": {"type": "string"}, "amount": {"type": "number"}},
        required=["invoice", "account", "amount"],
    ),
    action(
        NOTE,
        "write",
        {
            "text": {"type": "string"},
            "urgent": {"type": "boolean"},
            "count": {"type": "integer"},
            "price": {"type": "number"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"type": "object", "properties": {"page": {"type": "integer"}}},
        },
    ),
)

ANSWER = Intent(
    name="answer-question",
    description="answer a question about invoices",
    effects=("read",),
    starters=("group:staff",),
    workloads=("workload/finance",),
    self_start=True,
    path="intents/answer-question.yaml",
    line=1,
)
PAY_INVOICE = Intent(
    name="pay-invoice",
    description="pay one invoice",
    actions=(READ, PAY),
    starters=("starter/accounts",),
    workloads=("group:finance-agents",),
    params={
        "invoice": Parameter(type="string"),
        "account": Parameter(type="string"),
        "amount": Parameter(type="decimal"),
    },
    case_types=("invoice",),
    order=(Prerequisite(name="invoice-read", before=(PAY,), done=READ, where={"input.invoice": "params.invoice"}),),
    limits=(
        Limit(name="once", actions=(PAY,), calls=1),
        Limit(name="amount", actions=(PAY,), sum="input.amount", at_most="params.amount"),
    ),
    bindings=(
        Binding(action=PAY, argument="input.invoice", equals="params.invoice"),
        Binding(action=PAY, argument="input.account", equals="params.account"),
        Binding(action=PAY, argument="input.amount", at_most="done.invoice-read.amount"),
    ),
    risk_at_most=60,
    path="intents/pay-invoice.yaml",
    line=3,
)
INTENTS: Mapping[str, Intent] = {ANSWER.name: ANSWER, PAY_INVOICE.name: PAY_INVOICE}


def catalogue(*actions: Action) -> Catalogue:
    actions = actions or ACTIONS
    servers = {
        server: Server(name=server, actions={a.tool: a for a in actions if a.server == server})
        for server in {a.server for a in actions}
    }
    return Catalogue(servers=servers, actions={a.name: a for a in actions}, digest="0" * 64)


def write(folder: Path, **texts: str) -> Path:
    """A folder `policies` with one file for each text, `name=text`."""
    policies = folder / "policies"
    policies.mkdir(exist_ok=True)
    for name, text in texts.items():
        (policies / f"{name}.cedar").write_text(text)
    return policies


def loaded(folder: Path | None = None, intents: Mapping[str, Intent] = INTENTS, *actions: Action) -> Policies:
    return load(
        folder_policies=[folder] if folder is not None else [],
        catalogue=catalogue(*actions),
        intents=intents,
        trust_domain=TRUST_DOMAIN,
    )


def registration(path: str = "workload/finance", kind: Kind = "agent", **more: Any) -> Registration:
    roles: tuple[Role, ...] = more.pop("roles", ("workload",))
    return Registration(
        id=f"spiffe://{TRUST_DOMAIN}/{path}", kind=kind, roles=roles, owner="person/ada", key="k", **more
    )


WORKLOAD = registration(groups=("finance-agents",))


def context(intent: str = PAY_INVOICE.name, **more: Any) -> dict[str, Any]:
    """A context of `pay_invoice` under which the payment is permitted; `more` replaces parts of it by name."""
    amount = typed_decimal("120.50")
    task: dict[str, Any] = {
        "id": "t_1",
        "root": "t_1",
        "intent": intent,
        "params": {"invoice": "INV-1", "account": "DE89", "amount": amount},
        "caseType": "invoice",
        "ageSeconds": 12,
        "depth": 0,
        "starter": "spiffe://example.org/starter/accounts",
        "emergency": False,
        "usage": {"pay-invoice/once": {"calls": 0}, "pay-invoice/amount": {"calls": 0, "total": amount}},
        "done": {"pay-invoice/invoice-read": {"account": "DE89", "amount": amount, "status": "open"}},
    }
    whole = {
        "input": {"invoice": "INV-1", "account": "DE89", "amount": amount},
        "system": {"now": typed_time(1_790_000_000_000), "windows": []},
        "task": task | more.pop("task", {}),
        "session": {"labels": [], "untrusted": False, "calls": 3, "destinations": []},
        "caller": {"id": "spiffe://example.org/pep/gateway", "isSubject": False, "registered": True},
        "risk": 0,
    }
    return whole | more


def pay(policies: Policies, **more: Any) -> Evaluation:
    """Asks for the payment in `context(**more)`."""
    whole = context(**more)
    return policies.evaluate(WORKLOAD, PAY, SERVER, whole, whole["task"]["intent"])
