"""Witnesses cosign what is published, and what they have seen before is never contradicted unnoticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from remit.app import witnessing
from remit.app.publishing import Publisher
from remit.app.witnessing import Witnesses, open_witnesses
from remit.core.errors import Conflict, InvalidInput, Unavailable
from remit.core.ledger import LedgerSettings, WitnessSettings
from remit.ledger.tlog.checkpoint import open_checkpoint
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.note import COSIGNATURE
from remit.ledger.tlog.witness import Reply, Witness
from remit.storage.placed import SqlitePlaced
from tests.app.test_publishing import Records
from tests.app.witness_server import LOGS, WitnessServer, witness_server
from tests.ledger.tlog.test_notes import LOG, signer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnessing, "REST_SECONDS", (0.0, 0.0))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    found = Records(tmp_path / "remit.db")
    yield found
    found.db.close()


@contextmanager
def stage(tmp_path: Path, count: int = 1) -> Iterator[list[WitnessServer]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                witness_server(tmp_path / f"w{n}", signer(f"witness.example.org/w{n}", 20 + n, COSIGNATURE))
            )
            for n in range(count)
        ]


def asking(servers: list[WitnessServer], quorum: int = 0, url: str = "") -> Witnesses:
    named = tuple(WitnessSettings(url=url or each.url, key=str(each.key)) for each in servers)
    found = open_witnesses(LedgerSettings(quorum=quorum, witnesses=named), LOG.key, Path())
    assert found is not None
    return found


@contextmanager
def publisher(records: Records, folder: Path, witnesses: Witnesses) -> Iterator[Publisher]:
    placed = SqlitePlaced(records.path)
    try:
        found = Publisher(placed, LogFolder(folder, LOG), witnesses)
    except BaseException:
        placed.close()
        witnesses.close()
        raise
    yield found
    found.stop()


def cosigned(folder: Path, servers: list[WitnessServer], quorum: int) -> int:
    note = (folder / "checkpoint").read_bytes()
    return open_checkpoint(note, LOG.key, [each.key for each in servers], quorum).checkpoint.size


def test_a_checkpoint_carries_the_lines_of_all_witnesses(records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with stage(tmp_path, 3) as servers:
        for count in (1, 300, 700):
            records.add(count)
            with publisher(records, folder, asking(servers, quorum=3)) as found:
                found.publish()
                assert cosigned(folder, servers, 3) == found.log.size
                assert [state.size for state in found._cosigner.state()] == [found.log.size] * 3  # type: ignore[union-attr]
        records.add(5)
        with publisher(records, folder, asking(servers, quorum=3)) as found:
            found.publish()
    assert all(line.endswith("200") or "404" in line for server in servers for line in server.asked)


def test_a_witness_that_is_new_or_was_away_is_proved_to_from_where_it_is(records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with stage(tmp_path, 2) as servers:
        records.add(300)
        with publisher(records, folder, asking(servers[:1], quorum=1)) as found:
            found.publish()
            records.add(300)
            found.publish()
        with publisher(records, folder, asking(servers, quorum=2)) as found:
            # What one is thought to have seen is not what it has: it says so, and the proof begins there.
            found._cosigner.witnesses[0].size = 299  # type: ignore[union-attr]
            records.add(1)
            found.publish()
            assert cosigned(folder, servers, 2) == 601
    assert "POST add-checkpoint 409" in servers[0].asked


def test_with_a_quorum_nothing_is_published_without_it(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    with stage(tmp_path, 2) as servers:
        records.add(3)
        servers[1].instead = Reply(500, b"")
        with publisher(records, folder, asking(servers, quorum=2)) as found:
            with pytest.raises(Unavailable, match=r"1 of the 2 wanted witnesses .*w1.* answers 500"):
                found.publish()
            assert not (folder / "checkpoint").exists()
            found._publish_all()
            assert found.failing == "witness_quorum_missing"
            records.add(3)
            servers[1].instead = None
            found._publish_all()
            assert (found.failing, cosigned(folder, servers, 2)) == ("", 6)
    assert "ALARM the witness witness.example.org/w1 answers 500" in caplog.text


def test_without_a_quorum_nobody_is_waited_for_for_long(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessing, "REST_SECONDS", (60.0, 60.0))
    folder = tmp_path / "log"
    with stage(tmp_path, 2) as servers:
        records.add(3)
        with publisher(records, folder, asking(servers)) as found:
            servers[1].delay = 1.0
            began = time.monotonic()
            found.publish()
            assert time.monotonic() - began < 0.9
            assert cosigned(folder, servers[:1], 1) == 3
            # It is not asked again while it has not answered, and holds up nothing.
            records.add(3)
            found.publish()
            assert cosigned(folder, servers[:1], 1) == 6
            assert sum("POST" in line for line in servers[1].asked) == 1


def test_a_dead_witness_is_an_alarm_and_is_left_to_rest(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessing, "REST_SECONDS", (60.0, 60.0))
    with stage(tmp_path) as servers:
        pass
    witnesses = asking(servers)
    with publisher(records, tmp_path / "log", witnesses) as found:
        assert "no witness answers, so that a restored backup would not be noticed" in caplog.text
        records.add(3)
        assert found.publish() == 3
    assert caplog.text.count("ALARM the witness") == 1


def test_records_restored_from_an_old_backup_are_refused_at_the_start(records: Records, tmp_path: Path) -> None:
    with stage(tmp_path) as servers:
        records.add(300)
        backup = Records(tmp_path / "backup.db")
        records.db.backup(backup.db)
        records.add(7)
        with publisher(records, tmp_path / "log", asking(servers)):
            pass
        # The folder of the log is restored too, or lost: nothing here knows better.
        with (
            pytest.raises(Conflict, match=r"cosigned 307 entries.*restored from an older copy") as caught,
            publisher(backup, tmp_path / "old", asking(servers)),
        ):
            pass
        assert caught.value.code == "witness_ahead"
        backup.add(7, "!")
        for _ in range(2):
            with pytest.raises(Conflict) as caught, publisher(backup, tmp_path / "old", asking(servers)):
                pass
            assert caught.value.code == "witness_disagrees"
            backup.add(7, "!")
        backup.db.close()


def test_a_fork_that_the_start_could_not_see_stops_publishing(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stage(tmp_path) as servers:
        records.add(300)
        backup = Records(tmp_path / "backup.db")
        records.db.backup(backup.db)
        records.add(7)
        with publisher(records, tmp_path / "log", asking(servers)):
            pass
        servers[0].instead = Reply(503, b"")
        with publisher(backup, tmp_path / "old", asking(servers)) as found:
            servers[0].instead = None
            found._publish_all()
            assert found.failing == "witness_ahead"
            backup.add(20, "!")
            found._publish_all()
            assert found.failing == "witness_disagrees"
        assert not (tmp_path / "old/checkpoint").exists()
        assert "ALARM the log can't be published" in caplog.text
        assert len(servers[0].alarms) == 2
        backup.db.close()


def test_a_service_killed_between_the_cosignature_and_the_publication_starts_again(
    records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    with stage(tmp_path) as servers:
        records.add(300)
        with publisher(records, folder, asking(servers, quorum=1)) as found:
            found.publish()
            records.add(300)

            def killed(*_: object) -> None:
                raise KeyboardInterrupt

            found.log.publish = killed  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                found.publish()
            found.log.publish = lambda _: None  # type: ignore[method-assign]
        assert cosigned(folder, servers, 1) == 300
        with publisher(records, folder, asking(servers, quorum=1)) as found:
            found.publish()
            assert cosigned(folder, servers, 1) == 600


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404, b""), "does not know this log"),
        (Reply(403, b""), "under another key"),
        (Reply(409, b"-1\n"), "409 without a size"),
        (Reply(409, b"9" * 30), "409 without a size"),
        (Reply(302, b""), "answers 302"),
        (Reply(200, b""), "no cosignature"),
        (Reply(200, b"x" * 20_000), "more than 16384 bytes"),
        (Reply(200, "— witness.example.org/w0 AAAAAA==\n".encode()), "no cosignature"),
    ],
)
def test_whatever_a_witness_answers_only_its_own_signature_counts(
    records: Records, tmp_path: Path, reply: Reply, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with stage(tmp_path) as servers:
        records.add(3)
        with publisher(records, tmp_path / "log", asking(servers)) as found:
            servers[0].instead = reply
            assert found.publish() == 3
        assert said in caplog.text
        assert (tmp_path / "log/checkpoint").read_text().count("— ") == 1


def test_a_witness_can_not_stop_a_log_by_a_claim_that_it_can_not_show(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stage(tmp_path) as servers:
        records.add(3)
        for reply in (Reply(409, b"1000\n"), Reply(422, b""), Reply(200, b"example.org/log\n9\n")):
            servers[0].instead = reply
            with publisher(records, tmp_path / "log", asking(servers)) as found:
                records.add(3)
                assert found.publish() > 0
    assert "has seen 1000 entries of this log" in caplog.text


def test_a_signature_of_another_checkpoint_is_none_of_this_one(records: Records, tmp_path: Path) -> None:
    with stage(tmp_path) as servers:
        records.add(3)
        with publisher(records, tmp_path / "log", asking(servers)) as found:
            found.publish()
            line = (tmp_path / "log/checkpoint").read_bytes().splitlines(keepends=True)[-1]
            servers[0].instead = Reply(200, line)
            records.add(1)
            found.publish()
            assert (tmp_path / "log/checkpoint").read_text().count("— ") == 1


def test_a_log_key_is_no_witness() -> None:
    with pytest.raises(InvalidInput, match="no witness's"):
        open_witnesses(
            LedgerSettings(witnesses=(WitnessSettings(url="http://127.0.0.1:1", key=str(LOG.key)),)), LOG.key, Path()
        )
    assert open_witnesses(LedgerSettings(), LOG.key, Path()) is None


def test_several_witnesses_are_asked_at_once(records: Records, tmp_path: Path) -> None:
    with stage(tmp_path, 3) as servers:
        records.add(3)
        with publisher(records, tmp_path / "log", asking(servers, quorum=3)) as found:
            for server in servers:
                server.delay = 0.4
            began = time.monotonic()
            found.publish()
            assert time.monotonic() - began < 1.0
        assert cosigned(tmp_path / "log", servers, 3) == 3


def test_a_witness_that_was_away_signs_what_is_published_once_it_is_back(records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with stage(tmp_path, 3) as servers:
        records.add(3)
        for server in servers[1:]:
            server.instead = Reply(503, b"")
        with publisher(records, folder, asking(servers, quorum=1)) as found:
            found.publish()
            assert cosigned(folder, servers[:1], 1) == 3
            found.publish()
            servers[1].instead = None
            found.publish()
            assert cosigned(folder, servers[:2], 2) == 3
            servers[2].instead = None
            found.publish()
            assert cosigned(folder, servers, 3) == 3
            # Then nobody is asked any more.
            asked = [len(server.asked) for server in servers]
            found.publish()
            assert [len(server.asked) for server in servers] == asked
            records.add(1)
            found.publish()
            assert cosigned(folder, servers, 3) == 4
        # A fork is noticed also where nothing is recorded.
        with publisher(records, folder, asking(servers)) as found:
            fork = Records(tmp_path / "fork.db")
            fork.add(9, "!")
            servers[0].witness = Witness(tmp_path / "w9", signer("witness.example.org/w0", 20, COSIGNATURE), LOGS)
            with publisher(fork, tmp_path / "forked", asking(servers[:1])):
                pass
            fork.db.close()
            note = (folder / "checkpoint").read_text().splitlines(keepends=True)
            kept = [line for line in note if "/w0 " not in line]
            (folder / "checkpoint").write_text("".join(kept))
            found._publish_all()
            assert found.failing == "witness_ahead"


@pytest.mark.parametrize(("url", "said"), [("http://127.0.0.1:1", "connection refused"), ("https://{}", "TLS fails")])
def test_why_a_witness_can_not_be_reached_is_told(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str, said: str
) -> None:
    with stage(tmp_path) as servers:
        witnesses = asking(servers, url=url.format(servers[0].url.partition("://")[2]))
        with publisher(records, tmp_path / "log", witnesses):
            assert f"can't be reached: {said}" in caplog.text
