"""Checkpoints: the signed head of a log (c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from remit.core.errors import InvalidInput
from remit.ledger.tlog.merkle import EMPTY, HASH_BYTES
from remit.ledger.tlog.note import Signature, VerifierKey, open_note

SIZE_MAX: Final = 2**63 - 1
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """What a checkpoint says: the log's origin, the number of its entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Signed(NamedTuple):
    """A checkpoint whose log has signed it: its bytes, and who else has."""

    checkpoint: Checkpoint
    data: bytes
    signatures: tuple[Signature, ...]


def read_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in the text of a note; `InvalidInput("checkpoint_invalid")` for anything else, and
    `InvalidInput("checkpoint_root_invalid")` for an empty log with another root than that of nothing.

    Lines after the third are refused: this log has none, and nobody could audit them.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise _invalid("it has not three lines")
    if not _SIZE.fullmatch(lines[1]) or int(lines[1]) > SIZE_MAX:
        raise _invalid("its size is no decimal number")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        root = b""
    # SECURITY: one root has one encoding, so that two texts can't be one checkpoint.
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != lines[2]:
        raise _invalid("its root is no SHA-256 in base64")
    size = int(lines[1])
    if size == 0 and root != EMPTY:
        raise InvalidInput("checkpoint_root_invalid", "the root of an empty log is the hash of nothing")
    return Checkpoint(lines[0], size, root)


def open_checkpoint(data: bytes, log: VerifierKey, witnesses: Sequence[VerifierKey] = (), quorum: int = 0) -> Signed:
    """The checkpoint in `data`, signed by `log` and by at least `quorum` of `witnesses`.

    1. The note is signed by the log. 2. Its origin is the name of that key. 3. Enough witnesses have cosigned it.
    `InvalidInput` says which does not hold.
    """
    note = open_note(data, [log, *witnesses])
    if all(signature.key != log for signature in note.signatures):
        raise InvalidInput("signature_missing", f"`{log.name}` has not signed this", "check the key (vkey)")
    checkpoint = read_checkpoint(note.text)
    # SECURITY: a key that signs for two logs must not let one stand in for the other.
    if checkpoint.origin != log.name:
        raise _invalid(f"it is of the log `{checkpoint.origin[:100]}`, not of `{log.name}`")
    # SECURITY: one key is one witness, under however many names.
    cosigned = {signature.key.public for signature in note.signatures if signature.key != log}
    if len(cosigned) < quorum:
        raise InvalidInput(
            "witnesses_missing",
            f"{len(cosigned)} of the given witnesses have cosigned this, {quorum} are wanted",
            "wait for the witnesses, or fetch the checkpoint again",
        )
    return Signed(checkpoint, data, note.signatures)


def encode_hashes(hashes: Iterable[bytes]) -> str:
    """Hashes of a proof, one a line, in base64."""
    return "".join(base64.b64encode(hash_).decode() + "\n" for hash_ in hashes)


def decode_hash(line: str) -> bytes:
    """One line of `encode_hashes`; `InvalidInput("hash_invalid")` otherwise."""
    try:
        hash_ = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        hash_ = b""
    if len(hash_) != HASH_BYTES:
        raise InvalidInput("hash_invalid", "a line of the proof is no SHA-256 in base64")
    return hash_


def _invalid(why: str) -> InvalidInput:
    return InvalidInput("checkpoint_invalid", f"this is no checkpoint: {why}")
