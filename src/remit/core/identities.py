"""Who: verified identities and their registrations."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["agent", "service", "pipeline", "bot", "person"]
Role = Literal["workload", "starter", "pep", "approver", "administrator"]
Lifecycle = Literal["active", "quarantined", "retired"]
Mode = Literal["enforce", "observe"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A caller or subject that proved its SPIFFE ID and the possession of its key."""

    id: str  # SPIFFE ID
    key: str  # RFC 7638 thumbprint of the key that was proved
    expires: int  # ms; the SVID's expiry


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
