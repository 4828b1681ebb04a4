"""`[ledger]`: the records, published as a transparency log (docs/design/ledger.md)."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from remit.core.documents import Document

_NAME: Final = re.compile(r"[^\s+\x00-\x1f]{1,255}")


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[ledger]`: where the records are published as a log that outsiders verify."""

    folder: Annotated[
        str,
        Meta(
            max_length=1024,
            description="a folder, such as `.remit/log`, that the service writes and any web server may serve; "
            "empty: not published",
        ),
    ] = ""
    name: Annotated[
        str,
        Meta(
            max_length=255,
            description="the origin of the log, by which its key is known; empty: `<trust domain>/log`. Never changes",
        ),
    ] = ""


def check_ledger(document: Document, settings: LedgerSettings, storage_url: str) -> None:
    """Raises a `DocumentError` for what can't be published so."""
    if settings.name and not _NAME.fullmatch(settings.name):
        raise document.error(
            "the name of a log has no spaces and no `+`", ("ledger", "name"), "write `log.example.org/remit`"
        )
    if settings.folder and storage_url:
        raise document.error(
            "records in PostgreSQL can't be published as a log yet",
            ("ledger", "folder"),
            "leave it out; `remit log export` gives an outsider the records of PostgreSQL",
        )
