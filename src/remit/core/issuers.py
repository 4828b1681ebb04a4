"""`[[issuers]]` and `[[federation]]` of `remit.toml`: who vouches from elsewhere, and for whom."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from remit.core.documents import Document, Path_

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
Wanted = str | bool | int | tuple[str, ...]

_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
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


def check_issuers(
    document: Document,
    trust_domain: str,
    issuers: Sequence[IssuerSettings],
    federation: Sequence[FederationSettings],
) -> None:
    """Each source stands once, has rules, and says in one way where its keys are; a `DocumentError` names the line."""
    names: set[str] = set()
    urls: set[str] = set()
    for number, issuer in enumerate(issuers):
        at: Path_ = ("issuers", number)
        if issuer.name in names or issuer.issuer in urls:
            raise document.error("the issuer is declared twice", at, "keep one of them, with all its rules")
        names.add(issuer.name)
        urls.add(issuer.issuer)
        _check_issuer(document, issuer, at)
    domains: set[str] = set()
    for number, domain in enumerate(federation):
        at = ("federation", number)
        if domain.trust_domain in domains:
            raise document.error("the trust domain is declared twice", at, "keep one of them, with all its rules")
        domains.add(domain.trust_domain)
        if domain.trust_domain == trust_domain:
            # SECURITY: nobody else vouches for this trust domain's identities.
            raise document.error("this is the own trust domain", at, "name another one")
        if not _TRUST_DOMAIN.fullmatch(domain.trust_domain):
            raise document.error(
                f"`{domain.trust_domain[:64]}` is not a trust domain",
                at,
                "use lower-case letters, digits, dots, dashes",
            )
    for number, domain in enumerate(federation):
        _check_federation(document, domain, domains, ("federation", number))


def _check_issuer(document: Document, issuer: IssuerSettings, at: Path_) -> None:
    if not issuer.rules:
        raise document.error("the issuer has no rules, so that nobody comes from it", at, "add `[[issuers.rules]]`")
    if issuer.jwks_url and issuer.jwks_file:
        raise document.error("the keys of the issuer are in two places", at, "give `jwks_url` or `jwks_file`")
    if issuer.jwks_file:
        return
    named = issuer.jwks_url or issuer.issuer
    # SECURITY: keys that somebody on the way can exchange are no keys.
    if not is_fetchable(named, allow_http=issuer.allow_http) or (not issuer.jwks_url and "?" in named):
        raise document.error(
            f"`{named[:128]}` is not an https URL to read keys from",
            at,
            "write it as `https://login.example.org`; http is for tests, on loopback, with `allow_http`",
        )


def _check_federation(document: Document, domain: FederationSettings, domains: set[str], at: Path_) -> None:
    if not domain.rules:
        raise document.error("the trust domain has no rules, so that nobody comes from it", at, "add rules")
    if not domain.bundle_url:
        if not domain.bundle_file or domain.endpoint_id:
            raise document.error("the trust domain has no bundle", at, "give `bundle_file` or `bundle_url`")
        return
    if not is_fetchable(domain.bundle_url, allow_http=False):
        raise document.error(
            f"`{domain.bundle_url[:128]}` is not the https URL of a bundle endpoint",
            at,
            "write it as `https://partner.example/bundle.json`",
        )
    if domain.profile == "https_web":
        if domain.endpoint_id or domain.bundle_file:
            raise document.error(
                "an endpoint with the profile `https_web` has neither `endpoint_id` nor `bundle_file`",
                at,
                'leave them out, or write `profile = "https_spiffe"`',
            )
        return
    if domain.ca_file:
        raise document.error("the bundle authenticates an `https_spiffe` endpoint", at, "leave `ca_file` out")
    name, slash, _ = domain.endpoint_id.removeprefix("spiffe://").partition("/")
    if not domain.endpoint_id.startswith("spiffe://") or not slash or name not in domains:
        # SECURITY: without the endpoint's own id, any workload of that trust domain could hand out bundles.
        raise document.error(
            "`endpoint_id` is not the SPIFFE ID of an endpoint in a federated trust domain",
            at,
            f"write `spiffe://{domain.trust_domain}/bundle-endpoint` as its operator names it",
        )
    if name == domain.trust_domain and not domain.bundle_file:
        raise document.error(
            "the first bundle of a self-serving endpoint must be given",
            at,
            "get it from the trust domain's operator by a way that you trust, and name the file as `bundle_file`",
        )


def is_fetchable(url: str, *, allow_http: bool) -> bool:
    """Whether keys may be read from this URL: https without user information, or http on loopback where allowed."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc or parts.fragment or port == 0:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and allow_http and _is_loopback(parts.hostname))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
