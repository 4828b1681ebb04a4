"""Canonical bytes and digests.

Canonical JSON here is RFC 8785 (JCS) restricted to what records use: no floating-point numbers, keys in code
point order, UTF-8, no insignificant white space. Records are hashed as stored; nothing re-serialises them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string")


def encode(value: Any) -> bytes:
    """The canonical bytes of `value` (JSON types, msgspec structs, tuples)."""
    return _encoder.encode(value)


def sha256(data: bytes) -> str:
    """The SHA-256 of `data`, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """The SHA-256 of the canonical bytes of `value`, 64 lower-case hex digits."""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()


def request_digest(action: str, arguments: dict[str, Any]) -> str:
    """The digest that ties a permit and an outcome to one action with exactly these arguments."""
    return hashlib.sha256(_encoder.encode((action, arguments))).hexdigest()


def commitment(salt: bytes, value: Any) -> str:
    """A salted SHA-256 of `value` that stands in a record in place of a personal value.

    `salt` is at least 16 random bytes and is kept outside the record, so that erasing it erases the value.
    """
    return hashlib.sha256(salt + _encoder.encode(value)).hexdigest()
