"""The index by which `remit log` finds records: how far it reaches, and whether its files are what was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from remit.app.doctor.finding import Finding, Situation, listed
from remit.app.indexing import behind, damage, index_of
from remit.app.records import reader_of
from remit.core.errors import RemitError

FAR: Final = 200_000  # places; a command indexes as many in some seconds


def index(situation: Situation) -> Iterator[Finding]:
    """The index is not far behind the records."""
    found = index_of(situation.folder)
    try:
        with reader_of(situation.folder) as reader:
            missing = behind(reader, found)
        damaged = damage(found)
    except RemitError:
        return  # another check says what is wrong with the records
    if damaged:
        yield Finding(
            check="index",
            level="warn",
            message=f"damaged: {listed(damaged)}",
            next_step="`remit log reindex` makes the index anew; records are not touched",
        )
    elif missing > FAR:
        yield Finding(
            check="index",
            level="warn",
            message=f"the index lacks the last {missing} records; the next filter of `remit log` waits for them",
            next_step="`remit log reindex`, or leave it to the service",
        )
    else:
        yield Finding(check="index", level="ok", message=f"the index takes {found.size() / 1024**2:.1f} MiB")
