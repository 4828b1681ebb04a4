"""Bearer keys: what is accepted as one, what is kept of it, and what its caller has not proved."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import DocumentError, InvalidInput, Unauthenticated
from remit.identity import bearer
from remit.identity.bearer import BearerKey, BearerKeys, digest_of, is_bearer, local_secret

PEP = "spiffe://example.org/pep/interop"
OTHER = "spiffe://example.org/pep/other"
SECRET = "yq3Jx0o7cFqGZbC0T9s4bJ8m2u7pXlQmVvX1E3rFh0A"
KEYS = BearerKeys(
    [BearerKey(sha256=digest_of(SECRET), id=PEP), BearerKey(sha256=digest_of("other"), id=OTHER, expires=1_000)]
)


def refusal(authorization: str, now: int = 500) -> str:
    with pytest.raises(Unauthenticated) as caught:
        KEYS.caller(authorization, now)
    return caught.value.code


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_the_owner_of_a_secret(scheme: str) -> None:
    caller = KEYS.caller(scheme + SECRET, 500)
    assert (caller.id, caller.possession, caller.key) == (PEP, "none", "")
    assert KEYS.caller(f"{scheme}other", 500).id == OTHER


def test_an_expired_key() -> None:
    assert KEYS.caller("Bearer other", 999).id == OTHER
    assert refusal("Bearer other", 1_000) == "bearer_expired"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        SECRET,
        f"Basic {SECRET}",
        f"Bearer {SECRET} {SECRET}",
        f"Bearer {SECRET},{SECRET}",
        f"Bearer\t{SECRET}",
        f" Bearer {SECRET}",
        f"Bearer {SECRET} ",
        f"Bearer {SECRET}\n",
        f"Bearer {SECRET}\x00",
        f"Bearer {SECRET}é",
        "Bearer ===",
        "Bearer " + "a" * 10_000,
    ],
)
def test_what_is_no_bearer_header(authorization: str) -> None:
    assert refusal(authorization) == "bearer_invalid"


@pytest.mark.parametrize(
    "token",
    [
        SECRET[:-1],
        SECRET + "=",
        SECRET.swapcase(),
        # SECURITY: the digest stands in a file that is reviewed and committed; it must open nothing.
        hashlib.sha256(SECRET.encode()).hexdigest(),
        "e30.e30.c2ln",
    ],
)
def test_what_is_none_of_the_keys(token: str) -> None:
    assert refusal(f"Bearer {token}") == "bearer_unknown"


@given(st.text(max_size=60))
def test_any_other_header_is_refused(text: str) -> None:
    assert refusal(f"Bearer {text}").startswith("bearer_")
    with pytest.raises(Unauthenticated):
        BearerKeys().caller(f"Bearer {SECRET}", 0)


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, given)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(bearer, "hmac", Watched)
    for token in (SECRET, "other", "unknown"):
        compared.clear()
        with contextlib.suppress(Unauthenticated):
            KEYS.caller(f"Bearer {token}", 0)
        assert len(compared) == 2


@pytest.mark.parametrize(
    "keys",
    [
        [BearerKey(sha256=digest_of(str(number)), id=PEP) for number in range(65)],
        [BearerKey(sha256=b"", id=PEP)],
        [BearerKey(sha256=b"x" * 31, id=PEP)],
    ],
)
def test_too_many_keys_or_one_that_is_no_digest(keys: list[BearerKey]) -> None:
    with pytest.raises(InvalidInput) as caught:
        BearerKeys(keys)
    assert caught.value.code == "bearer_keys_invalid"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("Bearer x", True), ("bearer", True), ("BEARER  x", True), ("Bearerx", False), ("DPoP x", False)],
)
def test_the_scheme(header: str, wanted: bool) -> None:
    assert is_bearer(header) is wanted


def test_a_secret_that_is_made_here_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "pep-interop.bearer"
    secret = local_secret(path)
    assert len(secret) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert local_secret(path) == secret
    assert local_secret(tmp_path / "other.bearer") != secret
    path.chmod(0o644)
    with pytest.raises(DocumentError) as caught:
        local_secret(path)
    assert caught.value.code == "key_file_exposed"


def test_of_two_that_make_a_secret_at_once_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bearer"
    first = local_secret(path)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert local_secret(path) == first


@pytest.mark.parametrize("content", ["", "short", "a" * 44, f"{SECRET} {SECRET}"])
def test_a_secret_that_somebody_else_wrote(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "x.bearer"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(DocumentError) as caught:
        local_secret(path)
    assert caught.value.code == "key_file_invalid"
