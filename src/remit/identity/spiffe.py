"""SPIFFE IDs and trust domain names (SPIFFE-ID, section 2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from remit.core.errors import InvalidInput

MAX_BYTES: Final = 2048  # section 2.3
MAX_TRUST_DOMAIN_BYTES: Final = 255  # section 2.3

_SCHEME: Final = "spiffe://"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")
_NEXT_STEP: Final = (
    "write it as `spiffe://<trust domain>/<path>`, for instance `spiffe://example.org/workload/invoices`"
)


class SpiffeId(msgspec.Struct, frozen=True):
    """A parsed SPIFFE ID: `trust_domain`, and `path` with its leading slash ("" for a trust domain's own id)."""

    trust_domain: str
    path: str = ""

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])


@lru_cache(maxsize=4096)
def parse_spiffe_id(text: str) -> SpiffeId:
    """The SPIFFE ID in `text`; `InvalidInput("spiffe_id_invalid")` otherwise.

    Upper-case schemes and trust domains are refused, not folded, so that one identity has one spelling.
    User information, ports, queries, fragments and percent-encoding fall to the character sets of sections 2.1, 2.2.
    """
    if len(text) > MAX_BYTES:
        raise _invalid(f"a SPIFFE ID has at most {MAX_BYTES} bytes")
    if not text.startswith(_SCHEME):
        raise _invalid("a SPIFFE ID starts with `spiffe://`")
    name, slash, rest = text[len(_SCHEME) :].partition("/")
    if not _TRUST_DOMAIN.fullmatch(name):
        raise _invalid("a trust domain has 1 to 255 lower-case letters, digits, dots, dashes and underscores")
    # SECURITY: empty and dot segments would let two spellings name one identity after a reader normalises them.
    for segment in rest.split("/") if slash else ():
        if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
            raise _invalid("a path segment has letters, digits, dots, dashes and underscores, and is not `.` or `..`")
    return SpiffeId(name, slash + rest)


def parse_trust_domain(text: str) -> str:
    """`text` itself when it names a trust domain (without a scheme); `InvalidInput("trust_domain_invalid")` if not."""
    if not _TRUST_DOMAIN.fullmatch(text):
        raise InvalidInput(
            "trust_domain_invalid",
            "a trust domain has 1 to 255 lower-case letters, digits, dots, dashes and underscores",
            "use a name that you own, for instance `example.org`",
        )
    return text


def spiffe_id(trust_domain: str, path: str) -> str:
    """The SPIFFE ID of `path` ("workload/invoices", without a leading slash) in `trust_domain`, checked."""
    return str(parse_spiffe_id(f"{_SCHEME}{trust_domain}/{path}"))


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("spiffe_id_invalid", message, _NEXT_STEP)
