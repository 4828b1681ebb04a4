"""c2sp.org signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof, with the attacks on each."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidInput, RemitError
from remit.ledger.tlog import merkle
from remit.ledger.tlog.checkpoint import Checkpoint, open_checkpoint, read_checkpoint
from remit.ledger.tlog.note import COSIGNATURE, Signer, open_note, read_key, signed_note
from remit.ledger.tlog.proof import Proof, read_proof, verify_proof
from tests.ledger.tlog.test_merkle import leaves, nodes

# The example of the specification.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()


def signer(name: str, seed: int, type_: int = 1) -> Signer:
    return Signer(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), type_)


LOG = signer("example.org/log", 1)
WITNESS = signer("example.org/witness", 2, COSIGNATURE)
HEAD = Checkpoint("example.org/log", 5, merkle.root_of(leaves(5)))


def test_the_example_of_the_specification_verifies() -> None:
    key = read_key(VKEY)
    assert str(key) == VKEY
    note = open_note(NOTE, [key])
    assert note.text == "This is an example message.\n"
    assert note.signatures[0].key == key


@pytest.mark.parametrize(
    "wrong",
    [
        VKEY.replace("530d903a", "530d903b"),
        VKEY[:-4],
        VKEY.replace("AekyeR", "BekyeR"),
        "name with space+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "",
    ],
)
def test_a_key_that_was_mistyped_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_key(wrong)
    assert caught.value.code == "vkey_invalid"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (NOTE.replace(b"example message", b"example massage"), "signature_invalid"),
        (NOTE.replace(b"yaQM=", b"yaQI="), "signature_invalid"),
        (NOTE.replace(b"example.com/foo Uw", b"example.com/fop Uw"), "signature_missing"),
        (NOTE[:-1], "note_invalid"),
        (NOTE.replace(b"\n\n", b"\n"), "note_invalid"),
        (NOTE + b"\n", "note_invalid"),
        (NOTE + b"trailing\n", "note_invalid"),
        (NOTE.replace(b"example m", b"example\tm"), "note_invalid"),
        (b"\xff" + NOTE, "note_invalid"),
        (NOTE * 2000, "note_invalid"),
        (b"text\n\n" + "— a YQ==\n".encode(), "note_invalid"),
        (b"text\n\n" + "— a YWFhYWFh\n".encode() * 65, "note_invalid"),
        (b"", "note_invalid"),
    ],
)
def test_a_note_that_was_changed_is_refused(wrong: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_note(wrong, [read_key(VKEY)])
    assert caught.value.code == code


def test_a_bad_signature_beside_a_good_one_spoils_the_note() -> None:
    text = HEAD.text
    forged = signer("example.org/other", 3)
    line = forged.sign(text).replace(forged.key.name, "example.org/log")
    good = LOG.sign(text)
    # Another key of the same name has another id: it is unknown, and passed over.
    assert len(open_note(signed_note(text, [line, good]).encode(), [LOG.key]).signatures) == 1
    signature = base64.b64encode(LOG.key.id + bytes(64)).decode()
    bad = f"— {LOG.key.name} {signature}\n"
    with pytest.raises(InvalidInput, match="does not verify"):
        open_note(signed_note(text, [bad, good]).encode(), [LOG.key])


def test_a_checkpoint_wants_its_log_and_enough_witnesses() -> None:
    alone = signed_note(HEAD.text, [LOG.sign(HEAD.text)]).encode()
    assert open_checkpoint(alone, LOG.key).checkpoint == HEAD
    with pytest.raises(InvalidInput) as caught:
        open_checkpoint(alone, LOG.key, [WITNESS.key], quorum=1)
    assert caught.value.code == "witnesses_missing"
    both = signed_note(HEAD.text, [LOG.sign(HEAD.text), WITNESS.sign(HEAD.text, 1_795_000_000)]).encode()
    signed = open_checkpoint(both, LOG.key, [WITNESS.key], quorum=1)
    assert [signature.time for signature in signed.signatures] == [0, 1_795_000_000]
    with pytest.raises(InvalidInput) as caught:
        open_checkpoint(signed_note(HEAD.text, [WITNESS.sign(HEAD.text, 1)]).encode(), LOG.key, [WITNESS.key])
    assert caught.value.code == "signature_missing"


def test_one_witness_is_one_under_however_many_names() -> None:
    other = signer("example.org/also-a-witness", 2, COSIGNATURE)
    lines = [LOG.sign(HEAD.text), WITNESS.sign(HEAD.text, 1), other.sign(HEAD.text, 1)]
    with pytest.raises(InvalidInput) as caught:
        open_checkpoint(signed_note(HEAD.text, lines).encode(), LOG.key, [WITNESS.key, other.key], quorum=2)
    assert caught.value.code == "witnesses_missing"
    lines = [LOG.sign(HEAD.text), WITNESS.sign(HEAD.text, 1), WITNESS.sign(HEAD.text, 2)]
    with pytest.raises(InvalidInput, match="twice"):
        open_checkpoint(signed_note(HEAD.text, lines).encode(), LOG.key, [WITNESS.key], quorum=1)


def test_a_cosignature_with_its_time_changed_is_refused() -> None:
    line = WITNESS.sign(HEAD.text, 1_795_000_000)
    decoded = base64.b64decode(line.split()[-1])
    moved = base64.b64encode(decoded[:4] + (1_795_000_001).to_bytes(8, "big") + decoded[12:]).decode()
    data = signed_note(HEAD.text, [LOG.sign(HEAD.text), f"— {WITNESS.key.name} {moved}\n"]).encode()
    with pytest.raises(InvalidInput, match="does not verify"):
        open_checkpoint(data, LOG.key, [WITNESS.key])


def test_a_cosignature_is_no_signature_of_a_log() -> None:
    """The key's type is part of its id, and the signed message begins otherwise."""
    twin = signer("example.org/log", 1, COSIGNATURE)
    data = signed_note(HEAD.text, [twin.sign(HEAD.text, 1)]).encode()
    with pytest.raises(InvalidInput):
        open_checkpoint(data, LOG.key)


