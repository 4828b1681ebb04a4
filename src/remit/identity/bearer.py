"""Bearer keys (RFC 6750): secrets that are sent as they are, by callers that can't prove a key of their own.

1. The header is `Bearer` and one token, of the characters that RFC 6750 section 2.1 allows.
2. Its SHA-256 is compared with that of every known key, each time in constant time.
3. The key has not expired.

Whoever sees such a secret can use it. So its caller has proved the possession of nothing (`possession` none): it may
ask general questions, where a policy of the project says so, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from remit.core import bounds
from remit.core.errors import Conflict, DocumentError, InvalidInput, Unauthenticated
from remit.core.identities import Identity
from remit.identity.private_file import read_private, write_private

KEYS: Final = 64
NEVER: Final = (1 << 53) - 1  # ms; the largest whole number that every JSON reader has

_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
_SCHEME = re.compile(r"(?i:bearer)(?: |$)")
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes in base64url


class BearerKey(msgspec.Struct, frozen=True, kw_only=True):
    """The digest of one secret, and whose it is."""

    sha256: bytes
    id: str  # SPIFFE ID
    expires: int = NEVER  # ms


class BearerKeys:
    """The bearer keys of one installation; at most `KEYS`."""

    def __init__(self, keys: Iterable[BearerKey] = ()) -> None:
        self._known = tuple(
            (key.sha256, Identity(id=key.id, key="", expires=key.expires, possession="none")) for key in keys
        )
        if len(self._known) > KEYS or any(len(digest) != hashlib.sha256().digest_size for digest, _ in self._known):
            raise InvalidInput("bearer_keys_invalid", f"there are more than {KEYS} bearer keys, or one is no SHA-256")

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._known)

    def caller(self, authorization: str, now: int) -> Identity:
        """The identity whose secret the `Authorization` header has; `Unauthenticated` otherwise."""
        match = _BEARER.fullmatch(authorization) if len(authorization) <= bounds.TOKEN_BYTES else None
        if match is None:
            raise Unauthenticated("bearer_invalid", "the header is not `Bearer` and one token", _NEXT_STEP)
        digest = hashlib.sha256(match[1].encode("ascii")).digest()
        found: Identity | None = None
        for known, identity in self._known:
            # SECURITY: every key is compared, each in constant time, so that the time tells nothing of any.
            if hmac.compare_digest(known, digest):
                found = identity
        if found is None:
            raise Unauthenticated("bearer_unknown", "this is none of the bearer keys of this service", _NEXT_STEP)
        if found.expires <= now:
            raise Unauthenticated("bearer_expired", "this bearer key has expired", "ask for a new one")
        return found


_NEXT_STEP: Final = "`[[bearer_keys]]` in remit.toml names the digests of those that it knows"


def is_bearer(authorization: str) -> bool:
    """Whether the header's scheme is `Bearer`, whatever follows."""
    return _SCHEME.match(authorization) is not None


def digest_of(secret: str) -> bytes:
    """What is kept of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode("ascii")).digest()


def local_secret(path: Path) -> str:
    """The secret in the file at `path`, made of 32 random bytes, mode 0600, when there is none."""
    if not path.exists():
        # Another process may have made it meanwhile: then that one counts.
        with contextlib.suppress(Conflict):
            write_private(path, secrets.token_urlsafe(32).encode() + b"\n", replace=False)
    text = read_private(path).decode("utf-8", "replace").strip()
    if not _SECRET.fullmatch(text):
        raise DocumentError(
            "the file holds no bearer key that was made here",
            path=path,
            next_step="remove it, and a new one is made at the next start",
            code="key_file_invalid",
        )
    return text
