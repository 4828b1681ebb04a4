"""Receipts, format version 1: what proves one decision to somebody who has nothing but the log's key.

One JSON object (docs/design/records.md, Receipts). Each entry comes with a C2SP tlog-proof of its own, so that software
of others can check it too; texts and opened values are there only where somebody asked for them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from remit.core import bounds, canonical
from remit.core.errors import InvalidInput, NotFound, TooLarge
from remit.core.malformed import why_malformed
from remit.ledger.opened import Opening
from remit.ledger.tlog.note import NOTE_BYTES

VERSION: Final = 1
RECEIPT_BYTES: Final = 1 << 26
ENTRIES: Final = 64
OPENINGS: Final = 10_000
TEXTS: Final = 10_000

_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record: its bytes as they stand in the log (base64), and the tlog-proof of its place there."""

    entry: Annotated[str, msgspec.Meta(min_length=1, max_length=4 * (bounds.RECORD_BYTES // 3 + 1))]
    proof: Annotated[str, msgspec.Meta(min_length=1, max_length=2 * NOTE_BYTES)]

    @property
    def data(self) -> bytes:
        """The record's bytes; `InvalidInput("receipt_malformed")` for what is no base64."""
        try:
            data = base64.b64decode(self.entry, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if not data or base64.b64encode(data).decode() != self.entry:
            raise _malformed("an entry is not base64")
        return data


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a receipt says; nothing of it is verified yet."""

    v: Literal[1] = 1
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]  # of the decision or the task that it is about
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(min_length=1, max_length=ENTRIES)]
    openings: Annotated[tuple[Opening, ...], msgspec.Meta(max_length=OPENINGS)] = ()
    texts: dict[_Hex, str] = {}  # by digest: what decided

    def encode(self) -> bytes:
        """Its file: one JSON object, indented, ending in a line feed."""
        return msgspec.json.format(canonical.encode(self), indent=1) + b"\n"


def entry_of(data: bytes, proof: bytes) -> Entry:
    """The entry of a record's bytes with their proof."""
    return Entry(base64.b64encode(data).decode(), proof.decode())


def decode_receipt(data: bytes) -> Receipt:
    """The receipt in these bytes; `TooLarge` over a bound, `InvalidInput("receipt_malformed")` for anything else."""
    if len(data) > RECEIPT_BYTES:
        raise TooLarge("receipt_too_large", f"the receipt is over {RECEIPT_BYTES} bytes")
    try:
        receipt = msgspec.json.decode(data, type=Receipt)
    except (ValueError, OverflowError, RecursionError) as error:
        raise _malformed(why_malformed(error, data)) from None
    if len(receipt.texts) > TEXTS:
        raise _malformed(f"it has more than {TEXTS} texts")
    return receipt


def read_receipt(path: Path) -> Receipt:
    """The receipt in a file; `NotFound("receipt_missing")` when it can't be read, otherwise as `decode_receipt`."""
    try:
        # SECURITY: a pipe or a device would hold up its reader for ever.
        if path.exists() and not path.is_file():
            raise NotFound("receipt_missing", f"`{path.name}` is not a file")
        with path.open("rb") as file:
            return decode_receipt(file.read(RECEIPT_BYTES + 1))
    except OSError as error:
        why = (error.strerror or "unknown").lower()
        raise NotFound("receipt_missing", f"can't read the receipt `{path.name}`: {why}") from None


def sized(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """These entries, as one receipt may hold them."""
    found = tuple(entries)
    if len(found) > ENTRIES:
        raise TooLarge("receipt_too_large", f"a receipt holds at most {ENTRIES} entries")
    return found


def _malformed(why: str) -> InvalidInput:
    return InvalidInput("receipt_malformed", f"this is no receipt: {why}", "ask for it again: `remit prove ID`")