def test_the_checkpoint_of_another_log_is_refused() -> None:
    other = Checkpoint("example.org/other", 5, HEAD.root)
    with pytest.raises(InvalidInput, match="not of"):
        open_checkpoint(signed_note(other.text, [LOG.sign(other.text)]).encode(), LOG.key)


@pytest.mark.parametrize(
    "text",
    [
        "example.org/log\n05\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "example.org/log\n-5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "example.org/log\n9999999999999999999\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "example.org/log\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        "example.org/log\n5\nCsUYapGG\n",
        "example.org/log\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "example.org/log\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nextension\n",
        "\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "example.org/log\n5\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_checkpoint(text)
    assert caught.value.code == ("checkpoint_root_invalid" if "\n0\n" in text else "checkpoint_invalid")


def test_a_proof_is_checked_offline_and_proves_one_entry() -> None:
    hashes = leaves(5)
    data = signed_note(HEAD.text, [LOG.sign(HEAD.text)]).encode()
    proof = Proof(3, tuple(merkle.inclusion_proof(3, 5, nodes(hashes))), data, b"what decided it")
    again = read_proof(proof.encode())
    assert again == proof
    assert verify_proof(again, hashes[3], LOG.key).checkpoint == HEAD
    with pytest.raises(InvalidInput) as caught:
        verify_proof(again, hashes[2], LOG.key)
    assert caught.value.code == "proof_invalid"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_proof_or_refused(data: bytes) -> None:
    for prefix in (b"", b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v1\nindex 3\n"):
        with contextlib.suppress(InvalidInput):
            assert read_proof(prefix + data).encode() == prefix + data


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    with pytest.raises(RemitError):
        open_note(data, [LOG.key])


@given(st.text(max_size=200))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with pytest.raises(RemitError):
        read_key(text)
