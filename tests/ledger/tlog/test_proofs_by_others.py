"""The proofs of a receipt, verified by software that is not ours: each is accepted, and every fake is rejected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from remit.ledger.proving import Prover
from remit.ledger.tlog.proof import Proof, read_proof
from tests.ledger.tlog.memory import MemoryLog
from tests.ledger.tlog.test_notes import LOG, signer

HERE = Path(__file__).parent
ENTRIES = [b'{"n":%d}' % n for n in range(600)]


def said(proofs: list[tuple[str, bytes]], vkey: str = str(LOG.key)) -> list[str]:
    """What they say of each, in one word."""
    done = subprocess.run(
        [sys.executable, str(HERE / "aics_proof.py"), vkey],
        input="".join(json.dumps([proof, entry.hex()]) + "\n" for proof, entry in proofs),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        # Where tools/setup.sh puts it: it asks for a later Python, and runs on this one.
        env=os.environ | {"PYTHONPATH": str(Path(sys.prefix) / "aics")},
    )
    return [line.partition(":")[0] for line in done.stdout.splitlines()]


def test_others_accept_the_proofs_of_receipts() -> None:
    prover = Prover(MemoryLog(ENTRIES, LOG), LOG.key)
    proofs = [(prover.prove(place, ENTRIES[place]).proof, ENTRIES[place]) for place in (0, 1, 255, 256, 511, 512, 599)]
    assert said(proofs) == ["accepted"] * len(proofs)
    assert said(proofs, str(signer(LOG.key.name, 9).key)) == ["rejected"] * len(proofs)
    single = Prover(MemoryLog(ENTRIES[:1], LOG), LOG.key).prove(0, ENTRIES[0])
    assert said([(single.proof, ENTRIES[0])]) == ["accepted"]


def test_others_reject_a_changed_entry_place_hash_and_checkpoint() -> None:
    entry = ENTRIES[300]
    text = Prover(MemoryLog(ENTRIES, LOG), LOG.key).prove(300, entry).proof
    proof = read_proof(text.encode())
    moved = Proof(301, proof.hashes, proof.checkpoint).encode().decode()
    cut = Proof(300, proof.hashes[1:], proof.checkpoint).encode().decode()
    other = Proof(300, (bytes(32), *proof.hashes[1:]), proof.checkpoint).encode().decode()
    resized = text.replace("\n600\n", "\n601\n")
    fakes = [(text, entry + b" "), (moved, entry), (cut, entry), (other, entry), (resized, entry)]
    assert said(fakes) == ["rejected"] * len(fakes)
