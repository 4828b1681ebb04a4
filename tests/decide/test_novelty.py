"""Novelty: what teaches a workload its habits, and every way in which it might teach itself one."""

from __future__ import annotations

from typing import Any

import pytest

from remit.core.decisions import Decision
from remit.core.errors import Forbidden, InvalidInput, TooLarge
from remit.core.tasks import Forgetting
from remit.decide.lessons import Lesson
from tests.decide.stage import (
    ADMIN,
    APP,
    CHILDREN,
    FETCH,
    FINANCE,
    GATEWAY,
    HOUR,
    INTENTS,
    INVOICE,
    MINUTE,
    READ,
    START,
    Grant,
    Stage,
    identity,
    spiffe,
    staged,
)

DAY = 24 * HOUR
SEARCH = "web/search"
SELF = {
    "answer": INTENTS["answer"].replace("starters: [", "starters: [workload/finance, ") + "self_start: true\n",
    "urgent": INTENTS["answer"] + "emergency: true\n",
}


async def completes(stage: Stage, grant: Grant, action: str = READ, input: Any = None, **more: Any) -> Decision:
    """One permitted call that its enforcement point reports as done."""
    decision = await stage.permit(grant, action, INVOICE if input is None else input)
    await stage.report(decision, **more)
    return decision


async def days(stage: Stage, count: int, *actions: str, tasks: int = 3) -> None:
    """On so many days, so many task trees in which these were completed."""
    for _ in range(count):
        for _ in range(tasks):
            grant = await stage.start()
            for action in actions or (READ,):
                await completes(stage, grant, action, {} if action == SEARCH else None)
            await stage.end(grant)
        await stage.pass_(DAY)


async def seen(stage: Stage, action: str = READ, input: Any = None, grant: Grant | None = None) -> dict[str, Any]:
    """`context.novelty` of the first call of a new task, or of the next one under `grant`."""
    grant = grant or await stage.start()
    decision = await stage.permit(grant, action, INVOICE if input is None else input)
    facts: dict[str, Any] = stage.record_of(decision)["context"]["novelty"]
    return facts


# --- what is learned -------------------------------------------------------------------------------------------


@staged()
async def test_a_new_workload_is_learning_and_everything_is_new_to_it(stage: Stage) -> None:
    assert await seen(stage) == {"days": 0, "isLearning": True, "step": 100, "tool": 100}
    fetch = await seen(stage, FETCH, {"url": "https://wiki.example"})
    assert fetch == {"days": 0, "destination": 100, "isLearning": True, "step": 100, "tool": 100}


@staged()
async def test_what_is_done_every_day_becomes_habitual(stage: Stage) -> None:
    novelties = []
    for _ in range(7):
        novelties.append((await seen(stage))["tool"])
        await days(stage, 1)
    assert novelties == [100, 81, 62, 43, 24, 6, 0]
    assert await seen(stage) == {"days": 7, "isLearning": False, "tool": 0, "toolAge": 7, "step": 0, "stepAge": 7}


@staged()
async def test_steps_are_learned_from_one_action_to_the_next(stage: Stage) -> None:
    await days(stage, 6, READ, SEARCH)
    grant = await stage.start()
    assert (await seen(stage, SEARCH, {}, grant))["step"] == 100  # it never began with that
    await completes(stage, grant, READ)
    assert (await seen(stage, SEARCH, {}, grant))["step"] == 0
    await completes(stage, grant, SEARCH, {})
    assert (await seen(stage, READ, None, grant))["step"] == 100


@staged()
async def test_destinations_are_learned_for_themselves(stage: Stage) -> None:
    for _ in range(6):
        await completes(stage, await stage.start(), FETCH, {"url": "https://wiki.example/a"})
        await stage.pass_(DAY)
    known = await seen(stage, FETCH, {"url": "https://wiki.example/other"})
    other = await seen(stage, FETCH, {"url": "https://elsewhere.example"})
    assert known["destination"] < 50
    assert (other["tool"], other["destination"]) == (known["tool"], 100)
    assert known["destinationAge"] == 6
    assert "destinationAge" not in other


@staged()
async def test_habits_are_a_workload_s_own(stage: Stage) -> None:
    await days(stage, 6)
    helper = await stage.start(workload="workload/helper")
    assert (await seen(stage, grant=helper))["tool"] == 100


