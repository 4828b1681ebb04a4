"""A client of a service somewhere else, without its project folder: by its URL, and by who the client is."""

from __future__ import annotations

from pathlib import Path

from remit.core.errors import InvalidInput
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, load_key
from remit.identity.spiffe import parse_spiffe_id
from remit.sdk.certified import CertifiedHolder
from remit.sdk.client import Client
from remit.sdk.endpoint import ClientTls, Endpoint
from remit.sdk.tokens import TokenFile
from remit.sdk.transport import Target


async def connect_to(url: str, *, identity: str, token_file: str, certificate: str, key: str, ca: str) -> Client:
    """See `remit.connect`; every file is named by its path, "" for none."""
    if identity:
        parse_spiffe_id(identity)
    if certificate:
        if token_file:
            raise InvalidInput("credentials_unclear", "a certificate and a token are two ways", "give one of them")
        endpoint = Endpoint(url=url, ca=_path(ca), certificate=Path(certificate), key=_path(key))
        return await Client.connect(endpoint, CertifiedHolder(identity or ClientTls(endpoint).id))
    if not identity:
        raise InvalidInput(
            "identity_missing", "it is not clear as whom to connect", "give `identity=` (a SPIFFE ID), or a certificate"
        )
    target: Target = Endpoint(url=url, ca=_path(ca)) if url.startswith("https://") else url
    if token_file:
        return await Client.connect(target, Holder(generate_key(), "", identity), tokens=TokenFile(Path(token_file)))
    if not key:
        raise InvalidInput("key_missing", "there is nothing to prove the identity with", "give `key=` or `token_file=`")
    return await Client.connect(target, Holder(load_key(Path(key)), "", identity))


def _path(name: str) -> Path | None:
    return Path(name) if name else None
