"""The facts of a decision: what policies see, from records, configuration and time, and never from the caller."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.decide.stage import (
    APP,
    FETCH,
    GATEWAY,
    INTENTS,
    LOOKUP,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    SECOND,
    START,
    Stage,
    identity,
    staged,
)


async def facts(stage: Stage, grant: Any, *ask: Any) -> dict[str, Any]:
    """What the record of a permit says that the policies saw."""
    context: dict[str, Any] = stage.record_of(await stage.permit(grant, *ask))["context"]
    return context


@staged(settings='[destinations]\ninternal = ["corp.example"]\n')
async def test_the_facts_of_a_call(stage: Stage) -> None:
    grant = await stage.start()
    stage.clock.pass_(90 * SECOND + 7)
    seen = await facts(stage, grant, FETCH, {"url": "https://WIKI.Corp.Example:8443/x"})
    assert seen["destination"] == {"host": "wiki.corp.example", "port": 8443, "internal": True}
    assert seen["input"] == {"url": "https://WIKI.Corp.Example:8443/x"}
    assert seen["caller"] == {"id": GATEWAY.id, "isSubject": False, "registered": True}
    assert seen["risk"] == 0
    moment = datetime.fromtimestamp((START + 90_007) / 1000, UTC)
    said = seen["system"]["now"]["__extn"]["arg"]
    assert datetime.fromisoformat(said) == moment
    assert seen["system"]["windows"] == []
    task = seen["task"]
    assert (task["id"], task["root"], task["intent"], task["depth"]) == (grant.task, grant.task, "answer", 0)
    assert (task["ageSeconds"], task["starter"], task["emergency"]) == (90, APP.id, False)


@staged()
async def test_the_session_remembers_what_was_read_and_where_it_has_been(stage: Stage) -> None:
    grant = await stage.start()
    assert (await facts(stage, grant))["session"] == {"calls": 0, "destinations": [], "labels": [], "untrusted": False}
    await stage.permit(grant, LOOKUP, {"email": "a@b.example"})
    await stage.permit(grant, FETCH, {"url": "http://b.example"})
    await stage.authorize(grant, FETCH, {"url": "http://denied.example", "odd": 1}, definition="0" * 64)
    await stage.probe(grant, FETCH, {"url": "http://probed.example"})
    expected = {
        "calls": 3,
        "destinations": ["b.example"],
        "labels": ["financial", "personal", "untrusted"],
        "untrusted": True,
    }
    assert (await facts(stage, grant))["session"] == expected
    await stage.restart()
    assert (await facts(stage, grant))["session"] == expected | {"calls": 4}
    assert (await facts(stage, await stage.start()))["session"]["untrusted"] is False


@pytest.mark.parametrize(
    ("where", "output", "satisfied"),
    [
        ("output.status: \"'true'\"", {"status": "true"}, True),
        ("output.status: \"'open'\"", {"status": "OPEN"}, False),
        ("output.lines: params.n", {"lines": 7}, True),
        ("output.amount: params.n", {"amount": 7}, True),
        ("output.status: params.n", {"status": "7"}, False),
        ("output.amount: params.missing", {"amount": 7}, False),
    ],
)
@staged()
async def test_conditions_of_a_prerequisite(stage: Stage, where: str, output: dict[str, Any], satisfied: bool) -> None:
    intent = INTENTS["pay-invoice"].replace("input.invoice: params.invoice, output.status: \"'open'\"", where)
    head, _, rest = intent.partition("params:\n")
    intent = head + "params:\n  n: {type: integer}\n  missing: {type: decimal, required: false}\n" + rest
    intent = intent.partition("bindings:")[0].replace("params.amount", "1000").replace(": {type: string}", _OPTIONAL)
    intent = intent.replace("amount: {type: decimal}", "amount: {type: decimal, required: false}")
    (stage.folder.root / "intents" / "pay-invoice.yaml").write_text(intent)
    await stage.restart()
    grant = await stage.start("pay-invoice", params={"n": 7})
    await stage.report(await stage.permit(grant), output=output)
    assert await stage.pays(grant) == ("permitted" if satisfied else "out_of_order")


_OPTIONAL = ": {type: string, required: false}"


TWO = {
    "two": """
