"""Notifiers: whom enforcement points tell of an action. Only what `remit.toml` declares is ever written or sent to."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from remit.core.documents import Document, Path_

TELL_SECONDS: Final = 3.0  # for all notifiers of one decision; a permit lives for 5

_HOW: Final = "write `url` and `secret_file`, or `file`"


class NotifierSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[notifiers]]`: whom enforcement points tell of an action, where a policy says `@notify("name")`."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="what `@notify` calls it; no dots")]
    url: Annotated[
        str, Meta(max_length=2048, description="where a signed webhook is sent: https, or http on this machine")
    ] = ""
    secret_file: Annotated[
        str, Meta(max_length=1024, description="with `url`: the file of its secrets, `whsec_…`, mode 0600")
    ] = ""
    file: Annotated[str, Meta(max_length=1024, description="instead of `url`: a file of JSON lines to append to")] = ""
    per_minute: Annotated[
        int, Meta(ge=1, le=60_000, description="messages from one enforcement point; what is over is not delivered")
    ] = 120


def check_notifiers(document: Document, notifiers: Sequence[NotifierSettings]) -> None:
    """Each has its own name and one way to deliver; a `DocumentError` names the line of one that hasn't."""
    names: set[str] = set()
    for number, notifier in enumerate(notifiers):
        at: Path_ = ("notifiers", number)
        if notifier.name in names:
            raise document.error(f"`{notifier.name}` is declared twice", (*at, "name"), "keep one of them")
        names.add(notifier.name)
        if bool(notifier.url) == bool(notifier.file):
            raise document.error(f"it is not clear where `{notifier.name}` delivers to", at, _HOW)
        if notifier.url:
            _check_url(document, notifier.url, (*at, "url"))
            if not notifier.secret_file:
                # SECURITY: nobody can tell an unsigned message from one that somebody made up.
                raise document.error("a webhook is signed, and no secret is named", at, "add `secret_file`")
        elif notifier.secret_file:
            raise document.error("a file is not signed", (*at, "secret_file"), "remove `secret_file`")


def _check_url(document: Document, url: str, at: Path_) -> None:
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, valid = SplitResult("", "", "", "", ""), False
    plain = url.isascii() and url.isprintable() and " " not in url
    if not valid or not plain or parts.scheme not in ("http", "https") or parts.fragment or "@" in parts.netloc:
        raise document.error(
            f"`{url[:200]}` is not where a webhook can be sent", at, "write it as https://hooks.example.org/remit"
        )
    # SECURITY: what was done, by whom and why is readable on the way; http stays on this machine.
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise document.error(f"`{url[:200]}` is http and not on this machine", at, "use https")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
