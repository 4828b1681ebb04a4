"""Policies, entities and requests of agents that call tools: neutral, and of any size.

`scoped`: some guardrails for everybody; every other policy names a group of agents and a tool, every second one a
server too. `unscoped`: every policy is open to everybody and decides by the context alone, which no index on scopes
helps with.
A context has 32 attributes, nested, with strings, longs, booleans and sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

INTENTS: Final = ("invoice-triage", "ticket-reply", "db-backup", "report-build", "code-review", "deploy-canary")
LABELS: Final = ("public", "internal", "pii", "phi", "finance")
STEPS: Final = ("login", "search", "read_ticket", "fetch_invoice", "human_approval", "dry_run", "lint", "plan")
HOSTS: Final = (".corp.example", ".internal.example", ".partner.example")
REQUESTS: Final = 512

SCHEMA: Final = """
entity Group; entity Server;
entity Agent in [Group] { team: String, tier: Long, trust_domain: String };
entity Tool in [Server] { sensitivity: Long };
type Context = {
  task: { intent: String, id: String, owner: String, priority: Long, ticket: String },
  session: { id: String, age_s: Long, calls: Long, tokens: Long, interactive: Bool },
  labels: Set<String>, steps: Set<String>, risk: Long, hour: Long, weekday: Long, env: String,
  dest: { host: String, port: Long, scheme: String, region: String, external: Bool },
  args: { amount: Long, table: String, limit: Long, dry_run: Bool, query: String },
  change: { window_open: Bool, frozen: Bool, id: String },
  attested: Bool, mfa_age_s: Long, delegation_depth: Long
};
"""


@dataclass(frozen=True)
class Rule:
    """One policy: its scope, where it has one, and Cedar's text of it."""

    id: str
    group: str | None
    tool: str | None
    text: str


