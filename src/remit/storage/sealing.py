"""Personal values as they stand in storage: sealed under a key of the person they are about (docs/design/erasure.md).

An opening is the salt and value of one commitment. It is sealed with AES-256-GCM (NIST SP 800-38D) under the key of its
subject; stream, number and path are bound to it as associated data, so that a sealed value opens at its own place only.
Where a key is gone, so is what was sealed under it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.core import canonical
from remit.decide.sequence import Entry

KEY_BYTES: Final = 32
MARK_BYTES: Final = 8
NONCE_BYTES: Final = 12
USES: Final = 2**30  # of one key in one process: SP 800-38D, 8.3 bounds random nonces to 2^32 for one key
IN_MEMORY: Final = 4_096  # keys
_RANDOM_BITS: Final = 20

# Pointer, salt, canonical JSON of the value.
Opened = tuple[str, bytes, bytes]
# Stream, number, pointer, id of the key, sealed salt and value.
Sealed = tuple[str, int, str, int, bytes]


class Subject(NamedTuple):
    """A key and whom it is of: a row of `subjects`. `mark` finds the rows of a name, `name` is sealed under the key."""

    id: int
    mark: bytes
    name: bytes
    key: bytes
    t: int


# The newest living key of a name, as storage has it: its id and the key.
Lookup = Callable[[str], tuple[int, bytes] | None]


class _Key:
    __slots__ = ("cipher", "id", "uses")

    def __init__(self, id_: int, key: bytes) -> None:
        self.id = id_
        self.cipher = AESGCM(key)
        self.uses = 0


class Vault:
    """The keys that one sequencer seals with, one for each subject; new ones are made as they are needed.

    `lookup` finds a key that storage has. What was made must be stored with what was sealed under it (`take_made`).
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._keys: OrderedDict[str, _Key] = OrderedDict()
        self._made: list[Subject] = []
        self._last = 0

    def seal(
        self, subject: str, stream: str, n: int, openings: Iterable[tuple[str, bytes, Any]], now: int
    ) -> list[Sealed]:
        """The openings (pointer, salt, value) of one record, sealed for `subject`; `now` in ms."""
        key = self._key(subject, now)
        found = [
            (stream, n, path, key.id, seal(key.cipher, stream, n, path, salt, canonical.encode(value)))
            for path, salt, value in openings
        ]
        key.uses += len(found)
        return found

    def take_made(self) -> list[Subject]:
        """The keys that were made since this was last asked; not stored yet."""
        made, self._made = self._made, []
        return made

    def holds(self, subject: str) -> bool:
        """Whether a key of this subject is in memory."""
        return subject in self._keys

    def know(self, subject: str, id_: int, key: bytes) -> None:
        """Takes a key that storage has."""
        if subject not in self._keys:
            self._keys[subject] = _Key(id_, key)

    def forget(self, ids: Iterable[int]) -> None:
        """Seals nothing under these keys from now on."""
        gone = frozenset(ids)
        for name in [name for name, key in self._keys.items() if key.id in gone]:
            del self._keys[name]

    def clear(self) -> None:
        """Forgets all keys, also those that were made and not stored."""
        self._keys.clear()
        self._made.clear()

    def _key(self, subject: str, now: int) -> _Key:
        key = self._keys.get(subject)
        if key is not None and key.uses < USES:
            self._keys.move_to_end(subject)
            return key
        known = self._lookup(subject) if key is None else None
        if known is not None:
            key = _Key(*known)
        else:
            made = self._make(subject, now)
            self._made.append(made)
            key = _Key(made.id, made.key)
        self._keys[subject] = key
        if len(self._keys) > IN_MEMORY:
            self._keys.popitem(last=False)
        return key

    def _make(self, subject: str, now: int) -> Subject:
        # In the order of time, so that a table of keys only grows at its end; never given twice.
        self._last = max(self._last + 1, now << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS))
        return subject_of(subject, self._last, now)


def owner_of(entry: Entry) -> str:
    """Whom the openings of an entry are about."""
    return entry.subject or entry.stream.partition("/")[2] or entry.stream


def subject_of(name: str, id_: int, now: int) -> Subject:
    """A new key for the subject of this name."""
    key = secrets.token_bytes(KEY_BYTES)
    return Subject(id_, mark_of(name), _encrypt(AESGCM(key), name.encode(), _bound_name(id_)), key, now)


def mark_of(name: str) -> bytes:
    """By what the keys of a subject are found; several names may share one."""
    return hashlib.sha256(name.encode()).digest()[:MARK_BYTES]


def name_of(id_: int, name: bytes, key: bytes) -> str | None:
    """The name of the subject whose key this is; None where it does not open."""
    try:
        return AESGCM(key).decrypt(name[:NONCE_BYTES], name[NONCE_BYTES:], _bound_name(id_)).decode()
    except (InvalidTag, ValueError):
        return None


def pseudonym(id_: int) -> str:
    """How records name a key: 16 hex digits, which say nothing about whose it was."""
    return f"{id_:016x}"


def key_of(pseudonym_: str) -> int:
    """The id of the key that a record names."""
    return int(pseudonym_, 16)


def seal(cipher: AESGCM, stream: str, n: int, path: str, salt: bytes, value: bytes) -> bytes:
    """Nonce, and then salt and value under a key of AES-256-GCM."""
    return _encrypt(cipher, bytes((len(salt),)) + salt + value, _bound(stream, n, path))


def unseal(key: bytes, stream: str, n: int, path: str, sealed: bytes) -> tuple[bytes, bytes] | None:
    """Salt and canonical value; None for what was not sealed at this place under this key."""
    try:
        # SECURITY: bound to its place: a sealed value that was moved to another record or path opens nothing.
        plain = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(stream, n, path))
    except (InvalidTag, ValueError):
        return None
    length = plain[0]
    return plain[1 : 1 + length], plain[1 + length :]


def unsealed(rows: Iterable[Sequence[Any]]) -> list[tuple[int, Opened]]:
    """Those of (stream, n, pointer, key, sealed) that open, as (n, (pointer, salt, value))."""
    found = []
    for stream, n, path, key, sealed in rows:
        if (opened := unseal(key, stream, n, path, sealed)) is not None:
            found.append((n, (path, *opened)))
    return found


def _encrypt(cipher: AESGCM, plain: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, bound)


def _bound(stream: str, n: int, path: str) -> bytes:
    # Neither names of streams nor numbers have a line feed, so that no two places have the same bytes.
    return f"remit opening 1\n{stream}\n{n}\n{path}".encode()


def _bound_name(id_: int) -> bytes:
    return f"remit subject 1\n{id_}".encode()
