"""`remit.toml`: every setting of an installation, declared once. An unknown key stops the start.

The reference page of settings is made from the docstrings and defaults here.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from remit.core.documents import Document, read_toml
from remit.core.erasing import RetentionSettings
from remit.core.forward import ForwardSettings, check_forward
from remit.core.identities import Kind, Mode
from remit.core.issuers import FederationSettings, IssuerSettings, check_issuers
from remit.core.ledger import LedgerSettings, check_ledger
from remit.core.notifiers import NotifierSettings, check_notifiers
from remit.core.providers import ProviderSettings, check_providers
from remit.core.risk import DenialSettings, NoveltySettings, RiskSettings, check_risk
from remit.core.service import Service, check_service
from remit.core.storage import StorageSettings, check_storage

FILE: Final = "remit.toml"

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[mode]`: whether policies are enforced, or only observed until a time."""

    default: Annotated[Mode, Meta(description="enforce, or observe: denies are only recorded")] = "enforce"
    observe_until: Annotated[datetime | None, Meta(description="observe needs an end, with a time zone")] = None


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[limits]`: bounds that an installation may set."""

    rate_per_second: Annotated[float, Meta(gt=0, le=100_000, description="asks per workload, sustained")] = 100.0
    rate_burst: Annotated[int, Meta(ge=1, le=1_000_000, description="asks per workload at once")] = 500
    outcome_seconds: Annotated[Seconds, Meta(description="then a permit without outcome is unknown")] = 120
    denial_fold_seconds: Annotated[
        Seconds, Meta(description="identical denials within this become one counted record")
    ] = 60


class IdentitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[identity]`: the embedded trust domain."""

    svid_seconds: Annotated[int, Meta(ge=60, le=86_400, description="life of an identity document (JWT-SVID)")] = 3600
    rotate_days: Annotated[int, Meta(ge=1, le=365, description="age at which the signing key is replaced")] = 30
    trust: Annotated[
        str,
        Meta(
            max_length=1024,
            description="the folder of the signing keys, which all processes of an installation share; "
            "empty: `.remit/trust`",
        ),
    ] = ""
    x509_bundle: Annotated[
        str,
        Meta(
            max_length=1024,
            description="file with the X.509 authorities of the own trust domain (a SPIFFE bundle, or PEM), whose "
            "X.509-SVIDs are taken as client certificates; seen when it changes; empty: none",
        ),
    ] = ""


class Destinations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[destinations]`: which hosts policies see as internal."""

    internal: Annotated[tuple[str, ...], Meta(description="host suffixes (.corp.example), networks (10.0.0.0/8)")] = ()


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[policy]`: how policies are evaluated, and how changes of the folder are taken."""

    engine: Annotated[
        Literal["compiled", "cedarpy"],
        Meta(description="what evaluates policies: compiled here, or for all of them the reference engine, `cedarpy`"),
    ] = "compiled"
    sample: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="one decision of so many is evaluated by the reference engine too, and denied where that "
            "disagrees; 0: none",
        ),
    ] = 1_000
    events: Annotated[
        Literal["", "agentcore"],
        Meta(
            description=(
                "the kinds of events of temporal policies where the project has no `events.dwschema`: Remit's own, or "
                "those that policies from Amazon Bedrock AgentCore know"
            )
        ),
    ] = ""
    watch: Annotated[
        bool, Meta(description="read the folder again when a file in it has changed; else on `remit reload` and SIGHUP")
    ] = False


class AuthZenSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[authzen]`: questions about the project's own entities."""

    namespace: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z_]\w*(::[A-Za-z_]\w*)*)?$",
            description="the namespace of types and actions that are named without one; empty: the only one there is",
        ),
    ] = ""


class WorkloadSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[workloads]]`: a workload that exists from the first start on."""

    name: Name
    kind: Annotated[Literal["agent", "service", "pipeline", "bot"], Meta(description="what it is")]
    owner: Annotated[str, Meta(min_length=1, max_length=256, description="the person who answers for it")]
    groups: Annotated[tuple[Name, ...], Meta(description="groups that intents and policies name")] = ()
    environment: Annotated[str, Meta(max_length=64, description="where it runs")] = ""
    mode: Annotated[Mode | None, Meta(description="may be stricter than the installation's")] = None
    description: Annotated[str, Meta(max_length=1024)] = ""
    key: Annotated[
        str,
        Meta(
            max_length=64,
            description="thumbprint (RFC 7638) of its key; empty: made here; `none`: only tokens from elsewhere",
        ),
    ] = ""


class StarterSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[starters]]`: an application or CI identity that starts tasks."""

    name: Name
    owner: Annotated[str, Meta(min_length=1, max_length=256, description="the person who answers for it")]
    kind: Annotated[Literal["service", "pipeline", "bot"], Meta(description="what it is")] = "service"
    groups: Annotated[tuple[Name, ...], Meta(description="groups that intents name as starters")] = ()
    environment: Annotated[str, Meta(max_length=64, description="where it runs")] = ""
    description: Annotated[str, Meta(max_length=1024)] = ""
    key: Annotated[
        str,
        Meta(
            max_length=64,
            description="thumbprint (RFC 7638) of its key; empty: made here; `none`: only tokens from elsewhere",
        ),
    ] = ""


class PepSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[enforcement_points]]`: a component that asks before an action and reports after it."""

    name: Name
    servers: Annotated[tuple[Name, ...], Meta(description="the servers that it stands before")]
    owner: Annotated[str, Meta(min_length=1, max_length=256, description="the person who answers for it")]
    kind: Annotated[Kind, Meta(description="what it is")] = "service"
    groups: Annotated[tuple[Name, ...], Meta(description="groups that policies name")] = ()
    environment: Annotated[str, Meta(max_length=64, description="where it runs")] = ""
    description: Annotated[str, Meta(max_length=1024)] = ""
    key: Annotated[
        str,
        Meta(
            max_length=64,
            description="thumbprint (RFC 7638) of its key; empty: made here; `none`: only tokens from elsewhere",
        ),
    ] = ""


class PersonSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[people]]`: a person who starts tasks, approves, or administers."""

    name: Name
    roles: Annotated[
        tuple[Literal["starter", "approver", "administrator"], ...], Meta(min_length=1, description="what they may be")
    ]
    groups: Annotated[tuple[Name, ...], Meta(description="groups that intents and policies name")] = ()
    description: Annotated[str, Meta(max_length=1024)] = ""
    key: Annotated[
        str,
        Meta(
            max_length=64,
            description="thumbprint (RFC 7638) of their key; empty: made here; `none`: only tokens from elsewhere",
        ),
    ] = ""


class BearerKeySeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[bearer_keys]]`: a secret that an identity may send as it is, to ask general questions and nothing else."""

    identity: Annotated[
        str,
        Meta(max_length=128, description="whose it is: `pep/` and the name of an enforcement point of this file, say"),
    ]
    sha256: Annotated[
        str,
        Meta(max_length=64, description="the secret's SHA-256 in small hex digits, never the secret; empty: made here"),
    ] = ""
    expires: Annotated[datetime | None, Meta(description="then it is refused; with a time zone")] = None
    description: Annotated[str, Meta(max_length=1024)] = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `remit.toml`."""

    trust_domain: Annotated[str, Meta(description="leads every identity and every record; never changes")]
    operator: Annotated[str, Meta(description="the person at this keyboard: a name of `[[people]]`")] = ""
    workload: Annotated[str, Meta(description="the workload that `remit run` starts by default")] = ""
    authzen: AuthZenSettings = AuthZenSettings()
    policy: PolicySettings = PolicySettings()
    service: Service = Service()
    mode: ModeSettings = ModeSettings()
    limits: LimitSettings = LimitSettings()
    identity: IdentitySettings = IdentitySettings()
    storage: StorageSettings = StorageSettings()
    ledger: LedgerSettings = LedgerSettings()
    retention: RetentionSettings = RetentionSettings()
    destinations: Destinations = Destinations()
    risk: RiskSettings = RiskSettings()
    novelty: NoveltySettings = NoveltySettings()
    denials: DenialSettings = DenialSettings()
    workloads: tuple[WorkloadSeed, ...] = ()
    starters: tuple[StarterSeed, ...] = ()
    enforcement_points: tuple[PepSeed, ...] = ()
    people: tuple[PersonSeed, ...] = ()
    issuers: Annotated[tuple[IssuerSettings, ...], Meta(max_length=64)] = ()
    federation: Annotated[tuple[FederationSettings, ...], Meta(max_length=64)] = ()
    bearer_keys: Annotated[tuple[BearerKeySeed, ...], Meta(max_length=64)] = ()
    notifiers: Annotated[tuple[NotifierSettings, ...], Meta(max_length=64)] = ()
    forward: Annotated[tuple[ForwardSettings, ...], Meta(max_length=16)] = ()
    providers: Annotated[tuple[ProviderSettings, ...], Meta(max_length=64)] = ()


