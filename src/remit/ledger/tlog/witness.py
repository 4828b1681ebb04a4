"""A witness: cosigns a log's checkpoint only when it extends what it has cosigned before (c2sp.org/tlog-witness).

`add-checkpoint`, in the order of the specification:

1. The origin is one that it knows (404), and the log has signed (403).
2. The old size is not more than the new one (400), and is what it cosigned last (409, with that size).
3. The proof shows that the old tree is how the new one begins (422).
4. The new checkpoint is durable before the cosignature is given.

Two checkpoints that one log has signed and that do not go together are an alarm, and are kept as evidence: the log's
own signature stands under both.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from remit.core.errors import InvalidInput
from remit.ledger.tlog.checkpoint import Checkpoint, Signed, decode_hash, encode_hashes, open_checkpoint
from remit.ledger.tlog.folder import Disk
from remit.ledger.tlog.merkle import PROOF_HASHES, is_consistent
from remit.ledger.tlog.note import COSIGNATURE, NOTE_BYTES, Signer, VerifierKey, read_key, signed_note, split_note

REQUEST_BYTES: Final = NOTE_BYTES + 64 * (PROOF_HASHES + 1)
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")
EVIDENCE: Final = "evidence"
EVIDENCE_KEPT: Final = 64  # of one log: whoever holds old checkpoints could otherwise fill the disk with them
_FILE: Final = "checkpoint"


class Reply(NamedTuple):
    """An HTTP answer: status, body and content type."""

    status: int
    body: bytes
    media: str = TEXT_TYPE


class Witness:
    """What one witness has seen of each log, kept below a folder; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        logs: Mapping[str, VerifierKey],
        disk: Disk | None = None,
        alarm: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`logs` are the known logs' keys by origin. `InvalidInput` where a kept checkpoint can't be read.

        `alarm` is told, once for each pair of checkpoints, which log showed what does not go together.
        """
        if signer.key.type != COSIGNATURE:
            raise InvalidInput("vkey_invalid", "a witness signs with a key of type cosignature")
        self.key = signer.key
        self._signer = signer
        self._folder = folder
        self._logs = dict(logs)
        self._disk = disk or Disk()
        self._alarm = alarm
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in self._logs}
        # SECURITY: comparing with the last size and keeping the new one are one step, or a race could roll it back.
        self._turn = threading.Lock()
        self._seen: dict[str, Signed] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for origin, key in self._logs.items():
            file = self._file(origin)
            if file.exists():
                # SECURITY: a memory that can't be read is not an empty memory.
                self._seen[origin] = open_checkpoint(file.read_bytes(), key, [self.key], quorum=1)

    def add_checkpoint(self, body: bytes, now: int) -> Reply:
        """Answers `POST /add-checkpoint`; `now` is the time in seconds."""
        if len(body) > REQUEST_BYTES:
            return _refusal(413, "the request is too long")
        head, parted, note = body.partition(b"\n\n")
        try:
            old, proof = _read_head(head.decode("ascii"))
            text, _ = split_note(note)
        except (InvalidInput, UnicodeDecodeError, ValueError):
            return _refusal(400, "the request is malformed")
        key = self._logs.get(text.partition("\n")[0])
        if not parted or key is None:
            return _refusal(404, "the log is not known here")
        try:
            signed = open_checkpoint(note, key)
        except InvalidInput as error:
            return _refusal(_STATUS.get(error.code, 400), error.message)
        with self._turn:
            return self._extend(signed, old, proof, now)

    def latest(self, origin_hash: str) -> Reply:
        """Answers `GET /<origin hash>/checkpoint`: what was cosigned last, with both signatures."""
        signed = self._seen.get(self._origins.get(origin_hash, ""))
        return Reply(200, signed.data) if signed else _refusal(404, "nothing of such a log was cosigned here")

    def sizes(self) -> dict[str, int]:
        """By origin: how many entries of each known log were cosigned last."""
        return {origin: seen.checkpoint.size if (seen := self._seen.get(origin)) else 0 for origin in self._logs}

    def _extend(self, signed: Signed, old: int, proof: list[bytes], now: int) -> Reply:
        new = signed.checkpoint
        last = self._seen.get(new.origin)
        known = last.checkpoint if last else Checkpoint(new.origin, 0, b"")
        if old > new.size:
            return _refusal(400, "the old size is larger than the new one")
        if last is not None:
            self._suspect(signed, last)
        if old != known.size:
            return Reply(409, f"{known.size}\n".encode(), SIZE_TYPE)
        if old == 0:
            consistent = not proof
        else:
            consistent = is_consistent(old, known.root, new.size, new.root, proof)
        if not consistent:
            # SECURITY: this is what a forked or rolled back log looks like.
            if last is not None and new.size > known.size:
                self._accuse(signed, last, "it can't show that it only grew: it was forked, or the proof was spoilt")
            return _refusal(422, "the proof does not show that the log only grew")
        line = self._signer.sign(new.text, now)
        mine = [signature.line for signature in signed.signatures]
        data = signed_note(new.text, [*mine, line]).encode()
        file = self._file(new.origin)
        try:
            self._disk.write(file, data)
            self._disk.flush(file.parent)
            self._disk.flush(self._folder)
        except OSError as error:
            return _refusal(500, f"the checkpoint could not be kept: {os.strerror(error.errno or 0).lower()}")
        self._seen[new.origin] = open_checkpoint(data, self._logs[new.origin], [self.key], quorum=1)
        return Reply(200, line.encode())

    def _suspect(self, offered: Signed, last: Signed) -> None:
        """Sounds the alarm where the log has signed what does not go with what it signed before."""
        new, known = offered.checkpoint, last.checkpoint
        if new.size < known.size:
            self._accuse(
                offered, last, "it was rolled back, to an older copy of its records, or somebody sent an old checkpoint"
            )
        elif new.size == known.size and new.root != known.root:
            # SECURITY: the proof of a fork, which nobody but the holder of the log's key can make.
            self._accuse(offered, last, "it was forked: it has signed two histories of one length")

    def _accuse(self, offered: Signed, last: Signed, why: str) -> None:
        new, known = offered.checkpoint, last.checkpoint
        mark = hashlib.sha256(f"{known.text}{new.text}".encode()).hexdigest()[:16]
        folder = self._file(new.origin).parent / EVIDENCE
        kept = folder / mark
        if kept.exists():
            return  # said before
        said = f"`{new.origin}` showed {new.size} entries after {known.size}: {why}"
        try:
            if folder.exists() and sum(1 for _ in folder.iterdir()) >= EVIDENCE_KEPT:
                self._alarm(f"{said}; `{folder}` is full, this one is not kept")
                return
            self._disk.write(kept / "cosigned", last.data)
            self._disk.write(kept / "offered", offered.data)
            self._disk.flush(kept)
            self._disk.flush(folder)
        except OSError as error:
            self._alarm(f"{said}; it could not be kept: {os.strerror(error.errno or 0).lower()}")
        else:
            self._alarm(f"{said}; both are kept in `{kept}`")

    def _file(self, origin: str) -> Path:
        return self._folder / hashlib.sha256(origin.encode()).hexdigest() / _FILE


def request_of(old: int, proof: list[bytes], checkpoint: bytes) -> bytes:
    """The body of `POST /add-checkpoint`."""
    return f"old {old}\n{encode_hashes(proof)}\n".encode() + checkpoint


def known_logs(keys: list[str]) -> dict[str, VerifierKey]:
    """Logs by origin, from their vkeys; `InvalidInput` for a bad key, or two of one origin."""
    found: dict[str, VerifierKey] = {}
    for text in keys:
        key = read_key(text)
        if key.type == COSIGNATURE or key.name in found:
            raise InvalidInput("vkey_invalid", f"`{key.name}` stands twice, or is no log's key", "give each log once")
        found[key.name] = key
    return found


def _read_head(head: str) -> tuple[int, list[bytes]]:
    lines = head.split("\n")
    match = _OLD.fullmatch(lines[0])
    if match is None or len(lines) - 1 > PROOF_HASHES:
        raise ValueError("no old size, or too many hashes")
    return int(match[1]), [decode_hash(line) for line in lines[1:]]


# What a checkpoint is refused with, by what is wrong with it; anything else is malformed.
_STATUS: Final = {"signature_missing": 403, "signature_invalid": 403, "checkpoint_root_invalid": 422}


def _refusal(status: int, why: str) -> Reply:
    return Reply(status, f"{why}\n".encode())
