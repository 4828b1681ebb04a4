"""As whom a program acts here: by a key in `.remit/keys`, or by a token of an outside issuer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from joserfc.jwk import ECKey

from remit.app.folder import Folder
from remit.core.errors import InvalidInput, NotFound
from remit.core.settings import Settings, read_settings
from remit.identity.holder import Holder
from remit.identity.keys import load_key, thumbprint
from remit.sdk.client import Client
from remit.sdk.tokens import GITHUB_URL, TokenFile, TokenSource, tokens_of

URL: Final = "REMIT_URL"  # of a service on another machine, or in another container
AUDIENCE: Final = "REMIT_OIDC_AUDIENCE"  # to ask GitHub for, in place of the one that `remit.toml` names


def service_of(folder: Folder) -> Path | str:
    """Where the folder's service is: at its socket, or elsewhere, as `REMIT_URL` says."""
    return os.environ.get(URL, "") or folder.socket


def holder_of(folder: Folder, spiffe_id: str) -> Holder:
    """The holder of an identity's key in `.remit/keys`; `NotFound` says where it is missing."""
    file = folder.key_file(spiffe_id.split("/", 3)[3])
    if not file.exists():
        raise NotFound(
            "key_missing",
            f"there is no key of `{spiffe_id}` here",
            f"put it at `{file}`, mode 0600; or give a token from elsewhere (docs/guides/identities.md)",
        )
    return Holder(load_key(file), "", spiffe_id)


def tokens_for(
    folder: Folder,
    settings: Settings,
    spiffe_id: str,
    *,
    token_file: str = "",
    environment: Mapping[str, str] | None = None,
) -> TokenSource | None:
    """Where an identity without a key here gets tokens from elsewhere; None where it has a key, or gets none.

    A `token_file` that is given is used in any case.
    """
    if token_file:
        return TokenFile(Path(token_file))
    path = spiffe_id.split("/", 3)[3]
    if folder.key_file(path).exists():
        return None
    found = os.environ if environment is None else environment
    return tokens_of(path, _audience(settings, path, found), found)


async def workload_svid(folder: Folder, workload: str, key: ECKey) -> str:
    """An SVID of `workload` (SPIFFE ID) for the key of one task.

    The workload's registered key, in this folder, vouches for it; or a token from elsewhere is exchanged for it.
    """
    settings = read_settings(folder.root)
    tokens = tokens_for(folder, settings, workload)
    if tokens is None:
        async with await Client.connect(service_of(folder), holder_of(folder, workload)) as registered:
            return (await registered.svid(bind=thumbprint(key))).svid
    holder = Holder(key, "", workload)
    async with await Client.connect(service_of(folder), holder, tokens=tokens):
        return holder.svid


def _audience(settings: Settings, path: str, environment: Mapping[str, str]) -> str:
    """The audience of the tokens that are this identity, as the only rule for it says."""
    if given := environment.get(AUDIENCE, ""):
        return given
    if not environment.get(GITHUB_URL):
        return ""
    space = path.partition("/")[0]
    found = {
        rule.audience or issuer.audience
        for issuer in settings.issuers
        for rule in issuer.rules
        if rule.identity == path or rule.identity.startswith(f"{space}/{{")
    }
    if len(found) > 1:
        raise InvalidInput(
            "audience_unclear", f"several rules in `remit.toml` are for `{path}`", f"set `{AUDIENCE}` to the audience"
        )
    return next(iter(found), "")
