"""The folder of the trust domain's signing keys: this folder's own, or one that all processes share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from remit.app.folder import Folder
from remit.core.errors import Conflict, DocumentError
from remit.core.settings import Settings
from remit.identity.keyring import FILE, KeyRing

DAY_MS: Final = 24 * 3600 * 1000
SHARED_DELAY_MS: Final = 30_000  # a new key signs only after every process has read it


def trust_folder(folder: Folder, settings: Settings) -> Path:
    """Where the signing keys stand."""
    return folder.root / settings.identity.trust if settings.identity.trust else folder.trust


def load_keyring(folder: Folder, settings: Settings) -> KeyRing:
    """The signing keys; `DocumentError` where there are none, or others can read them."""
    return KeyRing.load(trust_folder(folder, settings), mounted=is_shared(settings))


def open_keyring(folder: Folder, settings: Settings, now: int, *, has_records: bool) -> KeyRing:
    """The signing keys, which are made on the first start; records without keys are refused."""
    place = trust_folder(folder, settings)
    if (place / FILE).exists():
        return load_keyring(folder, settings)
    if has_records:
        # SECURITY: a process with keys of its own would issue what no other one takes, and refuse what they issued.
        raise DocumentError(
            "the records are here but the trust domain's keys are not",
            path=place,
            next_step="restore them from the backup; processes that share records share one folder of keys "
            "(`[identity] trust`)",
        )
    try:
        return KeyRing.create(place, now)
    except Conflict:  # another process was first
        return load_keyring(folder, settings)


def rotate_when_due(keyring: KeyRing, settings: Settings, now: int) -> bool:
    """Replaces the key that signs when it is old enough and can be replaced from here; whether anything changed."""
    if not keyring.is_writable:
        return False
    age = settings.identity.rotate_days * DAY_MS
    return keyring.rotate_older(now, age_ms=age, delay_ms=rotation_delay(settings))


def rotation_delay(settings: Settings) -> int:
    """How long (ms) a new key waits before it signs: where several processes read it, until all have."""
    return SHARED_DELAY_MS if is_shared(settings) or settings.storage.url else 0


def is_shared(settings: Settings) -> bool:
    """Whether the keys stand in a folder that others use too."""
    return bool(settings.identity.trust)
