"""Personal values never stand in the record, decide all the same, and survive a restart."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from remit.core import canonical
from remit.storage.sqlite_reader import SqliteReader
from tests.decide.stage import CATALOGUE, INTENTS, LOOKUP, PAY, READ, Stage, identity, staged

SECRETS = {
    "email": "ada@private.example",
    "name": "Ada Lovelace-Byron",
    "prompt": "Please look up my aunt Augusta",
    "param": "augusta@private.example",
    "amount": "77123.4500",
}
INTENT = {
    "reach": """
description: Look one person up, then read and pay for them.
actions: [people/lookup, billing/read_invoice, payments/pay_invoice]
starters: [starter/app]
workloads: [group:agents]
params:
  email: {type: string, personal: true}
  most: {type: decimal, personal: true}
order:
  - {name: found, before: [billing/read_invoice, payments/pay_invoice], done: people/lookup,
     where: {input.email: params.email}}
limits:
  - {name: spent, actions: [payments/pay_invoice], sum: input.amount, at_most: params.most}
bindings:
  - {action: billing/read_invoice, argument: input.note, equals: done.found.name}
children: [below]
""",
    "below": """
description: Read.
actions: [billing/read_invoice]
starters: [starter/app]
workloads: [group:agents]
params:
  email: {type: string, personal: true}
""",
}
READING = {"invoice": "INV-1", "note": SECRETS["name"]}


def leaks(stage: Stage) -> list[str]:
    recorded = stage.bytes_()
    return [name for name, value in SECRETS.items() if value.encode() in recorded]


async def begin(stage: Stage) -> Any:
    params = {"email": SECRETS["param"], "most": SECRETS["amount"]}
    return await stage.start("reach", params=params, prompt=SECRETS["prompt"])


NOTES = {"billing": CATALOGUE["billing"].replace("    labels: [fin", "    personal: [input.note]\n    labels: [fin")}


@staged(intents=INTENT, catalogue=NOTES)
async def test_personal_values_leave_no_trace_in_the_record(stage: Stage) -> None:
    grant = await begin(stage)
    child = await stage.start("below", parent=grant.task, params={"email": SECRETS["param"]})
    assert await stage.refusal(grant, READ, READING) == "out_of_order"
    await stage.permit(grant, LOOKUP, {"email": SECRETS["email"]})
    found = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    await stage.report(found, output={"name": SECRETS["name"], "team": "engines"})
    # The facts still decide: the argument as it was, the parameter, and the field of the result.
    assert await stage.refusal(grant, READ, READING | {"note": "Charles"}) == "argument_not_bound"
    await stage.permit(child, READ, READING)
    await stage.permit(grant, PAY, {"invoice": "I", "amount": 77000})
    assert await stage.refusal(grant, PAY, {"invoice": "I", "amount": 124}) == "limit_reached"
    recorded = stage.records("decision")[-1].body["context"]["task"]
    assert recorded["params"]["email"].keys() == {"commitment"}
    assert recorded["done"]["reach/found"]["name"].keys() == {"commitment"}
    above = next(r.body["above"] for r in stage.records("decision") if "above" in r.body)
    assert above[0]["params"]["email"].keys() == {"commitment"}
    limits = stage.records("task")[0].body["limits"]
    assert [limit["atMost"] for limit in limits] == ["params.most"]
    assert leaks(stage) == []


@staged(intents=INTENT)
async def test_personal_values_decide_as_before_after_a_restart(stage: Stage) -> None:
    grant = await begin(stage)
    found = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]}, idempotency_key="k")
    await stage.report(found, output={"name": SECRETS["name"]})
    open_ = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    await stage.pass_(0)  # a service that stops records what was practised
    before = stage.state()
    await stage.restart()
    assert stage.state() == before
    again = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]}, idempotency_key="k")
    assert (again.id, again.digest) == (found.id, found.digest)
    await stage.report(open_, output={"name": SECRETS["name"]})
    assert await stage.refusal(grant, PAY, {"invoice": "I", "amount": 77200}) == "limit_reached"
    await stage.permit(grant, READ, READING)


@pytest.mark.parametrize("reaches", ["permit", "invalid", "ended", "no task", "unknown action"])
@staged(intents=INTENT)
async def test_a_digest_that_would_tell_a_personal_argument(stage: Stage, reaches: str) -> None:
    grant = await begin(stage)
    input: dict[str, Any] = {"email": SECRETS["email"]}
    action = LOOKUP
    if reaches == "invalid":
        input["reason"] = 7
    elif reaches == "ended":
        await stage.end(grant)
    elif reaches == "unknown action":
        action = "people/mail"
    asked = (None, grant)[reaches != "no task"]
    proof = {} if asked else {"proof": identity("workload/finance")}
    decision = await stage.authorize(asked, action, input, **proof)
    assert (decision.effect == "permit") == (reaches == "permit")
    recorded = stage.record_of(decision)["digest"]
    assert decision.digest == canonical.request_digest(action, input)
    assert recorded != decision.digest
    assert decision.digest.encode() not in stage.bytes_()


@staged(intents=INTENT)
async def test_every_opening_opens_its_commitment_and_no_two_salts_are_alike(stage: Stage) -> None:
    grant = await begin(stage)
    for _ in range(3):
        await stage.permit(grant, LOOKUP, {"email": SECRETS["email"]})
    salts = []
    with SqliteReader(stage.folder.database) as reader:
        for stored in reader.records():
            for path, salt, value in reader.openings(stored.stream, stored.n):
                node: Any = stored.record.body
                for step in path.split("/")[1:]:
                    node = node[step.replace("~1", "/").replace("~0", "~")]
                stated = node["commitment"] if isinstance(node, dict) else node
                digest = canonical.sha256(salt + value)
                assert stated == digest
                salts.append(salt)
    assert len(salts) == len(set(salts)) >= 12
    assert all(len(salt) >= 16 for salt in salts)


@staged(intents=INTENT)
async def test_an_erased_value_satisfies_nothing_and_breaks_nothing(stage: Stage, caplog: Any) -> None:
    grant = await begin(stage)
    found = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    await stage.report(found, output={"name": SECRETS["name"]})
    assert (await stage.probe(grant, READ, READING)).permitted
    await stage.close()
    with sqlite3.connect(stage.folder.database) as db:
        db.execute("DELETE FROM openings")
    db.close()
    await stage.open()
    assert await stage.refusal(grant, READ, READING) == "task_value_erased"
    assert await stage.refusal(grant, PAY, {"invoice": "I", "amount": 1}) == "task_value_erased"
    await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    assert "ALARM" not in caplog.text


AMOUNTS = {
    "billing": CATALOGUE["billing"].replace("    labels: [fin", "    personal: [output.amount]\n    labels: [fin")
}
UP_TO = {
    "up-to": """
