"""Records become a log that nobody can take back, and a log that is not theirs stops the start."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from remit.app.publishing import Publisher, log_signer, open_publisher
from remit.core.errors import Conflict, DocumentError, RemitError
from remit.core.settings import read_settings
from remit.ledger.tlog.audit import Audit
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.source import FolderSource
from remit.storage.placed import SqlitePlaced
from remit.storage.schema import prepare
from tests.cli import desk
from tests.ledger.tlog.test_notes import LOG


class Records:
    """A database with records that say nothing, for what only sees bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        prepare(self.db)

    def add(self, count: int, salt: str = "") -> None:
        (last,) = self.db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
        rows = [("s", n, 0, "mode", f"{n}{salt}".encode()) for n in range(last, last + count)]
        self.db.executemany("INSERT INTO records(stream, n, t, kind, bytes) VALUES (?, ?, ?, ?, ?)", rows)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "remit.db")


def publisher(records: Records, folder: Path) -> Publisher:
    return Publisher(SqlitePlaced(records.path), LogFolder(folder, LOG))


def test_all_records_are_published_in_their_order(records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    for count in (3, 0, 253, 1000, 1):
        records.add(count)
        with_thread = publisher(records, folder)
        with_thread.start()
        with_thread.stop()
    wrong: list[object] = []
    audit = Audit(FolderSource(folder), LOG.key, lambda *found: wrong.append(found))
    found = [entry for _, entry in audit.entries(audit.checkpoint().checkpoint)]
    assert found == [str(n).encode() for n in range(1257)]
    assert not wrong


def test_records_restored_from_an_old_backup_do_not_go_on_with_the_log(records: Records, tmp_path: Path) -> None:
    for at in (10, 256, 300, 512):
        folder = tmp_path / f"log-{at}"
        (have,) = records.db.execute("SELECT count(*) FROM records").fetchone()
        records.add(at - have)
        backup = Records(tmp_path / f"backup-{at}.db")
        records.db.backup(backup.db)
        records.add(7)
        publisher(records, folder).stop()
        with pytest.raises(Conflict) as caught:
            publisher(backup, folder)
        assert caught.value.code == "log_ahead"
        # What is recorded on the old copy is another history, also once it is as long.
        backup.add(9, "!")
        with pytest.raises(Conflict) as caught:
            publisher(backup, folder)
        assert caught.value.code == "log_forked"


def test_a_folder_that_was_lost_or_restored_from_a_copy_is_gone_on_with_to_the_same_bytes(
    records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    records.add(300)
    publisher(records, folder).stop()
    shutil.copytree(folder, tmp_path / "copy")
    records.add(300)
    publisher(records, folder).stop()
    kept = (folder / "checkpoint").read_bytes()
    for put_back in (True, False):
        shutil.rmtree(folder)
        if put_back:
            shutil.copytree(tmp_path / "copy", folder)
        publisher(records, folder).stop()
        assert (folder / "checkpoint").read_bytes() == kept
        wrong: list[object] = []
        audit = Audit(FolderSource(folder), LOG.key, lambda *found, wrong=wrong: wrong.append(found))
        assert len(list(audit.entries(audit.checkpoint().checkpoint))) == 600
        assert not wrong


def test_a_folder_that_is_lost_while_the_service_runs_is_built_again(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    records.add(300)
    found = publisher(records, folder)
    found.publish()
    kept = (folder / "checkpoint").read_bytes()
    shutil.rmtree(folder)
    found._publish_all()
    assert (folder / "checkpoint").read_bytes() == kept
    assert "was lost or replaced" in caplog.text
    assert found.failing == ""


def test_two_installations_by_mistake_on_one_folder(records: Records, tmp_path: Path) -> None:
    first = publisher(records, tmp_path / "log")
    other = Records(tmp_path / "other.db")
    with pytest.raises(Conflict) as caught:
        publisher(other, tmp_path / "log")
    assert caught.value.code == "log_in_use"
    first.stop()


def test_without_its_key_a_published_log_is_not_gone_on_with_under_another(tmp_path: Path) -> None:
    folder = desk.write_project(tmp_path / "desk")
    with (folder.root / "remit.toml").open("a") as file:
        file.write('\n[ledger]\nfolder = "log"\n')
    desk.make_history(folder)
    settings = read_settings(folder.root)
    opened = open_publisher(folder, settings)
    assert opened is not None
    opened.stop()
    folder.log_key.unlink()
    with pytest.raises(DocumentError) as caught:
        open_publisher(folder, settings)
    assert caught.value.code == "log_key_missing"
    assert not folder.log_key.exists()


def test_a_record_that_was_taken_away_is_not_passed_over(records: Records, tmp_path: Path) -> None:
    records.add(20)
    records.db.execute("DELETE FROM records WHERE seq = 7")
    found = publisher(records, tmp_path / "log")
    with pytest.raises(Conflict, match="place 6"):
        found.publish()


def test_what_can_not_be_published_stays_pending_and_is_tried_again(records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    records.add(3)
    found = publisher(records, folder)
    found.publish()
    records.add(3)
    shutil.move(folder / "tile", tmp_path / "tile")
    (folder / "tile").write_text("in the way")
    found._publish_all()
    assert found.failing == "log_unavailable"
    (folder / "tile").unlink()
    shutil.move(tmp_path / "tile", folder / "tile")
    found._publish_all()
    assert (found.failing, found.log.size) == ("", 6)


def test_the_key_of_the_log_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "log.pem"
    assert log_signer(path, "example.org/log").key == log_signer(path, "example.org/log").key
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(DocumentError):
        log_signer(path, "example.org/log")
    path.chmod(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(RemitError):
        log_signer(path, "example.org/log")