@staged()
async def test_habits_are_in_the_records_and_survive_a_restart(stage: Stage) -> None:
    await days(stage, 3)
    before = await seen(stage)
    await stage.restart()
    assert await seen(stage) == before
    (first, *_), stream = stage.records("practice"), f"identity/{FINANCE.id}"
    assert first.stream == stream
    assert first.body == {
        "day": START // DAY,
        "destinations": {},
        "id": FINANCE.id,
        "steps": {"": {READ: 1}},
        "tools": {READ: 1},
    }


UNUSUAL = """
@reason("unusual_tool") @message("this workload hardly ever does this")
forbid (principal, action in Remit::Action::"tools", resource)
when { context.novelty.tool > 80 && !context.novelty.isLearning };
"""


@staged(policies=UNUSUAL)
async def test_policies_see_it(stage: Stage) -> None:
    await days(stage, 7)
    await stage.permit(await stage.start())
    refused = await stage.authorize(await stage.start(), SEARCH, {})
    assert refused.reason.code == "unusual_tool"
    assert stage.record_of(refused)["mattered"] == ["novelty.isLearning", "novelty.tool"]
    assert (await stage.probe(await stage.start(), SEARCH, {})).reason.code == "unusual_tool"


@staged()
async def test_it_is_recorded_when_a_task_ends_and_now_and_then(stage: Stage) -> None:
    grant = await stage.start()
    await completes(stage, grant)
    assert stage.records("practice") == []
    await stage.end(grant)
    assert len(stage.records("practice")) == 1
    await completes(stage, await stage.start(), SEARCH, {})
    await stage.governor.record_practice()
    assert len(stage.records("practice")) == 2


# --- what teaches nothing ----------------------------------------------------------------------------------------


async def taught(stage: Stage) -> int:
    """How many `practice` records there are, once all is recorded."""
    await stage.pass_(0)
    return len(stage.records("practice"))


@staged()
async def test_denied_calls_teach_nothing(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params={"invoice": "INV-1", "account": "DE89", "amount": "1"})
    for _ in range(100):
        assert (await stage.authorize(grant, "payments/pay_invoice", INVOICE)).reason.code == "out_of_order"
    assert await taught(stage) == 0


@staged()
async def test_permits_that_nobody_reported_teach_nothing(stage: Stage) -> None:
    await stage.permit(await stage.start())
    await stage.pass_(HOUR)  # the outcome is unknown by then
    assert await taught(stage) == 0


@pytest.mark.parametrize("result", ["error", "not_executed"])
@staged()
async def test_what_was_not_completed_teaches_nothing(stage: Stage, result: Any) -> None:
    await stage.report(await stage.permit(await stage.start()), result)
    assert await taught(stage) == 0


@staged()
async def test_what_a_workload_reports_of_itself_teaches_nothing(stage: Stage) -> None:
    grant = await stage.start()
    own = await stage.governor.authorize(stage.ask_itself(grant))
    await stage.report(own, by=identity("workload/finance", grant.key))
    claimed = await stage.permit(grant)
    await stage.report(claimed, by=FINANCE)
    assert await taught(stage) == 0


@staged()
async def test_what_an_operator_resolves_teaches_nothing(stage: Stage) -> None:
    permit = await stage.permit(await stage.start())
    await stage.pass_(HOUR)
    await stage.governor.resolve(identity("person/admin"), permit.id, "response", "looked")
    assert await taught(stage) == 0


@staged()
async def test_what_was_done_after_its_permit_had_run_out_teaches_nothing(stage: Stage) -> None:
    permit = await stage.permit(await stage.start())
    await stage.report(permit, started=permit.expires + 1)
    assert await taught(stage) == 0


@staged(settings='[mode]\ndefault = "observe"\nobserve_until = 2030-01-01T00:00:00Z\n')
async def test_what_is_only_observed_and_would_be_denied_teaches_nothing(stage: Stage) -> None:
    grant = await stage.start("pay-invoice", params={"invoice": "INV-1", "account": "DE89", "amount": "1"})
    await completes(stage, grant, "payments/pay_invoice")
    assert await taught(stage) == 0
    await completes(stage, grant, READ)
    assert await taught(stage) == 1


@staged(intents=SELF)
async def test_tasks_that_the_workload_started_itself_teach_nothing(stage: Stage) -> None:
    for _ in range(5):
        await completes(stage, await stage.start(starter=FINANCE, key="k-finance"))
    assert await taught(stage) == 0


