"""Receipts: what they prove, and every way in which one that was made up, mixed or changed is refused."""

from __future__ import annotations

import contextlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import canonical
from remit.core.errors import Conflict, InvalidInput, NotFound, RemitError, TooLarge, Unavailable
from remit.ledger import receipt as receipts
from remit.ledger.commitments import conceal
from remit.ledger.opened import Opening
from remit.ledger.proven import Proven, verify_receipt
from remit.ledger.proving import Prover
from remit.ledger.receipt import Entry, Receipt, decode_receipt, entry_of, read_receipt
from remit.ledger.record import ADMINISTRATION, encode_record, leaf_hash
from remit.ledger.statement import as_json, statement_of
from remit.ledger.tlog.proof import Proof, read_proof
from tests.ledger.story import AGENT, CONFIG, PEP, ROOT, SESSION, STARTER, TEXTS, begin
from tests.ledger.tlog.memory import MemoryLog
from tests.ledger.tlog.test_notes import LOG, WITNESS, signer

SALT = bytes(range(16))
EMAIL = "ann@example.org"


class Case:
    """A story in a log: a permit with a personal argument and its outcome, and another permit."""

    def __init__(self) -> None:
        story = begin()
        body, self.kept = conceal({"input": {"email": EMAIL, "n": 1}}, ["input.email"], lambda: SALT, at="/context")
        self.id = story.decision(context=body)
        story.outcome(self.id)
        self.other = story.decision()
        story.outcome(self.other, "error")
        self.denied = story.decision("deny")
        story.append(SESSION, "denials", {"decision": self.denied, "count": 2})
        story.task(ROOT, "completed", by=STARTER, reason="")
        self.story = story
        self.entries = [line for lines in story.streams.values() for line in lines]
        self.log = MemoryLog(self.entries, LOG, WITNESS)

    def line(self, kind: str, **wanted: Any) -> bytes:
        """The record of this kind with these fields."""
        for line in self.entries:
            record = json.loads(line)
            if record["kind"] == kind and record["body"].items() >= wanted.items():
                return line
        raise AssertionError(kind)

    def entry(self, kind: str, **wanted: Any) -> Entry:
        line = self.line(kind, **wanted)
        return Prover(self.log, LOG.key).prove(self.entries.index(line), line)

    def receipt(self, **changed: Any) -> Receipt:
        whole = Receipt(
            id=self.id,
            entries=(
                self.entry("configuration"),
                self.entry("task", state="open"),
                self.entry("decision", id=self.id),
                self.entry("outcome", decision=self.id),
            ),
            texts=dict(TEXTS),
        )
        return msgspec.structs.replace(whole, **changed)

    @property
    def opening(self) -> Opening:
        [(path, salt, value)] = self.kept
        return Opening(leaf_hash(self.line("decision", id=self.id)), path, salt.hex(), value)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def refused(receipt: Receipt, said: str, **more: Any) -> None:
    with pytest.raises((InvalidInput, TooLarge), match=said):
        verify_receipt(decode_receipt(receipt.encode()), more.pop("log", LOG.key), **more)


def verified(receipt: Receipt, **more: Any) -> Proven:
    return verify_receipt(decode_receipt(receipt.encode()), LOG.key, **more)


# --- what it proves -----------------------------------------------------------------------------------------


def test_a_receipt_proves_who_what_when_and_by_which_policies(case: Case) -> None:
    proven = verified(case.receipt(), witnesses=[WITNESS.key], quorum=1)
    assert [record.kind for record in proven.records] == ["configuration", "task", "decision", "outcome"]
    assert (proven.kind, proven.log, proven.size) == ("decision", LOG.key.name, len(case.entries))
    said = statement_of(proven)
    proves = dict(said.proves)
    assert AGENT in proves["who"]
    assert PEP in proves["asked by"]
    assert proves["action"] == "payments/pay (effect: pay)"
    assert proves["decision"].startswith("permit")
    assert "2027-01-15" in proves["when"]
    assert "`pay-invoice`" in proves["task"]
    assert CONFIG in proves["decided by"]
    assert proves["outcome"].endswith(f"response (believed), by {PEP}")
    assert "2027-01-15" in proves["witness"]
    assert {label for label, _ in said.proves} >= {"text"}
    assert any("1 personal value" in line for line in said.not_proved)
    assert as_json(proven)["failed"] is False


def test_without_witnesses_it_says_that_others_may_see_another_log(case: Case) -> None:
    assert any("no witness" in line for line in statement_of(verified(case.receipt())).not_proved)


