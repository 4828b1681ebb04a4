"""As whom a program acts here: by a key in `.remit/keys`, a certificate, or a token of an outside issuer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from joserfc.jwk import ECKey

from remit.app.folder import Folder
from remit.core.clock import system_clock
from remit.core.errors import Conflict, InvalidInput, NotFound
from remit.core.settings import Settings, read_settings
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, load_key, save_key, thumbprint
from remit.sdk.certified import CertifiedHolder
from remit.sdk.client import Client
from remit.sdk.endpoint import ClientTls, Endpoint
from remit.sdk.renewal import exchange_token
from remit.sdk.tokens import GITHUB_URL, TokenFile, TokenSource, tokens_of
from remit.sdk.transport import Target, open_transport

URL: Final = "REMIT_URL"  # of a service on another machine, or in another container
CA: Final = "REMIT_CA"  # PEM file: the authorities of that service's certificate
CERTIFICATE: Final = "REMIT_CERTIFICATE"  # PEM file: the X.509-SVID with which this program connects there
KEY: Final = "REMIT_KEY"  # PEM file: its key
AUDIENCE: Final = "REMIT_OIDC_AUDIENCE"  # to ask GitHub for, in place of the one that `remit.toml` names


def service_of(folder: Folder) -> Target:
    """Where the folder's service is: at its socket, or elsewhere, as `REMIT_URL` says (and `REMIT_CA`)."""
    url = os.environ.get(URL, "")
    return Endpoint(url=url, ca=_file(CA)) if url.startswith("https://") else url or folder.socket


def certified_for(folder: Folder, spiffe_id: str) -> tuple[Endpoint, CertifiedHolder] | None:
    """The way to the folder's service by a certificate (`REMIT_CERTIFICATE`, `REMIT_KEY`); None where it is none.

    It is for the identity that the certificate names, and for one that has no key here: the service knows to whom it
    maps a certificate of another trust domain.
    """
    url, certificate, key = os.environ.get(URL, ""), _file(CERTIFICATE), _file(KEY)
    if not url.startswith("https://") or (certificate is None and key is None):
        return None
    endpoint = Endpoint(url=url, ca=_file(CA), certificate=certificate, key=key)
    if ClientTls(endpoint).id != spiffe_id and folder.key_file(spiffe_id.split("/", 3)[3]).exists():
        return None
    return endpoint, CertifiedHolder(spiffe_id)


def _file(variable: str) -> Path | None:
    named = os.environ.get(variable, "")
    return Path(named) if named else None


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


def key_for_tokens(folder: Folder, spiffe_id: str) -> ECKey:
    """The key with which an identity without a registered one shows its tokens, made when there is none.

    The service binds a token to the first key that shows it, so all programs of one job share this key. It is worth
    nothing without a token that is still valid.
    """
    file = folder.run / f"token-{spiffe_id.split('/', 3)[3].replace('/', '-')}.jwk"
    if not file.exists():
        with suppress(Conflict):  # another program of the same job was first
            save_key(file, generate_key())
    return load_key(file)


async def workload_svid(folder: Folder, workload: str, key: ECKey) -> str:
    """An SVID of `workload` (SPIFFE ID) for the key of one task.

    The workload's certificate or registered key, in this folder, vouches for it; or a token from elsewhere is exchanged
    for it.
    """
    if (certified := certified_for(folder, workload)) is not None:
        async with await Client.connect(*certified) as connected:
            return (await connected.svid(bind=thumbprint(key))).svid
    settings = read_settings(folder.root)
    tokens = tokens_for(folder, settings, workload)
    if tokens is None:
        async with await Client.connect(service_of(folder), holder_of(folder, workload)) as registered:
            return (await registered.svid(bind=thumbprint(key))).svid
    transport = open_transport(service_of(folder))
    try:
        holder = Holder(key_for_tokens(folder, workload), "", workload)
        return (await exchange_token(transport, holder, tokens, system_clock, bind=thumbprint(key))).svid
    finally:
        await transport.close()


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
