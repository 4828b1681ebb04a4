"""`remit doctor` and the witnesses of the published log."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.app.doctor.finding import Situation, User
from remit.app.doctor.witnesses import witnesses
from remit.app.folder import Folder
from remit.app.publishing import log_signer
from remit.core.clock import system_clock
from remit.core.ledger import LedgerSettings, WitnessSettings
from remit.core.settings import Settings
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.note import COSIGNATURE
from remit.ledger.tlog.witness import request_of
from tests.app.witness_server import WitnessServer, witness_server
from tests.ledger.tlog.test_notes import LOG, signer


def situation(root: Path, servers: list[WitnessServer], quorum: int = 0) -> Situation:
    named = tuple(WitnessSettings(url=each.url, key=str(each.key)) for each in servers)
    ledger = LedgerSettings(folder="log", name=LOG.key.name, witnesses=named, quorum=quorum)
    settings = Settings(trust_domain="example.org", ledger=ledger)
    return Situation(folder=Folder(root), agent=User("a", 1, frozenset()), now=system_clock(), settings=settings)


def found(there: Situation) -> list[tuple[str, str]]:
    return [(each.level, each.message) for each in witnesses(there)]


def test_what_witnesses_say_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [level for level, _ in found(situation(tmp_path, []))] == ["warn"]
    by = log_signer(tmp_path / ".remit/log.pem", LOG.key.name)
    log = LogFolder(tmp_path / "log", by)
    one = signer("witness.example.org/w1", 21, COSIGNATURE)
    two = signer("witness.example.org/w2", 22, COSIGNATURE)
    logs = {by.key.name: by.key}
    with witness_server(tmp_path / "w1", one, logs) as first, witness_server(tmp_path / "w2", two, logs) as second:
        assert found(situation(tmp_path, [first])) == []
        log.extend([b"a", b"b"])
        note = (tmp_path / "log/checkpoint").read_bytes()
        assert first.witness.add_checkpoint(request_of(0, [], note), 1).status == 200
        log.extend([b"c"])
        there = situation(tmp_path, [first, second])
        assert found(there) == [
            ("ok", "`witness.example.org/w1` has cosigned 2 of 3 entries"),
            ("ok", "`witness.example.org/w2` has cosigned 0 of 3 entries"),
        ]
        other = LogFolder(tmp_path / "other", by)
        other.extend([b"a", b"x"])
        assert (
            second.witness.add_checkpoint(request_of(0, [], (tmp_path / "other/checkpoint").read_bytes()), 1).status
            == 200
        )
        ((level, message),) = found(there)
        assert (level, "has cosigned other first 2 entries" in message) == ("fail", True)
    for quorum, level in ((0, "warn"), (1, "warn"), (2, "fail")):
        with witness_server(tmp_path / "w1", one, logs) as first:
            answers = found(situation(tmp_path, [first, second], quorum))
        assert [each for each, _ in answers] == [level, "ok"]