class Workload:
    """A project with so many policies, scoped or not."""

    def __init__(self, count: int, *, scoped: bool = True) -> None:
        self.groups = max(2, count // 50)
        self.tools = max(4, count // 20)
        self.servers = max(2, count // 200)
        agents = max(4, count // 10)
        random = Random(11)
        self.members = {f"a{number}": f"g{random.randrange(self.groups)}" for number in range(agents)}
        self.rules = tuple(self._scoped(count) if scoped else self._unscoped(count))
        self._aims = self.rules if scoped else tuple(self._scoped(count))

    def _scoped(self, count: int) -> Iterator[Rule]:
        random = Random(7)
        guards = max(2, min(30, count // 100))
        for number in range(guards):
            conditions = (
                f"context.risk >= {90 + number % 9}",
                'context.labels.containsAny(["secret"]) && !(context.dest.host like "*.corp.example")',
                'context.env == "prod" && context.change.frozen',
                f'context.task.intent == "banned-{number}"',
            )
            yield _rule(f"guard{number}", "forbid", conditions[number % 4])
        for number in range(count - guards):
            group, tool = f"g{random.randrange(self.groups)}", f"tool{random.randrange(self.tools)}"
            server = f"s{random.randrange(self.servers)}" if random.random() < 0.5 else None
            conditions_ = [_condition(random) for _ in range(random.randint(1, 3))]
            is_forbid = random.random() < 0.1
            if is_forbid:
                conditions_ = [f"context.risk >= {random.randrange(60, 99)}", conditions_[0]]
            effect = "forbid" if is_forbid else "permit"
            yield _rule(f"p{number}", effect, " && ".join(conditions_), group, tool, server)

    def _unscoped(self, count: int) -> Iterator[Rule]:
        random = Random(7)
        for number in range(count):
            if number % 10 == 0:
                # An intent that never comes, so that as much is permitted as by scoped policies.
                body = f'context.task.intent == "never-{number}" && {_condition(random)}'
                yield _rule(f"p{number}", "forbid", body)
            else:
                risk = f"context.risk < {random.randrange(10, 60)}"
                yield _rule(f"p{number}", "permit", f"{_condition(random)} && {_condition(random)} && {risk}")

    def schema(self) -> str:
        """The schema, in Cedar's syntax."""
        tools = ", ".join(f'"tool{number}"' for number in range(self.tools))
        return f"{SCHEMA}action {tools} appliesTo {{ principal: [Agent], resource: [Tool], context: Context }};"

    def entities(self) -> list[dict[str, Any]]:
        """All entities, in Cedar's JSON form."""
        found = [_entity("Group", f"g{number}") for number in range(self.groups)]
        found += [_entity("Server", f"s{number}") for number in range(self.servers)]
        for number, (agent, group) in enumerate(self.members.items()):
            attributes = {"team": f"t{number % 9}", "tier": number % 4, "trust_domain": "example.org"}
            found.append(_entity("Agent", agent, attributes, ("Group", group)))
        for number in range(self.tools):
            above = ("Server", f"s{number % self.servers}")
            found.append(_entity("Tool", f"r{number}", {"sensitivity": number % 5}, above))
        return found

    def slice(self, agent: str, tool: str) -> tuple[Rule, ...]:
        """The policies whose action and principal allow a request: the least that has to be evaluated."""
        group = self.members[agent]
        return tuple(rule for rule in self.rules if rule.tool in (None, tool) and rule.group in (None, group))

    def requests(self) -> list[dict[str, Any]]:
        """Requests that aim at policies, so that some are permitted."""
        random = Random(3)
        by_group: dict[str, list[str]] = {}
        for agent, group in self.members.items():
            by_group.setdefault(group, []).append(agent)
        aims = [rule for rule in self._aims if rule.tool is not None]
        found = []
        for _ in range(REQUESTS):
            rule = random.choice(aims)
            tool = rule.tool or ""
            found.append(
                {
                    "principal": {"type": "Agent", "id": random.choice(by_group.get(rule.group or "", ["a0"]))},
                    "action": {"type": "Action", "id": tool},
                    "resource": {"type": "Tool", "id": f"r{tool.removeprefix('tool')}"},
                    "context": _context(random),
                }
            )
        return found


def text_of(rules: Sequence[Rule]) -> str:
    """The policies in Cedar's syntax."""
    return "\n".join(rule.text for rule in rules)


def _rule(
    id_: str, effect: str, body: str, group: str | None = None, tool: str | None = None, server: str | None = None
) -> Rule:
    principal = f'principal in Group::"{group}"' if group else "principal"
    action = f'action == Action::"{tool}"' if tool else "action"
    resource = f'resource in Server::"{server}"' if server else "resource"
    return Rule(id_, group, tool, f'@id("{id_}")\n{effect} ({principal}, {action}, {resource}) when {{ {body} }};')


def _condition(random: Random) -> str:
    return random.choice(
        (
            lambda: f'context.task.intent == "{random.choice(INTENTS)}"',
            lambda: f"context.risk < {random.randrange(40, 95)}",
            lambda: f'!context.labels.contains("{random.choice(("pii", "secret", "phi", "finance"))}")',
            lambda: f"context.hour >= {random.randrange(0, 9)} && context.hour < {random.randrange(16, 24)}",
            lambda: f'context.steps.contains("{random.choice(STEPS)}")',
            lambda: f'context.dest.host like "*{random.choice(HOSTS)}"',
            lambda: f"context.args.amount <= {random.randrange(100, 10_000)}",
            lambda: f'context.env == "{random.choice(("prod", "staging", "dev"))}"',
        )
    )()


def _context(random: Random) -> dict[str, Any]:
    labels = (*LABELS, "secret") if random.random() < 0.1 else LABELS
    return {
        "task": {
            "intent": random.choice(INTENTS),
            "id": f"task-{random.randrange(10**6)}",
            "owner": f"user{random.randrange(99)}@example.org",
            "priority": random.randrange(5),
            "ticket": f"CHG{random.randrange(10**5)}",
        },
        "session": {
            "id": f"{random.getrandbits(64):016x}",
            "age_s": random.randrange(9_000),
            "calls": random.randrange(200),
            "tokens": random.randrange(10**6),
            "interactive": random.random() < 0.3,
        },
        "labels": random.sample(labels, random.randint(1, 3)),
        "steps": random.sample(STEPS, random.randint(2, 6)),
        "risk": random.randrange(94),
        "hour": random.randrange(24),
        "weekday": random.randrange(7),
        "env": random.choice(("prod", "staging", "dev", "dev")),
        "dest": {
            "host": random.choice(
                ("api.corp.example", "db.internal.example", "x.partner.example", "paste.other.example")
            ),
            "port": 443,
            "scheme": "https",
            "region": "eu-west-1",
            "external": random.random() < 0.3,
        },
        "args": {
            "amount": random.randrange(12_000),
            "table": "invoices",
            "limit": random.randrange(1_000),
            "dry_run": random.random() < 0.5,
            "query": "select id, total from invoices where id = 42",
        },
        "change": {
            "window_open": random.random() < 0.8,
            "frozen": random.random() < 0.1,
            "id": f"cw-{random.randrange(99)}",
        },
        "attested": True,
        "mfa_age_s": random.randrange(4_000),
        "delegation_depth": random.randrange(3),
    }


def _entity(
    type_: str, id_: str, attributes: dict[str, Any] | None = None, above: tuple[str, str] | None = None
) -> dict[str, Any]:
    parents = [{"type": above[0], "id": above[1]}] if above else []
    return {"uid": {"type": type_, "id": id_}, "attrs": attributes or {}, "parents": parents}
