"""The audit of a whole log: whatever is changed anywhere is found; nothing is sampled."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from remit.core.errors import RemitError
from remit.ledger.tlog.audit import Audit, CompactRoot
from remit.ledger.tlog.checkpoint import Checkpoint
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.merkle import leaf_hash, root_of
from remit.ledger.tlog.note import signed_note
from remit.ledger.tlog.source import FolderSource
from tests.ledger.tlog.test_folder import entries
from tests.ledger.tlog.test_merkle import leaves
from tests.ledger.tlog.test_notes import LOG, signer


def audited(folder: Path, earlier: bytes = b"") -> tuple[list[bytes], list[tuple[str, int, str]]]:
    found: list[tuple[str, int, str]] = []
    audit = Audit(FolderSource(folder), LOG.key, lambda *finding: found.append(finding), earlier=earlier)
    checkpoint = audit.checkpoint().checkpoint
    read = [entry for _, entry in audit.entries(checkpoint)]
    assert audit.checks["entries"] == checkpoint.size
    return read, found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    LogFolder(folder, LOG).extend(entries(0, 700))
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "log")
    return tmp_path / "log"


def test_a_log_in_order_has_nothing_to_be_found(folder: Path) -> None:
    assert audited(folder) == (entries(0, 700), [])


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "tile").rglob("*") if path.is_file())


def test_every_file_matters_and_every_changed_byte_of_a_sample_is_found(folder: Path) -> None:
    assert len(files(folder)) == 7
    chance = random.Random(1)
    for path in files(folder):
        data = path.read_bytes()
        for place in {0, 1, len(data) - 1, *(chance.randrange(len(data)) for _ in range(8))}:
            changed = bytearray(data)
            changed[place] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(changed))
            assert audited(folder)[1], f"{path} at {place}"
        path.write_bytes(data[:-1])
        assert audited(folder)[1]
        path.unlink()
        assert audited(folder)[1]
        path.write_bytes(data)
    assert not audited(folder)[1]


def test_a_dropped_entry_is_found(tmp_path: Path) -> None:
    LogFolder(tmp_path, LOG).extend([*entries(0, 300), *entries(301, 400)])
    whole = tmp_path / "whole"
    LogFolder(whole, LOG).extend(entries(0, 400))
    _, found = audited(tmp_path, (whole / "checkpoint").read_bytes())
    assert [check for check, _, _ in found] == ["history"]


def test_a_forked_history_is_found_with_an_earlier_checkpoint(tmp_path: Path) -> None:
    LogFolder(tmp_path / "seen", LOG).extend(entries(0, 300))
    LogFolder(tmp_path / "forked", LOG).extend([*entries(0, 299), b"another", *entries(300, 400)])
    earlier = (tmp_path / "seen" / "checkpoint").read_bytes()
    assert audited(tmp_path / "forked")[1] == []
    assert [check for check, _, _ in audited(tmp_path / "forked", earlier)[1]] == ["history"]
    LogFolder(tmp_path / "seen", LOG).extend(entries(300, 400))
    assert audited(tmp_path / "seen", earlier)[1] == []


def test_a_rolled_back_checkpoint_is_found(folder: Path, tmp_path: Path) -> None:
    LogFolder(tmp_path / "old", LOG).extend(entries(0, 500))
    _, found = audited(tmp_path / "old", (folder / "checkpoint").read_bytes())
    assert "an earlier checkpoint had 700 entries" in found[0][2]


def test_a_root_that_was_signed_and_is_not_that_of_the_entries_is_found(folder: Path) -> None:
    text = Checkpoint(LOG.key.name, 700, leaf_hash(b"x")).text
    (folder / "checkpoint").write_bytes(signed_note(text, [LOG.sign(text)]).encode())
    assert [check for check, _, _ in audited(folder)[1]] == ["root"]


def test_a_checkpoint_of_another_key_is_no_checkpoint(folder: Path) -> None:
    other = signer("example.org/log", 9)
    text = Checkpoint(LOG.key.name, 700, root_of([leaf_hash(entry) for entry in entries(0, 700)])).text
    (folder / "checkpoint").write_bytes(signed_note(text, [other.sign(text)]).encode())
    with pytest.raises(RemitError):
        audited(folder)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 1000])
def test_the_compact_root_is_the_root(size: int) -> None:
    compact = CompactRoot()
    for leaf in leaves(size):
        compact.append(leaf)
    assert (compact.size, compact.root()) == (size, root_of(leaves(size)))


def test_a_log_that_grows_while_it_is_read_is_verified(tmp_path: Path) -> None:
    log = LogFolder(tmp_path, LOG)
    log.extend([f"{n}".encode() for n in range(300)])

    class Growing(FolderSource):
        """The checkpoint is read, and then the log grows until the partial tiles of it are gone."""

        def read(self, path: str, most: int) -> bytes:
            data = super().read(path, most)
            if path == "checkpoint":
                log.extend([f"{n}".encode() for n in range(log.size, log.size + 300)])
                assert not (tmp_path / "tile/0/001.p").exists()
                assert not (tmp_path / "tile/entries/001.p").exists()
            return data

    wrong: list[object] = []
    audit = Audit(Growing(tmp_path), LOG.key, lambda *found: wrong.append(found))
    found = [entry for _, entry in audit.entries(audit.checkpoint().checkpoint)]
    assert found == [f"{n}".encode() for n in range(300)]
    assert not wrong
