"""Erasing personal values, as both storages must: gone for good, on record, and nothing is permitted by it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from remit.app.records import reader_of
from remit.core.erasing import Erasing, Erasure
from remit.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from remit.decide.entries import DIGEST
from tests.decide.stage import ADMIN, APP, FINANCE, LOOKUP, PAY, READ, Stage, identity, spiffe
from tests.decide.test_personal import INTENT, READING, SECRETS
from tests.storage.contract.stages import differences, staged_everywhere

EVE, CAROL = identity("person/eve"), identity("person/carol")
DAY = 86_400_000
PLAIN = {
    **INTENT,
    "look": """
description: Look people up.
actions: [people/lookup]
starters: [starter/app]
workloads: [group:agents]
params:
  email: {type: string, personal: true, required: false}
""",
}


async def begin(stage: Stage, person: Any = EVE, **secrets: str) -> Any:
    values = SECRETS | secrets
    params = {"email": values["param"], "most": values["amount"]}
    return await stage.start("reach", params=params, prompt=values["prompt"], person=person)


async def erase(stage: Stage, subject: str = "person/eve", by: Any = ADMIN) -> Erasure:
    wanted = Erasing(what="subject", subject=spiffe(subject), reason="she asked for it")
    return await stage.governor.erase(by, wanted)


def opened(stage: Stage, subject: str = "") -> list[tuple[str, int, str, bytes]]:
    with reader_of(stage.folder) as reader:
        return list(reader.opened(spiffe(subject) if subject else ""))


def kept(stage: Stage) -> set[bytes]:
    return {value for _, _, path, value in opened(stage) if path != DIGEST}


@staged_everywhere(intents=INTENT)
async def test_what_is_erased_of_one_person_is_gone_and_another_persons_values_stay(stage: Stage) -> None:
    mine = await begin(stage)
    await stage.report(await stage.permit(mine, LOOKUP, {"email": SECRETS["param"]}), output={"name": SECRETS["name"]})
    await begin(stage, CAROL, param="bob@private.example", prompt="Look up Bob")
    before = opened(stage, "person/eve")
    done = await erase(stage)
    assert (done.openings, done.keys, done.more) == (len(before), 1, False)
    assert opened(stage, "person/eve") == []
    assert kept(stage) >= {b'"bob@private.example"', b'"Look up Bob"'}
    (record,) = stage.records("erasure")
    assert record.stream == "administration"
    assert [tuple(place) for place in record.body["openings"]] == sorted(row[:3] for row in before)
    assert record.body["by"] == ADMIN.id
    assert record.body["count"] == len(before)
    for value in SECRETS.values():
        assert value not in str(record.body)
    report = stage.verify()
    assert report.checks["erasures"] == 1 + len(before)
    assert report.unchecked["personal values that were erased"] == len(before)
    with pytest.raises(NotFound, match="no personal values of this"):
        await erase(stage)


@staged_everywhere(intents=INTENT)
async def test_who_has_nothing_here_is_told_so(stage: Stage) -> None:
    await begin(stage)
    with pytest.raises(NotFound) as caught:
        await erase(stage, "person/nobody")
    assert caught.value.code == "nothing_to_erase"
    assert stage.records("erasure") == []


@staged_everywhere(intents=INTENT)
async def test_only_administrators_erase(stage: Stage) -> None:
    await begin(stage)
    for who in (EVE, CAROL, APP, FINANCE):
        with pytest.raises(Forbidden):
            await erase(stage, by=who)
    assert stage.records("erasure") == []
    assert opened(stage, "person/eve")


@staged_everywhere(intents=INTENT)
async def test_an_erasure_needs_a_reason_and_one_thing_to_erase(stage: Stage) -> None:
    place = ("session/t_1", 1, "/prompt")
    for wanted in (
        Erasing(what="subject", subject="x", reason=" "),
        Erasing(what="subject", reason="r"),
        Erasing(what="value", subject="x", reason="r"),
        Erasing(what="task", subject="x", places=(place,), reason="r"),
        Erasing(what="task", places=(place,), reason="r", id="e_1"),
    ):
        with pytest.raises(InvalidInput):
            await stage.governor.erase(ADMIN, wanted)
    with pytest.raises(NotFound):
        await stage.governor.erase(ADMIN, Erasing(what="task", places=(place,), reason="r"))


@staged_everywhere(intents=INTENT)
async def test_what_needs_an_erased_value_is_denied_at_once_and_after_a_restart(stage: Stage, caplog: Any) -> None:
    grant = await begin(stage)
    found = await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    await stage.report(found, output={"name": SECRETS["name"]})
    assert (await stage.probe(grant, READ, READING)).permitted
    await erase(stage)
    for _ in range(2):
        assert await stage.refusal(grant, READ, READING) == "task_value_erased"
        assert await stage.refusal(grant, PAY, {"invoice": "I", "amount": 1}) == "task_value_erased"
        with pytest.raises(Conflict, match="parameter of the parent was erased"):
            await stage.start("below", parent=grant.task, params={"email": SECRETS["param"]})
        # What needs none of it goes on.
        await stage.permit(grant, LOOKUP, {"email": SECRETS["email"]})
        with reader_of(stage.folder) as reader:
            assert differences(stage.world, reader) == []
        await stage.restart()
    assert "ALARM" not in caplog.text
    stage.verify()


FORBIDS = """
@id("not-augusta")
forbid (principal, action == Remit::Action::"people/lookup", resource)
when { context.task.params has email && context.task.params.email like "augusta*" };
"""


@staged_everywhere(intents=PLAIN, policies=FORBIDS)
async def test_nothing_is_permitted_because_a_value_is_gone(stage: Stage) -> None:
    grant = await stage.start("look", params={"email": SECRETS["param"]}, person=EVE)
    free = await stage.start("look", person=CAROL)
    assert await stage.refusal(grant, LOOKUP, {"email": "a@example.org"}) == "policy_forbids"
    await stage.permit(free, LOOKUP, {"email": "a@example.org"})
    await erase(stage)
    assert await stage.refusal(grant, LOOKUP, {"email": "a@example.org"}) == "task_value_erased"
    await stage.permit(free, LOOKUP, {"email": "a@example.org"})


SEEN = {
    "seen": """