def test_what_was_opened_is_told_and_nothing_else(case: Case) -> None:
    closed = as_json(verified(case.receipt()))
    assert EMAIL not in json.dumps(closed)
    assert "argument: email is a personal value, which is not opened to you" in closed["proves"]
    assert "argument: n is 1" in closed["proves"]
    assert closed["concealed"] == 1
    proven = verified(case.receipt(openings=(case.opening,)))
    assert (proven.concealed, proven.opened[0].value) == (0, EMAIL)
    assert ("argument", f'email is "{EMAIL}"') in statement_of(proven).proves
    beside = verified(case.receipt(), openings=[case.opening])
    assert beside.opened == proven.opened


def test_a_denial_and_a_task_have_receipts_too(case: Case) -> None:
    denied = (case.entry("decision", id=case.denied), case.entry("denials"))
    proven = verified(case.receipt(id=case.denied, entries=denied, texts={}))
    assert dict(statement_of(proven).proves)["repeated"].endswith("2 identical denials more")
    task = (case.entry("configuration"), case.entry("task", state="open"), case.entry("task", state="completed"))
    assert verified(case.receipt(id=ROOT, entries=task)).kind == "task"


def test_the_order_of_entries_says_nothing(case: Case) -> None:
    assert verified(case.receipt(entries=case.receipt().entries[::-1])) == verified(case.receipt())


def test_a_record_cannot_write_on_the_terminal_of_whoever_checks_it() -> None:
    story = begin()
    id_ = story.decision(reason={"code": "\x1b[2J", "message": "\x07", "nextStep": "", "policies": []})
    entries = [line for lines in story.streams.values() for line in lines]
    prover = Prover(MemoryLog(entries, LOG), LOG.key)
    line = story.streams[SESSION][-1]
    said = statement_of(verified(Receipt(id=id_, entries=(prover.prove(entries.index(line), line),))))
    assert all(text.isprintable() for _, text in said.proves)


# --- attacks ------------------------------------------------------------------------------------------------


def test_a_receipt_with_another_entry_is_refused(case: Case) -> None:
    mine, other = case.entry("decision", id=case.id), case.entry("decision", id=case.other)
    refused(case.receipt(entries=(Entry(other.entry, mine.proof),)), "do not lead")
    forged = mine.data.replace(b'"effect":"permit"', b'"effect":"deny"')
    refused(case.receipt(entries=(entry_of(forged, mine.proof.encode()),)), "do not lead")


def test_a_proof_for_another_place_is_refused(case: Case) -> None:
    mine = case.entry("decision", id=case.id)
    proof = read_proof(mine.proof.encode())
    for index in (proof.index - 1, proof.index + 1, 10**18):
        moved = Proof(index, proof.hashes, proof.checkpoint)
        refused(case.receipt(entries=(Entry(mine.entry, moved.encode().decode()),)), "do not lead")
    cut = Proof(proof.index, proof.hashes[:-1], proof.checkpoint)
    refused(case.receipt(entries=(Entry(mine.entry, cut.encode().decode()),)), "do not lead")


def test_a_checkpoint_of_another_key_is_refused(case: Case) -> None:
    refused(case.receipt(), "given keys", log=signer("example.org/log", 9).key)
    refused(case.receipt(), "given keys", log=signer(LOG.key.name, 9).key)
    theirs = Prover(MemoryLog(case.entries, signer(LOG.key.name, 9)), signer(LOG.key.name, 9).key)
    line = case.line("decision", id=case.id)
    refused(case.receipt(entries=(theirs.prove(case.entries.index(line), line),)), "given keys")


def test_a_checkpoint_that_the_wanted_witnesses_did_not_see_is_refused(case: Case) -> None:
    other = signer("other.example/witness", 7, 4)
    refused(case.receipt(), "1 of the given witnesses .* 2 are wanted", witnesses=[WITNESS.key, other.key], quorum=2)


def test_two_histories_under_one_key_are_told(case: Case) -> None:
    forged = [*case.entries[:-1], case.entries[-1].replace(b'"state":"completed"', b'"state":"cancelled"')]
    line = case.line("configuration")
    entry = Prover(MemoryLog(forged, LOG), LOG.key).prove(forged.index(line), line)
    refused(case.receipt(entries=(entry, case.entry("decision", id=case.id))), "two histories")


