"""Someone for whom an outside issuer vouches, and who that is here."""

from __future__ import annotations

import msgspec

from remit.core.issuers import FirstSight


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A verified outside token, mapped by one rule. Whether that identity may act is read from the records."""

    id: str  # SPIFFE ID here
    source: str  # `issuers/<name>` or `federation/<trust domain>`
    issuer: str  # as the token has it: `iss`, or the trust domain's SPIFFE ID
    subject: str  # what the issuer calls it
    rule: int  # of that source, from 1
    chosen: bool  # a claim of the issuer completed the name
    token: str  # digest of the token: the same for every spelling of it
    key: str  # thumbprint that the token itself is bound to; "" for a bearer token
    expires: int  # ms; the token's
    service: bool  # the token says that nobody was logged in
    register: FirstSight | None = None
    groups: tuple[str, ...] = ()  # that the issuer's groups stand for here

    @property
    def path(self) -> str:
        """`starter/ci`."""
        return self.id.split("/", 3)[3]
