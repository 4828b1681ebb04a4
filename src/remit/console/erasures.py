"""Who had a value erased, and when: what the records of erasures say about one record."""

from __future__ import annotations

from typing import NamedTuple

from remit.storage.reader import Reader


class By(NamedTuple):
    """When (ms) and by whom a value was erased."""

    at: int
    by: str


def erased_of(reader: Reader, stream: str, n: int) -> dict[str, By]:
    """What was erased of one record, by pointer."""
    found: dict[str, By] = {}
    for each in reader.stream("administration"):
        if b'"kind":"erasure"' not in each.data or (record := each.record).kind != "erasure":
            continue
        for place in record.body.get("openings", ()):
            if place[:2] == [stream, n]:
                found.setdefault(str(place[2]), By(record.t, str(record.body.get("by", ""))))
    return found
