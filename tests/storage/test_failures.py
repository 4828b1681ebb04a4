"""Storage that fails: everybody is refused with the reason, nothing happened, and it recovers without a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import Conflict, Unavailable
from remit.storage.sqlite import SqliteStore
from tests.decide.stage import APP, INVOICE, MINUTE, PAY, PAYMENT, READ, Stage, staged, together


def fill(stage: Stage) -> Callable[[], None]:
    """Lets the database grow no further: a real SQLITE_FULL at one of the next commits."""
    db = stage.store._db
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")

    def over() -> None:
        db.execute("PRAGMA max_page_count = 1073741823")

    return over


def make_read_only(stage: Stage) -> Callable[[], None]:
    stage.store._db.execute("PRAGMA query_only = 1")

    def over() -> None:
        stage.store._db.execute("PRAGMA query_only = 0")

    return over


def close_connection(stage: Stage) -> Callable[[], None]:
    """Closes the connection, and lets none be opened until the failure is over."""
    stage.store._db.close()
    real = stage.store._connect

    def fails() -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    stage.store._connect = fails  # type: ignore[method-assign]

    def over() -> None:
        stage.store._connect = real  # type: ignore[method-assign]

    return over


def hold_the_lock(stage: Stage) -> Callable[[], None]:
    """Another program writes to the database and does not end."""
    stage.store._db.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(stage.folder.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM pending")

    def over() -> None:
        other.execute("ROLLBACK")
        other.close()

    return over


FAILURES = {
    "full": (fill, "the disk is full"),
    "read-only": (make_read_only, "read-only"),
    "closed": (close_connection, "look at the service's log"),
    "locked": (hold_the_lock, "look at the service's log"),
}


@staged()
async def test_a_full_disk_denies_what_does_not_fit_and_recovers(stage: Stage, caplog: Any) -> None:
    grant = await stage.start_payment()
    over = fill(stage)
    permitted, denied = [], []
    for n in range(400):
        decision = await stage.authorize(grant, READ, INVOICE | {"note": str(n) + "n" * (900 - 2 * n)})
        (permitted if decision.permitted else denied).append(decision)
    assert {(d.reason.code, d.id) for d in denied} == {("storage_unavailable", "")}
    assert len(denied) > 20
    assert "the disk is full" in denied[0].reason.next_step
    assert "ALARM" in caplog.text
    # What was permitted is recorded, and nothing else counts.
    recorded = {r.body["id"] for r in stage.records("decision") if r.body["action"] == READ}
    assert {decision.id for decision in permitted} < recorded
    session = stage.world.session(grant.task)
    assert session is not None
    assert session.calls == len(recorded) == len(permitted) + 1
    live = stage.state()
    over()
    assert await stage.pays(grant) == "permitted"
    await stage.restart()
    assert stage.state()["lives"] == live["lives"]


@pytest.mark.parametrize("kind", [kind for kind in FAILURES if kind != "full"])
@staged()
async def test_a_commit_that_fails_denies_and_recovers(
    stage: Stage, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    failure, advice = FAILURES[kind]
    grant = await stage.start_payment()
    before, records = stage.state(), stage.bytes_()
    over = failure(stage)
    decision = await stage.authorize(grant, READ, INVOICE)
    assert (decision.reason.code, decision.id) == ("storage_unavailable", "")
    assert advice in decision.reason.next_step
    assert "ALARM" in caplog.text
    # The limit of one is not spent by a payment that was never permitted, though it fails again and again.
    for _ in range(3):
        answers = await together(*[stage.authorize(grant, PAY, PAYMENT) for _ in range(3)])
        assert {answer.effect for answer in answers} == {"deny"}
    for operation in (stage.start(), stage.end(grant), stage.change("workload/finance", "quarantined")):
        with pytest.raises(Unavailable) as raised:
            await operation
        assert raised.value.code == "storage_unavailable"
    with pytest.raises(Unavailable):
        await stage.risk(99, stage.clock.now + MINUTE)
    over()
    assert stage.bytes_() == records
    answers = await together(*[stage.authorize(grant, PAY, PAYMENT) for _ in range(3)])
    assert [answer.effect for answer in answers] == ["permit", "deny", "deny"]
    assert answers[1].reason.code == "limit_reached"
    registered = stage.governor.registration(grant.workload)
    assert registered is not None
    assert registered.state == "active"
    assert stage.governor.metrics()["failed_commits"] >= 1
    live = stage.state()
    await stage.restart()
    assert stage.state() == live
    assert before["lives"] == live["lives"]


@pytest.mark.parametrize("place", ["records", "openings", "pending", "BEGIN", "COMMIT"])
@staged()
async def test_a_failure_in_the_middle_of_a_transaction_leaves_nothing_of_it(stage: Stage, place: str) -> None:
    grant = await stage.start()
    await stage.permit(grant)
    before, records = stage.state(), stage.bytes_()

    def deny(action: int, first: str | None, *_: Any) -> int:
        return sqlite3.SQLITE_DENY if place == first and action != sqlite3.SQLITE_READ else sqlite3.SQLITE_OK

    stage.store._db.set_authorizer(deny)
    # It opens a task with a prompt: a record, an opening, and a session in which something is pending.
    with pytest.raises(Unavailable):
        await stage.start(prompt="words")
    stage.store._db.set_authorizer(None)
    assert (stage.state(), stage.bytes_()) == (before, records)
    for table in ("openings", "pending"):
        rows = stage.store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        assert rows == {"openings": 0, "pending": 1}[table]
    await stage.permit(await stage.start(prompt="words"))
    assert await stage.refusal(grant, PAY, PAYMENT) == "not_justified"


@pytest.mark.parametrize("kind", FAILURES)
@staged()
async def test_what_was_due_during_a_failure_is_recorded_after_it(stage: Stage, kind: str) -> None:
    grant = await stage.start_payment()
    await stage.permit(grant, PAY, PAYMENT)
    over = FAILURES[kind][0](stage)
    stage.clock.now = grant.expires
    if kind == "full":
        await _use_up(stage)
    with pytest.raises(Unavailable):
        await stage.governor.sweep_now()
    with pytest.raises(Unavailable):
        await stage.governor.sweep_now()
    over()
    await stage.pass_(0)
    assert [r.body["result"] for r in stage.records("outcome")] == ["response", "unknown"]
    assert (await stage.governor.task(APP, grant.task)).state == "expired"


async def _use_up(stage: Stage) -> None:
    for n in range(200):
        other = stage.start("answer", prompt=f"{n}" * 500)
        try:
            await other
        except Unavailable:
            return


@staged()
async def test_identities_are_known_again_after_their_change_could_not_be_stored(stage: Stage) -> None:
    grant = await stage.start()
    over = close_connection(stage)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await stage.change("workload/finance", "quarantined")
        assert (await stage.probe(grant)).reason.code == "storage_unavailable"
    over()
    await stage.permit(grant)
    assert stage.world.configuration["config"] == stage.installation.configuration.digest


@staged()
async def test_a_session_that_can_t_be_read_denies(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = await stage.start()
    await stage.restart()
    stage.world._sessions.clear()
    over = close_connection(stage)
    for decision in (await stage.authorize(grant), await stage.probe(grant)):
        assert (decision.effect, decision.reason.code) == ("deny", "storage_unavailable")
    over()
    await stage.permit(grant)


@staged()
async def test_an_outcome_that_was_answered_and_not_stored_is_lost_not_half_kept(stage: Stage, caplog: Any) -> None:
    grant = await stage.start_payment()
    payment = await stage.permit(grant, PAY, PAYMENT)
    over = make_read_only(stage)
    receipt = await stage.report(payment, "not_executed", durable=False)
    assert receipt.standing == "believed"
    await asyncio.sleep(0.05)
    assert "ALARM" in caplog.text
    over()
    assert await stage.pays(grant) == "limit_reached"
    await stage.pass_(2 * MINUTE)
    assert stage.records("outcome")[-1].body["result"] == "unknown"
    await stage.report(payment, "not_executed")
    assert await stage.pays(grant) == "permitted"


@staged()
async def test_a_repeat_in_the_batch_that_fails_is_refused_too(stage: Stage) -> None:
    grant = await stage.start()
    over = make_read_only(stage)
    asked = [stage.authorize(grant, READ, INVOICE, idempotency_key="k") for _ in range(3)]
    answers = await together(*asked)
    assert {answer.reason.code for answer in answers} == {"storage_unavailable"}
    over()
    first = await stage.permit(grant, READ, INVOICE, idempotency_key="k")
    assert first.id not in [answer.id for answer in answers]


@staged()
async def test_folding_into_a_denial_that_was_never_stored(stage: Stage) -> None:
    grant = await stage.start()
    over = make_read_only(stage)
    assert await stage.refusal(grant, PAY, PAYMENT) == "storage_unavailable"
    assert await stage.refusal(grant, PAY, PAYMENT) == "storage_unavailable"
    over()
    decision = await stage.authorize(grant, PAY, PAYMENT)
    assert (decision.reason.code, decision.repeated) == ("not_justified", 0)
    assert stage.record_of(decision)


@staged()
async def test_texts_that_could_not_be_kept_are_kept_with_the_next_commit(stage: Stage) -> None:
    over = make_read_only(stage)
    stage.store.keep_text("a" * 64, "text")
    with pytest.raises(Unavailable):
        await stage.start()
    over()
    await stage.start()
    kept = stage.store._db.execute("SELECT content FROM texts WHERE digest = ?", ("a" * 64,)).fetchone()
    assert kept == ("text",)
    stage.store._db.execute("DELETE FROM texts WHERE digest = ?", ("a" * 64,))  # it is not the digest of anything


@staged()
async def test_a_record_that_does_not_fit_the_state_refuses_the_batch(stage: Stage, monkeypatch: Any) -> None:
    grant = await stage.start()
    before = stage.bytes_()

    def refuse(*_: Any) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(type(stage.world), "apply", refuse)
    answers = await together(stage.authorize(grant), stage.authorize(grant))
    assert {answer.reason.code for answer in answers} == {"storage_unavailable"}
    monkeypatch.undo()
    assert stage.bytes_() == before
    await stage.permit(grant)


@pytest.mark.parametrize("place", ["_commit", "_append", "_restore", "_pending_changes", "_now"])
@staged()
async def test_a_bug_in_the_sequencer_leaves_nobody_waiting(stage: Stage, place: str, monkeypatch: Any) -> None:
    grant = await stage.start()

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(SqliteStore, place, fail)
    answers = await asyncio.wait_for(together(*[stage.authorize(grant) for _ in range(5)]), 5)
    assert {answer.effect for answer in answers} == {"deny"}
    monkeypatch.undo()
    await stage.permit(grant)


# --- one sequencer ------------------------------------------------------------------------------------------


@staged()
async def test_a_second_sequencer_on_the_same_database_is_refused(stage: Stage) -> None:
    with pytest.raises(Conflict) as raised:
        await Stage(stage.folder.root, stage.clock).open()
    assert raised.value.code == "folder_in_use"
    with pytest.raises(Conflict):
        SqliteStore(stage.folder.database, "example.org", stage.clock)
    await stage.permit(await stage.start())


@staged()
async def test_the_lock_is_free_after_a_failed_opening(stage: Stage) -> None:
    await stage.close()
    intent = stage.folder.root / "intents" / "answer.yaml"
    text = intent.read_text()
    database = stage.folder.database.read_bytes()
    stage.folder.database.write_bytes(b"not a database, " * 512)
    for _ in range(2):
        with pytest.raises(Unavailable) as raised:
            await stage.open()
        assert raised.value.code == "records_damaged"
        with pytest.raises(Unavailable) as raised:
            SqliteStore(stage.folder.database, "example.org", stage.clock)
        assert raised.value.code == "storage_unavailable"
    stage.folder.database.write_bytes(database)
    await stage.open()
    assert text


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", "example.org")
    store._db.execute("PRAGMA user_version = 99")
    asyncio.run(store.close())
    with pytest.raises(Conflict) as raised:
        SqliteStore(tmp_path / "a.db", "example.org")
    assert raised.value.code == "store_newer"


def test_the_database_is_its_owner_s_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", "example.org")
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.lock").stat().st_mode & 0o777 == 0o600
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    asyncio.run(store.close())
    asyncio.run(store.close())
