"""Audits a published log with `aics_tlog`, which knows nothing of Remit: `aics.py FOLDER VKEY EARLIER WITNESS…`.

It reads every tile and every entry bundle, and exits with 0 when all of it holds. Run with `aics_tlog` on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aics_tlog.checkpoint import parse_checkpoint, verify_checkpoint  # type: ignore[import-not-found]
from aics_tlog.note import parse_note, parse_vkey  # type: ignore[import-not-found]
from aics_tlog.tiles import FileSystemTileReader, consistency_proof_from_tiles  # type: ignore[import-not-found]
from aics_tlog.tree import verify_consistency  # type: ignore[import-not-found]
from aics_tlog.verified import VerifiedTileReader, audit_tiles  # type: ignore[import-not-found]


def main(folder: str, vkey: str, earlier: str, *witnesses: str) -> None:
    log = parse_vkey(vkey)
    quorum = [parse_vkey(witness) for witness in witnesses]
    heads = []
    for file, keys in ((Path(folder) / "checkpoint", quorum), (Path(earlier), [])):
        note = parse_note(file.read_text("utf-8"))
        result = verify_checkpoint(note, log, keys, len(keys), expected_origin=log.name)
        if not result.ok:
            raise ValueError(f"{file.name}: {result}")
        heads.append(parse_checkpoint(note.text))
    now, before = heads
    reader = FileSystemTileReader(folder)
    report = audit_tiles(reader, now.size, now.root)
    verified = VerifiedTileReader(reader, now.size, now.root)
    proof = consistency_proof_from_tiles(verified, before.size, now.size)
    if not verify_consistency(before.size, now.size, before.root, now.root, proof):
        raise ValueError("the log is not consistent with the earlier checkpoint")
    sys.stdout.write(f"accepted: {report.size} entries, {report.tiles} tiles, {report.bundles} bundles\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(f"rejected: {type(error).__name__}: {error}")