def test_an_opening_of_another_record_is_refused(case: Case) -> None:
    other = msgspec.structs.replace(case.opening, leaf=leaf_hash(case.line("decision", id=case.other)))
    refused(case.receipt(openings=(other,)), "which is not in this receipt")
    outcome = msgspec.structs.replace(case.opening, leaf=leaf_hash(case.line("outcome", decision=case.id)))
    refused(case.receipt(openings=(outcome,)), "is not of the record")
    refused(case.receipt(openings=(msgspec.structs.replace(case.opening, value="eve"),)), "is not of the record")
    refused(case.receipt(openings=(case.opening, case.opening)), "opened twice")


def test_a_decision_id_that_is_not_in_the_entry_is_refused(case: Case) -> None:
    refused(case.receipt(id="d_unknown"), "no entry is the decision or task `d_unknown`")
    refused(case.receipt(id=case.other), "no entry is")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("outcome", lambda case: {"decision": case.other}),
        ("decision", lambda case: {"id": case.other}),
        ("denials", lambda _: {}),
        ("task", lambda _: {"state": "completed"}),
        ("identity", lambda _: {}),
    ],
)
def test_an_entry_that_is_about_something_else_is_refused(
    case: Case, kind: str, wanted: Callable[[Case], dict[str, Any]]
) -> None:
    more = case.entry(kind, **wanted(case))
    refused(case.receipt(entries=(*case.receipt().entries, more)), f"the {kind} at place .* is not about")


def test_a_configuration_that_did_not_decide_is_refused() -> None:
    story = begin()
    parts = {"policies": canonical.sha256(b"[]")}
    story.append(ADMINISTRATION, "configuration", {"config": canonical.digest(parts), **parts})
    story.append(ADMINISTRATION, "configuration", {"config": CONFIG, **parts})
    id_ = story.decision()
    entries = [line for lines in story.streams.values() for line in lines]
    prover = Prover(MemoryLog(entries, LOG), LOG.key)
    decision = prover.prove(len(entries) - 1, entries[-1])
    for n in (1, 2):
        line = story.streams[ADMINISTRATION][n]
        entry = prover.prove(entries.index(line), line)
        refused(Receipt(id=id_, entries=(entry, decision)), "the configuration at place .* is not about")


def test_an_outcome_with_another_digest_is_refused(case: Case) -> None:
    story = begin()
    id_ = story.decision()
    story.outcome(id_, digest="0" * 64)
    entries = [line for lines in story.streams.values() for line in lines]
    prover = Prover(MemoryLog(entries, LOG), LOG.key)
    both = tuple(prover.prove(place, entries[place]) for place in (len(entries) - 2, len(entries) - 1))
    refused(Receipt(id=id_, entries=both), "the outcome at place .* is not about")


def test_an_entry_that_is_given_twice_is_refused(case: Case) -> None:
    entry = case.entry("decision", id=case.id)
    refused(case.receipt(entries=(entry, entry)), "stands in it twice")


def test_records_of_two_installations_are_refused(case: Case) -> None:
    line = json.loads(case.line("task", state="open"))
    foreign = encode_record("other.example", SESSION, 1, "", line["t"], "task", line["body"])
    entries = [*case.entries, foreign]
    prover = Prover(MemoryLog(entries, LOG), LOG.key)
    mine = case.line("decision", id=case.id)
    both = (prover.prove(len(entries) - 1, foreign), prover.prove(entries.index(mine), mine))
    refused(case.receipt(entries=both, texts={}), "several installations")


def test_a_record_out_of_the_order_of_its_stream_is_refused(case: Case) -> None:
    entries = case.entries[::-1]
    prover = Prover(MemoryLog(entries, LOG), LOG.key)
    lines = [case.line("decision", id=case.id), case.line("outcome", decision=case.id)]
    receipt = case.receipt(entries=tuple(prover.prove(entries.index(line), line) for line in lines), texts={})
    refused(receipt, "stands in the log after record")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (b"{}", "missing required field"),
        (b"nonsense", "it is not JSON"),
        (b'{"body":{},"kind":"mode","n":1,"prev":"","stream":"administration","t":1,"td":"x","v":2}', "version 2"),
        (b'{"body":{},"kind":"new","n":1,"prev":"","stream":"administration","t":1,"td":"x","v":1}', "kind `new`"),
        (b'{"kind":"mode","body":{},"n":1,"prev":"","stream":"administration","t":1,"td":"x","v":1}', "canonical"),
        (b'{"body":{},"kind":"mode","n":1,"prev":"","stream":"administration","t":1,"td":"x","v":1}', "field `mode`"),
    ],
)
def test_an_entry_of_the_log_that_is_no_good_record_is_refused(case: Case, entry: bytes, said: str) -> None:
    proof = Prover(MemoryLog([entry], LOG), LOG.key).prove(0, entry)
    refused(case.receipt(entries=(proof,)), said)


