"""Ed25519 keys that sign notes, those of logs and of witnesses: PEM files (PKCS #8), mode 0600."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from remit.core.errors import Conflict, DocumentError
from remit.identity.private_file import read_private, write_private


def note_key(path: Path, *, mounted: bool = False) -> Ed25519PrivateKey:
    """The key in a file, made when it is missing; `DocumentError` for something else, or what others can read.

    `mounted` as for `read_private`.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        with suppress(Conflict):  # another process was first
            write_private(path, made.private_bytes(encoding, kind, serialization.NoEncryption()), replace=False)
    try:
        key = serialization.load_pem_private_key(read_private(path, mounted=mounted), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise DocumentError("this is no Ed25519 key in PEM", path=path, next_step="restore it from the backup")
    return key
