"""RFC 9449: its own examples, and attacks on proofs, named after what the attacker does."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from remit.core.errors import Unauthenticated
from remit.identity.compact import token_hash
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, import_public, private_jwk, public_jwk, thumbprint
from remit.identity.proof import check_signature, read_proof

from .parties import NOW, URL, Parties, b64, forge, forge_hmac, proof

KEY = generate_key()

# RFC 9449, figure 12 (section 7.1): the request for a protected resource
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0Rs"
    "cEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2"
    "In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90"
    "ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFF"
    "byJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
RFC_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"


def test_the_example_of_rfc_9449_section_7_1() -> None:
    made = read_proof(RFC_PROOF)
    check_signature(made)
    assert made.key == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert made.claims.ath == token_hash(RFC_TOKEN)
    assert (made.claims.htm, made.claims.htu) == ("GET", "https://resource.example.org/protectedresource")
    assert made.issued == 1_562_262_618_000


def test_a_changed_example_of_rfc_9449() -> None:
    head, claims, signature = RFC_PROOF.split(".")
    with pytest.raises(Unauthenticated):
        check_signature(read_proof(f"{head}.{claims}.{'A' + signature[1:]}"))


def alone(parties: Parties, text: str, *, method: str = "POST", url: str = URL, now: int = NOW) -> str:
    return parties.service.prove_key(text, method=method, url=url, now=now)


def refusal(parties: Parties, text: str, *, method: str = "POST", url: str = URL, now: int = NOW) -> str:
    with pytest.raises(Unauthenticated) as caught:
        alone(parties, text, method=method, url=url, now=now)
    for part in text.split("."):
        assert not part or part not in str(caught.value), "a message quotes the proof"
    return caught.value.code


def test_a_good_proof_names_its_key(parties: Parties) -> None:
    assert alone(parties, proof(KEY)) == thumbprint(KEY)


@pytest.mark.parametrize("typ", [..., None, "JWT", "DPOP+JWT", "dpop+jwt ", "jwt", 1])
def test_check_4_another_type(parties: Parties, typ: Any) -> None:
    assert refusal(parties, proof(KEY, header={"typ": typ})) == "proof_invalid"


@pytest.mark.parametrize("alg", [..., None, "none", "HS256", "ES384", "RS256", "PS256", "EdDSA", "es256", ["ES256"], 1])
def test_check_5_another_algorithm(parties: Parties, alg: Any) -> None:
    assert refusal(parties, proof(KEY, header={"alg": alg})) == "proof_invalid"


def test_algorithm_confusion_with_the_header_key_as_hmac_secret(parties: Parties) -> None:
    head: dict[str, Any] = {"typ": "dpop+jwt", "alg": "HS256", "jwk": public_jwk(KEY)}
    claims = {"jti": "1", "htm": "POST", "htu": URL, "iat": NOW // 1000}
    public = import_public(public_jwk(KEY))
    for alg in ("HS256", "ES256"):
        assert refusal(parties, forge_hmac({**head, "alg": alg}, claims, public.as_pem())) == "proof_invalid"
    symmetric = {**head, "jwk": {"kty": "oct", "k": b64(b"secret")}}
    assert refusal(parties, forge_hmac(symmetric, claims, b"secret")) == "proof_invalid"


def test_check_6_another_keys_signature(parties: Parties) -> None:
    assert refusal(parties, proof(generate_key(), header={"jwk": public_jwk(KEY)})) == "proof_invalid"
    head, claims, _ = proof(KEY).split(".")
    for signature in (b"", bytes(64), b"\xff" * 64, bytes(63)):
        assert refusal(parties, f"{head}.{claims}.{b64(signature)}") == "proof_invalid"


def test_check_7_a_private_key_in_the_header(parties: Parties) -> None:
    assert refusal(parties, proof(KEY, header={"jwk": private_jwk(KEY)})) == "proof_invalid"


@pytest.mark.parametrize(
    "jwk",
    [
        ...,
        None,
        "key",
        [],
        {},
        {"kty": "oct", "k": "c2VjcmV0"},
        RSAKey.generate_key(2048).as_dict(private=False),
        ECKey.generate_key("P-384").as_dict(private=False),
        {**public_jwk(KEY), "y": public_jwk(KEY)["x"]},
        {**public_jwk(KEY), "x": "A" * 43, "y": "A" * 43},
        {**public_jwk(KEY), "x": public_jwk(KEY)["x"] + "="},
        {**public_jwk(KEY), "x": [public_jwk(KEY)["x"]]},
        {**public_jwk(KEY), "use": "enc"},
        {**public_jwk(KEY), "alg": "ES384"},
        {**public_jwk(KEY), "x5u": "http://attacker.example"},
        {**public_jwk(KEY), "d": ""},
    ],
)
def test_keys_that_are_no_public_p256_key(parties: Parties, jwk: Any) -> None:
    assert refusal(parties, proof(KEY, header={"jwk": jwk})) == "proof_invalid"


@pytest.mark.parametrize("more", [{"alg": "ES256"}, {"use": "sig"}, {"kid": "1"}])
def test_members_that_a_public_key_may_have(parties: Parties, more: dict[str, str]) -> None:
    assert alone(parties, proof(KEY, header={"jwk": {**public_jwk(KEY), **more}})) == thumbprint(KEY)


@pytest.mark.parametrize(
    "more", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"jku": "http://a"}, {"x5c": ["MIIB"]}, {"other": 1}]
)
def test_header_members_beyond_those_of_a_proof(parties: Parties, more: dict[str, Any]) -> None:
    assert refusal(parties, proof(KEY, header=more)) == "proof_invalid"


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat"])
def test_check_3_a_required_claim_is_missing(parties: Parties, claim: str) -> None:
    assert refusal(parties, proof(KEY, claims={claim: ...})) == "proof_invalid"


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": ""},
        {"jti": "x" * 129},
        {"jti": 1},
        {"iat": "now"},
        {"iat": True},
        {"iat": 1e300},
        {"iat": -1},
        {"htm": 1},
    ],
)
def test_claims_of_the_wrong_type_or_range(parties: Parties, claims: dict[str, Any]) -> None:
    assert refusal(parties, proof(KEY, claims=claims)) == "proof_invalid"


@pytest.mark.parametrize("method", ["GET", "post", "PUT", "", "POST "])
def test_check_8_a_proof_for_another_method(parties: Parties, method: str) -> None:
    assert refusal(parties, proof(KEY, claims={"htm": method})) == "proof_mismatch"


@pytest.mark.parametrize(
    "htu",
    [
        "http://remit.local/v1/tasks",
        "http://remit.local/access/v1/evaluation/",
        "http://remit.local/Access/v1/evaluation",
        "https://remit.local/access/v1/evaluation",
        "http://remit.local:8080/access/v1/evaluation",
        "http://attacker.example/access/v1/evaluation",
        "http://remit.local@attacker.example/access/v1/evaluation",
        "http://remit.local/access/v1/x/../evaluation",
        "http://remit.local/access/v1%2Fevaluation",
        "/access/v1/evaluation",
        "spiffe://example.org/pep/gateway",
        "",
        "http://",
        "http://remit.local/access/v1/evaluation\x00",
    ],
)
def test_check_9_a_proof_for_another_url(parties: Parties, htu: str) -> None:
    assert refusal(parties, proof(KEY, claims={"htu": htu})) == "proof_mismatch"


@pytest.mark.parametrize(
    "htu",
    [URL, URL + "?query=1", URL + "#fragment", "HTTP://REMIT.local:80/access/v1/evaluation", URL.replace("v1", "%761")],
)
def test_check_9_spellings_of_one_url(parties: Parties, htu: str) -> None:
    assert alone(parties, proof(KEY, claims={"htu": htu})) == thumbprint(KEY)


def test_a_request_that_reached_another_host(parties: Parties) -> None:
    """The request's own URL comes from `Host`: a proof made for the attacker's site must not open this one."""
    text = proof(KEY, claims={"htu": "http://attacker.example/access/v1/evaluation"})
    assert refusal(parties, text, url="http://attacker.example/access/v1/evaluation") == "origin_unknown"
    assert refusal(parties, text, url="not a url") == "origin_unknown"


def test_check_11_a_stale_proof(parties: Parties) -> None:
    assert refusal(parties, proof(KEY), now=NOW + 30_001) == "proof_stale"
    assert alone(parties, proof(KEY), now=NOW + 30_000) == thumbprint(KEY)


def test_check_11_a_proof_from_the_future(parties: Parties) -> None:
    assert refusal(parties, proof(KEY), now=NOW - 5_001) == "proof_early"
    assert alone(parties, proof(KEY), now=NOW - 5_000) == thumbprint(KEY)


def test_a_proof_from_before_the_service_started(parties: Parties) -> None:
    """What was used is forgotten when the service stops; a proof from then could have been used."""
    parties.service = parties.authenticator(started=NOW + 500)
    assert refusal(parties, proof(KEY, claims={"iat": NOW / 1000 + 0.499}), now=NOW + 600) == "proof_stale"
    assert alone(parties, proof(KEY, claims={"iat": NOW / 1000 + 0.5}), now=NOW + 600) == thumbprint(KEY)


def test_check_12_a_proof_that_was_made_for_a_token(parties: Parties) -> None:
    assert refusal(parties, proof(KEY, "a-token")) == "proof_mismatch"


def test_a_replayed_proof(parties: Parties) -> None:
    text = proof(KEY)
    alone(parties, text)
    for now in (NOW, NOW + 1, NOW + 29_999, NOW + 30_000, NOW - 4_000):
        assert refusal(parties, text, now=now) == "proof_replayed"
    assert refusal(parties, text, now=NOW + 30_001) == "proof_stale"


def test_a_replayed_jti_in_a_new_proof(parties: Parties) -> None:
    alone(parties, proof(KEY))
    assert refusal(parties, proof(KEY)) == "proof_replayed"
    assert alone(parties, proof(KEY, claims={"jti": "another"})) == thumbprint(KEY)


def test_another_keys_jti_is_not_ours(parties: Parties) -> None:
    """A `jti` that an attacker used first must not lock its owner out."""
    alone(parties, proof(generate_key()))
    assert alone(parties, proof(KEY)) == thumbprint(KEY)


def test_a_replay_with_the_signatures_twin(parties: Parties) -> None:
    """ECDSA signatures come in pairs, (r, s) and (r, n - s): the proof's bytes differ, its `jti` does not."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    text = proof(KEY)
    alone(parties, text)
    made = read_proof(text)
    head, claims, _ = text.split(".")
    signature = urlsafe_b64decode(made.compact.segments["signature"] + b"==")
    twin = signature[:32] + (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    twin_text = f"{head}.{claims}.{b64(twin)}"
    check_signature(read_proof(twin_text))
    assert refusal(parties, twin_text) == "proof_replayed"


def test_a_refused_proof_is_not_used_up(parties: Parties) -> None:
    text = proof(KEY)
    assert refusal(parties, text, method="GET") == "proof_mismatch"
    head, claims, _ = text.split(".")
    assert refusal(parties, f"{head}.{claims}.{b64(bytes(64))}") == "proof_invalid"
    assert alone(parties, text) == thumbprint(KEY)


def test_check_1_two_proofs_in_one_header(parties: Parties) -> None:
    assert refusal(parties, f"{proof(KEY)}, {proof(KEY)}") == "proof_invalid"
    assert refusal(parties, f"{proof(KEY)},{proof(KEY)}") == "proof_invalid"


def test_a_missing_proof(parties: Parties) -> None:
    assert refusal(parties, "") == "proof_missing"


def test_an_oversized_proof(parties: Parties) -> None:
    assert refusal(parties, "A" * 8193) == "proof_too_large"
    assert refusal(parties, proof(KEY, claims={"more": "x" * 8000})) == "proof_too_large"
    assert refusal(parties, proof(KEY, header={"kid": "x" * 3000})) == "proof_invalid"


def test_a_key_that_no_one_registered(parties: Parties) -> None:
    text = proof(KEY)
    with pytest.raises(Unauthenticated) as caught:
        parties.service.prove_key(text, method="POST", url=URL, now=NOW, registered=lambda _key: False)
    assert caught.value.code == "key_unknown"
    registered = {thumbprint(KEY)}
    assert parties.service.prove_key(text, method="POST", url=URL, now=NOW, registered=registered.__contains__)


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"[" * 5000, b'{"jti":' + b"[" * 4000, b"1" * 5000]
)
def test_payloads_that_are_no_claims(parties: Parties, payload: bytes) -> None:
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk(KEY)}
    assert refusal(parties, forge(head, payload, KEY)) == "proof_invalid"


