"""A database that fails: nobody is permitted what is not recorded, and it recovers without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from remit.core.errors import Unavailable
from remit.decide.sequence import Entry, Needs, Step
from remit.decide.world import World
from remit.ledger.record import encode_record
from remit.storage import postgres, postgres_link
from remit.storage.postgres import PostgresStore
from remit.storage.postgres_schema import lock_key
from tests.decide.stage import APP, FINANCE, MINUTE, PAY, PAYMENT, READ, TD, Clock, Grant, write_project
from tests.decide.stage import together as at_once
from tests.postgres import PostgresServer
from tests.storage.contract.stages import PostgresStage
from tests.storage.processes.proxy import Moment, Proxy, between
from tests.storage.processes.several import Several, opened, stage_at, together, until

STATEMENTS = {
    "nothing yet": "BEGIN",
    "asking for the locks": "FROM enter(",
    "appending": "SELECT append(",
    "committing": "COMMIT",
}


@asynccontextmanager
async def through_a_proxy(server: PostgresServer, root: Path) -> AsyncIterator[tuple[PostgresStage, Proxy, Several]]:
    """A stage behind a proxy, beside one that is not."""
    async with opened(server, root, 1) as several:
        url, schema = several.place
        async with between(url) as proxy:
            write_project(root / "behind")
            stage = stage_at(root / "behind", (proxy.url, schema), root / "trust")
            await stage.open()
            try:
                yield stage, proxy, several
            finally:
                await stage.close()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STATEMENTS)
def test_the_connection_is_cut(
    tmp_path: Path, postgres: PostgresServer, step: str, moment: Moment, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with through_a_proxy(postgres, tmp_path) as (stage, proxy, several):
            grant = await stage.start_payment()
            proxy.cut(STATEMENTS[step], moment)
            answers = await at_once(*[stage.authorize(grant, PAY, PAYMENT, idempotency_key="k") for _ in range(3)])
            assert proxy.cuts == 1
            permitted = [record.body["id"] for record in several.a.records("decision") if record.body["action"] == PAY]
            if step == "committing":
                # Whether it was committed can't be known: it is refused, and the state is what was recorded.
                assert {(answer.reason.code, answer.id) for answer in answers} == {("storage_unavailable", "")}
                assert len(permitted) == (moment == "after")
            else:
                # Nothing had been committed: it is done over another connection.
                assert {answer.id for answer in answers} == set(permitted)
            again = await stage.authorize(grant, PAY, PAYMENT, idempotency_key="k")
            assert again.permitted
            if permitted:
                assert again.id == permitted[0]
            assert await stage.pays(grant) == await several.a.pays(grant) == "limit_reached"

    asyncio.run(story())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_connection_is_cut_while_an_identity_is_quarantined(
    tmp_path: Path, postgres: PostgresServer, moment: Moment
) -> None:
    async def story() -> None:
        async with through_a_proxy(postgres, tmp_path) as (stage, proxy, several):
            grant = await stage.start()
            proxy.cut("COMMIT", moment)
            with pytest.raises(Unavailable) as raised:
                await stage.change("workload/finance", "quarantined")
            assert raised.value.code == "storage_unavailable"
            reason = "identity_quarantined" if moment == "after" else "permitted"
            for each in (stage, several.a):
                assert (await each.authorize(grant)).reason.code == reason

            def known() -> bool:
                registration = stage.governor.registration(FINANCE.id)
                state = registration.state if registration else ""
                return state == ("quarantined" if moment == "after" else "active")

            await until(known, 1)

    asyncio.run(story())


def test_the_connection_that_reads_is_cut(tmp_path: Path, postgres: PostgresServer) -> None:
    async def story() -> None:
        async with through_a_proxy(postgres, tmp_path) as (stage, proxy, several):
            grant = await stage.start()
            proxy.drop()
            assert (await stage.probe(grant)).permitted
            await several.a.change("workload/finance", "quarantined")
            assert (await stage.probe(grant)).reason.code == "identity_quarantined"
            proxy.drop()
            await several.a.change("workload/finance", "active")

            def heard() -> bool:
                known = stage.governor.registration(FINANCE.id)
                return known is not None and known.state == "active"

            await until(heard, 2)

    asyncio.run(story())


def test_a_database_out_of_reach_denies_at_once_and_recovers_by_itself(
    tmp_path: Path, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with through_a_proxy(postgres, tmp_path) as (stage, proxy, several):
            grant = await stage.start()
            proxy.is_up = False
            proxy.drop()
            loop = asyncio.get_running_loop()
            for _ in range(3):
                begun = loop.time()
                answers = await at_once(*[stage.authorize(grant) for _ in range(5)], stage.probe(grant))
                assert loop.time() - begun < 1
                assert {answer.reason.code for answer in answers} == {"storage_unavailable"}
                assert "check that the database runs" in answers[0].reason.next_step
            assert "ALARM no connection to the database" in caplog.text
            await several.a.change("workload/finance", "quarantined")
            proxy.is_up = True

            begun = loop.time()
            while (await stage.authorize(grant)).reason.code == "storage_unavailable":
                await asyncio.sleep(0.01)
            assert loop.time() - begun < 2
            # What happened meanwhile is known.
            assert await stage.refusal(grant) == "identity_quarantined"

    asyncio.run(story())


def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(postgres_link, "CONNECT_SECONDS", 0.3)

    async def story() -> None:
        async with through_a_proxy(postgres, tmp_path) as (stage, proxy, _):
            grant = await stage.start()
            proxy.flowing.clear()
            decision = await asyncio.wait_for(stage.authorize(grant), 3)
            assert decision.reason.code == "storage_unavailable"
            proxy.flowing.set()
            await asyncio.sleep(0.1)
            await stage.permit(grant)

    asyncio.run(story())


def test_the_database_is_restarted_under_load(tmp_path: Path, own_postgres: PostgresServer) -> None:
    """Who asks meanwhile is denied with the reason; nothing that was permitted is lost; then it goes on."""

    async def story(how: str) -> None:
        async with opened(own_postgres, tmp_path / how, 3) as several:
            grants = [await several.a.start() for _ in range(9)]
            permitted: list[str] = []
            codes: set[str] = set()
            over = False

            async def ask(number: int) -> None:
                while not over:
                    stage = several.stages[number % 3]
                    decision = await stage.authorize(grants[number], READ, {"invoice": str(len(permitted))})
                    codes.add(decision.reason.code)
                    if decision.permitted:
                        permitted.append(decision.id)
                    await asyncio.sleep(0.001)

            asking = [asyncio.create_task(ask(number)) for number in range(9)]
            await asyncio.sleep(0.3)
            if how == "kill":
                await asyncio.to_thread(own_postgres.kill)
                await asyncio.to_thread(own_postgres.start)
            else:
                await asyncio.to_thread(own_postgres.restart, how)
            before = len(permitted)
            await until(lambda: len(permitted) > before + 30)
            over = True
            await asyncio.gather(*asking)
            assert codes <= {"permitted", "storage_unavailable"}
            recorded = {record.body["id"] for record in several.a.records("decision")}
            assert set(permitted) <= recorded

    for how in ("fast", "immediate", "kill"):
        asyncio.run(story(how))


# --- one process in the way of the others -----------------------------------------------------------------------


def test_a_process_that_is_frozen_with_its_locks_holds_up_the_others_for_a_stated_time(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "IDLE_SECONDS", 0.5)

    async def story() -> None:
        async with through_a_proxy(postgres, tmp_path) as (stage, proxy, several):
            grant = await stage.start()
            proxy.cut("SELECT append(", "before")
            # Its process stops when it has its locks: what it sends next never arrives.
            loop = asyncio.get_running_loop()
            frozen = await asyncpg.connect(
                several.place[0], server_settings={"idle_in_transaction_session_timeout": "500ms"}
            )
            await frozen.execute("BEGIN")
            await frozen.execute(
                "SELECT pg_advisory_xact_lock($1)", lock_key(several.place[1], f"session/{grant.task}")
            )
            begun = loop.time()
            decision = await several.a.authorize(grant)
            assert decision.permitted, decision.reason
            assert 0.3 < loop.time() - begun < 2
            frozen.terminate()

    asyncio.run(story())


def test_a_lock_that_is_never_given_up_denies(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "LOCK_SECONDS", 0.3)

    async def story() -> None:
        async with opened(postgres, tmp_path, 1) as several:
            grant, other = await several.a.start(), await several.a.start()
            holder = await asyncpg.connect(several.place[0])
            await holder.execute("SELECT pg_advisory_lock($1)", lock_key(several.place[1], f"session/{grant.task}"))
            decision = await several.a.authorize(grant)
            assert decision.reason.code == "storage_unavailable"
            assert "look whether one hangs" in decision.reason.next_step
            await several.a.permit(other)
            await holder.close()
            await several.a.permit(grant)

    asyncio.run(story())


@together(count=2)
async def test_connections_that_an_operator_ends(several: Several) -> None:
    grant = await several.a.start()
    for _ in range(3):
        several.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'remit%'")
        for stage in several.stages:
            await stage.permit(grant)
            assert (await stage.probe(grant)).permitted


# --- what the database refuses ----------------------------------------------------------------------------------


def refusing(several: Several, sqlstate: str) -> Any:
    """Lets every append fail with an error of this class, as the server itself would raise it."""
    several.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN RAISE 'no' USING ERRCODE = '{sqlstate}'; END$$"
    )
    several.sql("CREATE TRIGGER refuse BEFORE INSERT ON records EXECUTE FUNCTION refuse()")

    def over() -> None:
        several.sql("DROP TRIGGER refuse ON records")
        several.sql("DROP FUNCTION refuse")

    return over


@pytest.mark.parametrize(
    ("sqlstate", "advice"),
    [
        ("53100", "the database's disk is full"),
        ("25006", "the database is read-only"),
        ("40001", "look at the service's log"),
        ("40P01", "look at the service's log"),
        ("XX000", "look at the service's log"),
    ],
)
@together(count=2)
async def test_an_append_that_fails_denies_and_leaves_no_trace(
    several: Several, sqlstate: str, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await several.a.start_payment()
    before = several.a.bytes_()
    over = refusing(several, sqlstate)
    for stage in several.stages:
        answers = await at_once(*[stage.authorize(grant, PAY, PAYMENT) for _ in range(3)])
        assert {(answer.reason.code, answer.id) for answer in answers} == {("storage_unavailable", "")}
        assert advice in answers[0].reason.next_step
        for operation in (stage.start(), stage.end(grant), stage.change("workload/finance", "quarantined")):
            with pytest.raises(Unavailable):
                await operation
    assert "ALARM" in caplog.text
    assert several.a.bytes_() == before
    await several.check()
    over()
    assert [await stage.pays(grant) for stage in several.stages] == ["permitted", "limit_reached"]


@together(count=2)
async def test_a_serialization_failure_is_tried_again(several: Several) -> None:
    grant = await several.a.start()
    several.sql("CREATE SEQUENCE attempts")
    several.sql(
        "CREATE FUNCTION sometimes() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF nextval('attempts') % 3 <> 0 THEN RAISE 'no' USING ERRCODE = '40001'; END IF; RETURN NULL; END$$"
    )
    several.sql("CREATE TRIGGER sometimes BEFORE INSERT ON records EXECUTE FUNCTION sometimes()")
    for _ in range(4):
        for stage in several.stages:
            answers = await at_once(*[stage.authorize(grant, READ, {"invoice": str(n)}) for n in range(3)])
            assert all(answer.permitted for answer in answers)
    several.sql("DROP TRIGGER sometimes ON records")
    assert len(several.a.records("decision")) == 24


def test_a_database_that_became_a_replica(tmp_path: Path, own_postgres: PostgresServer) -> None:
    async def story() -> None:
        async with opened(own_postgres, tmp_path, 2) as several:
            grant = await several.a.start()
            own_postgres.sql("ALTER SYSTEM SET default_transaction_read_only = on")
            own_postgres.sql("SELECT pg_reload_conf()")
            await asyncio.sleep(0.2)
            decision = await several.a.authorize(grant)
            assert decision.reason.code == "storage_unavailable"
            assert "read-only" in decision.reason.next_step
            own_postgres.sql("ALTER SYSTEM RESET default_transaction_read_only")
            own_postgres.sql("SELECT pg_reload_conf()")

            async def works() -> bool:
                return all([(await stage.authorize(grant)).permitted for stage in several.stages])

            for _ in range(200):
                if await works():
                    break
                await asyncio.sleep(0.02)
            assert await works()

    asyncio.run(story())


# --- records that were changed from outside ---------------------------------------------------------------------


def foreign(stream: str, n: int, prev: str, kind: str, body: dict[str, Any]) -> str:
    """SQL that puts in a record past all locks, as somebody with the role's password could."""
    data = encode_record(TD, stream, n, prev, 1_900_000_000_000, kind, body)
    return (
        f"INSERT INTO records (stream, n, t, kind, bytes) "
        f"VALUES ('{stream}', {n}, 1900000000000, '{kind}', '\\x{data.hex()}')"
    )


