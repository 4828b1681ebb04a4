"""Processes that publish one log: first all agree, then it can be seen; who was elected before decides nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remit.app import publishing
from remit.app.publishing import Publisher
from remit.core.errors import Conflict, Unavailable
from remit.ledger.tlog.checkpoint import open_checkpoint
from remit.ledger.tlog.folder import Disk, LogFolder, published
from remit.ledger.tlog.merkle import is_consistent
from remit.storage.placed import SqlitePlaced
from tests.app.test_publishing import Records
from tests.ledger.tlog.test_folder import entries, read_all
from tests.ledger.tlog.test_notes import LOG, WITNESS


class Storage:
    """What processes share, as a database has it; `elected` is the number of one of them."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.note = b""
        self.elected = 0

    def process(self, number: int) -> Process:
        return Process(self, number)


class Process:
    """Fulfils `Placed` for one process."""

    def __init__(self, storage: Storage, number: int) -> None:
        self.storage = storage
        self.number = number
        self.placed = 0
        self.resigned = 0
        self.believes = False
        self.before_agreeing: Callable[[], None] = lambda: None

    def place(self) -> bool:
        self.believes = self.storage.elected == self.number
        return self.believes

    def entries(self, start: int, most: int) -> list[bytes]:
        return self.storage.records[start : start + most]

    def agreed(self) -> bytes:
        return self.storage.note

    def agree(self, note: bytes, size: int) -> None:
        self.before_agreeing()
        if self.storage.elected != self.number:
            raise Conflict("epoch_passed", "this process is not elected to publish any more")
        assert open_checkpoint(note, LOG.key).checkpoint.size == size
        self.storage.note = note

    def resign(self) -> None:
        self.resigned += 1

    def texts(self) -> Iterator[tuple[str, str]]:
        return iter(())

    def close(self) -> None:
        pass


@pytest.fixture
def storage() -> Storage:
    return Storage()


def opened(storage: Storage, number: int, tmp_path: Path, disk: Disk | None = None) -> Publisher:
    return Publisher(storage.process(number), LogFolder(tmp_path / str(number), LOG, disk))


def heads(tmp_path: Path, *numbers: int) -> set[bytes]:
    return {(tmp_path / str(number) / "checkpoint").read_bytes() for number in numbers}


def test_the_others_publish_what_the_elected_one_did_to_the_byte(storage: Storage, tmp_path: Path) -> None:
    leader, follower = opened(storage, 0, tmp_path), opened(storage, 1, tmp_path)
    for size in (3, 256, 700, 5000):
        storage.records = entries(0, size)
        assert follower.publish() == 0 or size > 3
        leader.publish()
        follower.publish()
        assert len(heads(tmp_path, 0, 1)) == 1
        assert follower.log.size == size
    assert read_all(tmp_path / "1") == entries(0, 5000)
    assert (leader.gauges()["log_elected"], follower.gauges()["log_elected"]) == (1, 0)


def test_nothing_can_be_seen_before_all_have_agreed_on_it(storage: Storage, tmp_path: Path) -> None:
    leader = opened(storage, 0, tmp_path)
    storage.records = entries(0, 10)

    def look() -> None:
        assert published(tmp_path / "0", LOG.key) is None

    leader._records.before_agreeing = look  # type: ignore[attr-defined]
    leader.publish()
    assert leader.log.size == 10


