"""`[[forward]]`: where records are forwarded to, as they are recorded (docs/guides/forwarding.md)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from remit.core.documents import Document, Path_

Format = Literal["otlp", "ocsf", "syslog"]

_SCHEMES: Final[dict[str, tuple[str, ...]]] = {
    "otlp": ("https", "http"),
    "ocsf": ("https", "http", "file"),
    "syslog": ("tls", "tcp"),
}
_EXAMPLE: Final[dict[str, str]] = {
    "otlp": "https://collector.example.org:4318",
    "ocsf": "https://siem.example.org/events, or file:forwarded.jsonl",
    "syslog": "tls://logs.example.org:6514",
}
PLAIN: Final = frozenset({"http", "tcp"})


class ForwardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[forward]]`: one receiver of records; each is sent every record at least once, in order."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="what commands call it")]
    format: Annotated[
        Format, Meta(description="otlp: OpenTelemetry logs and spans; ocsf: JSON events; syslog: RFC 5424 lines")
    ]
    to: Annotated[
        str,
        Meta(
            max_length=2048,
            description="https://host:port (otlp, ocsf), file:PATH (ocsf), tls://host:port (syslog); http and tcp only "
            "on this machine",
        ),
    ]
    headers_file: Annotated[
        str,
        Meta(
            max_length=1024, description="with https: a file of header lines, `Name: value`, such as a token; mode 0600"
        ),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(max_length=1024, description="with https or tls: who vouches for the receiver (PEM); empty: the system"),
    ] = ""


def check_forward(document: Document, settings: Sequence[ForwardSettings]) -> None:
    """Each has its own name and can be reached safely; a `DocumentError` names the line of one that can't."""
    names: set[str] = set()
    for number, one in enumerate(settings):
        at: Path_ = ("forward", number)
        if one.name in names:
            raise document.error(f"`{one.name}` is declared twice", (*at, "name"), "keep one of them")
        names.add(one.name)
        scheme = _check_address(document, one, (*at, "to"))
        if one.headers_file and not scheme.startswith("http"):
            raise document.error("headers go with http only", (*at, "headers_file"), "remove `headers_file`")
        if one.ca_file and scheme not in ("https", "tls"):
            raise document.error(
                "nothing is encrypted there", (*at, "ca_file"), "remove `ca_file`, or use https or tls"
            )


def _check_address(document: Document, one: ForwardSettings, at: Path_) -> str:
    wanted = f"write `{_EXAMPLE[one.format]}`"
    scheme, _, rest = one.to.partition(":")
    if scheme == "file" and scheme in _SCHEMES[one.format]:
        if not rest or rest.startswith("//"):
            raise document.error(f"`{one.to[:200]}` names no file", at, wanted)
        return scheme
    try:
        parts = urlsplit(one.to)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    plain = one.to.isascii() and one.to.isprintable() and " " not in one.to
    is_url = plain and parts.hostname and port != 0 and "@" not in parts.netloc and not parts.fragment
    if not is_url or parts.scheme not in _SCHEMES[one.format]:
        raise document.error(f"`{one.to[:200]}` is no receiver of {one.format}", at, wanted)
    if one.format == "syslog" and (port is None or parts.path or parts.query):
        raise document.error(f"`{one.to[:200]}` is not host and port", at, wanted)
    # SECURITY: who did what is readable on the way; what is not encrypted stays on this machine.
    if parts.scheme in PLAIN and not _is_loopback(parts.hostname or ""):
        raise document.error(f"`{one.to[:200]}` is not encrypted and not on this machine", at, "use https or tls")
    return parts.scheme


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
