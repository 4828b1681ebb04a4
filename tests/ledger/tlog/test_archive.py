"""Old entries are moved and never lost, the log says what it lacks, and nobody else can say so for it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from remit.core.errors import Conflict, InvalidInput, NotFound, RemitError
from remit.ledger.tlog.archive import Archiving, Moved
from remit.ledger.tlog.archived import ARCHIVED, read_archived
from remit.ledger.tlog.audit import Audit
from remit.ledger.tlog.folder import Disk, LogFolder
from remit.ledger.tlog.source import FolderSource, Source, WithArchives
from tests.ledger.tlog.test_notes import LOG, signer


def entry(n: int) -> bytes:
    return b'{"n":%d,"t":%d}' % (n, n)


def bundles(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in (folder / "tile/entries").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    LogFolder(folder, LOG).extend([entry(n) for n in range(1300)])
    return folder


@pytest.fixture
def log(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "log", ignore=shutil.ignore_patterns(".lock"))
    return tmp_path / "log"


def audited(source: Source) -> tuple[int, int, list[str]]:
    """Entries that were read, those that were not, and the checks that found something."""
    found: list[str] = []
    audit = Audit(source, LOG.key, lambda check, _, __: found.append(check))
    read = [data for _, data in audit.entries(audit.checkpoint().checkpoint)]
    assert read == [entry(n) for n in range(1300 - len(read), 1300)] or found
    return audit.checks["entries"], audit.unread, found


def test_what_is_older_is_moved_whole_and_verified_with_the_archive_and_without(log: Path, tmp_path: Path) -> None:
    into = tmp_path / "archive"
    everything = bundles(log)
    size = sum((log / f"tile/entries/00{n}").stat().st_size for n in range(2))
    assert Archiving(log, into, LOG).run(before=700) == Moved(512, size, 512)
    assert bundles(into) == {"tile/entries/000", "tile/entries/001"}
    assert bundles(log) == everything - bundles(into)
    assert audited(FolderSource(log)) == (1300 - 512, 512, [])
    assert audited(WithArchives(FolderSource(log), [FolderSource(into)])) == (1300, 0, [])
    # Another time into another folder; nothing twice, and never more than what is old.
    assert Archiving(log, into, LOG).run(before=700).entries == 0
    other = tmp_path / "other"
    assert Archiving(log, other, LOG).run(before=10_000).total == 1280
    assert audited(FolderSource(log)) == (20, 1280, [])
    archives = [FolderSource(into), FolderSource(other)]
    assert audited(WithArchives(FolderSource(log), archives)) == (1300, 0, [])
    assert audited(WithArchives(FolderSource(log), archives[1:])) == (1300 - 512, 512, [])
    # And the log goes on.
    LogFolder(log, LOG).extend([entry(n) for n in range(1300, 1301)])
    assert read_archived(FolderSource(log), LOG.key).size == 1280  # type: ignore[union-attr]


def test_one_entry_that_is_not_older_keeps_all_that_follow(log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    entries = [entry(n) for n in range(1024)]
    entries[300] = entry(5000)
    LogFolder(folder, LOG).extend(entries)
    assert Archiving(folder, tmp_path / "archive", LOG).run(before=2000).total == 256
    entries[300] = b"no record, and no time"
    folder = tmp_path / "strange"
    LogFolder(folder, LOG).extend(entries)
    assert Archiving(folder, tmp_path / "elsewhere", LOG).run(before=2000).total == 256


@pytest.mark.parametrize(("size", "most"), [(1, 0), (256, 0), (257, 256), (512, 256), (513, 512)])
def test_the_last_bundle_stays_for_the_next_start_to_compare(tmp_path: Path, size: int, most: int) -> None:
    folder = tmp_path / "log"
    entries = [entry(n) for n in range(size)]
    log = LogFolder(folder, LOG)
    log.extend(entries)
    log.close()
    assert Archiving(folder, tmp_path / "archive", LOG).run(before=10_000).total == most
    again = LogFolder(folder, LOG)
    again.check_continues(entries)
    again.extend([entry(size)])


def test_a_bundle_that_was_dropped_is_missing_whatever_somebody_says(log: Path, tmp_path: Path) -> None:
    Archiving(log, tmp_path / "archive", LOG).run(before=300)
    (log / "tile/entries/002").unlink()
    assert audited(FolderSource(log))[1:] == (256, ["entries"])
    # A statement by anybody else, an older one, or one of another log is none.
    mine = (log / ARCHIVED).read_bytes()
    forger = tmp_path / "forged"
    LogFolder(forger, signer("example.org/log", 9)).extend([entry(n) for n in range(1300)])
    Archiving(forger, tmp_path / "theirs", signer("example.org/log", 9)).run(before=10_000)
    (log / ARCHIVED).write_bytes((forger / ARCHIVED).read_bytes())
    assert set(audited(FolderSource(log))[2]) == {"archived", "entries"}
    (log / ARCHIVED).write_bytes(mine.replace(b"\n256\n", b"\n768\n"))
    assert set(audited(FolderSource(log))[2]) == {"archived", "entries"}
    (log / ARCHIVED).unlink()
    assert audited(FolderSource(log))[1:] == (0, ["entries", "entries"])


def test_a_statement_over_other_entries_is_found(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    LogFolder(other, LOG).extend([entry(n + 1) for n in range(1300)])
    Archiving(other, tmp_path / "archive", LOG).run(before=600)
    (log / ARCHIVED).write_bytes((other / ARCHIVED).read_bytes())
    assert audited(FolderSource(log))[2] == ["archived"]
    longer = tmp_path / "longer"
    LogFolder(longer, LOG).extend([entry(n) for n in range(2048)])
    Archiving(longer, tmp_path / "archive2", LOG).run(before=9000)
    (log / ARCHIVED).write_bytes((longer / ARCHIVED).read_bytes())
    assert audited(FolderSource(log))[2] == ["archived"]


def test_a_changed_archive_is_found_and_gives_nothing_but_entries(log: Path, tmp_path: Path) -> None:
    into = tmp_path / "archive"
    Archiving(log, into, LOG).run(before=600)
    path = into / "tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b'"n":300', b'"n":301'))
    assert audited(WithArchives(FolderSource(log), [FolderSource(into)]))[2][0] == "entries"
    shutil.copytree(log / "tile/0", into / "tile/0")
    (log / "tile/0/000").unlink()
    assert "tiles" in audited(WithArchives(FolderSource(log), [FolderSource(into)]))[2]


def test_nothing_is_removed_that_is_not_archived(log: Path, tmp_path: Path) -> None:
    into = tmp_path / "archive"
    (into / "tile/entries").mkdir(parents=True)
    (into / "tile/entries/001").write_bytes(b"something else")
    everything = bundles(log)
    with pytest.raises(Conflict, match="something else as `tile/entries/001`"):
        Archiving(log, into, LOG).run(before=10_000)
    assert bundles(log) == everything
    path = log / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b'"n":7,', b'"n":8,'))
    with pytest.raises(InvalidInput, match="not what the tree has there"):
        Archiving(log, tmp_path / "other", LOG).run(before=10_000)
    assert bundles(log) == everything


def test_a_wrong_place_is_refused(log: Path, tmp_path: Path) -> None:
    for into in (log, log / "archive", tmp_path / "x/../log/y"):
        with pytest.raises(InvalidInput, match="own folder"):
            Archiving(log, into, LOG)
    with pytest.raises(NotFound, match="nothing is published"):
        Archiving(tmp_path / "empty", tmp_path / "into", LOG)
    with pytest.raises(RemitError):
        Archiving(log, tmp_path / "into", signer("example.org/log", 9))


class Cut(Exception):
    pass


class Cutting(Disk):
    """Ends at the n-th write or flush, before or after it."""

    def __init__(self, at: int) -> None:
        self.left = at

    def write(self, path: Path, data: bytes) -> None:
        self._step()
        super().write(path, data)
        self._step()

    def flush(self, folder: Path) -> None:
        self._step()
        super().flush(folder)

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut


def test_cut_off_anywhere_nothing_is_lost_and_the_next_call_goes_on(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.ledger.tlog.archive.STEP", 2)
    chance = random.Random(5)
    into = tmp_path / "archive"
    cuts = 0
    while True:
        try:
            Archiving(log, into, LOG, Cutting(chance.randrange(14))).run(before=10_000)
        except Cut:
            cuts += 1
        else:
            break
        assert audited(WithArchives(FolderSource(log), [FolderSource(into)])) == (1300, 0, [])
        # Without the archive nothing is missing that the log has not stated.
        assert audited(FolderSource(log))[2] == []
    assert cuts > 2
    Archiving(log, into, LOG).run(before=10_000)
    assert audited(FolderSource(log)) == (20, 1280, [])
