"""Any bytes as a token or a proof give `Unauthenticated`, in bounded time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import InvalidInput, Unauthenticated
from remit.identity.bundle import verification_keys
from remit.identity.keys import generate_key, public_jwk

from .issuers import GITHUB, LocalIssuer, elsewhere, github, rule
from .issuers import settings as issuer_settings
from .parties import NOW, PEP, URL, Parties, attempt, b64, forge

KEY = generate_key()
LOCAL = LocalIssuer(GITHUB, KEY, alg="ES256")
ELSEWHERE = elsewhere((LOCAL, issuer_settings("github", GITHUB, rule("starter/ci", {"repository_id": "of nobody"}))))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
header_names = st.sampled_from(["alg", "kid", "typ", "jwk", "crit", "b64", "jku", "x5c", "x5u", "zip"])
claim_names = st.sampled_from(["sub", "aud", "exp", "iat", "nbf", "cnf", "jti", "htm", "htu", "ath"])
likely = st.sampled_from(
    ["ES256", "none", "HS256", "JWT", "dpop+jwt", "remit-task+jwt", "POST", URL, PEP, public_jwk(KEY), NOW // 1000]
)
objects = st.dictionaries(header_names | claim_names, likely | json_values, max_size=8)
segments = (st.binary(max_size=200) | objects.map(lambda value: json.dumps(value).encode())).map(b64)
tokens = (
    st.text(max_size=200)
    | st.binary(max_size=200).map(lambda data: data.decode("latin-1"))
    | st.lists(segments | st.text(alphabet="A-_.=+/ ", max_size=10), max_size=5).map(".".join)
    | st.builds(lambda header, claims: forge(header, claims, KEY), objects, objects)
    | st.integers(8000, 20_000).map(lambda size: "A" * size)
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(Path(tmp_path_factory.mktemp("identity")))


def refused_soon(call: Callable[[], object]) -> None:
    start = time.perf_counter()
    answer, error = attempt(call)
    assert isinstance(error, Unauthenticated), answer
    assert error.code
    assert error.message[0].islower()
    assert not error.message.endswith(".")
    assert time.perf_counter() - start < 1.0


@given(tokens)
@settings(max_examples=300, deadline=None)
def test_any_token_and_any_proof_alone(shared: Parties, text: str) -> None:
    service, holder = shared.service, shared.holder()
    good = holder.headers("POST", URL, NOW)
    refused_soon(lambda: service.authenticate(f"DPoP {text}", good["DPoP"], method="POST", url=URL, now=NOW))
    refused_soon(lambda: service.authenticate(text, good["DPoP"], method="POST", url=URL, now=NOW))
    refused_soon(lambda: service.authenticate(good["Authorization"], text, method="POST", url=URL, now=NOW))
    refused_soon(lambda: service.subject(holder.svid, text, pep=PEP, task_token="", now=NOW))
    refused_soon(lambda: service.subject(text, holder.subject_proof(PEP, "", NOW), pep=PEP, task_token="", now=NOW))
    refused_soon(lambda: service.person(text, NOW))
    refused_soon(lambda: service.task_handle(text, NOW))


@given(tokens)
@settings(max_examples=200, deadline=None)
def test_any_proof_without_a_token(shared: Parties, text: str) -> None:
    """A stranger may make a proof that holds, by its own key; anything else is refused."""
    key, error = attempt(lambda: shared.service.prove_key(text, method="POST", url=URL, now=NOW))
    assert isinstance(error, Unauthenticated) if key is None else len(key) == 43


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_of_one_character_is_refused(shared: Parties, data: st.DataObject) -> None:
    holder = shared.holder()
    svid = holder.svid
    headers = holder.headers("POST", URL, NOW)
    text = data.draw(st.sampled_from([svid, headers["DPoP"]]))
    at = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(
        st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=").filter(
            lambda c: c != text[at]
        )
    )
    spoiled = text[:at] + new + text[at + 1 :]
    sent = {"Authorization": f"DPoP {spoiled}"} if text == svid else {"DPoP": spoiled}
    both = {**headers, **sent}
    refused_soon(
        lambda: shared.service.authenticate(both["Authorization"], both["DPoP"], method="POST", url=URL, now=NOW)
    )


@given(json_values | st.dictionaries(st.just("keys"), st.lists(objects | json_values, max_size=4)))
@settings(deadline=None)
def test_any_bundle_gives_keys_or_an_error(value: Any) -> None:
    if isinstance(value, dict):
        _, error = attempt(lambda: verification_keys(value))
        assert error is None or isinstance(error, InvalidInput)


@given(tokens)
@settings(max_examples=300, deadline=None)
def test_any_token_from_elsewhere(text: str) -> None:
    refused_soon(lambda: ELSEWHERE.arrival(text, NOW))


@given(
    st.dictionaries(header_names, likely | json_values, max_size=5),
    st.dictionaries(claim_names | st.sampled_from(["iss", "azp", "events", "repository_id"]), likely | json_values),
)
@settings(max_examples=200, deadline=None)
def test_any_header_and_any_claims_that_the_issuer_signed(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """What an issuer signs is somebody only where a rule says so; whatever its types are, nothing else happens."""
    signed = forge({"alg": "ES256", "kid": "k1", **header}, {"iss": LOCAL.issuer, **claims}, KEY)
    refused_soon(lambda: ELSEWHERE.arrival(signed, NOW))
    refused_soon(lambda: ELSEWHERE.arrival(forge({"alg": "ES256", "kid": "k1"}, github(**claims), KEY), NOW))
