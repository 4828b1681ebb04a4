"""Several processes decide as one: what one has recorded, all others decide on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from remit.core.errors import Conflict, Unavailable
from remit.core.identities import Identity, Registration
from remit.decide.sequence import Needs, Step
from remit.decide.world import World
from remit.storage.postgres import PostgresStore
from remit.storage.postgres_schema import lock_key
from tests.decide.stage import (
    ADMIN,
    APP,
    CHILDREN,
    FAR,
    FINANCE,
    INTENTS,
    INVOICE,
    MINUTE,
    PAY,
    PAYMENT,
    READ,
    TD,
    Clock,
    Grant,
    spiffe,
    write_project,
)
from tests.decide.stage import together as at_once
from tests.postgres import PostgresServer
from tests.storage.processes.several import Several, kill, look, opened, stage_at, together, until

ONE = {"answer": INTENTS["answer"] + "limits:\n  - {name: one, effects: [read], calls: 1}\n"}


@together(intents=ONE)
async def test_one_call_of_a_limit_of_one_in_a_thousand_races(several: Several) -> None:
    for first in range(0, 1000, 25):
        grants = await at_once(*[several.stages[n % 3].start() for n in range(first, first + 25)])

        async def race(grant: Grant) -> int:
            asked = [stage.authorize(grant, READ, {"invoice": str(n)}) for n, stage in enumerate(several.stages)]
            return sum(answer.permitted for answer in await at_once(*asked))

        assert await at_once(*[race(grant) for grant in grants]) == [1] * 25


@together()
async def test_a_quarantine_holds_everywhere_once_it_is_answered(several: Several) -> None:
    grant = await several.a.start()
    for _ in range(5):
        for stage in several.stages:
            await stage.permit(grant)
        await several.b.change("workload/finance", "quarantined")
        for stage in several.stages:
            assert await stage.refusal(grant) == "identity_quarantined"
            assert (await stage.probe(grant)).reason.code == "identity_quarantined"
        await several.c.change("workload/finance", "active")


@together()
async def test_a_quarantine_among_many_decisions(several: Several) -> None:
    """The permits that were given meanwhile were given before it, by the records' own time: the verifier looks."""
    grants = [await several.a.start() for _ in range(12)]
    stopped: list[int] = []

    async def ask(number: int) -> None:
        stage = several.stages[number % 3]
        while True:
            decision = await stage.authorize(grants[number], READ, {"invoice": str(len(stopped))})
            if not decision.permitted:
                assert decision.reason.code == "identity_quarantined"
                stopped.append(number)
                return

    asking = [asyncio.create_task(ask(number)) for number in range(12)]
    await asyncio.sleep(0.3)
    begun = asyncio.get_running_loop().time()
    await several.b.change("workload/finance", "quarantined")
    assert asyncio.get_running_loop().time() - begun < 1
    await asyncio.wait_for(asyncio.gather(*asking), 2)


@together()
async def test_the_end_of_a_task_holds_everywhere(several: Several) -> None:
    grant = await several.a.start()
    for stage in several.stages:
        await stage.permit(grant)
    await several.c.end(grant)
    for stage in several.stages:
        assert await stage.refusal(grant) == "task_completed"
        assert (await stage.governor.task(APP, grant.task)).state == "completed"


@together()
async def test_steps_count_wherever_they_were_reported(several: Several) -> None:
    grant = await several.a.start("pay-invoice", params={"invoice": "INV-1", "account": "DE89", "amount": "120.50"})
    read = await several.b.permit(grant, READ, INVOICE)
    await several.c.report(read, output={"account": "DE89", "amount": 120.5, "status": "open"})
    assert await several.a.pays(grant) == "permitted"
    assert await several.b.pays(grant) == "limit_reached"


@together()
async def test_an_outcome_that_did_not_wait_is_seen_elsewhere(several: Several) -> None:
    grant = await several.a.start("pay-invoice", params={"invoice": "INV-1", "account": "DE89", "amount": "120.50"})
    for n in range(20):
        read = await several.a.permit(grant, READ, INVOICE | {"note": str(n)})
        await several.a.report(read, output={"account": "DE89", "amount": 120.5, "status": "open"}, durable=False)
        payment = await several.b.authorize(grant, PAY, PAYMENT)
        assert payment.permitted, payment.reason
        await several.c.report(payment, "not_executed")


