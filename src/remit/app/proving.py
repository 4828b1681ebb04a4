"""Receipts from the records and the published log of a folder, beside a running service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from remit.app.folder import Folder
from remit.app.pending import published_of
from remit.app.publishing import signer_of
from remit.app.records import reader_of
from remit.console.detail import find
from remit.console.erasures import erased_of
from remit.console.screen import moment
from remit.core.errors import InvalidInput, NotFound, Unavailable
from remit.core.settings import read_settings
from remit.ledger.opened import DIGEST, Opening
from remit.ledger.proven import Proven, verify_receipt
from remit.ledger.proving import Prover
from remit.ledger.receipt import ENTRIES, Entry, Receipt
from remit.ledger.record import leaf_hash
from remit.ledger.streams import listed_in
from remit.ledger.tlog.note import VerifierKey
from remit.ledger.tlog.source import FolderSource
from remit.storage.reader import Reader, Stored

ALL: Final = "all"
_TRIES: Final = 3  # the log may grow while it is read
_AFTERWARDS: Final = frozenset({"outcome", "resolution", "denials"})
_INDEXED: Final = ("policies", "intents", "catalogue")  # parts whose lists of names and digests are always told


@dataclass(frozen=True, slots=True)
class Made:
    """A receipt that was verified after it was made, and what it leaves out."""

    receipt: Receipt
    proven: Proven
    entry: Entry  # of the decision or task itself
    key: VerifierKey
    pending: int  # records about it that are not in the published log yet
    left_out: int  # those that are more than a receipt holds: claims, last


def prove(folder: Folder, given: str, *, open_: Sequence[str] = (), with_texts: bool = False) -> Made:
    """The receipt of the decision or task that `given` names (its id, or an end of it that only one has).

    `open_` names the personal values (JSON Pointers, or `all`) that this receipt opens; without it none. Raises
    `NotFound` where nothing is published or nothing is so named, `Unavailable("record_pending")` where the record is
    not in the published log yet, `InvalidInput("opening_missing")` for a value that is not kept.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            return _prove(folder, given, open_, with_texts=with_texts)
        except NotFound as error:
            # A partial tile makes place for the full one while the log grows.
            if error.code != "log_file_missing" or not left:
                raise
    raise AssertionError("unreachable")


def _prove(folder: Folder, given: str, open_: Sequence[str], *, with_texts: bool) -> Made:
    settings = read_settings(folder.root)
    published = published_of(folder, settings)
    if published is None:
        raise NotFound(
            "log_not_published",
            "these records are not published as a log",
            'set `[ledger] folder = ".remit/log"`, and restart the service',
        )
    if not published.size:
        raise Unavailable(
            "record_pending", "nothing is published in the log yet", "start the service (`remit up`), and try again"
        )
    key = signer_of(folder, settings, is_known=True).key
    place = folder.root / settings.ledger.folder
    with reader_of(folder) as reader:
        about = find(reader, given)
        prover = Prover(FolderSource(place), key)
        entries: list[tuple[Stored, Entry]] = []
        pending = left_out = 0
        for stored in _records(reader, about):
            at = published.place_of(stored)
            if at is None or at >= prover.size:
                if stored.stream != about.stream or stored.n <= about.n:
                    raise _pending(stored)
                pending += 1
            elif len(entries) < ENTRIES:
                entries.append((stored, prover.prove(at, stored.data)))
            else:
                left_out += 1
        receipt = Receipt(
            id=_id(about),
            entries=tuple(entry for _, entry in entries),
            openings=tuple(_openings(reader, [stored for stored, _ in entries], open_)),
            texts=dict(_texts(reader, about, with_texts=with_texts)),
        )
        entry = next(entry for stored, entry in entries if stored.data == about.data)
    return Made(receipt, verify_receipt(receipt, key), entry, key, pending, left_out)


