"""A fake decider: answers by simple rules and writes down what it was asked and told. No service, no policy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from remit.core.canonical import request_digest
from remit.core.decisions import Decision, Obligation, Outcome, Reason
from remit.core.errors import Unavailable
from remit.core.obligations import KNOWN
from remit.sdk.grant import TaskGrant
from remit.sdk.permit import Refused

PERMITTED = Reason(code="permitted", message="the fake permits")
DENIED = Reason(code="policy_forbids", message="the fake forbids this", next_step="ask for something else")

GRANT = TaskGrant(
    task="t_1", token="fake", svid="fake", key={}, workload="spiffe://t/workload/a", intent="i", expires=0
)


class Rules(msgspec.Struct, kw_only=True):
    """What the fake does, by action."""

    deny: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()  # tools left out of tools/list
    redact: dict[str, tuple[str, ...]] = {}
    select: dict[str, tuple[str, ...]] = {}
    oblige: dict[str, str] = {}  # an obligation that nobody knows
    limit: dict[str, dict[str, int]] = {}
    most_bytes: dict[str, int] = {}
    notify: dict[str, str] = {}  # whom; "away" can't be told
    slow_notifier: float = 0.0  # seconds until somebody is told
    unavailable: tuple[str, ...] = ()  # authorize fails
    no_reports: bool = False  # report fails
    slow_reports: float = 0.0  # seconds before a report is taken
    unlisted_passes: bool = False  # permits a tool that the server does not list
    delay: float = 0.0  # seconds before a decision
    log: str = ""


class FakeDecider:
    """Permits everything that the rules do not deny; `asked` and `told` are in order."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.told: list[Outcome] = []
        self.decisions = 0
        self.supports: list[frozenset[str]] = []
        self.notified: list[tuple[str, str]] = []

    async def authorize(
        self,
        grant: TaskGrant,
        action: str,
        input: dict[str, Any],
        *,
        definition: str = "",
        idempotency_key: str = "",
        supports: frozenset[str] = KNOWN,
    ) -> Decision:
        self.asked.append((action, input, definition))
        self.supports.append(supports)
        self._log({"ask": action, "input": input, "definition": definition})
        if self.rules.delay:
            await asyncio.sleep(self.rules.delay)
        if action in self.rules.unavailable:
            raise Unavailable("service_unreachable", "the fake is away", "start it")
        self.decisions += 1
        denied = action in self.rules.deny or (definition == "unlisted" and not self.rules.unlisted_passes)
        now = time.time_ns() // 1_000_000
        obligations: tuple[Obligation, ...] = tuple(
            Obligation(id=name, fields=table[action])
            for name, table in (("redact", self.rules.redact), ("select", self.rules.select))
            if action in table
        )
        if action in self.rules.oblige:
            obligations += (Obligation(id=self.rules.oblige[action]),)
        if action in self.rules.limit or action in self.rules.most_bytes:
            items, size = self.rules.limit.get(action, {}), self.rules.most_bytes.get(action, 0)
            obligations += (Obligation(id="limit", items=items, bytes=size),)
        if action in self.rules.notify:
            obligations += (Obligation(id="notify", to=self.rules.notify[action]),)
        return Decision(
            id=f"d_{self.decisions}",
            effect="deny" if denied else "permit",
            reason=DENIED if denied else PERMITTED,
            action=action,
            digest=request_digest(action, input),
            at=now,
            expires=0 if denied else now + 5000,
            obligations=tuple(each for each in obligations if each.id == "notify") if denied else obligations,
        )

    async def tell(self, grant: TaskGrant, decision: Decision) -> None:
        names = [each.to for each in decision.obligations if each.id == "notify"]
        self.notified += [(decision.id, name) for name in names]
        if names:
            self._log({"notified": names})
        if names and self.rules.slow_notifier:
            await asyncio.sleep(self.rules.slow_notifier)
        if "away" in names and decision.permitted:
            raise Refused("obligation_failed", "`away` could not be told", "", decision)

    async def listing(
        self, grant: TaskGrant | None, server: str, tools: Mapping[str, str]
    ) -> Mapping[str, Reason | None]:
        self._log({"listing": dict(tools)})
        return {name: DENIED if name in self.rules.unlisted else None for name in tools}

    async def report(self, outcome: Outcome, wait: bool = True) -> object:
        if self.rules.no_reports:
            raise Unavailable("service_unreachable", "the fake is away")
        if self.rules.slow_reports:
            await asyncio.sleep(self.rules.slow_reports)
        self.told.append(outcome)
        self._log({"told": outcome.result, "decision": outcome.decision, "output": outcome.output, "wait": wait})
        return None

    def _log(self, entry: dict[str, Any]) -> None:
        if self.rules.log:
            with Path(self.rules.log).open("a") as file:
                file.write(json.dumps(entry) + "\n")