@staged(intents=SELF)
async def test_emergencies_teach_nothing(stage: Stage) -> None:
    await completes(stage, await stage.start("urgent"))
    assert await taught(stage) == 0


# --- slow repetition ---------------------------------------------------------------------------------------------


@staged()
async def test_a_thousand_calls_in_one_night_do_not_make_a_tool_habitual(stage: Stage) -> None:
    await days(stage, 7)
    stage.clock.now = stage.clock.now - stage.clock.now % DAY + 23 * HOUR
    grants = [await stage.start() for _ in range(20)]
    for call in range(500):
        await completes(stage, grants[call % 20], SEARCH, {}, durable=False)
    stage.clock.pass_(2 * HOUR)  # past midnight
    grants = [await stage.start() for _ in range(20)]
    for call in range(500):
        await completes(stage, grants[call % 20], SEARCH, {}, durable=False)
    await stage.pass_(0)
    found = await seen(stage, SEARCH, {})
    assert found["tool"] >= 60  # two days, and no more than that
    await stage.pass_(DAY)
    assert (await seen(stage, SEARCH, {}))["tool"] >= 60


@staged(intents=CHILDREN)
async def test_many_child_tasks_of_one_root_are_one_lesson(stage: Stage) -> None:
    root = await stage.start()
    for _ in range(40):
        child = await stage.start("narrow", parent=root.task)
        await completes(stage, child)
    await stage.pass_(0)
    assert [record.body["tools"] for record in stage.records("practice")] == [{READ: 1}]
    await stage.pass_(0)
    assert (await seen(stage))["tool"] == 90


