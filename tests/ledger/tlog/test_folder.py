"""A log in a folder: whatever is cut off, what was published stays, and what is written again is the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from remit.core.errors import Conflict, InvalidInput, RemitError, Unavailable
from remit.ledger.tlog import tiles
from remit.ledger.tlog.folder import Disk, LogFolder, published
from remit.ledger.tlog.merkle import is_consistent, leaf_hash, root_of
from remit.ledger.tlog.tiles import WIDTH, decode_bundle
from tests.ledger.tlog.test_notes import LOG, signer


def entries(start: int, end: int, salt: str = "") -> list[bytes]:
    return [f"record {n}{salt}".encode() for n in range(start, end)]


def read_all(folder: Path) -> list[bytes]:
    """Every entry, each bundle and each tile checked against the checkpoint."""
    signed = published(folder, LOG.key)
    size = signed.checkpoint.size if signed else 0
    found: list[bytes] = []
    for tile in tiles.bundles_of(size):
        found += decode_bundle((folder / tile.path).read_bytes(), tile.width)
    hashes = [leaf_hash(entry) for entry in found]
    if signed:
        assert signed.checkpoint.root == root_of(hashes)
    for tile in tiles.tiles_of(size):
        data = tiles.decode_tile((folder / tile.path).read_bytes(), tile.width)
        span = WIDTH**tile.level
        first = tile.index * WIDTH
        assert data == [root_of(hashes[(first + n) * span : (first + n + 1) * span]) for n in range(tile.width)]
    return found


def test_it_grows_in_steps_of_any_size_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    size = 0
    for step in (1, 2, 252, 1, 1, 255, 300, 1024, 5):
        log = LogFolder(tmp_path, LOG)
        assert log.size == size
        log.extend(entries(size, size + step))
        size += step
        assert read_all(tmp_path) == entries(0, size)
        log.close()
    assert LogFolder(tmp_path, LOG).extend([]).size == size


def test_partial_tiles_are_removed_once_the_full_one_is_published(tmp_path: Path) -> None:
    log = LogFolder(tmp_path, LOG)
    for n in range(300):
        log.extend(entries(n, n + 1))
    assert sorted(path.name for path in (tmp_path / "tile/entries").iterdir()) == ["000", "001.p"]
    assert read_all(tmp_path) == entries(0, 300)


class Cut(Exception):
    """The power is gone."""


class Failing(Disk):
    """Fails at the n-th write, rename, flush or removal; with `torn`, half of the data is on the disk."""

    def __init__(self, at: int, *, torn: bool) -> None:
        self.left = at
        self.torn = torn

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut

    def write(self, path: Path, data: bytes) -> None:
        try:
            self._step()
        except Cut:
            if self.torn:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_name(path.name + ".new").write_bytes(data[: len(data) // 2])
            raise
        super().write(path, data)

    def flush(self, folder: Path) -> None:
        self._step()
        super().flush(folder)

    def remove(self, folder: Path) -> None:
        self._step()
        super().remove(folder)


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize(("before", "more"), [(0, 1), (3, 4), (250, 10), (255, 1), (256, 600), (510, 3)])
def test_power_is_cut_at_each_step(tmp_path: Path, before: int, more: int, torn: bool) -> None:
    at = 0
    while True:
        folder = tmp_path / str(at)
        LogFolder(folder, LOG).extend(entries(0, before))
        try:
            LogFolder(folder, LOG, Failing(at, torn=torn)).extend(entries(before, before + more))
        except Cut:
            pass
        else:
            break
        assert read_all(folder) in (entries(0, before), entries(0, before + more))
        again = LogFolder(folder, LOG)
        again.extend(entries(again.size, before + more))
        assert read_all(folder) == entries(0, before + more)
        again.close()
        shutil.rmtree(folder)
        at += 1
    assert at >= 4


def test_a_full_disk_publishes_nothing_and_the_next_try_does(tmp_path: Path) -> None:
    class Full(Disk):
        full = False

        def write(self, path: Path, data: bytes) -> None:
            if self.full and path.name == "checkpoint":
                raise OSError(28, "No space left on device")
            super().write(path, data)

    disk = Full()
    log = LogFolder(tmp_path, LOG, disk)
    log.extend(entries(0, 10))
    disk.full = True
    with pytest.raises(Unavailable):
        log.extend(entries(10, 20))
    assert read_all(tmp_path) == entries(0, 10)
    disk.full = False
    log.extend(entries(10, 20))
    assert read_all(tmp_path) == entries(0, 20)


@pytest.mark.parametrize(
    "path", ["tile/0/000.p/44", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44", "checkpoint"]
)
def test_a_changed_file_stops_it(tmp_path: Path, path: str) -> None:
    LogFolder(tmp_path, LOG).extend(entries(0, 300))
    file = tmp_path / path
    if not file.exists():
        return
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(RemitError):
        LogFolder(tmp_path, LOG)


def test_another_key_does_not_go_on_with_the_log(tmp_path: Path) -> None:
    LogFolder(tmp_path, LOG).extend(entries(0, 3))
    with pytest.raises(InvalidInput):
        LogFolder(tmp_path, signer("example.org/log", 9))
    with pytest.raises(InvalidInput):
        LogFolder(tmp_path, signer("example.org/other", 1))


def test_records_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    LogFolder(tmp_path, LOG).extend(entries(0, 300))
    log = LogFolder(tmp_path, LOG)
    log.check_continues(entries(0, 300))
    log.check_continues(entries(290, 300))
    with pytest.raises(RemitError, match="not those"):
        log.check_continues(entries(0, 300, "!"))


# --- one writer, and a checkpoint that never goes back ------------------------------------------------------


def test_a_second_writer_of_a_folder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    first = LogFolder(tmp_path, LOG)
    with pytest.raises(Conflict) as caught:
        LogFolder(tmp_path, LOG)
    assert caught.value.code == "log_in_use"
    assert str(os.getpid()) in caught.value.message
    first.extend(entries(0, 3))
    first.close()
    assert LogFolder(tmp_path, LOG).size == 3


def test_a_folder_that_was_not_opened_is_not_held(tmp_path: Path) -> None:
    LogFolder(tmp_path, LOG).extend(entries(0, 3))
    for _ in range(2):
        with pytest.raises(InvalidInput):
            LogFolder(tmp_path, signer("example.org/log", 9))


def test_a_checkpoint_never_goes_back(tmp_path: Path) -> None:
    """A copy of the folder that has gone further is put in place while somebody else goes on with the older one."""
    LogFolder(tmp_path / "ahead", LOG).extend(entries(0, 20))
    log = LogFolder(tmp_path / "log", LOG)
    log.extend(entries(0, 10))
    log.append(entries(10, 15))
    note = log.sign(log.seal())
    shutil.copy(tmp_path / "ahead/checkpoint", tmp_path / "log/checkpoint")
    with pytest.raises(Conflict) as caught:
        log.publish(note)
    assert caught.value.code == "log_ahead"
    assert (tmp_path / "log/checkpoint").read_bytes() == (tmp_path / "ahead/checkpoint").read_bytes()


def test_a_checkpoint_over_other_entries_is_not_published(tmp_path: Path) -> None:
    log = LogFolder(tmp_path / "log", LOG)
    log.append(entries(0, 5))
    log.seal()
    other = LogFolder(tmp_path / "other", LOG)
    for forged in (entries(0, 5, "!"), entries(0, 6)):
        other.reset()
        other.append(forged)
        with pytest.raises(Conflict) as caught:
            log.publish(other.sign(other.seal()))
        assert caught.value.code == "log_forked"
    assert not (tmp_path / "log/checkpoint").exists()


def test_a_folder_that_is_lost_while_it_is_written_is_noticed_and_held_again(tmp_path: Path) -> None:
    log = LogFolder(tmp_path / "log", LOG)
    log.extend(entries(0, 300))
    kept = (tmp_path / "log/checkpoint").read_bytes()
    shutil.rmtree(tmp_path / "log")
    assert log.resume()
    assert (log.size, log.staged) == (0, 0)
    with pytest.raises(Conflict, match="writes the log"):
        LogFolder(tmp_path / "log", LOG)
    log.extend(entries(0, 300))
    assert (tmp_path / "log/checkpoint").read_bytes() == kept
    assert read_all(tmp_path / "log") == entries(0, 300)
    assert not log.resume()


def test_what_is_staged_in_steps_is_what_is_published_at_once(tmp_path: Path) -> None:
    log = LogFolder(tmp_path / "log", LOG)
    for n in range(0, 700, 50):
        log.append(entries(n, n + 50))
        if n % 100:
            log.seal()
        assert not (tmp_path / "log/checkpoint").exists()
    log.publish(log.sign(log.seal()))
    LogFolder(tmp_path / "other", LOG).extend(entries(0, 700))
    for tile in (*tiles.tiles_of(700), *tiles.bundles_of(700)):
        assert (tmp_path / "log" / tile.path).read_bytes() == (tmp_path / "other" / tile.path).read_bytes()
    assert (tmp_path / "log/checkpoint").read_bytes() == (tmp_path / "other/checkpoint").read_bytes()


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 700])
def test_it_proves_how_it_grew_and_what_its_root_was(tmp_path: Path, size: int) -> None:
    log = LogFolder(tmp_path, LOG)
    log.append(entries(0, 700))
    root = log.seal().root
    hashes = [leaf_hash(entry) for entry in entries(0, 700)]
    assert log.root_at(size) == root_of(hashes[:size])
    assert is_consistent(size, root_of(hashes[:size]), 700, root, log.prove(size))


def test_other_records_are_refused_also_where_a_bundle_is_full(tmp_path: Path) -> None:
    log = LogFolder(tmp_path, LOG)
    log.extend(entries(0, 256))
    log.check_continues(entries(0, 256))
    with pytest.raises(Conflict):
        log.check_continues([*entries(0, 255), b"another"])
    (tmp_path / "tile/entries/000").unlink()  # it was archived
    log.check_continues(entries(0, 256))
    with pytest.raises(Conflict):
        log.check_continues([*entries(0, 255), b"another"])


@pytest.mark.parametrize("digest", ["", "../checkpoint", "/tmp/x", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_attack_a_text_whose_digest_is_a_path(tmp_path: Path, digest: str) -> None:
    log = LogFolder(tmp_path / "log", LOG)
    log.keep_text("a" * 64, b"text")
    with pytest.raises(InvalidInput):
        log.keep_text(digest, b"another")
    assert [path.name for path in (tmp_path / "log/texts").iterdir()] == ["a" * 64]
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
