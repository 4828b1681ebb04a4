"""What an issuer publishes: which keys are taken, which are passed over, and what refuses the whole set."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from remit.core.errors import InvalidInput
from remit.identity.issuer_keys import read_jwks

from .issuers import GITHUB, LocalIssuer, rsa
from .parties import attempt, b64

LOCAL = LocalIssuer(GITHUB)


def read(*entries: Any, algorithms: tuple[str, ...] = ("RS256", "ES256")) -> dict[str, str]:
    found = read_jwks(json.dumps({"keys": list(entries)}).encode(), algorithms)
    return {kid: key.algorithm for kid, key in found.items()}


def refused(data: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_jwks(data, ("RS256", "ES256"))
    assert caught.value.code == "jwks_invalid"


def test_a_key_has_one_algorithm() -> None:
    assert read(LOCAL.jwk()) == {"k1": "RS256"}
    bare = LOCAL.jwk()
    del bare["alg"], bare["use"]
    assert read(bare) == {"k1": "RS256"}  # without `alg` the usual one, never what the token says
    assert read(LOCAL.jwk(alg="PS256")) == {}
    assert read(LOCAL.jwk(alg="PS256"), algorithms=("PS256",)) == {"k1": "PS256"}


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"use": 1},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "ES256"},
        {"alg": ["RS256"]},
        {"kty": "oct"},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": None},
        {"kid": ""},
        {"kid": 7},
        {"kid": "k" * 300},
    ],
)
def test_keys_that_are_passed_over(change: dict[str, Any]) -> None:
    assert read({**LOCAL.jwk(), **change}, {**LOCAL.jwk(), "kid": "k2"}) == {"k2": "RS256"}


def test_two_keys_with_one_name() -> None:
    refused(json.dumps({"keys": [LOCAL.jwk(), LocalIssuer(GITHUB, rsa(1)).jwk()]}).encode())
    assert read(LOCAL.jwk(), {**LOCAL.jwk(), "use": "enc"}) == {"k1": "RS256"}


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_part_anywhere_refuses_the_set(member: str) -> None:
    refused(json.dumps({"keys": [LOCAL.jwk(), {"kty": "RSA", "use": "enc", member: "AQAB"}]}).encode())


@pytest.mark.parametrize("bits", [1024, 8192])
def test_keys_that_are_too_short_or_too_long(bits: int) -> None:
    modulus = b64(((1 << bits) - 159).to_bytes(bits // 8, "big"))
    refused(json.dumps({"keys": [LOCAL.jwk(n=modulus)]}).encode())


def test_a_point_that_is_not_on_its_curve() -> None:
    entry = LocalIssuer(GITHUB, ECKey.generate_key("P-256"), alg="ES256").jwk()
    refused(json.dumps({"keys": [{**entry, "y": entry["x"]}]}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[{"kid":"a","kid":"b"}]}',
        b"\xff",
        b'{"keys":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"keys":[' + b"{}," * 70 + b"{}]}",
        b" " * (600 * 1024),
    ],
)
def test_what_is_no_set(data: bytes) -> None:
    refused(data)


def test_an_empty_set_withdraws_every_key() -> None:
    assert read() == {}
    assert read(1, None, "x", []) == {}


names = st.sampled_from(["keys", "kty", "n", "e", "kid", "crv", "x", "y", "use", "alg"])
values = st.recursive(
    st.none() | st.text() | st.integers() | st.sampled_from(["RSA", "EC", "P-256", "sig", "RS256", "AQAB"]),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
)


@given(st.binary(max_size=300) | values.map(lambda value: json.dumps({"keys": [value]}).encode()))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_set_or_are_refused(data: bytes) -> None:
    _, error = attempt(lambda: read_jwks(data, ("RS256", "ES256")))
    assert error is None or error.code == "jwks_invalid"
