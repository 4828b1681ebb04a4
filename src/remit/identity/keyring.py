"""The trust domain's signing keys on disk: made once, rotated with overlap, published as a SPIFFE bundle."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from joserfc.jwk import ECKey

from remit.core.errors import DocumentError, InvalidInput, NotFound, Unavailable
from remit.identity.keys import generate_key, import_private, private_jwk, public_jwk, thumbprint
from remit.identity.private_file import read_private, write_private
from remit.identity.svid import LEEWAY_MS

FILE: Final = "keyring.json"
MAX_KEYS: Final = 48  # a rotation each day keeps 33
REFRESH_HINT_S: Final = 300  # how often a verifier elsewhere should look for new keys

LONGEST_DELAY_MS: Final = 7 * 24 * 3600 * 1000

# Nothing that a key signs lives longer, so a retired key can leave the bundle after this time. As long as the longest
# task: the token of a task must not end before the task does.
LONGEST_LIFE_MS: Final = 31 * 24 * 3600 * 1000


class RingKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key of the ring: it signs from `signs_from` (ms) until the next one does."""

    jwk: dict[str, str]
    signs_from: int


class RingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file `keyring.json`, version 1."""

    v: int
    sequence: int  # grows with every change of the bundle
    keys: tuple[RingKey, ...]  # by `signs_from`


class SigningKey(msgspec.Struct, frozen=True):
    """A private key and the `kid` by which the bundle names it."""

    kid: str
    key: ECKey


class KeyRing:
    """The signing keys of one trust domain, in `<folder>/keyring.json`, mode 0600.

    Several processes may hold the same folder: changes are made under a lock and written whole; `refresh` reads what
    another process changed. A folder that this process can't write, such as a mounted secret, is changed elsewhere.
    """

    def __init__(self, folder: Path, ring: RingFile, *, mounted: bool = False) -> None:
        self._folder = folder
        self._mounted = mounted
        self._take(ring)

    @classmethod
    def create(cls, folder: Path, now: int) -> KeyRing:
        """A new ring with one key that signs from now on; `Conflict("key_file_exists")` when there is one already."""
        ring = RingFile(v=1, sequence=1, keys=(_new_key(now),))
        write_private(folder / FILE, _encode(ring), replace=False)
        return cls(folder, ring)

    @classmethod
    def load(cls, folder: Path, *, mounted: bool = False) -> KeyRing:
        """The ring in `folder`; `DocumentError` when it is missing, malformed, or readable by others.

        `mounted` takes it as `read_private` does.
        """
        return cls(folder, _read(folder / FILE, mounted), mounted=mounted)

    @property
    def is_writable(self) -> bool:
        """Whether this process can rotate and revoke."""
        return os.access(self._folder, os.W_OK)

    def signing_key(self, now: int) -> SigningKey:
        """The key to sign with at `now`; `Unavailable("signing_key_missing")` when none signs yet."""
        signing = [signing for starts, signing in self._keys if starts <= now]
        if not signing:
            raise Unavailable(
                "signing_key_missing",
                "no key of the trust domain signs at this time",
                "check the clock of this machine",
            )
        return signing[-1]

    def signs_since(self, now: int) -> int:
        """Since when (ms) the key that signs at `now` has been signing; 0 when none does."""
        return max((starts for starts, _ in self._keys if starts <= now), default=0)

    def signs_next(self, now: int) -> SigningKey | None:
        """The key that was added with a delay and does not sign yet."""
        return next((signing for starts, signing in self._keys if starts > now), None)

    def fingerprint(self) -> str:
        """Which keys these are, by their thumbprints."""
        return " ".join(sorted(signing.kid for _, signing in self._keys))

    def bundle(self) -> dict[str, Any]:
        """The public keys as a SPIFFE bundle (Trust Domain and Bundle, section 4), those that do not sign yet too."""
        keys = [{**public_jwk(signing.key), "kid": signing.kid, "use": "jwt-svid"} for _, signing in self._keys]
        return {"keys": keys, "spiffe_sequence": self._ring.sequence, "spiffe_refresh_hint": REFRESH_HINT_S}

    def rotate(self, now: int, *, delay_ms: int = 0) -> SigningKey:
        """Adds a key that signs from `now + delay_ms` on, in place of one that was still to come.

        Keys before it stay in the bundle until everything that they may have signed has expired. A delay lets
        verifiers elsewhere read the new bundle first. Verifiers must be given the new `bundle`.
        """
        if not 0 <= delay_ms <= LONGEST_DELAY_MS:
            raise InvalidInput("delay_invalid", "the delay of a rotation is between 0 and 7 days")
        with self._changing() as ring:
            added = self._add(ring, now, delay_ms)
        return SigningKey(thumbprint(added.jwk), import_private(added.jwk))

    def rotate_older(self, now: int, *, age_ms: int, delay_ms: int = 0) -> bool:
        """`rotate` when the newest key, which may be one that is still to come, is as old as that; whether it did.

        Of several processes that find it too old at the same time, one rotates and the others read what it wrote.
        """
        if now - self._ring.keys[-1].signs_from < age_ms:
            return False
        with self._changing() as ring:
            if now - ring.keys[-1].signs_from < age_ms:
                self._take(ring)
            else:
                self._add(ring, now, delay_ms)
        return True

    def revoke(self, kid: str, now: int) -> None:
        """Takes a key out at once, after a compromise: everything that it signed is refused from then on.

        When it is the one that signs, a new key takes its place. `NotFound("key_unknown")` when the ring has no such
        key. Verifiers must be given the new `bundle`.
        """
        with self._changing() as ring:
            kept = [key for key in ring.keys if thumbprint(key.jwk) != kid]
            if len(kept) == len(ring.keys):
                raise NotFound("key_unknown", "the ring has no key with this `kid`", "read the bundle for its keys")
            # SECURITY: a retired key must not come back into use.
            if _signing(ring.keys, now) != _signing(kept, now):
                kept.append(_new_key(now))
            self._write(ring, tuple(sorted(kept, key=_signs_from)))

    def refresh(self) -> bool:
        """Reads the file again; whether another process had changed it. Verifiers must then be given the bundle."""
        ring = _read(self._folder / FILE, self._mounted)
        changed = ring != self._ring
        if changed:
            self._take(ring)
        return changed

    def _take(self, ring: RingFile) -> None:
        self._ring = ring
        self._keys = [(key.signs_from, SigningKey(thumbprint(key.jwk), import_private(key.jwk))) for key in ring.keys]

    @contextmanager
    def _changing(self) -> Iterator[RingFile]:
        """The ring as it stands on disk, while no other process can change it."""
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            message = f"can't open the folder of the key ring: {error.strerror}"
            raise DocumentError(message, path=self._folder, code="key_file_missing") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _read(self._folder / FILE, self._mounted)
        finally:
            os.close(descriptor)

    def _add(self, ring: RingFile, now: int, delay_ms: int) -> RingKey:
        added = _new_key(now + delay_ms)
        kept = _needed([key for key in ring.keys if key.signs_from <= now], now)
        if len(kept) >= MAX_KEYS:
            raise InvalidInput(
                "too_many_keys", f"the ring holds {MAX_KEYS} keys already", "wait until the oldest is not needed"
            )
        self._write(ring, (*kept, added))
        return added

    def _write(self, before: RingFile, keys: tuple[RingKey, ...]) -> None:
        ring = RingFile(v=1, sequence=before.sequence + 1, keys=keys)
        write_private(self._folder / FILE, _encode(ring), replace=True)
        self._take(ring)


def _new_key(signs_from: int) -> RingKey:
    return RingKey(jwk=private_jwk(generate_key()), signs_from=signs_from)


def _signs_from(key: RingKey) -> int:
    return key.signs_from


def _signing(keys: Sequence[RingKey], now: int) -> RingKey | None:
    started = [key for key in keys if key.signs_from <= now]
    return started[-1] if started else None


def _needed(keys: list[RingKey], now: int) -> list[RingKey]:
    """The keys that signed something which may not have expired: the last one, and those that it followed recently."""
    after = [*(key.signs_from for key in keys[1:]), now]
    return [key for key, stopped in zip(keys, after, strict=True) if stopped + LONGEST_LIFE_MS + LEEWAY_MS > now]


def _encode(ring: RingFile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(ring), indent=2) + b"\n"


def _read(path: Path, mounted: bool) -> RingFile:
    data = read_private(path, mounted=mounted)
    try:
        ring = msgspec.json.decode(data, type=RingFile)
        kids = {thumbprint(import_private(key.jwk)) for key in ring.keys}
    except (msgspec.MsgspecError, ValueError, RecursionError, InvalidInput):
        raise _invalid(path, "the key ring can't be read") from None
    if ring.v != 1 or not 0 < len(kids) == len(ring.keys) <= MAX_KEYS + 1:
        raise _invalid(path, "the key ring has an unknown version, no key, too many keys, or one key twice")
    if list(ring.keys) != sorted(ring.keys, key=_signs_from):
        raise _invalid(path, "the keys of the key ring are out of order")
    return ring


def _invalid(path: Path, message: str) -> DocumentError:
    return DocumentError(message, path=path, code="key_file_invalid", next_step="restore the file from a backup")