@together(count=2)
async def test_one_key_is_registered_for_two_identities_at_once(several: Several) -> None:
    for n in range(20):
        wanted = [
            Registration(
                id=spiffe(f"workload/n{n}-{name}"), kind="agent", roles=("workload",), owner="ada", key=f"shared-{n}"
            )
            for name in "ab"
        ]
        asked = [stage.governor.register(ADMIN, each) for stage, each in zip(several.stages, wanted, strict=True)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Conflict)]
        assert [each.code for each in refused] == ["key_taken"]
        assert sum(isinstance(answer, Registration) for answer in answers) == 1


@together(intents=CHILDREN)
async def test_children_of_one_task_started_everywhere(several: Several) -> None:
    parent = await several.a.start()
    asked = [
        several.stages[n % 3].start("narrow", parent=parent.task, starter=APP, workload="workload/helper")
        for n in range(30)
    ]
    children = await at_once(*asked)
    assert sorted(child.task for child in children) == sorted(f"{parent.task}.{n}" for n in range(1, 31))
    await several.b.end(parent)
    for stage in several.stages:
        assert await stage.refusal(children[0]) in ("task_completed", "task_cancelled")


@together()
async def test_an_idempotency_key_asked_everywhere_has_one_answer(several: Several) -> None:
    grant = await several.a.start()
    for n in range(10):
        asked = [stage.authorize(grant, READ, INVOICE, idempotency_key=f"k{n}") for stage in several.stages]
        answers = await at_once(*asked)
        assert len({answer.id for answer in answers}) == 1
        assert all(answer.permitted for answer in answers)
    with pytest.raises(Conflict):
        await several.b.authorize(grant, READ, {"invoice": "another"}, idempotency_key="k0")


@together()
async def test_a_denial_is_folded_into_the_one_that_another_process_recorded(several: Several) -> None:
    grant = await several.a.start()
    first = await several.a.authorize(grant, PAY, PAYMENT)
    for stage in (several.b, several.c, several.a):
        again = await stage.authorize(grant, PAY, PAYMENT)
        assert (again.id, again.reason.code) == (first.id, "not_justified")
    for stage in several.stages:
        while await stage.governor.sweep_now(everything=True):
            pass
    counted = [record.body for record in several.a.records("denials")]
    assert {body["decision"] for body in counted} == {first.id}
    assert sum(body["count"] for body in counted) == 3


@together(count=2)
async def test_identities_registered_elsewhere_are_known_soon(several: Several) -> None:
    new = Registration(id=spiffe("workload/new"), kind="agent", roles=("workload",), owner="ada", key="k-new")
    await several.a.governor.register(ADMIN, new)
    assert await until(lambda: several.b.governor.registration(new.id) is not None) < 1
    await several.b.change("workload/new", "quarantined")

    def heard() -> bool:
        known = several.a.governor.registration(new.id)
        return known is not None and known.state == "quarantined"

    assert await until(heard) < 1


@together(count=2)
async def test_a_notification_that_is_lost_is_made_up_for_within_a_second(several: Several) -> None:
    await asyncio.sleep(0.1)
    store = several.b.postgres
    db = await store._reader.get()
    await db.execute("UNLISTEN *")
    await several.a.change("workload/finance", "quarantined")

    def heard() -> bool:
        known = several.b.governor.registration(FINANCE.id)
        return known is not None and known.state == "quarantined"

    assert await until(heard) < 1


