"""The bearer keys that `remit.toml` declares; one without a digest has its secret in `.remit/keys`."""

from __future__ import annotations

from pathlib import Path

from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.core.settings import BearerKeySeed, Settings
from remit.identity.bearer import NEVER, BearerKey, BearerKeys, digest_of, local_secret


def bearer_keys(settings: Settings, folder: Folder) -> BearerKeys:
    """All of them; a secret that is made here is made now, mode 0600, if there is none yet."""
    return BearerKeys(
        BearerKey(
            sha256=bytes.fromhex(seed.sha256) if seed.sha256 else digest_of(local_secret(secret_file(folder, seed))),
            id=spiffe_id(settings.trust_domain, seed.identity),
            expires=int(seed.expires.timestamp() * 1000) if seed.expires else NEVER,
        )
        for seed in settings.bearer_keys
    )


def secret_file(folder: Folder, seed: BearerKeySeed) -> Path:
    """Where the secret of a key without a digest is kept."""
    return folder.key_file(seed.identity).with_suffix(".bearer")
