"""A small project with a history, for the commands: an agent that looks orders up and refunds them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner, Result

from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.cli.main import cli
from remit.core.clock import system_clock
from remit.core.decisions import Outcome
from remit.core.tasks import StartedTask, TaskRequest
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant

SETTINGS: Final = """\
trust_domain = "desk.example"
operator = "alice"
workload = "helper"

[service]
listen = ""

[limits]
outcome_seconds = 5

[[workloads]]
name = "helper"
kind = "agent"
owner = "alice"
groups = ["helpers"]

[[starters]]
name = "desk"
owner = "alice"
groups = ["applications"]

[[enforcement_points]]
name = "gateway"
owner = "alice"
servers = ["orders"]

[[people]]
name = "alice"
roles = ["starter", "approver", "administrator"]
groups = ["staff"]
"""

CATALOGUE: Final = """\
server: orders
command: [orders-server]
tools:
  look_up:
    effect: read
    selectors: [order]
    personal: [input.email]
    select: {status: string}
    trusted: true
    reviewed: true
    input_schema: |
      {"type": "object", "properties": {"order": {"type": "string"}, "email": {"type": "string"}},
       "required": ["order"], "additionalProperties": false}
  refund:
    effect: pay
    selectors: [order, amount]
    reviewed: true
    input_schema: |
      {"type": "object", "properties": {"order": {"type": "string"}, "amount": {"type": "number"}},
       "required": ["order", "amount"], "additionalProperties": false}
  purge:
    effect: delete
    input_schema: '{"type": "object"}'
"""

ANSWER: Final = """\
description: Look orders up to answer a question.
effects: [read]
starters: [group:staff, group:applications]
workloads: [group:helpers]
limits:
  - {name: reads, effects: [read], calls: 100}
"""

REFUND: Final = """\
description: Refund one order after looking at it.
actions: [orders/look_up, orders/refund]
starters: [group:applications]
workloads: [group:helpers]
params:
  order: {type: string}
  amount: {type: decimal}
order:
  - {name: looked, done: orders/look_up, where: {input.order: params.order}, before: [orders/refund]}
bindings:
  - {action: orders/refund, argument: input.order, equals: params.order}
  - {action: orders/refund, argument: input.amount, at_most: params.amount}
limits:
  - {name: once, actions: [orders/refund], calls: 1}
"""

POLICY: Final = """\
@id("no-large-refunds")
@reason("too_large")
@message("a refund above 500 is made by a person")
@next("ask the desk")
forbid (principal, action == Remit::Action::"orders/refund", resource)
when { context.input.amount.greaterThan(decimal("500.00")) };
"""


def write_project(root: Path) -> Folder:
    """The project's files; nothing has happened yet."""
    for name, text in {
        "remit.toml": SETTINGS,
        "catalogue/orders.yaml": CATALOGUE,
        "intents/answer.yaml": ANSWER,
        "intents/refund.yaml": REFUND,
        "policies/limits.cedar": POLICY,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Folder(root)


class Story:
    """What happened in the project, by the names that tests use."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.ids[name]


def make_history(folder: Folder) -> Story:
    """Tasks, permits, denials and outcomes, ten minutes ago."""
    return asyncio.run(_history(folder))


async def _history(folder: Folder) -> Story:
    story = Story()
    at = system_clock() - 600_000

    def clock() -> int:
        nonlocal at
        at += 10
        return at

    installation = await open_installation(folder, clock)
    try:
        gateway = Embedded(installation, "pep/gateway", owns=False)
        desk = Embedded(installation, "starter/desk", owns=False)
        alice = Embedded(installation, "person/alice", owns=False)
        refund = await start(
            installation, desk, "refund", {"order": "A-1", "amount": "700"}, prompt="please \x1b[2Jrefund"
        )
        early = await gateway.authorize(refund, "orders/refund", {"order": "A-1", "amount": 20})
        for _ in range(3):
            await gateway.authorize(refund, "orders/refund", {"order": "A-1", "amount": 20})
        look = await gateway.authorize(refund, "orders/look_up", {"order": "A-1", "email": "kim@example.org"})
        await gateway.report(
            Outcome(decision=look.id, digest=look.digest, result="response", output={"status": "paid"}, bytes=90)
        )
        large = await gateway.authorize(refund, "orders/refund", {"order": "A-1", "amount": 600})
        pay = await gateway.authorize(refund, "orders/refund", {"order": "A-1", "amount": 20})
        answer = await start(installation, alice, "answer", {})
        await gateway.authorize(answer, "orders/refund", {"order": "A-1", "amount": 20})
        story.ids = {
            "refund": refund.task,
            "answer": answer.task,
            "early": early.id,
            "look": look.id,
            "large": large.id,
            "pay": pay.id,
        }
    finally:
        await installation.close()
    return story


async def start(
    installation: Installation, starter: Embedded, intent: str, params: dict[str, Any], prompt: str = ""
) -> TaskGrant:
    """A task of the helper, and its grant."""
    key = generate_key()
    workload = f"spiffe://{installation.settings.trust_domain}/workload/helper"
    started: StartedTask = await starter.start_task(
        TaskRequest(intent=intent, workload=workload, key=thumbprint(key), params=params, prompt=prompt)
    )
    document = await Embedded(installation, "workload/helper", owns=False).svid(thumbprint(key))
    return TaskGrant(
        task=started.task.id,
        token=started.token,
        svid=document,
        key=private_jwk(key),
        workload=workload,
        intent=intent,
        expires=started.task.expires,
    )


Command = Callable[..., Result]


def command_in(root: Path) -> Command:
    """Runs `remit` with these arguments in the project, without a terminal."""

    def run(*arguments: str, columns: int = 0, **options: Any) -> Result:
        environment = {
            "REMIT_PROJECT": str(root),
            "COLUMNS": str(columns) if columns else None,
            **options.pop("env", {}),
        }
        return CliRunner().invoke(cli, list(arguments), env=environment, prog_name="remit", **options)

    return run


def without_secrets() -> dict[str, None]:
    """An environment in which no variable looks like a secret, for CliRunner."""
    return {name: None for name in os.environ if any(word in name.upper() for word in ("TOKEN", "SECRET", "KEY"))}
