"""Any sequence of operations: the verifier finds nothing wrong, and a restart changes nothing."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from remit.core.decisions import Decision
from remit.core.errors import RemitError
from tests.decide.stage import (
    ADMIN,
    APP,
    ELSEWHERE,
    FINANCE,
    GATEWAY,
    HELPER,
    LOOKUP,
    MINUTE,
    PAID,
    PAY,
    READ,
    SECOND,
    Clock,
    Grant,
    Stage,
    identity,
    write_project,
)

T = TypeVar("T")

INTENTS = {
    "answer": """
description: Answer a question.
effects: [read]
starters: [starter/app, workload/finance]
workloads: [group:agents]
self_start: true
limits:
  - {name: reads, effects: [read], calls: 4}
children: [look]
""",
    "look": """
description: Read invoices.
actions: [billing/read_invoice, people/lookup]
starters: [starter/app, workload/finance]
workloads: [group:agents]
self_start: true
time_to_live: 3m
limits:
  - {name: few, actions: [billing/read_invoice], calls: 2}
""",
    "spend": """
description: Spend a little, after reading.
actions: [billing/read_invoice, payments/pay_invoice]
starters: [starter/app]
workloads: [group:agents]
order:
  - {name: invoice-read, before: [payments/pay_invoice], done: billing/read_invoice,
     where: {input.invoice: "'INV-1'"}, within: 2m}
limits:
  - {name: total, effects: [pay], sum: input.amount, at_most: 100}
  - {name: thrice, effects: [pay], calls: 3}
