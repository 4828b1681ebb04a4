"""Verifies a receipt, alone and offline: it needs the log's public key and nothing else.

1. Every entry is in the log: its hashes lead to the root of a checkpoint that the log signed, with enough witnesses.
2. Every entry is a record, in canonical bytes, of this format's version, and its body is that of its kind.
3. The records fit each other: one installation, no record twice, and in one stream the order of the log.
4. One of them is the decision (or the task) that the receipt names; all others are about it: its configuration, its
   task, what became of it. SECURITY: anything else is refused, since a reader would take it for part of the evidence.
5. Every text is what its digest says, and the configuration names it.
6. Every opened value is what a record of this receipt commits to.

What is wrong raises `InvalidInput` at once: a receipt with one wrong part proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.core import canonical
from remit.core.errors import InvalidInput, RemitError
from remit.ledger import bodies
from remit.ledger.opened import Opening, Openings
from remit.ledger.receipt import Receipt
from remit.ledger.record import ADMINISTRATION, Record, decode_record, is_canonical, leaf_hash
from remit.ledger.streams import listed_in
from remit.ledger.tlog.checkpoint import Signed
from remit.ledger.tlog.note import VerifierKey
from remit.ledger.tlog.proof import read_proof, verify_proof

_AFTERWARDS: Final = frozenset({"outcome", "resolution", "denials"})


class ProvenRecord(msgspec.Struct, frozen=True):
    """One record that is in the log, with its place (from 0) and leaf hash there."""

    place: int
    leaf: str
    stream: str
    n: int
    t: int  # ms since 1970, as the service's clock had it
    kind: str
    body: dict[str, Any]


class Cosigned(msgspec.Struct, frozen=True):
    """A witness that has cosigned the log up to a size, and when (s since 1970, by its own clock)."""

    name: str
    time: int


class Opened(msgspec.Struct, frozen=True):
    """A value that a record commits to."""

    leaf: str
    path: str
    value: Any


class Text(msgspec.Struct, frozen=True):
    """A text by its digest: which part of the configuration names it, and its name in there ("": the part itself)."""

    part: str
    name: str
    digest: str
    text: str | None = None  # where the receipt holds it


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified receipt proves."""

    id: str
    kind: str  # `decision` or `task`
    log: str
    size: int  # entries under the newest of its checkpoints
    witnesses: tuple[Cosigned, ...]
    td: str
    records: tuple[ProvenRecord, ...]  # by place
    opened: tuple[Opened, ...] = ()
    texts: tuple[Text, ...] = ()
    concealed: int = 0  # values that are committed to and not opened

    def of(self, *kinds: str) -> list[ProvenRecord]:
        """Its records of these kinds."""
        return [record for record in self.records if record.kind in kinds]


def verify_receipt(
    receipt: Receipt,
    log: VerifierKey,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
    openings: Sequence[Opening] = (),
) -> Proven:
    """What the receipt proves to whoever trusts `log` as the log's key; `openings` are shown beside it.

    Raises `InvalidInput` or `TooLarge` with what is wrong, in the order of the steps above.
    """
    signed: list[Signed] = []
    records: list[ProvenRecord] = []
    tds: set[str] = set()
    for number, entry in enumerate(receipt.entries, 1):
        try:
            data = entry.data
            proof = read_proof(entry.proof.encode())
            signed.append(verify_proof(proof, hashlib.sha256(b"\x00" + data).digest(), log, witnesses, quorum))
            record = _record(data)
        except RemitError as error:
            raise InvalidInput(error.code, f"entry {number} of the receipt: {error.message}", error.next_step) from None
        tds.add(record.td)
        records.append(
            ProvenRecord(proof.index, leaf_hash(data), record.stream, record.n, record.t, record.kind, record.body)
        )
    _one_history(signed)
    records.sort(key=lambda each: each.place)
    _fit(records, tds)
    about = _about(receipt.id, records)
    texts = _texts(receipt, about, records)
    opened, concealed = _opened([*receipt.openings, *openings], records)
    newest = max(signed, key=lambda each: each.checkpoint.size)
    return Proven(
        id=receipt.id,
        kind=about.kind,
        log=log.name,
        size=newest.checkpoint.size,
        witnesses=tuple(Cosigned(each.key.name, each.time) for each in newest.signatures if each.key != log),
        td=tds.pop(),
        records=tuple(records),
        opened=opened,
        texts=texts,
        concealed=concealed,
    )


def _record(data: bytes) -> Record:
    """2. The record in an entry."""
    record = decode_record(data)
    if not record.understood:
        raise _wrong(f"version {record.v} or kind `{record.kind[:40]}` is not known", "verify it with a newer Remit")
    if not is_canonical(record, data):
        raise _wrong("its bytes are not the canonical ones of the record")
    bodies.read_body(record.body, bodies.BODIES[record.kind])
    return record


def _one_history(signed: Sequence[Signed]) -> None:
    """1. Checkpoints of one size have one root."""
    roots: dict[int, bytes] = {}
    for each in signed:
        if roots.setdefault(each.checkpoint.size, each.checkpoint.root) != each.checkpoint.root:
            raise _wrong(
                f"the log signed two histories of {each.checkpoint.size} entries", "keep this receipt: it proves that"
            )


