"""Verifies a pack, offline: it needs the folder or the zip, and public keys that came by another way.

1. `SIGNATURE` is a seal, signed by the key of packs.
2. Every file that it names is there with its digest, and no other file is.
3. The document says the trust domain and the period that were sealed, and names the receipts that are there.
4. The checkpoint is signed by the log, and is the one that the document rests on.
5. Every receipt is of the record that its sample shows, and leads to the root of that checkpoint.

What is wrong is a finding; nothing else of the pack is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from remit.console.evidence import seal
from remit.console.evidence.pack import Pack, Sample, sample_of
from remit.core.errors import RemitError
from remit.ledger.proven import verify_receipt
from remit.ledger.receipt import Entry, decode_receipt
from remit.ledger.record import decode_record
from remit.ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from remit.ledger.tlog.note import VerifierKey, read_key
from remit.ledger.tlog.proof import read_proof, verify_proof
from remit.storage.reader import Stored

CHECKS: Final[Mapping[str, str]] = {
    "signature": "the pack is signed by the key that was given",
    "files": "every file is what was signed, and no other is there",
    "document": "the document is of the sealed period, and names the receipts that are there",
    "checkpoint": "the checkpoint is signed by the log, and is the one that the document rests on",
    "receipts": "every receipt is of the record that it stands for, and leads to the root of the checkpoint",
}


class Verified(msgspec.Struct, kw_only=True, rename="camel"):
    """What a verification found: how often each check was made, and what is wrong."""

    trust_domain: str = ""
    from_: str = msgspec.field(name="from", default="")
    to: str = ""
    created: str = ""
    frameworks: list[str] = []
    checks: dict[str, int] = {}
    findings: list[str] = []
    without: int = 0  # samples without a receipt
    log_key: str = ""  # by which receipts were verified
    log_key_given: bool = False  # by the caller, and not taken from the pack

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.findings)

    def made(self, check: str, times: int = 1) -> None:
        """Counts a check."""
        self.checks[check] = self.checks.get(check, 0) + times

    def find(self, check: str, message: str) -> None:
        """Adds what is wrong, in printable characters."""
        said = "".join(c if c.isprintable() else "\ufffd" for c in f"{check}: {message}"[:400])
        self.findings.append(said)


def verify_pack(source: Path, key: VerifierKey, log: VerifierKey | None = None) -> Verified:
    """Verifies a pack against the key of packs, and against the log's key where it is given.

    Without it, receipts are verified with the log's key that the (signed) document names: whoever signed the pack may
    have named any. Raises `RemitError` for what is no pack, or not signed by `key`.
    """
    found = Verified(log_key_given=log is not None)
    files = seal.read(source)
    sealed = seal.open_seal(files.pop(seal.SIGNATURE, b""), key)
    found.made("signature")
    found.trust_domain, found.from_, found.to = sealed.trust_domain, sealed.start, sealed.end
    for path in sorted(sealed.digests.keys() | files.keys()):
        found.made("files")
        if path not in files:
            found.find("files", f"`{path}` is missing")
        elif path not in sealed.digests:
            found.find("files", f"`{path[:100]}` was not signed")
        elif hashlib.sha256(files[path]).hexdigest() != sealed.digests[path]:
            found.find("files", f"`{path}` is not what was signed")
    if found.failed:
        return found
    try:
        # What was signed by the key is as its program wrote it, and bounded; it may still be of another version.
        pack = msgspec.json.decode(files[seal.EVIDENCE], type=Pack)
    except (ValueError, RecursionError) as error:
        found.find("document", f"`{seal.EVIDENCE}` is of no version that is known here: {error}")
        return found
    _document(pack, sealed, files, found)
    _proofs(pack, files, log, found)
    return found


def _document(pack: Pack, sealed: seal.Sealed, files: Mapping[str, bytes], found: Verified) -> None:
    found.made("document")
    found.created = pack.created
    found.frameworks = [f"{each.name} {each.version}" for each in pack.frameworks]
    if (pack.trust_domain, pack.from_, pack.to) != (sealed.trust_domain, sealed.start, sealed.end):
        found.find("document", "it is of another installation or period than was sealed")
    named = {sample.receipt for figure in pack.figures for sample in figure.samples if sample.receipt}
    there = {path for path in files if path.startswith(seal.RECEIPTS)}
    for path in sorted(named ^ there):
        found.find("document", f"`{path}` is {'not there' if path in named else 'named nowhere'}")


def _proofs(pack: Pack, files: Mapping[str, bytes], log: VerifierKey | None, found: Verified) -> None:
    samples = [sample for figure in pack.figures for sample in figure.samples]
    found.without = sum(not sample.receipt for sample in samples)
    if not pack.log.published:
        if log is not None:
            found.find("checkpoint", "a key of a log was given, and this pack rests on none")
        return
    try:
        log = log or read_key(pack.log.key)
        found.log_key = str(log)
        witnesses = [read_key(each) for each in pack.log.witnesses]
        note = files.get(seal.CHECKPOINT, b"")
        checkpoint = open_checkpoint(note, log, witnesses, len(witnesses)).checkpoint
    except RemitError as error:
        found.find("checkpoint", error.message)
        return
    found.made("checkpoint")
    if (checkpoint.size, checkpoint.root.hex()) != (pack.log.size, pack.log.root):
        found.find("checkpoint", "it is not the one that the document names")
    # SECURITY: by all that a sample says: of one record, every figure may tell something else.
    proven: dict[Sample, str] = {}  # why a receipt does not stand for it; "" where it does
    for sample in samples:
        if sample.receipt in files:
            wrong = proven.get(sample)
            if wrong is None:
                found.made("receipts")
                wrong = proven[sample] = _wrong(files[sample.receipt], sample, log, checkpoint)
            if wrong:
                found.find("receipts", f"`{sample.receipt}`: {wrong}")


def _wrong(data: bytes, sample: Sample, log: VerifierKey, checkpoint: Checkpoint) -> str:
    """Why a receipt does not stand for its sample; "" where it does."""
    try:
        entries = _entries(data, log)
        records = {hashlib.sha256(b"\x00" + entry.data).hexdigest(): entry.data for entry in entries}
        if sample.leaf not in records:
            return "it is of another record"
        # SECURITY: what the page says of a record is what the proven record says, whoever signed the page.
        record = decode_record(records[sample.leaf])
        said = sample_of(Stored(0, record.stream, record.n, records[sample.leaf]), bytes.fromhex(sample.leaf))
        if msgspec.structs.replace(said, receipt=sample.receipt) != sample:
            return "the document says something else of its record"
        for entry in entries:
            proof = read_proof(entry.proof.encode())
            signed = verify_proof(proof, hashlib.sha256(b"\x00" + entry.data).digest(), log)
            if signed.checkpoint != checkpoint:
                return "it rests on another checkpoint"
    except RemitError as error:
        return error.message
    except (KeyError, TypeError, ValueError, AttributeError):
        return "its record is not what its kind must be"
    return ""


def _entries(data: bytes, log: VerifierKey) -> tuple[Entry, ...]:
    """The entries of a receipt, which is verified, or the one that stands alone."""
    try:
        return (msgspec.json.decode(data, type=Entry),)
    except (ValueError, RecursionError):
        receipt = decode_receipt(data)
    verify_receipt(receipt, log)
    return receipt.entries
