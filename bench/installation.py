"""An installation to measure: in a temporary folder, with as many policies as asked for."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.core.tasks import TaskRequest
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant

ACTION = "orders/get_order"
INPUT = {"order": "O-1042", "customer": "C-77", "limit": 20, "verbose": False}

_SETTINGS = """
trust_domain = "bench.internal"
operator = "operator"
[service]
listen = ""
[limits]
rate_per_second = 100000
rate_burst = 1000000
outcome_seconds = 86400
[[workloads]]
name = "agent"
kind = "agent"
owner = "operator"
groups = ["agents"]
environment = "production"
[[enforcement_points]]
name = "point"
owner = "operator"
servers = ["orders"]
[[people]]
name = "operator"
roles = ["starter", "administrator"]
groups = ["staff"]
"""
_INTENT = """
description: Answer questions about orders.
effects: [read]
starters: [group:staff]
workloads: [group:agents]
params:
  customer: {type: string, required: false}
limits:
  - {name: reads, effects: [read], calls: 1000000}
risk_at_most: 80
"""
TOOLS = 40
_TOOL = """
  {name}:
    effect: {effect}
    selectors: [order, customer, limit, verbose]
    trusted: true
    labels: [financial]
    reviewed: {{by: operator, at: "2026-11-01T09:00:00Z"}}
    pin: ""
    input_schema: |-
      {{"type": "object", "required": ["order"], "properties": {{"order": {{"type": "string"}},
       "customer": {{"type": "string"}}, "limit": {{"type": "integer"}}, "verbose": {{"type": "boolean"}}}}}}
"""


def _catalogue() -> str:
    names = ["get_order", *(f"tool_{n}" for n in range(1, TOOLS))]
    effects = ("read", "write", "send", "export")
    tools = (_TOOL.format(name=name, effect=effects[n % 4]) for n, name in enumerate(names))
    return "server: orders\ntools:\n" + "".join(tools)


def _policies(count: int) -> str:
    """Guardrails of the kinds that people write: one in fifty for every action, the others for one tool each."""
    conditions = (
        'context.session.untrusted && context.input has customer && context.input.customer == "C-{n}"',
        'context.session.labels.contains("secret-{n}")',
        "context.risk > 90 && context.task.ageSeconds > {n}",
        'context.caller.id == "spiffe://bench.internal/pep/blocked-{n}"',
        'context has destination && context.destination.host like "*.blocked-{n}.example"',
    )
    texts = []
    for n in range(count):
        tool = "get_order" if n % TOOLS == 0 else f"tool_{n % TOOLS}"
        scope = 'action in Remit::Action::"tools"' if n % 50 == 1 else f'action == Remit::Action::"orders/{tool}"'
        condition = conditions[n // 50 % 2 + 1 if n % 50 == 1 else n % len(conditions)].format(n=n)
        texts.append(
            f'@id("guard-{n}")\nforbid (principal is Remit::Workload, {scope}, resource)\nwhen {{ {condition} }};'
        )
    return "\n".join(texts)


def write_project(root: Path, policies: int, settings: str = "") -> None:
    """The project folder of an installation with `policies` policies of its own, and more `settings`."""
    for folder in ("intents", "policies", "catalogue"):
        (root / folder).mkdir()
    (root / "remit.toml").write_text(_SETTINGS + settings, "utf-8")
    (root / "intents" / "answer.yaml").write_text(_INTENT, "utf-8")
    (root / "catalogue" / "orders.yaml").write_text(_catalogue(), "utf-8")
    (root / "policies" / "guards.cedar").write_text(_policies(policies), "utf-8")
    (root / ".remit").mkdir(mode=0o700)


@asynccontextmanager
async def installation(policies: int = 10, settings: str = "") -> AsyncIterator[Installation]:
    """An open installation with `policies` policies of its own, besides those that intents generate."""
    with tempfile.TemporaryDirectory(prefix="remit-bench-") as name:
        root = Path(name)
        write_project(root, policies, settings)
        opened = await open_installation(Folder(root))
        try:
            yield opened
        finally:
            await opened.close()


async def grant(opened: Installation) -> TaskGrant:
    """A task of the agent, started by the operator."""
    operator = Embedded(opened, "person/operator", owns=False)
    agent = Embedded(opened, "workload/agent", owns=False)
    key = generate_key()
    started = await operator.start_task(TaskRequest(intent="answer", workload=agent.id, key=thumbprint(key)))
    return TaskGrant(
        task=started.task.id,
        token=started.token,
        svid=await agent.svid(thumbprint(key)),
        key=private_jwk(key),
        workload=agent.id,
        intent="answer",
        expires=started.task.expires,
    )