risk_at_most: 50
time_to_live: 5m
""",
}
ACTIONS: list[tuple[str, dict[str, Any]]] = [
    (READ, {"invoice": "INV-1"}),
    (READ, {"invoice": "INV-2", "note": "n" * 2000}),
    (LOOKUP, {"email": "ada@example.org"}),
    (PAY, {"invoice": "INV-1", "amount": 40}),
    (PAY, {"invoice": "INV-1", "amount": 0.5}),
    (PAY, {"invoice": "INV-1", "amount": -3}),
    ("billing/nothing", {}),
]
WHO = [GATEWAY, ELSEWHERE, FINANCE, ADMIN, APP, HELPER]
some = st.integers(min_value=0, max_value=9)


class Operations(RuleBasedStateMachine):
    """Does what the rules say, in any order, and checks what must hold whatever happened."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        write_project(Path(self.folder.name), intents=INTENTS)
        self.stage = Stage(Path(self.folder.name), Clock())
        self.runner.run(self.stage.open())
        self.grants: list[Grant] = []
        self.permits: list[Decision] = []
        self.keys: dict[tuple[str, str], Decision] = {}
        self.numbers = itertools.count()

    def run(self, doing: Coroutine[Any, Any, T]) -> T | None:
        """What was done; None when it was refused, which it may be, but never by a fault."""
        refusal = ""
        try:
            return self.runner.run(doing)
        except RemitError as error:
            refusal = error.code
        assert refusal != "internal_fault"
        return None

    def grant(self, which: int) -> Grant:
        return self.grants[which % len(self.grants)]

    @initialize(intents=st.lists(st.sampled_from(["answer", "spend"]), min_size=1, max_size=3))
    def begin(self, intents: list[str]) -> None:
        for intent in intents:
            self.start(intent, APP)

    @rule(intent=st.sampled_from(["answer", "spend"]), starter=st.sampled_from([APP, APP, FINANCE]))
    def start(self, intent: str, starter: Any) -> None:
        grant = self.run(self.stage.start(intent, starter=starter))
        if grant is not None:
            self.grants.append(grant)

    @precondition(lambda self: self.grants)
    @rule(which=some, workload=st.sampled_from(["workload/finance", "workload/helper"]), own=st.booleans())
    def start_child(self, which: int, workload: str, own: bool) -> None:
        parent = self.grant(which)
        starter = identity("workload/finance", parent.key) if own else APP
        grant = self.run(self.stage.start("look", workload, starter, parent=parent.task))
        if grant is not None:
            self.grants.append(grant)

    @rule(which=some, action=st.sampled_from(ACTIONS[:5]), more=st.sampled_from(ACTIONS[:5]))
    def act(self, which: int, action: tuple[str, dict[str, Any]], more: tuple[str, dict[str, Any]]) -> None:
        """Reads, reports it, and then does two more things, one of them twice."""
        self.authorize(which, ACTIONS[0], "", 1)
        if self.permits:
            self.report(0, "response", GATEWAY, False)
        self.authorize(which, action, "", 1)
        self.authorize(which, more, "a", 2)

    @precondition(lambda self: self.grants)
    @rule(which=some, action=st.sampled_from(ACTIONS), key=st.sampled_from(["", "", "a", "b"]), times=st.integers(1, 3))
    def authorize(self, which: int, action: tuple[str, dict[str, Any]], key: str, times: int) -> None:
        grant = self.grant(which)

        async def ask() -> list[Decision]:
            asked = [self.stage.authorize(grant, *action, idempotency_key=key) for _ in range(times)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(a, Decision) or getattr(a, "code", "") == "idempotency_conflict" for a in answers)
            return [a for a in answers if isinstance(a, Decision)]

        for decision in self.run(ask()) or ():
            assert decision.reason.code != "internal_fault"
            if decision.permitted and decision.id not in [permit.id for permit in self.permits]:
                self.permits.append(decision)
            if key and decision.permitted:
                earlier = self.keys.setdefault((grant.task.partition(".")[0], key), decision)
                assert (earlier.id, earlier.digest) == (decision.id, decision.digest)

    @precondition(lambda self: self.grants)
    @rule(which=some, action=st.sampled_from(ACTIONS), caller=st.sampled_from(WHO))
    def probe(self, which: int, action: tuple[str, dict[str, Any]], caller: Any) -> None:
        self.stage.store._settle([])  # outcomes that were answered before they were durable
        before = self.stage.bytes_()
        decision = self.run(self.stage.probe(self.grant(which), *action, caller=caller))
        assert decision is not None
        assert (decision.id, decision.expires) == ("", 0)
        assert self.stage.bytes_() == before

    @precondition(lambda self: self.permits)
    @rule(
        which=some,
        result=st.sampled_from(["response", "response", "error", "not_executed"]),
        by=st.sampled_from([GATEWAY, GATEWAY, *WHO]),
        durable=st.booleans(),
    )
    def report(self, which: int, result: Any, by: Any, durable: bool) -> None:
        permit = self.permits[-1 - which % len(self.permits)]
        more = {"started": permit.expires - 1000, "bytes": 10}
        self.run(self.stage.report(permit, result, PAID | {"name": "Ada"}, by, durable=durable, **more))

    @precondition(lambda self: self.permits)
    @rule(
        which=some, result=st.sampled_from(["response", "error", "not_executed"]), by=st.sampled_from([ADMIN, FINANCE])
    )
    def resolve(self, which: int, result: Any, by: Any) -> None:
        self.run(self.stage.governor.resolve(by, self.permits[-1 - which % len(self.permits)].id, result, "looked"))

    @precondition(lambda self: self.grants)
    @rule(which=some, state=st.sampled_from(["completed", "suspended", "open", "open"]))
    def end(self, which: int, state: Any) -> None:
        self.run(self.stage.end(self.grant(which), state, ADMIN))

    @rule(path=st.sampled_from(["workload/finance", "workload/helper", "pep/gateway", "starter/app"]), which=some)
    def quarantine(self, path: str, which: int) -> None:
        self.run(self.stage.change(path, "quarantined"))
        permits = len(self.permits)
        self.authorize(which, ACTIONS[0], "", 2)
        if path in ("pep/gateway", self.grant(which).workload.partition("example.org/")[2]):
            assert len(self.permits) == permits
        self.run(self.stage.change(path, "active"))

    @rule(value=st.sampled_from([0, 50, 51, 100]), lasts=st.integers(0, 2))
    def risk(self, value: int, lasts: int) -> None:
        self.run(self.stage.risk(value, self.stage.clock.now + lasts * MINUTE))

    @rule(ms=st.sampled_from([1, 0, SECOND, 30 * SECOND, 2 * MINUTE]), sweep=st.booleans())
    def pass_time(self, ms: int, sweep: bool) -> None:
        self.stage.clock.pass_(ms)
        if sweep:
            self.run(self.stage.pass_(0))

    @rule()
    def fail(self) -> None:
        """The disk is read-only for the next operation."""
        self.stage.store._db.execute("PRAGMA query_only = 1")
        grant = self.run(self.stage.start())
        assert grant is None
        self.stage.store._db.execute("PRAGMA query_only = 0")

    @rule()
    def restart(self) -> None:
        self.runner.run(self.stage.pass_(0))  # a service that stops records what is due
        before = self.stage.state()
        self.runner.run(self.stage.restart())
        assert self.stage.state() == before

    def teardown(self) -> None:
        self.runner.run(self.stage.close())
        self.stage.verify()
        self.runner.close()
        self.folder.cleanup()


def play(examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Operations,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_sequence_of_operations_verifies() -> None:
    play(25, 40)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_long_sequences_of_operations_verify() -> None:
    play(400, 80)