description: Pay at most what was read.
actions: [billing/read_invoice, payments/pay_invoice]
starters: [starter/app]
workloads: [group:agents]
order:
  - {name: read, before: [payments/pay_invoice], done: billing/read_invoice}
bindings:
  - {action: payments/pay_invoice, argument: input.amount, at_most: done.read.amount}
"""
}


@staged(intents=UP_TO, catalogue=AMOUNTS)
async def test_an_erased_amount_is_a_missing_one(stage: Stage, caplog: Any) -> None:
    grant = await stage.start("up-to")
    await stage.report(await stage.permit(grant), output={"amount": 7012})
    assert (await stage.probe(grant, PAY, {"invoice": "I", "amount": 7012})).permitted
    assert b"7012" not in stage.bytes_()
    await stage.close()
    with sqlite3.connect(stage.folder.database) as db:
        db.execute("DELETE FROM openings WHERE path LIKE '/selected/%'")
    db.close()
    await stage.open()
    assert await stage.refusal(grant, PAY, {"invoice": "I", "amount": 1}) == "task_value_erased"
    assert "ALARM" not in caplog.text


LONG = {
    "answer": INTENTS["answer"]
    + """
params: {topic: {type: string, max_length: 4000, required: false}}
bindings:
  - {action: billing/read_invoice, argument: input.note, equals: params.topic}
"""
}


@staged(intents=LONG)
async def test_a_long_text_in_arguments_and_parameters(stage: Stage) -> None:
    topic = "ä" * 2000
    grant = await stage.start(params={"topic": topic})
    permit = await stage.permit(grant, READ, {"invoice": "x" * 5000, "note": topic})
    recorded = stage.record_of(permit)["context"]
    assert recorded["input"]["invoice"] == {"sha256": canonical.sha256(b"x" * 5000), "bytes": 5000}
    assert recorded["input"]["note"] == {"sha256": canonical.sha256(topic.encode()), "bytes": 4000}
    before = stage.state()
    await stage.restart()
    assert stage.state() == before
    await stage.permit(grant, READ, {"invoice": "1", "note": topic})
    assert await stage.refusal(grant, READ, {"invoice": "1", "note": topic + "x"}) == "argument_not_bound"


@staged()
async def test_an_argument_that_looks_like_a_commitment(stage: Stage) -> None:
    grant = await stage.start()
    words = {"words": ["a"], "commitment": "0" * 64}
    permit = await stage.permit(grant, "web/search", words)
    assert stage.record_of(permit)["context"]["input"] == {"words": ["a"]}
