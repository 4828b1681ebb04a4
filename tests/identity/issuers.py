"""Outside issuers with local keys: tokens in the shape of GitHub's, GitLab's, Kubernetes' and a company's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from remit.core.issuers import FederationRule, FederationSettings, IssuerRule, IssuerSettings
from remit.identity.bundles import Bundles, read_bundle
from remit.identity.elsewhere import Elsewhere, read_federation, read_issuer
from remit.identity.issuer_keys import read_jwks

from .parties import AUDIENCE, DOMAIN, NOW, changed

GITHUB: Final = "https://token.actions.githubusercontent.com"
GITLAB: Final = "https://gitlab.example.org"
KUBERNETES: Final = "https://kubernetes.default.svc.cluster.local"
COMPANY: Final = "https://login.example.org/realms/staff"
PARTNER: Final = "partner.example"
OURS: Final = "https://remit.example.org"
LATER: Final = NOW + 3_600_000
SECONDS: Final = NOW // 1000

_REGISTRY = jws.JWSRegistry(
    algorithms=["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"],
    strict_check_header=False,
)
_REGISTRY.max_header_length = 1 << 20
_RSA: Final = [RSAKey.generate_key(2048) for _ in range(2)]  # slow to make


class LocalIssuer:
    """An issuer with a key of its own, made here: `kid`, what it publishes, and the tokens that it signs."""

    def __init__(self, issuer: str, key: RSAKey | ECKey | None = None, *, kid: str = "k1", alg: str = "RS256") -> None:
        self.issuer, self.kid, self.alg = issuer, kid, alg
        self.key = key or _RSA[0]

    def jwk(self, **more: Any) -> dict[str, Any]:
        public = self.key.as_dict(private=False)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.alg, **more}

    def jwks(self) -> bytes:
        return json.dumps({"keys": [self.jwk()]}).encode()

    def token(
        self,
        claims: Mapping[str, Any],
        change: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """A token with these claims, some of them changed or (`...`) removed."""
        head = changed({"alg": self.alg, "kid": self.kid, "typ": "JWT"}, dict(header or {}))
        body = changed({"iss": self.issuer, **claims}, dict(change or {}))
        return jws.serialize_compact(head, json.dumps(body), self.key, registry=_REGISTRY)


def times(life: int = 300) -> dict[str, Any]:
    return {"iat": SECONDS, "nbf": SECONDS, "exp": SECONDS + life}


def github(**more: Any) -> dict[str, Any]:
    """As GitHub Actions says it of a job (the claims of its documentation; values of our own)."""
    return {
        "jti": "3a5c0b7e",
        "sub": "repo:octo-org/octo-repo:environment:production",
        "aud": OURS,
        "ref": "refs/heads/main",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "repository_id": "74",
        "repository_owner_id": "65",
        "environment": "production",
        "event_name": "push",
        "ref_type": "branch",
        "ref_protected": "true",
        "job_workflow_ref": "octo-org/octo-repo/.github/workflows/release.yml@refs/heads/main",
        "runner_environment": "github-hosted",
        "run_attempt": "2",
        **times(),
        **more,
    }


def gitlab(**more: Any) -> dict[str, Any]:
    """As GitLab says it in an `id_tokens` token."""
    return {
        "jti": "235b3a54",
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
        "aud": OURS,
        "namespace_id": "72",
        "namespace_path": "my-group",
        "project_id": "20",
        "project_path": "my-group/my-project",
        "user_login": "sample-user",
        "pipeline_source": "push",
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        "environment": "production",
        "environment_protected": "true",
        **times(3600),
        **more,
    }


def kubernetes(**more: Any) -> dict[str, Any]:
    """As Kubernetes says it in a projected service account token."""
    return {
        "aud": [OURS],
        "jti": "ea28ed49",
        "sub": "system:serviceaccount:finance:invoices",
        "kubernetes.io": {
            "namespace": "finance",
            "node": {"name": "node-1", "uid": "646e7c5e"},
            "pod": {"name": "invoices-5d9f", "uid": "5e0bd49b"},
            "serviceaccount": {"name": "invoices", "uid": "14ee3fa4"},
        },
        **times(3600),
        **more,
    }


def staff(**more: Any) -> dict[str, Any]:
    """As a company's identity provider says it in an ID token."""
    return {
        "sub": "9f1c",
        "aud": OURS,
        "azp": "desk",
        "preferred_username": "ada",
        "email": "ada@example.org",
        "groups": ["staff", "fin-approvals"],
        "auth_time": SECONDS - 60,
        **times(),
        **more,
    }


def partner(**more: Any) -> dict[str, Any]:
    """A JWT-SVID of another trust domain, as SPIRE makes them: without `cnf`."""
    return {"sub": f"spiffe://{PARTNER}/ns/prod/billing", "aud": [AUDIENCE], **times(), "iss": ..., **more}


def settings(name: str, issuer: str, *rules: IssuerRule, **more: Any) -> IssuerSettings:
    return msgspec.convert(
        {
            "name": name,
            "issuer": issuer,
            "audience": OURS,
            "rules": [msgspec.to_builtins(rule) for rule in rules],
            **more,
        },
        IssuerSettings,
    )


def rule(identity: str, claims: Mapping[str, Any], **more: Any) -> IssuerRule:
    return msgspec.convert({"identity": identity, "claims": dict(claims), **more}, IssuerRule)


def elsewhere(*pairs: tuple[LocalIssuer, IssuerSettings], until: int = LATER) -> Elsewhere:
    """Outside issuers with the keys that they publish."""
    found = Elsewhere(DOMAIN, [read_issuer(settings) for _, settings in pairs])
    for local, settings in pairs:
        found.take_keys(f"issuers/{settings.name}", read_jwks(local.jwks(), settings.algorithms), until=until)
    return found


def federated(local: LocalIssuer, *rules: tuple[str, str], domain: str = PARTNER, until: int = LATER) -> Elsewhere:
    """Another trust domain whose bundle has the key of `local`."""
    entry = local.jwk(use="jwt-svid")
    del entry["alg"]
    bundles = Bundles()
    bundles.put(domain, read_bundle(json.dumps({"keys": [entry], "spiffe_sequence": 7}).encode()), until=until)
    wanted = FederationSettings(
        trust_domain=domain, rules=tuple(FederationRule(spiffe_id=foreign, identity=ours) for foreign, ours in rules)
    )
    return Elsewhere(DOMAIN, (), [read_federation(wanted, audience=AUDIENCE)], bundles=bundles)


def rsa(number: int) -> RSAKey:
    """One of a few RSA keys, made once."""
    return _RSA[number]
