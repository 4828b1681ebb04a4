"""c2sp.org/tlog-witness: what a witness cosigns, and what it notices."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.ledger.tlog import merkle
from remit.ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from remit.ledger.tlog.folder import Disk
from remit.ledger.tlog.note import signed_note
from remit.ledger.tlog.witness import Witness, known_logs, request_of
from tests.ledger.tlog.test_merkle import leaves, nodes
from tests.ledger.tlog.test_notes import LOG, WITNESS, signer

NOW = 1_795_000_000


def made(folder: Path, disk: Disk | None = None) -> Witness:
    return Witness(folder, WITNESS, {LOG.key.name: LOG.key}, disk)


def head(hashes: list[bytes], by: object = LOG) -> bytes:
    checkpoint = Checkpoint(LOG.key.name, len(hashes), merkle.root_of(hashes))
    return signed_note(checkpoint.text, [by.sign(checkpoint.text)]).encode()  # type: ignore[attr-defined]


def step(old: int, hashes: list[bytes]) -> bytes:
    return request_of(old, merkle.consistency_proof(old, len(hashes), nodes(hashes)), head(hashes))


def test_it_cosigns_a_log_that_grows_also_after_a_restart(tmp_path: Path) -> None:
    size = 0
    for new in (1, 1, 5, 300):
        witness = made(tmp_path)
        reply = witness.add_checkpoint(step(size, leaves(new)), NOW)
        assert reply.status == 200
        note = head(leaves(new)) + reply.body
        assert open_checkpoint(note, LOG.key, [WITNESS.key], quorum=1).checkpoint.size == new
        size = new
    name = merkle.hashlib.sha256(LOG.key.name.encode()).hexdigest()
    latest = made(tmp_path).latest(name)
    assert open_checkpoint(latest.body, LOG.key, [WITNESS.key], quorum=1).checkpoint.size == 300
    assert made(tmp_path).latest("0" * 64).status == 404


def test_a_forked_history_is_noticed(tmp_path: Path) -> None:
    witness = made(tmp_path)
    assert witness.add_checkpoint(step(0, leaves(7)), NOW).status == 200
    assert witness.add_checkpoint(step(7, leaves(9, b"fork")), NOW).status == 422
    assert witness.add_checkpoint(step(7, leaves(9)), NOW).status == 200


def test_a_log_restored_from_an_old_backup_is_noticed(tmp_path: Path) -> None:
    witness = made(tmp_path)
    assert witness.add_checkpoint(step(0, leaves(7)), NOW).status == 200
    rolled_back = leaves(5)
    reply = witness.add_checkpoint(step(5, rolled_back), NOW)
    assert (reply.status, reply.body, reply.media) == (409, b"7\n", "text/x.tlog.size")
    assert witness.add_checkpoint(request_of(7, [], head(rolled_back)), NOW).status == 400
    # And what grew on the old copy is another history.
    assert witness.add_checkpoint(step(7, [*rolled_back, *leaves(4, b"new")]), NOW).status == 422


def test_the_same_size_with_another_root_is_noticed(tmp_path: Path) -> None:
    witness = made(tmp_path)
    assert witness.add_checkpoint(step(0, leaves(7)), NOW).status == 200
    assert witness.add_checkpoint(request_of(7, [], head(leaves(7, b"fork"))), NOW).status == 422
    assert witness.add_checkpoint(request_of(7, [], head(leaves(7))), NOW).status == 200


def test_what_nobody_signed_is_refused(tmp_path: Path) -> None:
    witness = made(tmp_path)
    assert witness.add_checkpoint(request_of(0, [], head(leaves(3), signer("example.org/log", 9))), NOW).status == 403
    text = Checkpoint(LOG.key.name, 3, merkle.root_of(leaves(3))).text
    line = f"— {LOG.key.name} {base64.b64encode(LOG.key.id + bytes(64)).decode()}\n"
    assert witness.add_checkpoint(request_of(0, [], signed_note(text, [line]).encode()), NOW).status == 403
    other = Checkpoint("example.org/other", 0, merkle.EMPTY)
    note = signed_note(other.text, [LOG.sign(other.text)]).encode()
    assert witness.add_checkpoint(request_of(0, [], note), NOW).status == 404
    assert witness.latest("0").status == 404


def test_a_proof_for_nothing_is_refused(tmp_path: Path) -> None:
    witness = made(tmp_path)
    assert witness.add_checkpoint(request_of(0, [merkle.EMPTY], head(leaves(3))), NOW).status == 422
    assert witness.add_checkpoint(request_of(0, [merkle.EMPTY] * 64, head(leaves(3))), NOW).status == 400


def test_a_checkpoint_that_can_not_be_kept_is_not_cosigned(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    assert made(tmp_path, Full()).add_checkpoint(step(0, leaves(3)), NOW).status == 500
    assert made(tmp_path).add_checkpoint(step(0, leaves(3)), NOW).status == 200


def test_a_memory_that_can_not_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    assert made(tmp_path).add_checkpoint(step(0, leaves(3)), NOW).status == 200
    (file,) = tmp_path.glob("*/checkpoint")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InvalidInput):
        made(tmp_path)


def test_a_witness_key_is_no_log_key() -> None:
    assert known_logs([str(LOG.key)]) == {LOG.key.name: LOG.key}
    for keys in ([str(WITNESS.key)], [str(LOG.key), str(LOG.key)], ["nothing"]):
        with pytest.raises(InvalidInput):
            known_logs(keys)


@given(body=st.binary(max_size=400))
def test_any_bytes_get_an_answer(body: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    witness = made(tmp_path_factory.mktemp("witness"))
    for prefix in (b"", b"old 0\n", b"old 0\n\n", b"old 0\n\nexample.org/log\n"):
        assert witness.add_checkpoint(prefix + body, NOW).status in (400, 403, 404, 413, 422)


def test_contradictions_are_alarms_and_both_checkpoints_are_kept(tmp_path: Path) -> None:
    said: list[str] = []
    witness = Witness(tmp_path, WITNESS, {LOG.key.name: LOG.key}, alarm=said.append)
    witness.add_checkpoint(step(0, leaves(7)), NOW)
    witness.add_checkpoint(step(0, leaves(7)), NOW)  # a log that has forgotten where the witness is
    witness.add_checkpoint(request_of(3, [], head(leaves(9))), NOW)
    assert said == []
    for hashes, old in ((leaves(7, b"fork"), 7), (leaves(5), 5), (leaves(9, b"fork"), 7)):
        for _ in range(2):
            assert witness.add_checkpoint(step(old, hashes), NOW).status in (409, 422)
    assert [line.partition(": it ")[2].partition(" ")[0] for line in said] == ["was", "was", "can't"]
    kept = sorted(tmp_path.glob("*/evidence/*"))
    assert len(kept) == 3
    for pair in kept:
        assert str(pair) in " ".join(said)
        assert open_checkpoint((pair / "cosigned").read_bytes(), LOG.key, [WITNESS.key], 1).checkpoint.size == 7
        assert open_checkpoint((pair / "offered").read_bytes(), LOG.key)
    # A restarted witness has them still, and does not say it again.
    again = Witness(tmp_path, WITNESS, {LOG.key.name: LOG.key}, alarm=said.append)
    assert again.add_checkpoint(step(5, leaves(5)), NOW).status == 409
    assert len(said) == 3


def test_what_the_log_has_not_signed_is_no_evidence(tmp_path: Path) -> None:
    said: list[str] = []
    witness = Witness(tmp_path, WITNESS, {LOG.key.name: LOG.key}, alarm=said.append)
    witness.add_checkpoint(step(0, leaves(7)), NOW)
    witness.add_checkpoint(request_of(7, [], head(leaves(7, b"fork"), signer("example.org/log", 9))), NOW)
    assert said == []
    assert not list(tmp_path.glob("*/evidence"))


def test_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.ledger.tlog.witness.EVIDENCE_KEPT", 3)
    said: list[str] = []
    witness = Witness(tmp_path, WITNESS, {LOG.key.name: LOG.key}, alarm=said.append)
    witness.add_checkpoint(step(0, leaves(7)), NOW)
    for n in range(1, 7):
        witness.add_checkpoint(step(n, leaves(n)), NOW)
    assert len(list(tmp_path.glob("*/evidence/*"))) == 3
    assert "is full" in said[-1]


def test_an_empty_log_has_one_root(tmp_path: Path) -> None:
    text = Checkpoint(LOG.key.name, 0, bytes(32)).text
    note = signed_note(text, [LOG.sign(text)]).encode()
    assert made(tmp_path).add_checkpoint(request_of(0, [], note), NOW).status == 422
    assert made(tmp_path).add_checkpoint(step(0, []), NOW).status == 200


def test_cut_off_anywhere_it_remembers_whatever_it_cosigned(tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    class Cutting(Disk):
        left = 0

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

    given = size = 0
    for at in range(24):
        disk = Cutting()
        disk.left = at % 6
        witness = made(tmp_path, disk)
        size = witness.sizes()[LOG.key.name]
        assert size >= given  # what was given is never forgotten
        try:
            assert witness.add_checkpoint(step(size, leaves(size + 3)), NOW).status == 200
        except Cut:
            # What was not given may be remembered, or not: it goes on from either.
            continue
        given = size + 3
    assert given


def test_of_two_at_once_the_smaller_one_never_rolls_the_larger_one_back(tmp_path: Path) -> None:
    witness = made(tmp_path)
    witness.add_checkpoint(step(0, leaves(2)), NOW)
    sizes = range(3, 43)
    replies: list[int] = []

    def offer(size: int) -> None:
        replies.append(witness.add_checkpoint(step(2, leaves(size)), NOW).status)

    threads = [threading.Thread(target=offer, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200] + [409] * (len(sizes) - 1)
    assert made(tmp_path).sizes() == witness.sizes()
