"""Callers of a service under load, what they were told, and whether all of it is in the records."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.core.decisions import Decision, Outcome
from remit.core.errors import RemitError, Unavailable
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant
from tests.e2e.service import told


@dataclass
class Acknowledged:
    """What callers were told: permits by id, and the results of durable outcomes."""

    permits: dict[str, Decision] = field(default_factory=dict)
    denials: dict[str, Decision] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    unrecorded: Counter[str] = field(default_factory=Counter)  # denials that could not be recorded, by reason
    lost: int = 0  # answers that never came
    others: list[str] = field(default_factory=list)  # errors that no caller should see


@dataclass
class Load:
    """Callers that ask, report and ask again, for as long as `running`; an outage makes them try again."""

    acknowledged: Acknowledged
    held: list[TaskGrant]  # by caller; replaced while they run
    running: bool = True
    served: int = 0

    async def call(self, number: int, client: Client) -> None:
        """One caller."""
        count = 0
        while self.running:
            count += 1
            try:
                await self.once(f"{number}-{count}", client, client, self.held[number])
                self.served += 1
            except Unavailable:
                self.acknowledged.lost += 1
                await asyncio.sleep(0.1)
            except RemitError as error:
                self.acknowledged.others.append(f"{error.code}: {error.message}")
                await asyncio.sleep(0.01)

    async def once(self, order: str, asked: Client, reported: Client, grant: TaskGrant) -> None:
        """Asks at one connection, and reports the outcome of the permit at the other, which may be the same."""
        decision = await asked.authorize(grant, "orders/get", {"order": order})
        if not decision.permitted:
            if decision.id:
                self.acknowledged.denials[decision.id] = decision
            else:
                self.acknowledged.unrecorded[decision.reason.code] += 1
            return
        self.acknowledged.permits[decision.id] = decision
        outcome = Outcome(
            decision=decision.id, digest=decision.digest, result="response", output={"state": "open"}, bytes=10
        )
        receipt = await reported.report(outcome)
        assert receipt.standing == "believed"
        self.acknowledged.outcomes[decision.id] = "response"


def check(folder: Folder, acknowledged: Acknowledged) -> None:
    """Everything that was acknowledged is in the database, and the verifier finds nothing."""
    with reader_of(folder) as reader:
        assert reader.damage() == []
        recorded: dict[str, dict[str, object]] = {}
        outcomes: dict[str, str] = {}
        for stored in reader.records(kinds=("decision", "outcome")):
            body = stored.record.body
            if stored.record.kind == "decision":
                assert body["id"] not in recorded, "a decision stands twice"
                recorded[body["id"]] = body
            elif body["result"] != "unknown":
                assert body["decision"] not in outcomes, "an outcome stands twice"
                outcomes[body["decision"]] = body["result"]
    assert acknowledged.permits.keys() - recorded.keys() == set()
    for id_, decision in acknowledged.permits.items():
        assert (recorded[id_]["effect"], recorded[id_]["digest"]) == ("permit", decision.digest)
    assert {id_: outcomes.get(id_) for id_ in acknowledged.outcomes} == acknowledged.outcomes
    report = verify_folder(folder)
    assert told(report) == []
    assert report.failed is False


async def served_again(load: Load, callers: list[asyncio.Task[None]]) -> None:
    """Waits until callers get answers (again)."""
    before, until = load.served, time.monotonic() + 20
    while load.served < before + len(callers):
        for caller in callers:
            assert not caller.done() or caller.exception() is None, caller.exception()
        assert time.monotonic() < until, "callers are not served again"
        await asyncio.sleep(0.005)