def test_records_that_do_not_fit_refuse_their_stream_alone(
    tmp_path: Path, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        place = postgres.place()
        write_project(tmp_path)
        clock = Clock()
        stage = PostgresStage(tmp_path, clock, *place)
        await stage.open()
        grant, other = await stage.start(), await stage.start()
        await stage.permit(grant)
        stream = f"session/{grant.task}"
        sql = f'SET search_path TO "{place[1]}"; '
        before = postgres.sql(sql + f"SELECT n, leaf FROM streams WHERE name = '{stream}'", place[0])
        number = int(before[0].split("|")[0]) + 1
        outcome = {"decision": "d_nobody", "standing": "believed", "result": "response"}
        postgres.sql(sql + foreign(stream, number, "0" * 64, "outcome", outcome), place[0])
        postgres.sql(sql + f"UPDATE streams SET n = {number} WHERE name = '{stream}'", place[0])
        assert await stage.refusal(grant) == "internal_fault"
        assert (await stage.probe(grant)).reason.code == "internal_fault"
        assert f"ALARM the records of {stream} don't fit" in caplog.text
        await stage.permit(other)
        # Nor does it keep others from ending at their time.
        clock.pass_(24 * 60 * MINUTE)
        caplog.clear()
        await stage.pass_(0)
        assert f"ALARM the session {grant.task} is due and its session can't be read" in caplog.text
        assert (await stage.governor.task(APP, other.task)).state == "expired"
        postgres.sql(sql + f"DELETE FROM records WHERE stream = '{stream}' AND n = {number}", place[0])
        postgres.sql(
            sql + f"UPDATE streams SET n = {number - 1}, due = 0 WHERE name = '{stream}'",
            place[0],
        )
        await stage.pass_(MINUTE)
        assert (await stage.governor.task(APP, grant.task)).state == "expired"
        await stage.close()
        stage.verify()

    asyncio.run(story())


@together(count=2)
async def test_who_appends_without_the_lock_is_noticed(several: Several, caplog: pytest.LogCaptureFixture) -> None:
    grant = await several.a.start()
    stream = f"session/{grant.task}"

    def work(world: World, now: int) -> Step[str]:
        # Another program writes while this one decides.
        several.sql(f"UPDATE streams SET n = n + 1, t = t + 1 WHERE name = '{stream}'")
        return Step("done", (Entry(stream, "denials", {"decision": "d_x", "count": 1}),))

    with pytest.raises(Unavailable) as raised:
        await several.a.postgres.run(work, Needs(appends=(stream,)))
    assert raised.value.code == "storage_unavailable"
    assert "a stream was appended to by somebody who did not lock it" in caplog.text
    attempts = int(several.sql(f"SELECT n FROM streams WHERE name = '{stream}'")[0]) - 1
    assert attempts == postgres_attempts()
    several.sql(f"UPDATE streams SET n = n - {attempts}, t = t - {attempts} WHERE name = '{stream}'")
    for stage in several.stages:
        await stage.permit(grant)


def postgres_attempts() -> int:
    return postgres.ATTEMPTS


@together(count=2)
async def test_a_database_that_was_restored_to_an_earlier_state(
    several: Several, caplog: pytest.LogCaptureFixture
) -> None:
    """The processes were not restarted with it: what they remember is not what the records say now."""
    grant = await several.a.start_payment()
    names = ("records", "streams", "openings")
    for name in names:
        several.sql(f"CREATE TABLE kept_{name} AS TABLE {name}")
    payment = await several.a.authorize(grant, PAY, PAYMENT)
    assert payment.permitted
    lost = await several.b.start()
    for name in names:
        several.sql(f"DELETE FROM {name}")
        several.sql(f"INSERT INTO {name} SELECT * FROM kept_{name}")
    # It was never paid, as far as anybody can know; and the other one has gone on from there.
    assert await several.b.pays(grant) == "permitted"
    assert await several.a.pays(grant) == "limit_reached"
    assert await several.b.refusal(lost) == "task_unknown"
    assert "the database has another history than the one that was read before" in caplog.text


# --- a bug ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["_prepare", "_enter", "_bring", "_now", "_run", "_commit", "_answer", "_write", "_give_due", "_locate"]
)
@together(count=1)
async def test_a_bug_in_the_sequencer_leaves_nobody_waiting(
    several: Several, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await several.a.start()

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    if place != "_answer":
        monkeypatch.setattr(PostgresStore, place, fail)
        asked = [several.a.authorize(grant) for _ in range(5)]
        answers = await asyncio.wait_for(at_once(*asked, several.a.probe(grant)), 5)
        assert "permit" not in {answer.effect for answer in answers[:5]}
        monkeypatch.undo()
    await several.a.permit(grant)


@together(count=2)
async def test_a_record_that_does_not_fit_the_state_refuses_the_batch(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = await several.a.start()
    before = several.a.bytes_()

    def refuse(*_: Any) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(World, "apply", refuse)
    answers = await at_once(several.a.authorize(grant), several.a.authorize(grant))
    assert {answer.reason.code for answer in answers} == {"storage_unavailable"}
    monkeypatch.undo()
    assert several.a.bytes_() == before
    await several.b.permit(grant)
    await several.a.permit(grant)


@together(count=2)
async def test_an_outcome_that_was_answered_and_not_stored_is_lost_not_half_kept(
    several: Several, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await several.a.start_payment()
    payment = await several.a.permit(grant, PAY, PAYMENT)
    over = refusing(several, "53100")
    receipt = await several.a.report(payment, "not_executed", durable=False)
    assert receipt.standing == "believed"
    await until(lambda: "ALARM" in caplog.text)
    over()
    for stage in several.stages:
        assert await stage.pays(grant) == "limit_reached"
    await several.b.report(payment, "not_executed")
    assert await several.a.pays(grant) == "permitted"


@together(count=2)
async def test_texts_that_could_not_be_kept_are_kept_with_the_next_commit(several: Several) -> None:
    over = refusing(several, "53100")
    several.a.postgres.keep_text("a" * 64, "text")
    with pytest.raises(Unavailable):
        await several.a.start()
    over()
    await several.a.start()
    assert several.sql(f"SELECT content FROM texts WHERE digest = '{'a' * 64}'") == ["text"]
    several.sql(f"DELETE FROM texts WHERE digest = '{'a' * 64}'")  # it is not the digest of anything


@together(count=1)
async def test_what_was_due_during_a_failure_is_recorded_after_it(several: Several) -> None:
    over = refusing(several, "53100")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await several.a.start()
    over()
    grant: Grant = await several.a.start()
    await several.a.permit(grant)
    several.sql("UPDATE streams SET due = 1 WHERE due IS NOT NULL")
    over = refusing(several, "53100")

    def due(world: World, now: int) -> Step[int]:
        found = world.due(now, 10)
        world.expect([f"session/{root}" for _, root in found])
        entries = [Entry(f"session/{root}", "denials", {"decision": "d_x", "count": 1}) for _, root in found]
        return Step(len(found), tuple(entries))

    with pytest.raises(Unavailable):
        await several.a.postgres.run(due)
    over()
    assert await several.a.governor.sweep_now() == 0
    assert int(several.sql(f"SELECT due FROM streams WHERE name = 'session/{grant.task}'")[0]) > 1
