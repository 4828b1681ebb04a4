"""Signed webhooks: Standard Webhooks 1.0.0, symmetric (`v1`, HMAC-SHA256).

The signature covers `{webhook-id}.{webhook-timestamp}.{body}`. The id stays the same when a message is sent again, so
that a receiver sees a repetition; the timestamp is that of the attempt, so that it sees an old one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from remit.core.errors import DocumentError
from remit.identity.private_file import read_private

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = (24, 64)  # at least and at most, as the specification says
SECRETS: Final = 4  # while one replaces another, a message is signed with both

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


def read_secrets(path: Path) -> list[bytes]:
    """The secrets of a file, one a line, the newest first.

    Raises `DocumentError` when it is not there, others can read it, or a line is no secret; no message quotes one.
    """
    try:
        lines = read_private(path).decode("ascii").split()
    except UnicodeDecodeError:
        lines = ["?"]
    secrets = [_secret(line, path) for line in lines[: SECRETS + 1]]
    if not 1 <= len(secrets) <= SECRETS:
        message = f"the file has {'no secret' if not secrets else f'more than {SECRETS} secrets'}"
        raise DocumentError(message, path=path, next_step=f"write 1 to {SECRETS} of them, one a line")
    return secrets


def signed_headers(id_: str, seconds: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers of one attempt at `seconds` (Unix time), signed with every secret."""
    content = f"{id_}.{seconds}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, content, "sha256")).decode() for secret in secrets]
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def message_id(decision: str, notifier: str) -> str:
    """The id of what one notifier is told of one decision: the same however often it is sent."""
    id_ = f"{decision}_{notifier}"
    # SECURITY: a full stop in it would let two different messages have one signature.
    return id_ if _PLAIN.fullmatch(id_) else hashlib.sha256(id_.encode(errors="surrogatepass")).hexdigest()


def _secret(line: str, path: Path) -> bytes:
    least, most = SECRET_BYTES
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX), validate=True) if line.startswith(PREFIX) else b""
    except (ValueError, binascii.Error):
        secret = b""
    if not least <= len(secret) <= most:
        raise DocumentError(
            f"a line is not `{PREFIX}` and {least} to {most} bytes in base64",
            path=path,
            next_step="make one: `echo whsec_$(openssl rand -base64 32)`",
        )
    return secret
