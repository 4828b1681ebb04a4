"""Proofs that one entry is in a log, which anybody checks offline (c2sp.org/tlog-proof)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.errors import InvalidInput
from remit.ledger.tlog.checkpoint import Signed, decode_hash, encode_hashes, open_checkpoint
from remit.ledger.tlog.merkle import PROOF_HASHES, includes
from remit.ledger.tlog.note import NOTE_BYTES, VerifierKey

HEADER: Final = "c2sp.org/tlog-proof@v1"
EXTRA_BYTES: Final = 1 << 20
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")
_EXTRA: Final = "extra "


@dataclass(frozen=True, slots=True)
class Proof:
    """An inclusion proof with its checkpoint as it was published; nothing of it is verified yet."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """Its text, as it is stored in a file `.tlog-proof`."""
        extra = f"{_EXTRA}{base64.b64encode(self.extra).decode()}\n" if self.extra else ""
        head = f"{HEADER}\n{extra}index {self.index}\n{encode_hashes(self.hashes)}\n"
        return head.encode() + self.checkpoint


def read_proof(data: bytes) -> Proof:
    """The proof in `data`; `InvalidInput("proof_invalid")` for anything else."""
    if len(data) > NOTE_BYTES + 2 * EXTRA_BYTES:
        raise _invalid("it is too long")
    head, parted, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode().split("\n")
    except UnicodeDecodeError:
        lines = []
    if not parted or not lines or lines[0] != HEADER:
        raise _invalid(f"its first line is not `{HEADER}`, or it has no checkpoint")
    rest = lines[1:]
    extra = b""
    if rest and rest[0].startswith(_EXTRA):
        try:
            extra = base64.b64decode(rest.pop(0)[len(_EXTRA) :], validate=True)
        except (binascii.Error, ValueError):
            raise _invalid("its extra data is not base64") from None
    match = _INDEX.fullmatch(rest[0]) if rest else None
    if match is None or len(rest) - 1 > PROOF_HASHES:
        raise _invalid("it has no index, or too many hashes")
    return Proof(int(match[1]), tuple(decode_hash(line) for line in rest[1:]), checkpoint, extra)


def verify_proof(
    proof: Proof, leaf: bytes, log: VerifierKey, witnesses: Sequence[VerifierKey] = (), quorum: int = 0
) -> Signed:
    """The checkpoint under which the entry with this leaf hash is in the log.

    1. The checkpoint is the log's, with enough witnesses. 2. The hashes lead from the leaf to its root.
    `InvalidInput` says which does not hold.
    """
    signed = open_checkpoint(proof.checkpoint, log, witnesses, quorum)
    if not includes(leaf, proof.index, signed.checkpoint.size, proof.hashes, signed.checkpoint.root):
        raise _invalid("its hashes do not lead from the entry to the checkpoint's root")
    return signed


def _invalid(why: str) -> InvalidInput:
    return InvalidInput("proof_invalid", f"this proves nothing: {why}")