def _fit(records: Sequence[ProvenRecord], tds: set[str]) -> None:
    """3. The records are of one installation and in one order."""
    if len(tds) != 1:
        raise _wrong("its records belong to several installations")
    last: dict[str, ProvenRecord] = {}
    for place, record in enumerate(records):
        before = last.get(record.stream)
        if place and records[place - 1].place == record.place:
            raise _wrong(f"place {record.place} of the log stands in it twice")
        if before and before.n >= record.n:
            raise _wrong(f"record {record.n} of `{record.stream[:100]}` stands in the log after record {before.n}")
        last[record.stream] = record


def _about(id_: str, records: Sequence[ProvenRecord]) -> ProvenRecord:
    """4. The record that the receipt is about, where all others are about it."""
    decided = [each for each in records if each.kind == "decision" and each.body.get("id") == id_]
    opened = [
        each
        for each in records
        if each.kind == "task" and each.body.get("task") == id_ and each.body.get("state") == "open"
    ]
    found = (decided or opened)[:1]
    if not found:
        raise _wrong(f"no entry is the decision or task `{id_[:100]}`")
    about = found[0]
    for each in records:
        if each is not about and not _belongs(each, about):
            what = f"the {each.kind} at place {each.place}"
            raise _wrong(f"{what} is not about `{id_[:100]}`", "it may be evidence of something else; ask for its own")
    return about


def _belongs(record: ProvenRecord, about: ProvenRecord) -> bool:
    body, of = record.body, about.body
    if record.kind == "configuration":
        parts = {name: value for name, value in body.items() if name != "config"}
        # SECURITY: a decision quotes the digest of all parts, and no later configuration decided it.
        quoted = bool(body["config"] == of.get("config") == canonical.digest(parts))
        return quoted and record.stream == ADMINISTRATION and record.t <= about.t
    if record.stream != about.stream:
        return False
    if about.kind == "task":
        return bool(record.kind == "task" and body["task"] == of["task"] and record.n > about.n)
    if record.kind == "task":
        opens = body["task"] == of.get("task") and body["state"] == "open"
        return bool(opens and record.n < about.n)
    if record.kind not in _AFTERWARDS or record.n < about.n or body["decision"] != of["id"]:
        return False
    if record.kind == "denials":
        return bool(of["effect"] == "deny")
    # SECURITY: what became of another request would otherwise pass for what became of this one.
    return bool(of["effect"] == "permit" and body.get("digest", of["digest"]) == of["digest"])


def _texts(receipt: Receipt, about: ProvenRecord, records: Sequence[ProvenRecord]) -> tuple[Text, ...]:
    """5. What the configuration names: digests of its parts and of what their indexes list, with the texts given."""
    named: dict[str, Text] = {}
    for digest, text in receipt.texts.items():
        if hashlib.sha256(_utf8(text)).hexdigest() != digest:
            raise _wrong(f"the text `{digest[:16]}…` is not what its digest says")
    for record in records:
        if record.kind == "configuration":
            parts = {name: str(value) for name, value in record.body.items() if name != "config"}
            for part, digest in parts.items():
                named.setdefault(digest, Text(part, "", digest, receipt.texts.get(digest)))
                for name, below in listed_in(_utf8(receipt.texts.get(digest, ""))):
                    named.setdefault(below, Text(part, name, below, receipt.texts.get(below)))
    for digest in receipt.texts:
        if digest not in named:
            raise _wrong(f"the text `{digest[:16]}…` is none that decided `{str(about.body.get('id', ''))[:100]}`")
    return tuple(named.values())


def _opened(given: Sequence[Opening], records: Sequence[ProvenRecord]) -> tuple[tuple[Opened, ...], int]:
    """6. The opened values, each of which a record commits to; and how many commitments stay closed."""
    openings = Openings(given)
    opened: list[Opened] = []
    concealed = 0
    for record in records:
        openings.reveal(record.leaf, record.body)
        of = openings.of(record.leaf)
        opened.extend(Opened(record.leaf, each.path, each.value) for each in of)
        concealed += commitments_in(record.body) - sum(1 for each in of if each.path != "/digest")
    for leaf in openings.unused():
        raise InvalidInput(
            "opening_invalid", f"an opening is of the record `{leaf[:16]}…`, which is not in this receipt"
        )
    return tuple(opened), concealed


def commitments_in(body: Mapping[str, Any]) -> int:
    """How many values the body of a record only commits to."""
    found = 0
    waiting: list[Any] = list(body.values())
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if node.keys() == {"literal"} and isinstance(node["literal"], dict):
                waiting.extend(node["literal"].values())
            elif node.keys() == {"commitment"}:
                found += 1
            else:
                waiting.extend(node.values())
    return found


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _wrong(why: str, next_step: str = "do not rely on it; ask for it again") -> InvalidInput:
    return InvalidInput("receipt_invalid", f"this receipt proves nothing: {why}", next_step)