@together(count=2)
async def test_sessions_are_followed_record_by_record(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = await several.a.start()
    await several.b.permit(grant)
    loaded: list[str] = []
    real = World.load
    monkeypatch.setattr(World, "load", lambda world, stream: (loaded.append(stream), real(world, stream))[1])
    for n in range(20):
        decision = await several.stages[n % 2].permit(grant, READ, {"invoice": str(n)})
        await several.stages[(n + 1) % 2].report(decision)
    assert loaded == []


@pytest.mark.parametrize("page", [1, 7, 40])
@together(count=3)
async def test_long_sessions_come_page_by_page(several: Several, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.storage.postgres.PAGE", page)
    monkeypatch.setattr("remit.storage.postgres.NAMES", 3)
    grant = await several.a.start_payment(prompt="words " * 10)
    for n in range(40):
        await several.a.permit(grant, READ, INVOICE | {"note": str(n)})
    assert await several.b.pays(grant) == "permitted"
    assert await several.a.pays(grant) == await several.c.pays(grant) == "limit_reached"


@together(count=2)
async def test_state_is_dropped_from_memory_and_comes_back(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.decide.world.SESSIONS_IN_MEMORY", 2)
    grants = [await several.a.start_payment() for _ in range(6)]
    assert [(await several.a.authorize(grant, PAY, PAYMENT)).effect for grant in grants] == ["permit"] * 6
    for stage in several.stages:
        answers = await at_once(*[stage.pays(grant) for grant in grants])
        assert answers == ["limit_reached"] * 6
        assert len(stage.world._sessions) == 2
        assert {f"session/{root}" for root in stage.world._sessions} == {
            stream for stream in stage.postgres._state._known if stream.startswith("session/")
        }


@together(count=2)
async def test_names_that_can_be_no_stream_s_or_record_s(several: Several) -> None:
    grant = await several.a.start()
    decision = await several.a.permit(grant)
    for name in ("\0", "\ud800", "t_\0", "x" * 300, "'; DROP TABLE records; --", ""):
        with pytest.raises(Exception, match="no such"):
            await several.b.governor.end_task(APP, name, "completed", "")
        with pytest.raises(Exception, match="no such"):
            await several.b.report(type(decision)(**{**_fields(decision), "id": name}))
    await several.b.permit(grant)
    assert several.stores[1].gauges()["failed_commits"] == 0


def _fields(decision: Any) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in decision.__struct_fields__}


# --- time -------------------------------------------------------------------------------------------------------


def test_time_never_goes_back_from_one_process_to_the_next(tmp_path: Any, postgres: PostgresServer) -> None:
    """A clock that jumps back by less than 2 s, between a permit here and a quarantine there."""

    async def story() -> None:
        clock = Clock()
        async with opened(postgres, tmp_path, 2, clock) as several:
            grant = await several.a.start()
            clock.pass_(10_000)
            permit = await several.a.permit(grant)
            clock.now -= 1_900
            await several.b.change("workload/finance", "quarantined")
            (*_, quarantine) = several.a.records("identity", f"identity/{FINANCE.id}")
            assert quarantine.t == permit.at
            clock.now -= 101
            for stage in several.stages:
                assert await stage.refusal(grant) == "clock_moved_back"
                assert (await stage.probe(grant)).reason.code == "clock_moved_back"
            clock.now += 5_000
            assert await several.a.refusal(grant) == "identity_quarantined"

    asyncio.run(story())


@together(count=1)
async def test_time_is_the_database_s_and_is_read_after_the_locks_are_had(several: Several) -> None:
    grant = await several.a.start()
    held = await asyncpg.connect(several.place[0])
    key = lock_key(several.place[1], f"session/{grant.task}")
    await held.execute("BEGIN")
    await held.execute("SELECT pg_advisory_xact_lock($1)", key)
    asked = asyncio.create_task(several.a.authorize(grant))
    await asyncio.sleep(0.3)
    free = await held.fetchval("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    await held.execute("COMMIT")
    await held.close()
    decision = await asked
    assert decision.at >= free


# --- due --------------------------------------------------------------------------------------------------------


def test_what_a_killed_process_permitted_becomes_unknown_once(tmp_path: Any, postgres: PostgresServer) -> None:
    async def story() -> None:
        clock = Clock()
        async with opened(postgres, tmp_path, 3, clock) as several:
            grants = await at_once(*[several.a.start() for _ in range(30)])
            for n in range(90):
                await several.a.permit(grants[n % 30], READ, {"invoice": str(n)})
            await kill(several.a)
            clock.pass_(2 * MINUTE)
            swept = [await several.b.governor.sweep_now() for _ in range(2)]
            assert swept == [90, 0]
            assert [record.body["result"] for record in several.b.records("outcome")] == ["unknown"] * 90
            clock.pass_(24 * 60 * MINUTE)
            while await several.c.governor.sweep_now():
                pass
            states = [record.body["state"] for record in several.b.records("task")]
            assert states.count("expired") == 30
            assert several.sql("SELECT count(*) FROM streams WHERE due IS NOT NULL") == ["0"]

    asyncio.run(story())


def test_what_is_due_is_divided_among_the_processes(tmp_path: Any, postgres: PostgresServer) -> None:
    async def story() -> None:
        clock = Clock()
        async with opened(postgres, tmp_path, 3, clock) as several:
            grants = await at_once(*[several.a.start() for _ in range(400)])
            await at_once(*[several.stages[n % 3].permit(grant) for n, grant in enumerate(grants)])
            clock.pass_(2 * MINUTE)
            done = [0, 0, 0]

            async def sweep(number: int) -> None:
                while count := await several.stages[number].governor.sweep_now():
                    done[number] += count

            await asyncio.gather(*[sweep(number) for number in range(3)])
            assert sum(done) == 400
            assert len(several.a.records("outcome")) == 400
            assert sum(count > 0 for count in done) >= 2

    asyncio.run(story())


def test_a_process_that_dies_in_its_sweep_holds_it_up_for_seconds(tmp_path: Any, postgres: PostgresServer) -> None:
    async def story() -> None:
        clock = Clock()
        async with opened(postgres, tmp_path, 2, clock) as several:
            grant = await several.a.start()
            await several.a.permit(grant)
            clock.pass_(2 * MINUTE)
            several.sql(f"UPDATE streams SET due = {clock.now + 10_000} WHERE name = 'session/{grant.task}'")
            assert await several.b.governor.sweep_now() == 0
            clock.pass_(10_000)
            assert await several.b.governor.sweep_now() == 1

    asyncio.run(story())


# --- how a store is opened --------------------------------------------------------------------------------------


def test_many_processes_start_at_once_on_an_empty_database(tmp_path: Any, postgres: PostgresServer) -> None:
    async def story() -> None:
        async with opened(postgres, tmp_path, 6) as several:
            grant = await several.a.start()
            for stage in several.stages:
                await stage.permit(grant)
            assert several.sql("SELECT count(*) FROM processes") == ["6"]
            identities = [record.stream for record in several.a.records("identity")]
            assert len(identities) == len(set(identities))

    asyncio.run(story())


def test_another_trust_domain_or_a_later_version_is_refused(postgres: PostgresServer) -> None:
    url, schema = postgres.place()

    async def code(trust_domain: str) -> str:
        try:
            await (await PostgresStore.open(url, trust_domain, schema=schema)).close()
        except Conflict as error:
            return error.code
        return ""

    assert asyncio.run(code("example.org")) == ""
    assert asyncio.run(code("example.com")) == "store_foreign"
    assert asyncio.run(code("example.org")) == ""
    postgres.sql(f"UPDATE {schema}.installation SET version = 99", url)
    assert asyncio.run(code("example.org")) == "store_newer"


def test_two_installations_share_a_database(tmp_path: Any, postgres: PostgresServer) -> None:
    async def story() -> None:
        async with (
            opened(postgres, tmp_path / "one", 1, intents=ONE) as one,
            opened(postgres, tmp_path / "two", 1, intents=ONE) as two,
        ):
            assert one.place[0] == two.place[0]
            grants = [await each.a.start() for each in (one, two)]
            for each, grant in zip((one, two), grants, strict=True):
                await each.a.permit(grant)
                assert await each.a.refusal(grant) == "limit_reached"
            assert await one.a.refusal(grants[1]) == "task_unknown"

    asyncio.run(story())


@together(count=2)
async def test_processes_with_other_configurations_decide_side_by_side(several: Several) -> None:
    await several.b.close()
    file = several.b.folder.root / "policies" / "own.cedar"
    file.write_text(
        '@id("never-so")\n'
        'forbid (principal == Remit::Workload::"spiffe://example.org/workload/stranger", action, resource);\n'
    )
    await several.b.open()
    await several.a.restart()
    grant = await several.a.start()
    for stage in several.stages * 2:
        await stage.permit(grant)
        await stage.restart()
    digests = {stage.installation.configuration.digest for stage in several.stages}
    assert len(digests) == 2
    assert {record.body["config"] for record in several.a.records("decision")} == digests


@together(count=1)
async def test_works_of_other_event_loops(several: Several) -> None:
    grant = await several.a.start()
    stage = several.a

    def ask() -> bool:
        return asyncio.run(stage.authorize(grant)).permitted

    assert await asyncio.gather(*[asyncio.to_thread(ask) for _ in range(8)]) == [True] * 8
    await look(stage.postgres)


@together(count=1)
async def test_a_work_that_never_has_enough_is_refused(several: Several, caplog: pytest.LogCaptureFixture) -> None:
    number = 0

    def work(world: World, now: int) -> Step[None]:
        nonlocal number
        number += 1
        for n in range(number):
            world.session(f"t{n}")
        world.session(f"t{number}")
        return Step(None)

    with pytest.raises(Exception, match="nothing is permitted"):
        await several.a.postgres.run(work, Needs())
    assert "ALARM a work still lacks" in caplog.text
    await several.a.permit(await several.a.start())


@together(count=1)
async def test_the_usual_works_run_once(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they say that they need is what they use; a second run would cost as much as the first."""
    stage = several.a
    again: list[object] = []
    real = PostgresStore._again
    monkeypatch.setattr(PostgresStore, "_again", lambda *args: (again.append(args[2]), real(*args))[1])
    grant = await stage.start_payment()
    assert await stage.pays(grant) == "permitted"
    assert await stage.pays(grant) == await stage.pays(grant) == "limit_reached"
    assert (await stage.probe(grant, PAY, PAYMENT)).reason.code == "limit_reached"
    await stage.change("workload/helper", "quarantined")
    await stage.risk(10, 2**50)
    await stage.governor.identities(ADMIN)
    await stage.governor.task(APP, grant.task)
    await stage.end(grant)
    assert again == []
    # What was lacking once is known the next time, as far as it depends on the session.
    person = Identity(id=spiffe("person/carol"), key="k-carol", expires=FAR)
    grant = await stage.start(person=person)
    await stage.permit(grant)
    await stage.permit(grant)
    assert len(again) == 2


# --- what it takes ----------------------------------------------------------------------------------------------

GRANTS = """
GRANT USAGE ON SCHEMA "{schema}" TO {role};
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA "{schema}" TO {role};
GRANT UPDATE ON "{schema}".streams TO {role};
GRANT UPDATE, DELETE ON "{schema}".processes TO {role};
REVOKE INSERT ON "{schema}".installation FROM {role}
"""


def test_a_role_that_can_only_append(tmp_path: Path, postgres: PostgresServer) -> None:
    """Once the tables are there, the service needs no right to change or remove a record."""

    async def story() -> None:
        async with opened(postgres, tmp_path, 1) as several:
            url, schema = several.place
            postgres.sql("CREATE ROLE appender LOGIN PASSWORD 'secret'")
            for statement in GRANTS.format(schema=schema, role="appender").split(";"):
                postgres.sql(statement, url)
            parts = urlsplit(url)
            there = urlunsplit(parts._replace(netloc=f"appender:secret@{parts.hostname}:{parts.port}"))
            write_project(tmp_path / "appender")
            stage = stage_at(tmp_path / "appender", (there, schema), tmp_path / "trust")
            await stage.open()
            try:
                grant = await stage.start_payment(prompt="words")
                assert await stage.pays(grant) == "permitted"
                await stage.change("workload/helper", "quarantined")
                assert await stage.governor.sweep_now() == 0
            finally:
                await stage.close()
            for statement in ("UPDATE records SET kind = 'x'", "DELETE FROM records", "DELETE FROM openings"):
                with pytest.raises(RuntimeError, match="permission denied"):
                    postgres.sql(f'SET search_path TO "{schema}"; {statement}', there)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (lambda url: url.replace("remit:", "remit:no"), "check the role, its password"),
        (lambda url: url.replace("/shared", "/nothing"), "check the role, its password and the database's name"),
        (lambda url: url.replace("127.0.0.1", "127.0.0.2"), "check that the database runs"),
    ],
)
def test_a_database_that_can_t_be_opened_says_why(postgres: PostgresServer, change: Any, advice: str) -> None:
    url, schema = postgres.place()
    with pytest.raises(Unavailable, match="can't open the records in PostgreSQL") as raised:
        asyncio.run(PostgresStore.open(change(url), TD, schema=schema))
    assert raised.value.code == "storage_unavailable"
    assert advice in raised.value.next_step
    password = urlsplit(url).password
    assert password is not None
    assert password not in str(raised.value)


@together(count=1)
async def test_works_that_take_long_share_no_batch(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are held for half a second of deciding, not for as long as whatever waits takes."""
    monkeypatch.setattr("remit.storage.postgres.BUSY_SECONDS", 0.02)
    order: list[int] = []

    def slow(number: int) -> Any:
        def work(world: World, now: int) -> Step[int]:
            order.append(number)
            time.sleep(0.015)
            return Step(number)

        return work

    before = several.a.postgres.gauges()["batches"]
    answers = await at_once(
        *[several.a.postgres.run(slow(number), Needs(appends=("session/t_x",))) for number in range(9)]
    )
    assert answers == order == list(range(9))
    assert several.a.postgres.gauges()["batches"] - before >= 4