def read_settings(folder: Path) -> Settings:
    """Reads `remit.toml` of a project folder; every mistake is a `DocumentError` with its line."""
    return settings_in(read_toml(folder / FILE))


def settings_in(document: Document) -> Settings:
    """The settings of a document that may become `remit.toml`; likewise."""
    settings = document.convert(Settings)
    _check(document, settings)
    return settings


def read_storage(folder: Path) -> StorageSettings:
    """`[storage]` alone, so that records can be read where something else in `remit.toml` is wrong."""
    document = read_toml(folder / FILE)
    table = document.data.get("storage", {}) if isinstance(document.data, dict) else {}
    storage = document.convert_part(table, StorageSettings, ("storage",))
    check_storage(document, storage)
    return storage


def _check(document: Document, settings: Settings) -> None:
    if not _TRUST_DOMAIN.fullmatch(settings.trust_domain):
        raise document.error(
            f"`{settings.trust_domain[:64]}` is not a trust domain",
            ("trust_domain",),
            "use lower-case letters, digits, dots, dashes and underscores, such as `agents.example.org`",
        )
    mode = settings.mode
    if mode.default == "observe" and (mode.observe_until is None or mode.observe_until.tzinfo is None):
        # SECURITY: observing never goes on by itself.
        raise document.error(
            "observe needs an end", ("mode", "default"), "add `observe_until = 2026-12-31T00:00:00Z` under `[mode]`"
        )
    seen: set[str] = set()
    for table in ("workloads", "starters", "enforcement_points", "people"):
        for number, seed in enumerate(getattr(settings, table)):
            name = f"{table}/{seed.name}"
            if name in seen:
                raise document.error(f"`{seed.name}` is declared twice", (table, number), "keep one of them")
            seen.add(name)
    _check_bearer_keys(document, settings, seen)
    check_service(document, settings.service)
    check_notifiers(document, settings.notifiers)
    check_providers(document, settings.providers)
    check_forward(document, settings.forward)
    check_issuers(document, settings.trust_domain, settings.issuers, settings.federation)
    check_storage(document, settings.storage)
    check_ledger(document, settings.ledger)
    check_risk(document, settings.risk)
    if settings.operator and settings.operator not in {person.name for person in settings.people}:
        raise document.error(
            f"the operator `{settings.operator}` is none of `[[people]]`", ("operator",), "declare them"
        )
    if settings.workload and settings.workload not in {seed.name for seed in settings.workloads}:
        raise document.error(
            f"the workload `{settings.workload}` is none of `[[workloads]]`", ("workload",), "declare it"
        )


_TABLES: Final = {
    "workload": "workloads",
    "starter": "starters",
    "pep": "enforcement_points",
    "person": "people",
}


def _check_bearer_keys(document: Document, settings: Settings, declared: set[str]) -> None:
    """Each belongs to an identity that this file declares, is no other's, and ends at a time with a zone."""
    owners: dict[str, str] = {}
    for number, key in enumerate(settings.bearer_keys):
        at = ("bearer_keys", number)
        kind, _, name = key.identity.partition("/")
        if f"{_TABLES.get(kind)}/{name}" not in declared:
            raise document.error(
                f"this file declares no `{key.identity}`",
                (*at, "identity"),
                'name an identity as in `"pep/gateway"`, which `[[enforcement_points]]` declares',
            )
        if key.sha256 and not _SHA256.fullmatch(key.sha256):
            raise document.error(
                "the digest is not 64 small hex digits",
                (*at, "sha256"),
                'take those of `printf %s "$SECRET" | sha256sum`',
            )
        # SECURITY: two identities of one secret could not be told apart; nor could two secrets that are made here.
        mark = key.sha256 or key.identity
        if mark in owners:
            raise document.error(
                f"`{key.identity}` and `{owners[mark]}` have the same bearer key", (*at, "identity"), "keep one of them"
            )
        owners[mark] = key.identity
        if key.expires is not None and key.expires.tzinfo is None:
            raise document.error(
                "the end has no time zone", (*at, "expires"), "write it as `expires = 2026-12-31T00:00:00Z`"
            )
