"""Looking at records in pieces: damage is found wherever it is, and what is whole is passed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from remit.app.readiness import Readiness
from remit.app.soundness import Watch
from remit.core.errors import Unavailable
from remit.ledger.record import encode_record, leaf_hash
from remit.storage import soundness
from remit.storage.schema import prepare
from remit.storage.soundness import Walk, check_file

RECORDS = 1200


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "remit.db"
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db)
    heads: dict[str, tuple[int, str]] = {}
    db.execute("BEGIN")
    for number in range(RECORDS):
        stream = f"session/t_{number % 7}"
        n, link = heads.get(stream, (0, ""))
        data = encode_record("test.internal", stream, n + 1, link, number, "outcome", {"count": number})
        heads[stream] = (n + 1, leaf_hash(data))
        db.execute(
            "INSERT INTO records (stream, n, t, kind, key, bytes) VALUES (?, ?, ?, 'outcome', NULL, ?)",
            (stream, n + 1, number, data),
        )
    db.execute("COMMIT")
    db.close()
    return path


def change(path: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(path) as db:
        db.execute(sql, values)
    db.close()


def walked(path: Path, published: Callable[[int], str | None] = lambda _: None) -> int:
    walk = Walk(path, published)
    count = 0
    while not walk.is_done:
        count += walk.step(0.0)
    return count


def test_all_records_are_looked_at_in_pieces(database: Path) -> None:
    assert check_file(database, 10)
    assert walked(database) == RECORDS


def test_a_look_that_takes_too_long_ends(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "_OPERATIONS", 1)
    assert not check_file(database, -1)
    walk = Walk(database, lambda _: None)
    assert 0 < walk.step(0.0) < RECORDS
    assert not walk.is_done


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("UPDATE records SET bytes = CAST(replace(bytes, 'count', 'cound') AS BLOB) WHERE seq = 41", ()),
        ("UPDATE records SET bytes = x'7b7d' WHERE seq = 30", ()),
        ("UPDATE records SET stream = 'session/t_x' WHERE seq = 30", ()),
        ("UPDATE records SET t = t + 1 WHERE seq = 30", ()),
        ("DELETE FROM records WHERE seq = 30", ()),
        ("UPDATE records SET bytes = (SELECT bytes FROM records WHERE seq = 37) WHERE seq = 30", ()),
    ],
)
def test_a_record_that_is_not_what_was_written(database: Path, sql: str, values: tuple[object, ...]) -> None:
    change(database, sql, *values)
    with pytest.raises(Unavailable) as raised:
        walked(database)
    assert raised.value.code == "records_damaged"
    assert raised.value.next_step


def test_the_last_record_of_a_stream_is_compared_with_the_log(database: Path) -> None:
    with sqlite3.connect(database) as db:
        hashes = [leaf_hash(data) for (data,) in db.execute("SELECT bytes FROM records ORDER BY seq")]
    db.close()
    assert walked(database, lambda place: hashes[place]) == RECORDS
    hashes[-1] = "0" * 64
    assert walked(database) == RECORDS
    with pytest.raises(Unavailable, match="not the one that was published"):
        walked(database, lambda place: hashes[place] if place < RECORDS else None)


def test_a_text_that_was_changed(database: Path) -> None:
    change(database, "INSERT INTO texts VALUES (?, 'permit (principal, action, resource);')", "0" * 64)
    with pytest.raises(Unavailable, match="not what its digest says"):
        check_file(database, 10)


class Quiet:
    def gauges(self) -> dict[str, int]:
        return {"commits": 0, "failed_commits": 0}


def test_damage_that_is_found_later_is_an_alarm_and_no_longer_ready(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("remit.app.soundness.EVERY_SECONDS", 0.001)
    change(database, "UPDATE records SET t = t + 1 WHERE seq = 3")
    watch = Watch(Walk(database, lambda _: None))
    ready = Readiness(Quiet(), wrong=lambda: watch.wrong)  # type: ignore[arg-type]  # of the store, its gauges only
    assert ready() == ""
    watch.start()
    watch._thread.join(30)
    watch.stop()
    assert "place 2" in ready()
    assert any("ALARM" in record.message for record in caplog.records)
