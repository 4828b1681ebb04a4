"""`[[issuers]]` and `[[federation]]` of a project: checked, and as the object that verifies their tokens."""

from __future__ import annotations

from remit.app.folder import Folder
from remit.core.documents import Path_, read_toml
from remit.core.errors import DocumentError, InvalidInput
from remit.core.settings import FILE, Settings
from remit.identity.elsewhere import Elsewhere, Federation, Issuer, read_federation, read_issuer


def elsewhere_of(folder: Folder, settings: Settings) -> Elsewhere:
    """Who vouches from elsewhere, without any keys yet; a `DocumentError` names the entry whose rules are wrong."""
    audience = f"spiffe://{settings.trust_domain}/remit"
    issuers: list[Issuer] = []
    federations: list[Federation] = []
    for number, issuer in enumerate(settings.issuers):
        try:
            issuers.append(read_issuer(issuer))
        except InvalidInput as error:
            raise _at(folder, ("issuers", number), error) from None
    for number, domain in enumerate(settings.federation):
        try:
            federations.append(read_federation(domain, audience=audience))
        except InvalidInput as error:
            raise _at(folder, ("federation", number), error) from None
    return Elsewhere(settings.trust_domain, issuers, federations)


def _at(folder: Folder, at: Path_, error: InvalidInput) -> DocumentError:
    document = read_toml(folder.root / FILE)
    return document.error(error.message, at, error.next_step, error.code)
