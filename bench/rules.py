"""The same rules for Remit and for its peer: who may read documents, and guardrails that forbid.

Forty kinds of documents. Each may be read by those of its own department, up to an amount. The rules that are counted
are guardrails: each forbids one action on one kind under a condition that does not hold, so that every one of them for
the kind that is asked about is evaluated, and the answer is yes.
"""

from __future__ import annotations

import json
from typing import Any, Final

KINDS: Final = 40
ACTIONS: Final = ("read", "write")
QUESTION: Final[dict[str, Any]] = {
    "subject": {"type": "user", "id": "kim", "properties": {"department": "sales", "level": 3}},
    "action": {"name": "read"},
    "resource": {
        "type": "document_0",
        "id": "d-1042",
        "properties": {"department": "sales", "amount": 1250, "region": "eu-west"},
    },
}


def guards(count: int) -> list[tuple[int, int, str]]:
    """Number, kind and action of each guardrail; every second one for a kind is about reading it."""
    return [(number, number % KINDS, ACTIONS[number // KINDS % 2]) for number in range(count)]


def cedar_schema() -> str:
    """The types of the rules, for Remit."""
    kinds = "".join(
        f"  entity document_{kind} = {{ department: String, amount: Long, region: String }};\n" for kind in range(KINDS)
    )
    resources = ", ".join(f"document_{kind}" for kind in range(KINDS))
    return (
        "namespace Bench {\n  entity user = { department: String, level: Long };\n"
        + kinds
        + f"  action {', '.join(ACTIONS)}\n"
        f"    appliesTo {{ principal: user, resource: [{resources}] }};\n}}\n"
    )


def cedar(count: int) -> str:
    """The rules in Cedar."""
    allowed = [
        f'@id("readers-{kind}")\npermit (principal is Bench::user, action == Bench::Action::"read", '
        f"resource is Bench::document_{kind})\n"
        "when { resource.department == principal.department && resource.amount < 2000 };"
        for kind in range(KINDS)
    ]
    forbidden = [
        f'@id("document-guard-{number}")\nforbid (principal is Bench::user, action == Bench::Action::"{action}", '
        f"resource is Bench::document_{kind})\n"
        f'when {{ resource.region == "blocked-{number}" || principal.level > {100 + number} }};'
        for number, kind, action in guards(count)
    ]
    return "\n".join([*allowed, *forbidden]) + "\n"


def cerbos(count: int) -> dict[str, str]:
    """The rules as Cerbos' resource policies, one file for each kind (JSON is YAML)."""
    rules: dict[int, list[dict[str, Any]]] = {
        kind: [_rule("read", "ALLOW", "R.attr.department == P.attr.department && R.attr.amount < 2000.0")]
        for kind in range(KINDS)
    }
    for number, kind, action in guards(count):
        condition = f'R.attr.region == "blocked-{number}" || P.attr.level > {100 + number}.0'
        rules[kind].append(_rule(action, "DENY", condition))
    return {
        f"document_{kind}.json": json.dumps(
            {
                "apiVersion": "api.cerbos.dev/v1",
                "resourcePolicy": {"version": "default", "resource": f"document_{kind}", "rules": found},
            }
        )
        for kind, found in rules.items()
    }


def _rule(action: str, effect: str, condition: str) -> dict[str, Any]:
    return {
        "actions": [action],
        "effect": f"EFFECT_{effect}",
        "roles": ["user"],  # of AuthZEN's subjects Cerbos takes the type as the role
        "condition": {"match": {"expr": condition}},
    }
