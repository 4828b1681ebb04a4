"""`[ledger]`: the records, published as a transparency log (docs/design/ledger.md)."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from remit.core.documents import Document
from remit.core.issuers import is_fetchable

_VKEY: Final = re.compile(r"[^\s+\x00-\x1f]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")
_NAME: Final = re.compile(r"[^\s+\x00-\x1f]{1,255}")


class WitnessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[ledger.witnesses]]`: who is asked to cosign every checkpoint (c2sp.org/tlog-witness)."""

    url: Annotated[
        str,
        Meta(max_length=1024, description="where it takes checkpoints: https, or http on a loopback address"),
    ]
    key: Annotated[str, Meta(max_length=512, description="its public key (vkey), as `remit witness key` prints it")]
    ca_file: Annotated[
        str, Meta(max_length=1024, description="PEM: the authorities of its certificate; empty: the system's")
    ] = ""


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
    serve: Annotated[
        bool,
        Meta(
            description="serve the log under `/log/` of the service's own address, to anybody who reaches it, without "
            "authentication"
        ),
    ] = False
    quorum: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="how many of the witnesses must cosign a checkpoint before it is published, while records stay "
            "pending; 0: cosignatures are added where they come, and nothing waits for them",
        ),
    ] = 0
    witnesses: Annotated[
        tuple[WitnessSettings, ...],
        Meta(max_length=16, description="`[[ledger.witnesses]]`: who cosigns what is published"),
    ] = ()


def check_ledger(document: Document, settings: LedgerSettings) -> None:
    """Raises a `DocumentError` for what can't be published so."""
    if settings.name and not _NAME.fullmatch(settings.name):
        raise document.error(
            "the name of a log has no spaces and no `+`", ("ledger", "name"), "write `log.example.org/remit`"
        )
    if not settings.folder and (settings.serve or settings.witnesses):
        raise document.error(
            "nothing is published that could be served or witnessed",
            ("ledger", "serve" if settings.serve else "witnesses"),
            'set `folder = ".remit/log"` under `[ledger]`',
        )
    _check_witnesses(document, settings)


def _check_witnesses(document: Document, settings: LedgerSettings) -> None:
    keys: set[str] = set()
    for number, witness in enumerate(settings.witnesses):
        at = ("ledger", "witnesses", number)
        if not is_fetchable(witness.url, allow_http=True) or "?" in witness.url:
            raise document.error(
                "the URL of a witness is https, or http on a loopback address, and has no query",
                (*at, "url"),
                "write it as `https://witness.example.org`",
            )
        if not _VKEY.fullmatch(witness.key):
            raise document.error(
                "this is no verifier key (vkey)", (*at, "key"), "copy what `remit witness key` prints, whole"
            )
        public = witness.key.split("+", 2)[2]
        # SECURITY: one key is one witness, under however many names and addresses.
        if public in keys:
            raise document.error("this witness stands here already", (*at, "key"), "keep one of them")
        keys.add(public)
    if settings.quorum > len(settings.witnesses):
        raise document.error(
            f"the quorum is {settings.quorum}, and {len(settings.witnesses)} witnesses are named",
            ("ledger", "quorum"),
            "name them in `[[ledger.witnesses]]`, or lower `quorum`",
        )
