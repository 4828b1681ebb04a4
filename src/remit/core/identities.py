"""Who: verified identities and their registrations."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["agent", "service", "pipeline", "bot", "person"]
Role = Literal["workload", "starter", "pep", "approver", "administrator"]
Lifecycle = Literal["active", "quarantined", "retired"]
Mode = Literal["enforce", "observe"]
# How the possession of the key was proved: by a proof of the request (RFC 9449), by the TLS connection (RFC 8705), or
# not at all: a bearer secret, which may only ask what a policy of the project allows it to ask.
Possession = Literal["dpop", "mtls", "none"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A caller or subject that proved its SPIFFE ID, and (but for `possession` none) that it has its key."""

    id: str  # SPIFFE ID
    key: str  # RFC 7638 thumbprint of the key that was proved
    expires: int  # ms; the SVID's expiry
    possession: Possession = "dpop"


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the installation knows of one identity; changes are records in the stream `identity/<id>`."""

    id: str
    kind: Kind
    roles: tuple[Role, ...]
    owner: str  # the person who answers for it
    key: str  # RFC 7638 thumbprint of its registered public key
    groups: tuple[str, ...] = ()
    environment: str = ""
    state: Lifecycle = "active"
    servers: tuple[str, ...] = ()  # for the role pep: the servers that it is registered for
    mode: Mode | None = None
    description: str = ""
