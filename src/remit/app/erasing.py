"""Finds what `remit erase` is about in the records, and has it erased step by step by whoever writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from remit.core import canonical
from remit.core.erasing import AT_ONCE, Erasing, Erasure, Place, What
from remit.core.errors import NotFound, RemitError
from remit.core.ids import root_of
from remit.ledger.opened import DIGEST
from remit.ledger.record import ADMINISTRATION
from remit.sdk.api import Remit
from remit.storage.reader import Reader, Stored

Progress = Callable[[str, int, int], None]

_STEP_BYTES: Final = 96 * 1024  # of the places that one request names
_EVERY: Final = 512


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Personal values that one task, or one identity, has in records of one kind."""

    where: str  # the root task, or the stream where there is none
    kind: str
    values: int


class Past(msgspec.Struct, kw_only=True):
    """An erasure that is on record."""

    id: str
    at: int  # ms
    by: str
    what: str
    reason: str
    openings: int = 0
    keys: int = 0


def past(reader: Reader) -> list[Past]:
    """All erasures, in the order in which they began."""
    found: dict[str, Past] = {}
    for stored in reader.stream(ADMINISTRATION):
        if b'"kind":"erasure"' not in stored.data or (record := stored.record).kind != "erasure":
            continue
        id_, by, what, reason = (str(record.body.get(name, "")) for name in ("id", "by", "what", "reason"))
        each = found.setdefault(id_, Past(id=id_, at=record.t, by=by, what=what, reason=reason))
        each.openings += len(record.body.get("openings", ()))
        each.keys += len(record.body.get("keys", ()))
    return list(found.values())


def of_subject(reader: Reader, name: str, progress: Progress) -> list[Place]:
    """Where values of a subject stand."""
    return [row[:3] for row in _counted(reader, reader.opened(name), progress)]


def of_task(reader: Reader, task: str) -> list[Place]:
    """Where values of a task and the tasks below it stand."""
    found: list[Place] = []
    decisions: set[str] = set()
    for stored in reader.stream(f"session/{root_of(task)}"):
        body = stored.record.body
        belongs = str(body.get("task", ""))
        if belongs == task or belongs.startswith(task + ".") or body.get("decision") in decisions:
            decisions.add(str(body.get("id", "")))
            found += _places(reader, stored)
    return found


def of_value(reader: Reader, value: str, progress: Progress) -> list[Place]:
    """Where exactly this value stands, as text or as the JSON that it is, with the digests that would tell it."""
    forms = _forms(value)
    found: list[Place] = []
    for stream, n, path, held in _counted(reader, reader.opened(), progress):
        if held in forms or _decimal(held) == value:
            found.append((stream, n, path))
    # SECURITY: the digest of a request is of its arguments: who has it can try values for what was erased.
    digests = {
        (stream, n, DIGEST)
        for stream, n in dict.fromkeys(place[:2] for place in found)
        if any(path == DIGEST for path, _, _ in reader.openings(stream, n))
    }
    return sorted({*found, *digests})


def held(reader: Reader, places: Iterable[Place]) -> list[Held]:
    """How many values there are, by task and kind of record; never what they are."""
    by_stream: dict[str, Counter[int]] = {}
    for stream, n, _ in places:
        by_stream.setdefault(stream, Counter())[n] += 1
    found = []
    for stream, numbers in sorted(by_stream.items()):
        kinds: Counter[str] = Counter()
        for stored in reader.stream(stream):
            if stored.n in numbers:
                kinds[stored.record.kind] += numbers[stored.n]
        where = stream.removeprefix("session/")
        found += [Held(where=where, kind=kind, values=count) for kind, count in sorted(kinds.items())]
    return found


async def erase(
    remit: Remit, what: What, reason: str, progress: Progress, *, subject: str = "", places: Iterable[Place] = ()
) -> Erasure:
    """All steps of an erasure, under one id; what was done before one fails stays done, and is on record."""
    left = sorted(places)
    total, id_, openings, keys = len(left), "", 0, 0
    for part in [()] if subject else list(_steps(left)):
        more = True
        while more:
            try:
                wanted = Erasing(what=what, reason=reason, subject=subject, places=tuple(part), id=id_)  # type: ignore[arg-type]  # checked there
                done = await remit.erase(wanted)
            except NotFound:
                if not id_:
                    raise
                break  # somebody else erased the rest
            id_, more = done.id, done.more
            openings, keys = openings + done.openings, keys + done.keys
            progress("erasing", openings, max(total, openings))
    return Erasure(id=id_, openings=openings, keys=keys, more=False)


def _steps(places: list[Place]) -> Iterator[list[Place]]:
    part: list[Place] = []
    size = 0
    for place in places:
        length = len(canonical.encode(place)) + 1
        if part and (size + length > _STEP_BYTES or len(part) >= AT_ONCE):
            yield part
            part, size = [], 0
        part.append(place)
        size += length
    if part:
        yield part


def _places(reader: Reader, stored: Stored) -> list[Place]:
    paths = [path for path, _, _ in reader.openings(stored.stream, stored.n)]
    return [(stored.stream, stored.n, path) for path in sorted({*paths, *reader.broken(stored.stream, stored.n)})]


def _counted(reader: Reader, rows: Iterable[Any], progress: Progress) -> Iterator[Any]:
    total = reader.personal()
    done = 0
    for done, row in enumerate(rows, 1):
        if done % _EVERY == 0:
            progress("looking", done, max(total, done))
        yield row
    progress("looking", total, max(total, done))


def _forms(value: str) -> frozenset[bytes]:
    """The canonical bytes that a value may have: as text, and as what the text is in JSON."""
    forms = {canonical.encode(value)}
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        forms.add(canonical.encode(msgspec.json.decode(value)))
    return frozenset(forms)


def _decimal(held_: bytes) -> str | None:
    """The number in Cedar's form of a decimal."""
    if b"__extn" not in held_:
        return None
    try:
        return str(msgspec.json.decode(held_)["__extn"]["arg"])
    except (RemitError, msgspec.MsgspecError, KeyError, TypeError):
        return None