def test_who_was_elected_before_publishes_nothing_and_follows(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is stopped after it has signed; meanwhile another one is elected and publishes less, then more."""
    stale, other = opened(storage, 0, tmp_path), opened(storage, 1, tmp_path)
    storage.records = entries(0, 20)

    def another_goes_on() -> None:
        storage.elected = 1
        storage.records = entries(0, 15)
        other.publish()
        storage.records = entries(0, 30)

    stale._records.before_agreeing = another_goes_on  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        stale._publish_all()
    assert stale.log.size == 0
    assert "ALARM" not in caplog.text
    stale._publish_all()  # 15 were agreed on, and it had staged 20
    assert stale.log.size == 15
    other.publish()
    stale.publish()
    assert len(heads(tmp_path, 0, 1)) == 1
    assert stale.log.size == 30


def test_a_process_that_ends_between_agreeing_and_publishing_publishes_the_same_later(
    storage: Storage, tmp_path: Path
) -> None:
    class Gone(Exception):
        pass

    class Dying(Disk):
        def write(self, path: Path, data: bytes) -> None:
            if path.name == "checkpoint":
                raise Gone
            super().write(path, data)

    dying = opened(storage, 0, tmp_path, Dying())
    storage.records = entries(0, 10)
    with pytest.raises(Gone):
        dying.publish()
    dying.log.close()
    storage.elected = 1
    other = opened(storage, 1, tmp_path)
    other.publish()
    opened(storage, 0, tmp_path).publish()
    assert heads(tmp_path, 0, 1) == {storage.note}


def test_a_lost_folder_is_built_again_and_shows_nothing_older_meanwhile(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "BATCH", 64)
    monkeypatch.setattr(publishing, "MOST", 128)
    storage.records = entries(0, 1000)
    leader = opened(storage, 0, tmp_path)
    while leader.publish():
        pass
    storage.records = entries(0, 1010)
    kept = (tmp_path / "0/checkpoint").read_bytes()
    shutil.rmtree(tmp_path / "0")
    leader._records.before_agreeing = lambda: heads_are(tmp_path, kept)  # type: ignore[attr-defined]
    leader.publish()
    assert leader.log.size == 1010
    assert read_all(tmp_path / "0") == entries(0, 1010)


def heads_are(tmp_path: Path, kept: bytes) -> None:
    assert heads(tmp_path, 0) == {kept}


def test_a_folder_of_another_history_stops_the_start_and_a_running_one_stops_publishing(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage.records = entries(0, 300)
    opened(storage, 0, tmp_path).publish()
    forged = LogFolder(tmp_path / "1", LOG)
    forged.extend([b"another", *entries(1, 280)])  # its last bundle is right
    forged.close()
    with pytest.raises(Conflict) as caught:
        opened(storage, 1, tmp_path)
    assert caught.value.code == "log_forked"
    # The same while it runs: the others agree on something that is not of its records.
    follower = opened(storage, 2, tmp_path)
    other = LogFolder(tmp_path / "3", LOG)
    other.append([*entries(0, 299), b"another"])
    storage.note = other.sign(other.seal())
    follower._publish_all()
    assert follower.failing == "log_forked"
    assert "ALARM" in caplog.text
    assert not (tmp_path / "2/checkpoint").exists()


def test_where_a_folder_can_t_be_written_another_process_is_let_go_on(storage: Storage, tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    full = opened(storage, 0, tmp_path, Full())
    storage.records = entries(0, 10)
    full._publish_all()
    assert full.failing == "log_unavailable"
    assert full._records.resigned == 1  # type: ignore[attr-defined]


# --- witnesses ----------------------------------------------------------------------------------------------


class Cosigner:
    """A witness that cosigns while it is there, and remembers what it was shown."""

    def __init__(self) -> None:
        self.is_there = True
        self.seen: list[tuple[int, bytes]] = []
        self.checked: list[tuple[int, bytes | None]] = []

    def check(self, size: int, root: bytes, root_at: Callable[[int], bytes | None]) -> None:
        self.checked = [(size, root), *((seen, root_at(seen)) for seen, _ in self.seen)]

    def late(self, note: bytes, size: int, prove: Callable[[int], list[bytes]]) -> list[str]:
        return []

    def cosign(self, note: bytes, size: int, prove: Callable[[int], list[bytes]]) -> list[str]:
        if not self.is_there:
            raise Unavailable("witness_quorum_missing", "nobody signs")
        checkpoint = open_checkpoint(note, LOG.key).checkpoint
        for seen, root in self.seen:
            assert is_consistent(seen, root, size, checkpoint.root, prove(seen))
        self.seen.append((size, checkpoint.root))
        return [WITNESS.sign(checkpoint.text, 1_795_000_000)]

    def close(self) -> None:
        pass


def test_without_witnesses_records_stay_pending_and_then_all_are_published(tmp_path: Path) -> None:
    records, cosigner, told = Records(tmp_path / "remit.db"), Cosigner(), list[str]()
    records.add(10)
    found = Publisher(SqlitePlaced(records.path), LogFolder(tmp_path / "log", LOG), cosigner, told.append)
    found._publish_all()
    signed = published(tmp_path / "log", LOG.key)
    assert signed is not None
    assert open_checkpoint(signed.data, LOG.key, [WITNESS.key], quorum=1).checkpoint.size == 10
    cosigner.is_there = False
    records.add(300)
    found._publish_all()
    records.add(300)
    found._publish_all()
    assert (found.failing, found.log.size) == ("witness_quorum_missing", 10)
    assert told == ["nobody signs"]
    assert found.gauges()["log_behind_seconds"] > 0
    cosigner.is_there = True
    found._publish_all()
    assert (found.failing, found.log.size) == ("", 610)
    assert told == ["nobody signs", ""]
    assert read_all(tmp_path / "log") == [str(n).encode() for n in range(610)]


def test_what_a_witness_saw_and_nobody_published_is_known_at_the_next_start(tmp_path: Path) -> None:
    """The service was killed between the witness and its own folder."""
    records, cosigner = Records(tmp_path / "remit.db"), Cosigner()
    records.add(10)
    first = Publisher(SqlitePlaced(records.path), LogFolder(tmp_path / "log", LOG), cosigner)
    first.publish()
    records.add(5)
    shutil.copytree(tmp_path / "log", tmp_path / "kept")
    first.publish()
    first.stop()
    shutil.rmtree(tmp_path / "log")
    shutil.move(tmp_path / "kept", tmp_path / "log")
    again = Publisher(SqlitePlaced(records.path), LogFolder(tmp_path / "log", LOG), cosigner)
    assert cosigner.checked[0][0] == 10
    assert cosigner.checked[1:] == cosigner.seen
    again.publish()
    assert again.log.size == 15
