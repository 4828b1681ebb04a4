"""Attacks on JWT-SVIDs, named after what the attacker does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.authenticator import Authenticator
from remit.identity.bundle import MAX_KEYS, verification_keys
from remit.identity.keys import generate_key, import_public, public_jwk, thumbprint
from remit.identity.svid import LEEWAY_MS

from .parties import AUDIENCE, DOMAIN, NOW, WORKLOAD, Parties, b64, forge, forge_hmac, svid_claims

SECONDS = NOW // 1000


def refusal(service: Authenticator, token: str, now: int = NOW) -> str:
    """How `person` refuses a token: it verifies an SVID and nothing else, after which the path is looked at."""
    with pytest.raises(Unauthenticated) as caught:
        service.person(token, now)
    for part in token.split("."):
        assert not part or part not in str(caught.value), "a message quotes the token"
    return caught.value.code


def accepted(service: Authenticator, token: str, now: int = NOW) -> bool:
    return refusal(service, token, now) == "person_invalid"


def test_a_good_svid_is_accepted(parties: Parties) -> None:
    assert accepted(parties.service, parties.svid())


@pytest.mark.parametrize("typ", ["JWT", "JOSE", ...])
def test_the_types_that_spiffe_allows(parties: Parties, typ: Any) -> None:
    assert accepted(parties.service, parties.svid(header={"typ": typ}))


@pytest.mark.parametrize("typ", ["jwt", "at+jwt", "dpop+jwt", "remit-task+jwt", "", None, 1, ["JWT"]])
def test_other_types_are_refused(parties: Parties, typ: Any) -> None:
    assert refusal(parties.service, parties.svid(header={"typ": typ})) == "token_invalid"


def test_algorithm_none(parties: Parties) -> None:
    head, claims, _ = parties.svid(header={"alg": "none"}).split(".")
    for signature in ("", "AAAA"):
        assert refusal(parties.service, f"{head}.{claims}.{signature}") == "token_invalid"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 1, [], {}, "ES256 ", "es256", ...])
def test_algorithm_names_that_are_none_of_ours(parties: Parties, alg: Any) -> None:
    assert refusal(parties.service, parties.svid(header={"alg": alg})) == "token_invalid"


def test_algorithm_confusion_with_the_public_key_as_hmac_secret(parties: Parties) -> None:
    signing = parties.ring.signing_key(NOW)
    header = {"alg": "HS256", "kid": signing.kid, "typ": "JWT"}
    public = import_public(public_jwk(signing.key))
    for secret in (public.as_pem(), public.as_der(), signing.kid.encode(), b"", str(public_jwk(signing.key)).encode()):
        assert refusal(parties.service, forge_hmac(header, svid_claims(), secret)) == "token_invalid"


@pytest.mark.parametrize("alg", ["ES384", "ES512", "RS256", "PS256", "HS256", "EdDSA", "ES256K"])
def test_a_real_signature_under_another_algorithms_name(parties: Parties, alg: str) -> None:
    assert refusal(parties.service, parties.svid(header={"alg": alg})) == "token_invalid"


@pytest.mark.parametrize(
    "kid",
    [
        "http://attacker.example/jwks.json",
        "file:///dev/null",
        "../../etc/passwd",
        "' OR 1=1 --",
        "",
        None,
        0,
        [],
        {"kty": "EC"},
        "x" * 1000,
        ...,
    ],
)
def test_kid_injection(parties: Parties, kid: Any) -> None:
    assert refusal(parties.service, parties.svid(header={"kid": kid})) == "token_invalid"


@pytest.mark.parametrize(
    "more",
    [
        {"jku": "http://attacker.example/jwks.json"},
        {"x5u": "http://attacker.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": public_jwk(generate_key())},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": 1},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
        {"anything": 1},
    ],
)
def test_header_members_that_spiffe_forbids(parties: Parties, more: dict[str, Any]) -> None:
    assert refusal(parties.service, parties.svid(header=more)) == "token_invalid"


def test_an_attackers_own_key_in_the_header(parties: Parties) -> None:
    key = generate_key()
    header = {"alg": "ES256", "kid": thumbprint(key), "typ": "JWT", "jwk": public_jwk(key)}
    assert refusal(parties.service, forge(header, svid_claims(), key)) == "token_invalid"


def test_an_attackers_signature_under_our_kid(parties: Parties) -> None:
    header = {"alg": "ES256", "kid": parties.ring.signing_key(NOW).kid}
    assert refusal(parties.service, forge(header, svid_claims(), generate_key())) == "token_invalid"


def test_changed_claims_under_a_real_signature(parties: Parties) -> None:
    head, _, signature = parties.svid().split(".")
    _, claims, _ = parties.svid({"sub": "spiffe://example.org/person/owner"}).split(".")
    assert refusal(parties.service, f"{head}.{claims}.{signature}") == "token_invalid"


@pytest.mark.parametrize("signature", [b"", b"\x00" * 64, b"\x00" * 63, b"\xff" * 64, b"\x01" * 65, b"0" * 500])
def test_signatures_of_zero_and_of_the_wrong_size(parties: Parties, signature: bytes) -> None:
    """CVE-2022-21449, "psychic signatures": r = s = 0."""
    head, claims, _ = parties.svid().split(".")
    assert refusal(parties.service, f"{head}.{claims}.{b64(signature)}") == "token_invalid"


@pytest.mark.parametrize(
    "audience",
    ["spiffe://example.org/other", "spiffe://example.org/remit/", "spiffe://example.org", "", [], ["a", "b"]],
)
def test_a_token_for_another_audience(parties: Parties, audience: Any) -> None:
    assert refusal(parties.service, parties.svid({"aud": audience})) == "token_audience"


def test_one_of_several_audiences(parties: Parties) -> None:
    assert accepted(parties.service, parties.svid({"aud": ["other", AUDIENCE]}))


@pytest.mark.parametrize("claim", ["sub", "aud", "exp", "iat"])
def test_a_required_claim_is_missing(parties: Parties, claim: str) -> None:
    assert refusal(parties.service, parties.svid({claim: ...})) == "token_invalid"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": "4000000000"},
        {"exp": True},
        {"exp": None},
        {"exp": [SECONDS]},
        {"exp": 1e300},
        {"exp": -1},
        {"exp": 10**40},
        {"exp": SECONDS},
        {"iat": SECONDS + 3601, "exp": SECONDS + 3600},
        {"iat": "now"},
        {"nbf": "now"},
        {"nbf": -5},
        {"sub": 1},
        {"sub": ["spiffe://example.org/workload/a"]},
        {"aud": 1},
        {"aud": {"a": AUDIENCE}},
        {"aud": [1, AUDIENCE]},
        {"cnf": "key"},
        {"cnf": []},
    ],
)
def test_claims_of_the_wrong_type_or_range(parties: Parties, claims: dict[str, Any]) -> None:
    assert refusal(parties.service, parties.svid(claims)) == "token_invalid"


@pytest.mark.parametrize(
    "sub",
    [
        "workload/invoices",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://EXAMPLE.org/workload/a",
        "spiffe://example.org/workload/../person/owner",
        "spiffe://example.org/workload/a?x",
        "https://example.org/workload/a",
        "",
    ],
)
def test_a_subject_that_is_no_spiffe_id_with_a_path(parties: Parties, sub: str) -> None:
    assert refusal(parties.service, parties.svid({"sub": sub})) == "token_invalid"


def test_an_expired_token(parties: Parties) -> None:
    token = parties.svid({"exp": SECONDS + 60})
    assert accepted(parties.service, token, NOW + 60_000 + LEEWAY_MS - 1)
    assert refusal(parties.service, token, NOW + 60_000 + LEEWAY_MS) == "token_expired"
    fresh = parties.authenticator()
    assert refusal(fresh, token, NOW + 60_000 + LEEWAY_MS) == "token_expired", "also when it was never seen before"
    assert len(fresh._svids) == 0


def test_a_token_from_the_future(parties: Parties) -> None:
    late = parties.svid({"iat": SECONDS + 10})
    assert refusal(parties.service, late) == "token_not_yet_valid"
    assert refusal(parties.service, parties.svid({"nbf": SECONDS + 10})) == "token_not_yet_valid"
    assert accepted(parties.service, late, NOW + 10_000 - LEEWAY_MS)
    assert refusal(parties.service, late) == "token_not_yet_valid", "also when it was verified before"


def test_a_token_that_lives_too_long(parties: Parties) -> None:
    assert accepted(parties.service, parties.svid({"exp": SECONDS + 86_400}))
    assert refusal(parties.service, parties.svid({"exp": SECONDS + 86_401})) == "token_too_long_lived"


@pytest.mark.parametrize("cnf", [..., None, {"jkt": ""}, {"jkt": "x" * 44}, {"jkt": "=" * 43}])
def test_a_bearer_token_without_a_key(parties: Parties, cnf: Any) -> None:
    assert refusal(parties.service, parties.svid({"cnf": cnf})) == "token_unbound"


def test_a_foreign_trust_domain(parties: Parties, tmp_path: Path) -> None:
    assert (
        refusal(parties.service, parties.svid({"sub": "spiffe://attacker.example/workload/a"}))
        == "trust_domain_unknown"
    )


class TestFederation:
    """Trust domain -> bundle: each one vouches for its own identities only."""

    KEY = generate_key()

    def bundle(self) -> dict[str, Any]:
        return {"keys": [{**public_jwk(self.KEY), "kid": "1", "use": "jwt-svid"}]}

    def token(self, sub: str, kid: str = "1") -> str:
        return forge({"alg": "ES256", "kid": kid}, svid_claims(sub=sub), self.KEY)

    def test_a_federated_identity_is_accepted_until_it_is_distrusted(self, parties: Parties) -> None:
        token = self.token("spiffe://partner.example/workload/a")
        assert refusal(parties.service, token) == "trust_domain_unknown"
        parties.service.trust("partner.example", self.bundle())
        assert accepted(parties.service, token)
        parties.service.distrust("partner.example")
        assert refusal(parties.service, token) == "trust_domain_unknown"

    def test_a_federated_domain_signs_for_ours(self, parties: Parties) -> None:
        parties.service.trust("partner.example", self.bundle())
        assert refusal(parties.service, self.token(WORKLOAD)) == "token_invalid"

    def test_two_domains_with_one_kid(self, parties: Parties) -> None:
        kid = parties.ring.signing_key(NOW).kid
        bundle = {"keys": [{**self.bundle()["keys"][0], "kid": kid}]}
        parties.service.trust("partner.example", bundle)
        assert refusal(parties.service, self.token(WORKLOAD, kid)) == "token_invalid"
        assert accepted(parties.service, self.token("spiffe://partner.example/workload/a", kid))

    def test_a_federated_domain_signs_task_tokens(self, parties: Parties) -> None:
        parties.service.trust("partner.example", self.bundle())
        claims = svid_claims(aud=f"{AUDIENCE}/task", jti="t_1")
        token = forge({"alg": "ES256", "kid": "1", "typ": "remit-task+jwt"}, claims, self.KEY)
        with pytest.raises(Unauthenticated) as caught:
            parties.service.task_handle(token, NOW)
        assert caught.value.code == "task_token_invalid"

    def test_the_own_domain_can_not_be_distrusted(self, parties: Parties) -> None:
        with pytest.raises(InvalidInput):
            parties.service.distrust(DOMAIN)

    @pytest.mark.parametrize("algorithm", ["ES384", "RS256"])
    def test_the_other_algorithms_that_spire_issues(self, parties: Parties, algorithm: str) -> None:
        key = ECKey.generate_key("P-384") if algorithm == "ES384" else RSAKey.generate_key(2048)
        bundle = {"keys": [{**key.as_dict(private=False), "kid": "2", "use": "jwt-svid"}]}
        parties.service.trust("partner.example", bundle)
        token = jws.serialize_compact(
            {"alg": algorithm, "kid": "2", "typ": "JWT"},
            json.dumps(svid_claims(sub="spiffe://partner.example/workload/a")),
            key,
            algorithms=[algorithm],
        )
        assert accepted(parties.service, token)
        head, claims, _ = token.split(".")
        assert refusal(parties.service, f"{head}.{claims}.{b64(bytes(96))}") == "token_invalid"

    def test_an_rsa_key_used_as_an_hmac_secret(self, parties: Parties) -> None:
        """CVE-2015-9235: the verifier's public RSA key taken as the secret of HS256."""
        key = RSAKey.generate_key(2048)
        bundle = {"keys": [{**key.as_dict(private=False), "kid": "2", "use": "jwt-svid"}]}
        parties.service.trust("partner.example", bundle)
        claims = svid_claims(sub="spiffe://partner.example/workload/a")
        for alg in ("HS256", "RS256"):
            token = forge_hmac({"alg": alg, "kid": "2"}, claims, key.as_pem(private=False))
            assert refusal(parties.service, token) == "token_invalid"

    def test_an_rsa_key_under_pss(self, parties: Parties) -> None:
        key = RSAKey.generate_key(2048)
        parties.service.trust(
            "partner.example", {"keys": [{**key.as_dict(private=False), "kid": "2", "use": "jwt-svid"}]}
        )
        claims = json.dumps(svid_claims(sub="spiffe://partner.example/workload/a"))
        for alg in ("PS256", "RS384", "RS512"):
            token = jws.serialize_compact({"alg": alg, "kid": "2"}, claims, key, algorithms=[alg])
            assert refusal(parties.service, token) == "token_invalid"