@staged(intents={"answer": INTENTS["answer"] + "time_to_live: 5d\n"})
async def test_one_task_that_lasts_for_days_is_one_lesson(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(4):
        await completes(stage, grant)
        await stage.pass_(DAY)
    assert [record.body["tools"] for record in stage.records("practice")] == [{READ: 1}, {}]
    assert [record.body["steps"] for record in stage.records("practice")] == [{"": {READ: 1}}, {READ: {READ: 1}}]


@staged()
async def test_more_tasks_on_one_day_than_count_are_not_recorded(stage: Stage) -> None:
    for _ in range(10):
        await days(stage, 0)
        for _ in range(2):
            await completes(stage, await stage.start())
        await stage.pass_(MINUTE)
    assert sum(record.body["tools"][READ] for record in stage.records("practice")) == 3


@staged()
async def test_a_destination_that_what_was_read_may_have_named_is_not_learned(stage: Stage) -> None:
    for _ in range(6):
        grant = await stage.start()
        await completes(stage, grant, FETCH, {"url": "https://wiki.example"})  # its results are not trusted
        await completes(stage, grant, FETCH, {"url": "https://evil.example"})
        await stage.pass_(DAY)
    assert (await seen(stage, FETCH, {"url": "https://wiki.example"}))["destination"] < 50
    assert (await seen(stage, FETCH, {"url": "https://evil.example"}))["destination"] == 100


FIXED = {
    "api": """
server: api
tools:
  lookup: {effect: read, destination: api.example, reviewed: true, input_schema: {type: object}}
"""
}
GATED = '[[enforcement_points]]\nname = "gate"\nowner = "ada"\nservers = ["api"]\nkey = "k-gate"\n'


@staged(catalogue=FIXED, settings=GATED)
async def test_a_destination_that_no_argument_chooses_is_learned_whatever_was_read(stage: Stage) -> None:
    gate = identity("pep/gate")
    grant = await stage.start()
    await completes(stage, grant, FETCH, {"url": "https://wiki.example"})
    decision = await stage.permit(grant, "api/lookup", {}, caller=gate)
    await stage.report(decision, by=gate)
    await stage.pass_(0)
    learned = {host for record in stage.records("practice") for host in record.body["destinations"]}
    assert learned == {"wiki.example", "api.example"}


# --- quarantine --------------------------------------------------------------------------------------------------


@staged()
async def test_quarantine_neither_teaches_nor_forgets(stage: Stage) -> None:
    await days(stage, 3)
    await stage.pass_(0)
    before = await seen(stage)
    under_way = await stage.permit(await stage.start(), SEARCH, {})
    await stage.change("workload/finance", "quarantined")
    await stage.report(under_way)
    await stage.pass_(100 * DAY)
    await stage.change("workload/finance", "active")
    await stage.pass_(0)
    assert await seen(stage) == before
    assert (await seen(stage, SEARCH, {}))["tool"] == 100


@staged()
async def test_what_led_up_to_a_quarantine_is_not_learned_afterwards(stage: Stage) -> None:
    await completes(stage, await stage.start())
    stage.clock.pass_(1)
    await stage.change("workload/finance", "quarantined")
    await stage.change("workload/finance", "active")
    assert await taught(stage) == 0


# --- what is lost ------------------------------------------------------------------------------------------------


@staged()
async def test_what_was_not_recorded_before_a_crash_is_new_again(stage: Stage) -> None:
    await completes(stage, await stage.start())
    taken = stage.world.lessons.take(FINANCE.id)
    assert len(taken) == 1
    await stage.restart()
    assert await taught(stage) == 0
    assert (await seen(stage))["tool"] == 100


@staged()
async def test_an_outcome_that_never_became_durable_teaches_nothing(stage: Stage) -> None:
    permit = await stage.permit(await stage.start())
    await stage.report(permit, durable=False)
    stage.world.forget([f"session/{permit.task}"])
    assert len(stage.world.lessons) == 0
    lesson = Lesson(f"session/{permit.task}", stage.clock.now, ((FINANCE.id, "tool", "", READ),))
    stage.world.lessons.note(FINANCE.id, permit.id, lesson)
    assert await taught(stage) == 0


@staged()
async def test_the_same_outcome_told_twice_is_one_lesson(stage: Stage) -> None:
    permit = await stage.permit(await stage.start())
    for _ in range(3):
        await stage.report(permit)
    await stage.pass_(0)
    assert [record.body["tools"] for record in stage.records("practice")] == [{READ: 1}]


@staged()
async def test_names_are_recorded_a_few_at_a_time(stage: Stage) -> None:
    for number in range(70):
        await completes(stage, await stage.start(), FETCH, {"url": f"https://h{number}.example"}, durable=False)
    await stage.pass_(0)
    records = stage.records("practice")
    assert len(records) == 2
    assert sum(len(record.body["destinations"]) for record in records) == 70
    assert all(record.body["id"] == spiffe("workload/finance") for record in records)


# --- a person's reset ----------------------------------------------------------------------------------------------


async def forgets(stage: Stage, by: Any = ADMIN, **what: Any) -> list[str]:
    return await stage.governor.forget(by, Forgetting(id=FINANCE.id, **what))


@staged()
async def test_a_person_has_habits_forgotten(stage: Stage) -> None:
    await days(stage, 7, READ, SEARCH)
    assert await forgets(stage, tools=(SEARCH, "web/never"), reason="not ours") == [SEARCH]
    assert stage.records("forgotten")[-1].body["by"] == ADMIN.id
    grant = await stage.start()
    assert (await seen(stage, READ, None, grant))["tool"] == 0
    assert (await seen(stage, SEARCH, {}, grant))["tool"] == 100
    await stage.restart()
    assert (await seen(stage, SEARCH, {}))["isLearning"] is False


@staged()
async def test_a_workload_with_a_new_job_learns_anew(stage: Stage) -> None:
    await days(stage, 7)
    assert await forgets(stage, everything=True, reason="new job") == [READ]
    assert await seen(stage) == {"days": 0, "isLearning": True, "step": 100, "tool": 100}
    assert await forgets(stage, everything=True) == []
    assert len(stage.records("forgotten")) == 1


@pytest.mark.parametrize("who", [FINANCE, GATEWAY, APP, identity("person/carol")])
@staged()
async def test_nobody_else_has_habits_forgotten(stage: Stage, who: Any) -> None:
    with pytest.raises(Forbidden):
        await forgets(stage, who, everything=True)


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"everything": True, "tools": ("a/b",)},
        {"tools": ("a/b",) * 65},
        {"destinations": ("h" * 513,)},
        {"everything": True, "reason": "r" * 2000},
    ],
)
@staged()
async def test_what_makes_no_sense_changes_nothing(stage: Stage, what: dict[str, Any]) -> None:
    await days(stage, 1)
    with pytest.raises((InvalidInput, TooLarge)):
        await forgets(stage, **what)
    assert stage.records("forgotten") == []
