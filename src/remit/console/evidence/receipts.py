"""Receipts of samples, all under the one checkpoint that a pack rests on.

A decision or a task has a receipt (`remit.ledger.receipt`): itself, what decided it and what became of it. Another
record has its entry alone. A record that the log does not hold under that checkpoint is pending, and has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from remit.core import canonical
from remit.ledger.proving import Prover
from remit.ledger.receipt import ENTRIES, Entry, Receipt
from remit.ledger.tlog.checkpoint import Signed, open_checkpoint
from remit.ledger.tlog.note import NOTE_BYTES, VerifierKey
from remit.ledger.tlog.source import Source
from remit.ledger.tlog.tiles import CHECKPOINT
from remit.storage.reader import Reader, Stored

Place = Callable[[Stored], int | None]  # of a record in the log, from 0; None while it has none

_AFTERWARDS: Final = frozenset({"outcome", "resolution", "denials"})


class Steady:
    """A log that may grow while it is read, under the checkpoint that it had first."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._checkpoint: bytes | None = None

    def read(self, path: str, most: int) -> bytes:
        """As `Source.read`."""
        if path != CHECKPOINT:
            return self._source.read(path, most)
        if self._checkpoint is None:
            self._checkpoint = self._source.read(path, most)
        return self._checkpoint


class Proofs:
    """Makes receipts from one log under one checkpoint."""

    def __init__(self, source: Source, key: VerifierKey, place: Place, witnesses: Sequence[VerifierKey] = ()) -> None:
        """Raises `RemitError` where the log has no checkpoint of this key; of `witnesses`, who has cosigned is told."""
        steady = Steady(source)
        self._prover = Prover(steady, key)
        self._place = place
        self.key = key
        self.signed: Signed = open_checkpoint(steady.read(CHECKPOINT, NOTE_BYTES), key, witnesses)

    @property
    def witnesses(self) -> tuple[VerifierKey, ...]:
        """The witnesses whose cosignatures on the checkpoint verified."""
        return tuple(each.key for each in self.signed.signatures if each.key != self.key)

    def is_published(self, stored: Stored) -> bool:
        """Whether the record stands below the checkpoint."""
        place = self._place(stored)
        return place is not None and place < self.signed.checkpoint.size

    def receipt(self, reader: Reader, stored: Stored, configurations: Mapping[str, Stored]) -> bytes | None:
        """The bytes of the receipt (or of the entry alone); None while the record is pending.

        `configurations` are their records by digest. Raises `RemitError` where the log does not hold what was recorded.
        """
        if not self.is_published(stored):
            return None
        record = stored.record
        id_ = record.body.get("id") if record.kind == "decision" else record.body.get("task")
        is_task = record.kind == "task" and "intent" in record.body
        if not (record.kind == "decision" or is_task) or not isinstance(id_, str):
            return encode_entry(self._entry(stored))
        entries = [self._entry(each) for each in _about(reader, stored, id_, configurations) if self.is_published(each)]
        return Receipt(id=id_, entries=tuple(entries)).encode()

    def _entry(self, stored: Stored) -> Entry:
        place = self._place(stored)
        return self._prover.prove(place if place is not None else self.signed.checkpoint.size, stored.data)


def encode_entry(entry: Entry) -> bytes:
    """The file of an entry that stands alone: one JSON object, indented, ending in a line feed."""
    return msgspec.json.format(canonical.encode(entry), indent=1) + b"\n"


def _about(reader: Reader, stored: Stored, id_: str, configurations: Mapping[str, Stored]) -> Iterator[Stored]:
    """The configuration, the task of a decision, the record itself, and what became of it."""
    record = stored.record
    if (configuration := configurations.get(str(record.body.get("config", "")))) is not None:
        yield configuration
    if record.kind == "decision" and record.body.get("task"):
        task = reader.find(record.body["task"])
        if task is not None and task.stream == stored.stream and task.n < stored.n:
            yield task
    yield stored
    field, kinds = ("decision", _AFTERWARDS) if record.kind == "decision" else ("task", frozenset({"task"}))
    quoted, left = id_.encode(), ENTRIES - 3
    for each in reader.stream(stored.stream):
        if each.n > stored.n and left and quoted in each.data:
            after = each.record
            if after.kind in kinds and after.body.get(field) == id_:
                left -= 1
                yield each
