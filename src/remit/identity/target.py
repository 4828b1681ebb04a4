"""The URL that a proof is for, in one spelling (RFC 9449 section 4.3; RFC 3986 sections 6.2.2 and 6.2.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

MAX_BYTES: Final = 4096

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\]")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Target(NamedTuple):
    """Where a request goes: `http://127.0.0.1:8080` and `/v1/tasks`. Query and fragment are left out."""

    origin: str
    path: str


@lru_cache(maxsize=1024)
def parse_target(url: str) -> Target | None:
    """The target of an absolute http or https URL; None for anything else.

    Scheme and host are lower case, a default port is left out, an empty path is `/`, percent-encoding is upper case
    and only where it is needed. User information and dot segments are refused rather than resolved: no client of
    this service has a reason to send them.
    """
    if len(url) > MAX_BYTES or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host, authority = (parts.hostname or ""), parts.netloc
    if ":" in host:
        host = f"[{host}]"
    if parts.scheme not in _DEFAULT_PORTS or "@" in authority or authority.endswith(":") or not _HOST.fullmatch(host):
        return None
    path = _normal_path(parts.path)
    if path is None:
        return None
    suffix = "" if port is None or port == _DEFAULT_PORTS[parts.scheme] else f":{port}"
    return Target(f"{parts.scheme}://{host}{suffix}", path)


def _normal_path(path: str) -> str | None:
    if not _PATH.fullmatch(path):
        return None
    normal = _ENCODED.sub(_normal_octet, path) if "%" in path else path
    # SECURITY: with dot segments two readers may see two different paths.
    if any(segment in (".", "..") for segment in normal.split("/")):
        return None
    return normal or "/"


def _normal_octet(match: re.Match[str]) -> str:
    character = chr(int(match[0][1:], 16))
    return character if character in _UNRESERVED else match[0].upper()