@pytest.mark.parametrize(
    "header",
    [b"", b"null", b"[]", b'["alg"]', b'"alg"', b"{", b"\xff", b"[" * 900, b'{"alg":' + b"[" * 900, b"1" * 900],
)
def test_headers_that_are_no_object(parties: Parties, header: bytes) -> None:
    claims = {"jti": "1", "htm": "POST", "htu": URL, "iat": NOW // 1000}
    assert refusal(parties, forge(header, claims, KEY)) == "proof_invalid"


def test_of_two_equal_members_the_same_one_is_always_read(parties: Parties) -> None:
    """RFC 7515 section 4: the lexically last one, for the checks and for the signature alike."""
    twice = b'{"alg":"none","alg":"ES256","typ":"dpop+jwt","jwk":' + json.dumps(public_jwk(KEY)).encode() + b"}"
    claims = f'{{"jti":"1","htm":"GET","htm":"POST","htu":"{URL}","iat":{NOW // 1000}}}'.encode()
    assert alone(parties, forge(twice, claims, KEY)) == thumbprint(KEY)


def test_the_holders_proofs_have_the_form_of_the_rfc(parties: Parties) -> None:
    holder = Holder(KEY, "", "spiffe://example.org/workload/a")
    headers = holder.headers("POST", URL + "?query#fragment", NOW)
    assert set(headers) == {"DPoP"}
    made = read_proof(headers["DPoP"])
    assert made.claims.htu == URL
    assert made.compact.protected == {"alg": "ES256", "typ": "dpop+jwt", "jwk": public_jwk(KEY)}
    assert len(made.claims.jti) >= 16
    assert alone(parties, headers["DPoP"]) == thumbprint(KEY)
