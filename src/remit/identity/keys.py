"""Keys of identities: EC P-256, as JWK (RFC 7517), named by their thumbprints (RFC 7638)."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from remit.core.errors import DocumentError, InvalidInput
from remit.identity.private_file import read_private, write_private

THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256, base64url without padding

_COORDINATE: Final = THUMBPRINT  # 32 bytes as well


def generate_key() -> ECKey:
    """A fresh EC P-256 private key, for ES256."""
    return ECKey.generate_key("P-256")


def thumbprint(key: ECKey | Mapping[str, Any]) -> str:
    """The RFC 7638 SHA-256 thumbprint of a P-256 key or its JWK, 43 characters of base64url.

    Raises `InvalidInput("key_invalid")` for any other key. The point itself is not checked here.
    """
    jwk: Mapping[str, Any] = key.as_dict() if isinstance(key, ECKey) else key
    x, y = jwk.get("x"), jwk.get("y")
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or not is_coordinate(x) or not is_coordinate(y):
        raise _invalid()
    return thumbprint_of_point(x, y)


def thumbprint_of_point(x: str, y: str) -> str:
    """The thumbprint of the P-256 point with these coordinates, each 43 characters of base64url."""
    # RFC 7638 section 3.2: the required members in lexicographic order, without white space.
    required = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    return urlsafe_b64encode(hashlib.sha256(required.encode()).digest()).decode().rstrip("=")


def is_coordinate(value: object) -> TypeGuard[str]:
    """Whether `value` looks like a coordinate of a P-256 point: 43 characters of base64url."""
    return isinstance(value, str) and _COORDINATE.fullmatch(value) is not None


def public_jwk(key: ECKey) -> dict[str, str]:
    """The public half of a P-256 key: `kty`, `crv`, `x`, `y` and nothing else."""
    jwk = key.as_dict()
    return {name: str(jwk[name]) for name in ("kty", "crv", "x", "y")}


def private_jwk(key: ECKey) -> dict[str, str]:
    """The private key as a JWK: `kty`, `crv`, `x`, `y` and `d`. Never log or send it."""
    jwk = key.as_dict(private=True)
    return {name: str(jwk[name]) for name in ("kty", "crv", "x", "y", "d")}


def import_public(jwk: Mapping[str, Any]) -> ECKey:
    """The P-256 public key in `jwk`, its point checked; `InvalidInput("key_invalid")` otherwise."""
    return _import(jwk, ("kty", "crv", "x", "y"))


def import_private(jwk: Mapping[str, Any]) -> ECKey:
    """The P-256 private key in `jwk`, checked against its public point; `InvalidInput("key_invalid")` otherwise."""
    return _import(jwk, ("kty", "crv", "x", "y", "d"))


def load_key(path: Path) -> ECKey:
    """The private key in the JWK file at `path`.

    Raises `DocumentError`: as `read_private` does, and `key_file_invalid` when it holds no P-256 private key.
    """
    data = read_private(path)
    try:
        return import_private(msgspec.json.decode(data, type=dict[str, Any]))
    except (InvalidInput, ValueError, msgspec.MsgspecError, RecursionError):
        raise DocumentError(
            "the file holds no EC P-256 private key as a JWK", path=path, code="key_file_invalid"
        ) from None


def save_key(path: Path, key: ECKey, *, replace: bool = False) -> None:
    """Writes the private key to `path` as a JWK, mode 0600, atomically.

    An existing file is a `Conflict("key_file_exists")` unless `replace`: to lose a key is to lose an identity.
    """
    write_private(path, msgspec.json.encode(private_jwk(key)) + b"\n", replace=replace)


def _import(jwk: Mapping[str, Any], members: tuple[str, ...]) -> ECKey:
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or not all(is_coordinate(jwk.get(m)) for m in members[2:]):
        raise _invalid()
    try:
        return ECKey.import_key({name: jwk[name] for name in members})
    except (JoseError, ValueError):
        raise _invalid() from None


def _invalid() -> InvalidInput:
    return InvalidInput("key_invalid", "this is not an EC P-256 key", "make one with `remit` or as a JWK with ES256")