class TestBundle:
    JWK = public_jwk(generate_key())

    def test_unknown_uses_and_keys_are_passed_over(self) -> None:
        good = {**self.JWK, "kid": "1", "use": "jwt-svid"}
        others: list[Any] = [
            {**self.JWK, "use": "x509-svid", "x5c": ["MIIB"]},
            {**self.JWK, "kid": "2"},
            {**self.JWK, "kid": "2", "use": "sig"},
            {**self.JWK, "kid": "2", "use": "JWT-SVID"},
            {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "2", "use": "jwt-svid"},
            {**self.JWK, "crv": "P-521", "kid": "2", "use": "jwt-svid"},
            {**self.JWK, "alg": "HS256", "kid": "2", "use": "jwt-svid"},
            {"kty": "EC", "crv": [], "kid": "2", "use": "jwt-svid"},
            None,
            "key",
        ]
        assert list(verification_keys({"keys": [*others, good]})) == ["1"]

    @pytest.mark.parametrize(
        "keys",
        [
            None,
            {},
            [],
            [{**JWK, "use": "jwt-svid"}],
            [{**JWK, "use": "jwt-svid", "kid": ""}],
            [{**JWK, "use": "jwt-svid", "kid": 1}],
            [{**JWK, "use": "jwt-svid", "kid": "1", "d": "A" * 43}],
            [{"kty": "oct", "use": "jwt-svid", "kid": "1", "k": "c2VjcmV0"}],
            [{**JWK, "use": "jwt-svid", "kid": "1"}] * 2,
            [{**JWK, "use": "jwt-svid", "kid": "1", "y": JWK["x"]}],
            [{**JWK, "use": "jwt-svid", "kid": "1", "x": 1}],
            [{"kty": "EC", "crv": "P-256", "use": "jwt-svid", "kid": "1"}],
            [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "jwt-svid", "kid": "1"}],
            [{"kty": "RSA", "n": "", "e": "", "use": "jwt-svid", "kid": "1"}],
            [None] * (MAX_KEYS + 1),
        ],
    )
    def test_a_malformed_bundle_is_refused(self, keys: Any) -> None:
        with pytest.raises(InvalidInput) as caught:
            verification_keys({"keys": keys})
        assert caught.value.code == "bundle_invalid"

    def test_a_short_rsa_key_is_refused(self) -> None:
        modulus = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
        jwk = {"kty": "RSA", "n": b64(modulus.to_bytes(128, "big")), "e": "AQAB", "kid": "1", "use": "jwt-svid"}
        with pytest.raises(InvalidInput):
            verification_keys({"keys": [jwk]})
