"""Signed notes (c2sp.org/signed-note), with the signatures of logs and the cosignatures of witnesses.

1. A note is text that ends in a line feed, an empty line, and signature lines `— name base64(key id || signature)`.
2. A key is known by name *and* id; signatures of unknown keys are passed over.
3. A signature that names a known key and does not verify spoils the whole note.
4. A note without one good signature of a wanted key is no note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.core.errors import InvalidInput

NOTE_BYTES: Final = 1 << 17
SIGNATURES: Final = 64
NAME_BYTES: Final = 255

# The type byte of a key says how it signs; another algorithm is another byte.
ED25519: Final = 0x01
COSIGNATURE: Final = 0x04  # c2sp.org/tlog-cosignature: Ed25519 with a time

_NAME: Final = re.compile(r"[^\s+\x00-\x1f]+")
_LINE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_DASH: Final = "— "
_PUBLIC_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8
_LATEST: Final = 2**63 - 1


class VerifierKey(NamedTuple):
    """Who may have signed: a name, the type of its signatures, and an Ed25519 public key."""

    name: str
    type: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The key id: four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """The vkey, as it is published."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.public).decode()}"


class Signature(NamedTuple):
    """One signature line that verified; `time` (s) is a cosignature's, else 0."""

    key: VerifierKey
    line: str
    time: int = 0


class Note(NamedTuple):
    """A note of which at least one signature verified, by keys that were asked for."""

    text: str
    signatures: tuple[Signature, ...]


class Signer:
    """A named Ed25519 key that signs notes; of type `COSIGNATURE`, as a witness does."""

    def __init__(self, name: str, key: Ed25519PrivateKey, type_: int = ED25519) -> None:
        _check_name(name)
        self.key = VerifierKey(name, type_, key.public_key().public_bytes_raw())
        self._private = key

    def sign(self, text: str, time: int = 0) -> str:
        """The signature line over `text`, with its line feed; a cosignature says its `time` (s)."""
        check_text(text)
        if self.key.type == COSIGNATURE:
            if not 0 < time <= _LATEST:
                raise InvalidInput("time_invalid", "a cosignature has a time")
            signature = time.to_bytes(_TIME_BYTES, "big") + self._private.sign(_cosigned(text, time))
        else:
            signature = self._private.sign(text.encode())
        return f"{_DASH}{self.key.name} {base64.b64encode(self.key.id + signature).decode()}\n"


def read_key(text: str) -> VerifierKey:
    """The key that a vkey names; `InvalidInput("vkey_invalid")` for anything else, or an id that is not the key's."""
    name, _, rest = text.partition("+")
    id_, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(text) > 512 or len(data) != 1 + _PUBLIC_BYTES or data[0] not in (ED25519, COSIGNATURE):
        raise _bad_key("it is no `name+id+key` of an Ed25519 key")
    _check_name(name)
    key = VerifierKey(name, data[0], data[1:])
    # SECURITY: the id is a digest of all of the key, so that a vkey that was mistyped or cut is refused.
    if id_ != key.id.hex():
        raise _bad_key("its id is not that of its key")
    return key


def signed_note(text: str, lines: Iterable[str]) -> str:
    """The note of `text` with these signature lines."""
    check_text(text)
    return f"{text}\n{''.join(lines)}"


def check_text(text: str) -> None:
    """Refuses what can't be the text of a note."""
    if not text.endswith("\n") or any(ord(character) < 0x20 and character != "\n" for character in text):
        raise _invalid("its text has control characters, or does not end in a line feed")


def open_note(data: bytes, keys: Iterable[VerifierKey]) -> Note:
    """The note in `data`, with the signatures of `keys` on it.

    `InvalidInput`: `note_invalid` for what is no note, `signature_invalid` when a known key's signature does not
    verify, `signature_missing` when none of `keys` has signed.
    """
    text, lines = split_note(data)
    known = {(key.name, key.id): key for key in keys}
    found: dict[tuple[str, bytes], Signature] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise _invalid("a signature line is malformed")
        try:
            decoded = base64.b64decode(match[2], validate=True)
        except (binascii.Error, ValueError):
            raise _invalid("a signature is not base64") from None
        if len(decoded) < 5:
            raise _invalid("a signature is too short")
        key = known.get((match[1], decoded[:4]))
        if key is None:
            continue
        if (key.name, key.id) in found:
            raise _invalid(f"`{key.name}` has signed it twice")
        found[key.name, key.id] = Signature(key, line + "\n", _verify(key, text, decoded[4:]))
    if not found:
        raise InvalidInput("signature_missing", "none of the given keys has signed this", "check the key (vkey)")
    return Note(text, tuple(found.values()))


def split_note(data: bytes) -> tuple[str, list[str]]:
    """Text and signature lines, nothing verified; `InvalidInput("note_invalid")` for what is no note."""
    if len(data) > NOTE_BYTES:
        raise _invalid(f"it is over {NOTE_BYTES} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8") from None
    # The last empty line parts them: the text may have others.
    place = whole.rfind("\n\n")
    if place < 0 or not whole.endswith("\n"):
        raise _invalid("it has no empty line before its signatures, or is cut off")
    text, lines = whole[: place + 1], whole[place + 2 : -1].split("\n")
    check_text(whole)
    if lines == [""] or len(lines) > SIGNATURES:
        raise _invalid(f"it has no signature, or more than {SIGNATURES}")
    return text, lines


def _verify(key: VerifierKey, text: str, signature: bytes) -> int:
    time = 0
    message = text.encode()
    if key.type == COSIGNATURE:
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        signature, message = signature[_TIME_BYTES:], _cosigned(text, time)
    try:
        if len(signature) != _SIGNATURE_BYTES or time > _LATEST:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise InvalidInput(
            "signature_invalid", f"the signature of `{key.name}` does not verify", "do not trust this copy"
        ) from None
    return time


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name.encode()) > NAME_BYTES:
        raise _bad_key("its name is empty, too long, or has spaces or `+`")


def _bad_key(why: str) -> InvalidInput:
    return InvalidInput("vkey_invalid", f"this is no verifier key: {why}", "copy the whole key (vkey)")


def _invalid(why: str) -> InvalidInput:
    return InvalidInput("note_invalid", f"this is no signed note: {why}")