def test_a_text_that_is_another_or_did_not_decide_is_refused(case: Case) -> None:
    digest = next(iter(TEXTS))
    refused(case.receipt(texts=TEXTS | {digest: TEXTS[digest] + " "}), "not what its digest says")
    stray = {canonical.sha256(b"forbid (principal, action, resource);"): "forbid (principal, action, resource);"}
    refused(case.receipt(texts=TEXTS | stray), "none that decided")
    refused(case.receipt(entries=(case.entry("decision", id=case.id),)), "none that decided")


# --- form and bounds ----------------------------------------------------------------------------------------


def test_a_receipt_over_its_bounds_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = case.entry("decision", id=case.id)
    with pytest.raises(InvalidInput, match="length <= 64"):
        decode_receipt(case.receipt(entries=(entry,) * 65).encode())
    with pytest.raises(InvalidInput, match="length"):
        decode_receipt(case.receipt(entries=(Entry("A" * 90_000, entry.proof),)).encode())
    with pytest.raises(InvalidInput, match="length"):
        decode_receipt(case.receipt(entries=(Entry(entry.entry, "x" * 300_000),)).encode())
    monkeypatch.setattr(receipts, "TEXTS", 1)
    with pytest.raises(InvalidInput, match="more than 1 texts"):
        decode_receipt(case.receipt().encode())
    monkeypatch.setattr(receipts, "RECEIPT_BYTES", 1000)
    with pytest.raises(TooLarge):
        decode_receipt(case.receipt().encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"v":1}',
        b'{"v":2,"id":"d","entries":[]}',
        b'{"v":1,"id":"d","entries":[]}',
        b'{"v":1,"id":"d","entries":[{"entry":"YQ==","proof":"x"}],"more":1}',
        b'{"v":1,"id":"d","entries":[{"entry":"YQ==","proof":"x"}],"openings":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"v":1,"id":"d","entries":[{"entry":"YQ==","proof":"x"}],"texts":{"../x":""}}',
    ],
)
def test_malformed_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_receipt(data)
    assert caught.value.code == "receipt_malformed"


def test_an_entry_has_one_spelling(case: Case) -> None:
    entry = case.entry("decision", id=case.id)
    padded = entry.entry.rstrip("=")
    loose = b64encode(b64decode(entry.entry) + b"\n").decode() if padded == entry.entry else padded
    for text in (loose, f" {entry.entry}", "!!!!", f"{entry.entry}\n"):
        refused(case.receipt(entries=(Entry(text, entry.proof),)), "base64|do not lead|length")


def test_a_receipt_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound, match="not a file"):
        read_receipt(tmp_path / "pipe")
    with pytest.raises(NotFound, match="can't read"):
        read_receipt(tmp_path / "none")


@given(place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_any_changed_bit_of_a_receipt_is_refused_or_changes_nothing(case: Case, place: int, bit: int) -> None:
    data = bytearray(case.receipt(openings=(case.opening,)).encode())
    honest = verified(decode_receipt(bytes(data)))
    data[place % len(data)] ^= 1 << bit
    with contextlib.suppress(RemitError):
        assert verify_receipt(decode_receipt(bytes(data)), LOG.key).records == honest.records


# --- making one ---------------------------------------------------------------------------------------------


def test_a_record_that_is_not_published_yet_is_pending(case: Case) -> None:
    with pytest.raises(Unavailable) as caught:
        Prover(case.log, LOG.key).prove(len(case.entries), b"{}")
    assert (caught.value.code, "again" in caught.value.next_step) == ("record_pending", True)


def test_nothing_is_proved_that_the_log_does_not_hold(case: Case) -> None:
    with pytest.raises(Conflict, match="another entry"):
        Prover(case.log, LOG.key).prove(0, case.entries[1])
    broken = MemoryLog(case.entries, LOG)
    tile = next(path for path in broken.files if path.startswith("tile/0/"))
    broken.files[tile] = bytes(len(broken.files[tile]))
    with pytest.raises(Conflict, match="do not fit"):
        Prover(broken, LOG.key).prove(0, case.entries[0])


def test_entries_of_a_large_log_are_proved() -> None:
    lines = [b'{"n":%d}' % n for n in range(1000)]
    log = MemoryLog(lines, LOG)
    prover = Prover(log, LOG.key)
    for place in (0, 255, 256, 511, 767, 768, 998, 999):
        assert prover.prove(place, lines[place]).data == lines[place]