def _records(reader: Reader, about: Stored) -> Iterator[Stored]:
    """What belongs to a decision: its configuration, its task, itself, and what became of it; or to a task."""
    record = about.record
    if (configuration := _configuration(reader, record.body.get("config", ""))) is not None:
        yield configuration
    if record.kind == "decision" and record.body.get("task"):
        task = reader.find(record.body["task"])
        if task is not None and task.stream == about.stream:
            yield task
    yield about
    # SECURITY: a workload may claim outcomes without end; what others said must not be crowded out.
    yield from sorted(_afterwards(reader, about), key=_is_claimed)


def _afterwards(reader: Reader, about: Stored) -> Iterator[Stored]:
    """What became of it, in the order of its stream."""
    named, kinds = ("decision", _AFTERWARDS) if about.record.kind == "decision" else ("task", frozenset({"task"}))
    id_ = _id(about)
    for each in reader.stream(about.stream):
        if each.n > about.n and id_.encode() in each.data:
            record = each.record
            if record.kind in kinds and record.body.get(named) == id_:
                yield each


def _is_claimed(stored: Stored) -> bool:
    return bool(stored.record.body.get("standing") == "claimed")


def _configuration(reader: Reader, digest: str) -> Stored | None:
    for stored in reader.stream("administration"):
        if digest.encode() in stored.data:
            record = stored.record
            if record.kind == "configuration" and record.body.get("config") == digest:
                return stored
    return None


def _id(about: Stored) -> str:
    record = about.record
    return str(record.body["id"] if record.kind == "decision" else record.body["task"])


def _openings(reader: Reader, records: Sequence[Stored], open_: Sequence[str]) -> Iterator[Opening]:
    """The openings that are asked for; SECURITY: none is given that was not."""
    if not open_:
        return
    kept = [
        Opening(leaf_hash(stored.data), path, salt.hex(), msgspec.json.decode(value))
        for stored in records
        for path, salt, value in reader.openings(stored.stream, stored.n)
    ]
    paths = {opening.path for opening in kept}
    for wanted in open_:
        if wanted != ALL and wanted not in paths:
            _check_not_erased(reader, records, wanted)
            raise InvalidInput(
                "opening_missing",
                f"no value is kept at `{wanted[:200]}`: it is not personal, or was erased",
                f"one of {', '.join(sorted(paths))}" if paths else "leave `--open` out",
            )
    for opening in kept:
        # The digest of the request lets its reader try values for erased arguments: only where it is named.
        if opening.path in open_ or (ALL in open_ and opening.path != DIGEST):
            yield opening


def _check_not_erased(reader: Reader, records: Sequence[Stored], path: str) -> None:
    for stored in records:
        if (erased := erased_of(reader, stored.stream, stored.n).get(path)) is not None:
            raise InvalidInput(
                "opening_erased",
                f"the value at `{path[:200]}` was erased on {moment(erased.at)} by {erased.by}",
                "its commitment can't be opened any more; leave `--open` out",
            )


def _texts(reader: Reader, about: Stored, *, with_texts: bool) -> Iterator[tuple[str, str]]:
    """Lists of names and digests of what decided; with the texts themselves where they are asked for."""
    configuration = _configuration(reader, about.record.body.get("config", ""))
    if configuration is None:
        return
    for part, digest in configuration.record.body.items():
        if part == "config" or not isinstance(digest, str):
            continue
        text = reader.text(digest)
        listed = listed_in(text.encode()) if text is not None else []
        if text is None or not (with_texts or (listed and part in _INDEXED)):
            continue
        yield digest, text
        for _, below in listed if with_texts else ():
            if (inner := reader.text(below)) is not None:
                yield below, inner


def _pending(stored: Stored) -> Unavailable:
    what = f"record {stored.n} of `{stored.stream}`"
    return Unavailable(
        "record_pending",
        f"{what} is not in the published log yet",
        "try again in a second, while the service runs (`remit up`)",
    )