description: Read twice, with conditions that overlap.
actions: [billing/read_invoice, web/search, web/fetch, own/look]
starters: [starter/app]
workloads: [group:agents]
order:
  - {name: read, before: [web/search], done: billing/read_invoice, where: {input.invoice: "'A'"}}
  - {name: read-open, before: [web/fetch], done: billing/read_invoice,
     where: {input.invoice: "'A'", output.status: "'open'"}}
  - {name: read-any, before: [own/look], done: billing/read_invoice}
"""
}


@staged(intents=TWO)
async def test_conditions_that_overlap_are_kept_apart(stage: Stage) -> None:
    grant = await stage.start("two")
    url = {"url": "https://a.example"}

    async def possible() -> list[bool]:
        look = await stage.governor.probe(stage.ask_itself(grant))
        asked = [await stage.probe(grant, "web/search", {}), await stage.probe(grant, FETCH, url), look]
        return [decision.permitted for decision in asked]

    assert await possible() == [False, False, False]
    await stage.report(await stage.permit(grant, READ, {"invoice": "B"}), output={"status": "open"})
    assert await possible() == [False, False, True]
    await stage.report(await stage.permit(grant, READ, {"invoice": "A"}), output={"status": "paid"})
    assert await possible() == [True, False, True]
    await stage.report(await stage.permit(grant, READ, {"invoice": "A"}), output={"status": "open"})
    assert await possible() == [True, True, True]


@staged()
async def test_looking_up_a_step_costs_the_same_after_many(stage: Stage) -> None:
    grant = await stage.start_payment()
    session = stage.world.session(grant.task)
    assert session is not None
    for n in range(200):
        read = await stage.permit(grant, READ, {"invoice": f"X-{n}"})
        await stage.report(read, output={"status": "open"}, durable=False)
    assert (await stage.probe(grant, PAY, PAYMENT)).permitted
    (index,) = session.indexes.values()
    assert (index.seen, len(index.latest)) == (201, 201)


FOR_STAFF = """
@id("for-staff")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource)
unless { context.task has onBehalfOf && context.task.onBehalfOf in Remit::Group::"staff" };
"""


@staged(policies=FOR_STAFF)
async def test_a_person_s_groups_are_facts(stage: Stage) -> None:
    assert await stage.refusal(await stage.start()) == "policy_forbids"
    assert await stage.refusal(await stage.start(person=identity("person/carol"))) == "policy_forbids"
    await stage.permit(await stage.start(person=identity("person/eve")))


@staged()
async def test_one_session_that_was_tampered_with_stops_no_other(stage: Stage, caplog: Any) -> None:
    broken, whole = await stage.start(), await stage.start()
    for grant in (broken, whole):
        await stage.permit(grant)
    await stage.close()
    stream = f"session/{broken.task}"
    db = sqlite3.connect(stage.folder.database)
    db.execute("DELETE FROM pending WHERE root = ?", (broken.task,))
    db.commit()
    await stage.open()  # the session is not in memory, and was in order when the service started
    (kept,) = db.execute("SELECT bytes FROM records WHERE stream = ? AND n = 2", (stream,)).fetchone()
    db.execute("UPDATE records SET bytes = x'00' WHERE stream = ? AND n = 2", (stream,))
    db.commit()
    assert await stage.refusal(broken) == "internal_fault"
    assert "ALARM" in caplog.text
    stage.world.postpone([("task", broken.task)], stage.clock.now)
    await stage.permit(whole)
    await stage.pass_(2 * MINUTE)
    db.execute("UPDATE records SET bytes = ? WHERE stream = ? AND n = 2", (kept, stream))
    db.commit()
    db.close()
    assert [r.body["result"] for r in stage.records("outcome", f"session/{whole.task}")] == ["unknown"] * 2
    await stage.permit(broken)
