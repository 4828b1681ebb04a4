"""`[[issuers]]` and `[[federation]]` of `remit.toml`: who vouches from elsewhere, and for whom."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
Wanted = str | bool | int | tuple[str, ...]

_Text = Annotated[str, Meta(max_length=2048)]
_LIFE = Annotated[int, Meta(ge=60, le=604_800)]


class FirstSight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[issuers.rules.register]`: what is registered of an identity when it comes for the first time."""

    owner: Annotated[str, Meta(min_length=1, max_length=256, description="the person who answers for it")]
    kind: Annotated[
        Literal["agent", "service", "pipeline", "bot"], Meta(description="what it is; a person is a person")
    ] = "pipeline"
    groups: Annotated[tuple[Name, ...], Meta(description="groups that intents and policies name")] = ()
    environment: Annotated[str, Meta(max_length=64, description="where it runs")] = ""


class IssuerRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[issuers.rules]]`: whose tokens are which identity here. Exactly one rule must match a token."""

    identity: Annotated[
        str,
        Meta(
            max_length=256,
            description="who that is here: `starter/ci`, `workload/deployer`, or `person/{claim}` after one claim",
        ),
    ]
    claims: Annotated[
        dict[str, Wanted],
        Meta(
            min_length=1,
            max_length=32,
            description="claims that the token must have, by name or JSON Pointer, with the value or a list of values; "
            "`*` stands for one segment",
        ),
    ]
    audience: Annotated[_Text, Meta(description="the audience of its tokens, in place of the issuer's")] = ""
    register: Annotated[FirstSight | None, Meta(description="register it at first sight; without: it must be")] = None
    group_claim: Annotated[_Text, Meta(description="the claim that lists groups, for `groups`")] = ""
    groups: Annotated[
        dict[str, Name],
        Meta(max_length=256, description="group of the issuer = group here, of identities registered at first sight"),
    ] = {}


class IssuerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[issuers]]`: an OpenID Connect issuer whose tokens are exchanged for SVIDs."""

    name: Name
    issuer: Annotated[str, Meta(min_length=1, max_length=2048, description="exactly as `iss` has it")]
    audience: Annotated[_Text, Meta(min_length=1, description="whom its tokens must be meant for")]
    jwks_url: Annotated[_Text, Meta(description="where its keys are; empty: by discovery at the issuer")] = ""
    jwks_file: Annotated[_Text, Meta(description="a file with its keys, in place of a URL; seen when it changes")] = ""
    ca_file: Annotated[_Text, Meta(description="PEM file with the authorities of its TLS; empty: the system's")] = ""
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1, description="of its signatures")] = (
        "RS256",
        "ES256",
    )
    authorized_parties: Annotated[
        tuple[str, ...], Meta(description="values of `azp`, one of which tokens must have; empty: not asked for")
    ] = ()
    token_seconds: Annotated[_LIFE, Meta(description="longer-lived tokens are refused")] = 86_400
    stale_seconds: Annotated[_LIFE, Meta(description="how long its last good keys serve while it is out of reach")] = (
        86_400
    )
    allow_http: Annotated[bool, Meta(description="for tests: http, on loopback only")] = False
    rules: tuple[IssuerRule, ...] = ()


class FederationRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[federation.rules]]`: which foreign identity is which one here. Exactly one rule must match."""

    spiffe_id: Annotated[
        str, Meta(max_length=2048, description="a foreign SPIFFE ID, or all below one with an explicit `/*` at the end")
    ]
    identity: Annotated[str, Meta(max_length=256, description="who that is here: `workload/partner`")]


class FederationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[federation]]`: another SPIFFE trust domain whose identities are known here."""

    trust_domain: Annotated[str, Meta(description="its name")]
    bundle_file: Annotated[
        _Text, Meta(description="its bundle; with a self-serving `https_spiffe` endpoint: the one to begin with")
    ] = ""
    bundle_url: Annotated[_Text, Meta(description="its bundle endpoint")] = ""
    profile: Annotated[Literal["https_web", "https_spiffe"], Meta(description="how the endpoint is authenticated")] = (
        "https_web"
    )
    endpoint_id: Annotated[_Text, Meta(description="the SPIFFE ID of an `https_spiffe` endpoint")] = ""
    ca_file: Annotated[_Text, Meta(description="PEM file with the authorities of an `https_web` endpoint")] = ""
    audience: Annotated[_Text, Meta(description="of its JWT-SVIDs; empty: `spiffe://<own trust domain>/remit`")] = ""
    token_seconds: Annotated[_LIFE, Meta(description="longer-lived JWT-SVIDs are refused")] = 86_400
    stale_seconds: Annotated[
        _LIFE, Meta(description="how long its last good bundle serves while the endpoint is out of reach")
    ] = 86_400
    rules: tuple[FederationRule, ...] = ()
