"""Signing keys that several processes share: can they be read here, and does somebody replace them in time?"""

from __future__ import annotations

from collections.abc import Iterator

from remit.app.doctor.finding import Finding, Situation
from remit.app.trust import DAY_MS, is_shared, load_keyring, trust_folder
from remit.core.errors import RemitError


def shared(situation: Situation) -> Iterator[Finding]:
    """The shared ring loads, and the key that signs is not too old where it can't be replaced from here."""
    settings = situation.settings
    if settings is None or not is_shared(settings):
        return
    place = trust_folder(situation.folder, settings)
    try:
        ring = load_keyring(situation.folder, settings)
    except RemitError as error:
        level = "warn" if error.code == "key_file_missing" and not place.exists() else "fail"
        yield Finding(
            check="signing keys",
            level="warn" if level == "warn" else "fail",
            message=f"the shared signing keys at `{place}` can't be used: {error.message}",
            next_step=error.next_step or "mount the folder that the other processes use; the first start makes keys",
        )
        return
    days = (situation.now - ring.signs_since(situation.now)) // DAY_MS
    if not ring.is_writable and days > settings.identity.rotate_days:
        yield Finding(
            check="signing keys",
            level="warn",
            message=f"the key that signs is {days} days old, and nobody can replace it here",
            next_step="`remit trust rotate` where the folder can be written, then hand it out again",
        )
    else:
        yield Finding(check="signing keys", level="ok", message=f"shared keys, the one that signs is {days} days old")
