"""Verifies tlog-proofs with `aics_tlog`, which knows nothing of Remit: `aics_proof.py VKEY`, and one JSON array a line.

Each line is `[proof, entry in hex]`; each answer is `accepted`, or `rejected: ` and why. The format is read here as
c2sp.org/tlog-proof has it; signatures, checkpoint and inclusion are verified by the package.
"""

from __future__ import annotations

import base64
import json
import sys

from aics_tlog.checkpoint import parse_checkpoint, verify_checkpoint  # type: ignore[import-not-found]
from aics_tlog.note import parse_note, parse_vkey  # type: ignore[import-not-found]
from aics_tlog.tree import verify_leaf_inclusion  # type: ignore[import-not-found]


def check(vkey: str, proof: str, entry: bytes) -> str:
    log = parse_vkey(vkey)
    head, _, checkpoint = proof.partition("\n\n")
    version, index, *hashes = head.split("\n")
    if version != "c2sp.org/tlog-proof@v1" or not index.startswith("index "):
        return "rejected: it is no proof"
    note = parse_note(checkpoint)
    result = verify_checkpoint(note, log, [], 0, expected_origin=log.name)
    if not result.ok:
        return f"rejected: {result}"
    tree = parse_checkpoint(note.text)
    path = [base64.b64decode(line) for line in hashes]
    held = verify_leaf_inclusion(entry, int(index[6:]), tree.size, path, tree.root)
    return "accepted" if held else "rejected: the entry is not there"


if __name__ == "__main__":
    for line in sys.stdin:
        proof, entry = json.loads(line)
        try:
            print(check(sys.argv[1], proof, bytes.fromhex(entry)))
        except Exception as error:
            print(f"rejected: {error!r}")