description: Look people up, and search.
actions: [people/lookup, web/search, billing/read_invoice]
starters: [starter/app]
workloads: [group:agents]
order:
  - {name: found, before: [billing/read_invoice], done: people/lookup}
""",
}
NOT_ADA = """
@id("not-ada")
forbid (principal, action == Remit::Action::"web/search", resource)
when { context.task.intent == "seen" && context.task.done has "seen/found" &&
  context.task.done["seen/found"] has name && context.task.done["seen/found"].name == "Ada" };
"""


@staged_everywhere(intents=SEEN, policies=NOT_ADA)
async def test_nothing_is_permitted_because_a_result_is_gone(stage: Stage) -> None:
    grant = await stage.start("seen", person=EVE)
    await stage.permit(grant, "web/search", {"words": []})
    await stage.report(await stage.permit(grant, LOOKUP, {"email": "a@example.org"}), output={"name": "Ada"})
    assert await stage.refusal(grant, "web/search", {"words": []}) == "policy_forbids"
    await erase(stage)
    assert await stage.refusal(grant, "web/search", {"words": []}) == "task_value_erased"
    await stage.permit(grant, READ)
    # What is found anew counts again.
    await stage.report(await stage.permit(grant, LOOKUP, {"email": "a@example.org"}), output={"name": "Bob"})
    await stage.permit(grant, "web/search", {"words": []})


@staged_everywhere(intents=INTENT)
async def test_an_action_under_way_is_still_reported_after_its_arguments_were_erased(stage: Stage) -> None:
    grant = await begin(stage)
    permit = await stage.permit(grant, LOOKUP, {"email": SECRETS["email"]})
    await erase(stage)
    await stage.report(permit, output={"name": SECRETS["name"]})
    assert kept(stage) == {b'"' + SECRETS["name"].encode() + b'"'}  # what came later has a key of its own
    stage.verify()


@staged_everywhere(intents=INTENT)
async def test_single_values_are_erased_and_the_others_of_the_person_stay(stage: Stage) -> None:
    grant = await begin(stage)
    wanted = tuple(row[:3] for row in opened(stage) if row[2] == "/prompt")
    done = await stage.governor.erase(ADMIN, Erasing(what="value", places=wanted, reason="not needed"))
    assert (done.openings, done.keys) == (1, 0)
    assert kept(stage) == {b'"' + SECRETS["param"].encode() + b'"', b'"77123.45"'}
    await stage.permit(grant, LOOKUP, {"email": SECRETS["param"]})
    await stage.restart()
    assert b'"' + SECRETS["param"].encode() + b'"' in kept(stage)
    with pytest.raises(NotFound):
        await stage.governor.erase(ADMIN, Erasing(what="value", places=wanted, reason="not needed"))
    stage.verify()


@staged_everywhere(intents=INTENT)
async def test_a_key_under_which_nothing_is_left_goes_too(stage: Stage) -> None:
    await begin(stage)
    done = await stage.governor.erase(
        ADMIN, Erasing(what="task", places=tuple(row[:3] for row in opened(stage)), reason="r")
    )
    assert done.openings == 3
    assert opened(stage, "person/eve") == []
    with pytest.raises(NotFound):
        await erase(stage)
    await begin(stage)
    assert len(opened(stage, "person/eve")) == 3


@staged_everywhere(intents=INTENT)
async def test_what_is_decided_while_it_is_erased_is_kept_readable_or_gone_and_never_lost(stage: Stage) -> None:
    grant = await begin(stage)

    async def decide(number: int) -> str:
        return (await stage.authorize(grant, LOOKUP, {"email": f"n{number}@private.example"})).reason.code

    for turn in range(3):
        await decide(100 + turn)
        asked = [decide(turn * 20 + number) for number in range(20)]
        answers = await asyncio.gather(*asked[:10], erase(stage), *asked[10:])
        assert [answer for answer in answers if isinstance(answer, str)] == ["permitted"] * 20
    assert len(stage.records("decision")) == 63
    assert len({record.body["id"] for record in stage.records("erasure")}) == 3
    with reader_of(stage.folder) as reader:
        for stored in reader.records():
            assert reader.broken(stored.stream, stored.n) == []
    await decide(200)
    await erase(stage)
    assert opened(stage, "person/eve") == []
    await stage.permit(grant, LOOKUP, {"email": "later@private.example"})
    assert kept(stage) == {b'"later@private.example"'}
    stage.verify()


@staged_everywhere(intents=PLAIN, settings="[retention]\npersonal_days = 3\n")
async def test_old_personal_values_are_erased_by_the_service(stage: Stage) -> None:
    old = await begin(stage)
    await stage.permit(old, LOOKUP, {"email": SECRETS["email"]})
    await stage.end(old)
    await stage.pass_(DAY // 24)
    stage.clock.pass_(2 * DAY)
    young = await stage.start("look", params={"email": "bob@private.example"}, person=EVE)
    await stage.pass_(DAY // 2)
    assert await stage.governor.retain() == 0
    stage.clock.pass_(DAY)
    assert await stage.governor.retain() > 0
    assert kept(stage) == {b'"bob@private.example"'}
    (record,) = stage.records("erasure")
    assert (record.body["by"], record.body["what"]) == (spiffe("remit"), "age")
    assert {place[0] for place in record.body["openings"]} == {f"session/{old.task}"}
    assert young.task not in str(record.body)
    for _ in range(3):
        assert await stage.governor.retain() == 0
    stage.clock.pass_(3 * DAY)
    assert sum([await stage.governor.retain() for _ in range(3)]) == 1
    assert opened(stage) == []
    stage.verify()
