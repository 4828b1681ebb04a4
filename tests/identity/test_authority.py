from __future__ import annotations

import pytest

from remit.core.errors import InvalidInput
from remit.identity.authority import Authority
from remit.identity.holder import expiry_of
from remit.identity.keyring import LONGEST_LIFE_MS
from remit.identity.keys import generate_key, thumbprint

from .parties import AUDIENCE, NOW, WORKLOAD, Parties

KEY = thumbprint(generate_key())


def test_an_issued_svid_is_a_jwt_svid(parties: Parties) -> None:
    holder = parties.holder()
    assert expiry_of(holder.svid) == NOW + 3_600_000
    identity = parties.service.authenticate(
        *holder.headers("GET", "http://remit.local/", NOW).values(), method="GET", url="http://remit.local/", now=NOW
    )
    assert (identity.id, identity.key, identity.expires) == (WORKLOAD, holder.key, NOW + 3_600_000)


@pytest.mark.parametrize(
    "id",
    [
        "spiffe://attacker.example/workload/a",
        "spiffe://example.org",
        "spiffe://example.org.attacker.example/workload/a",
        "workload/a",
    ],
)
def test_a_foreign_identity_is_never_issued(parties: Parties, id: str) -> None:
    with pytest.raises(InvalidInput):
        parties.authority.issue_svid(id, KEY, AUDIENCE, NOW)


@pytest.mark.parametrize("life", [0, -1, 86_401, 10**9])
def test_a_life_out_of_bounds_is_refused(parties: Parties, life: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        parties.authority.issue_svid(WORKLOAD, KEY, AUDIENCE, NOW, life)
    assert caught.value.code == "lifetime_invalid"


@pytest.mark.parametrize("key", ["", "x" * 42, "x" * 44, "ä" * 43, '"' * 43])
def test_a_token_is_always_bound_to_a_key(parties: Parties, key: str) -> None:
    with pytest.raises(InvalidInput):
        parties.authority.issue_svid(WORKLOAD, key, AUDIENCE, NOW)
    with pytest.raises(InvalidInput):
        parties.authority.issue_task_token("t_1", WORKLOAD, key, NOW + 1000, NOW)


def test_an_svid_without_an_audience_is_refused(parties: Parties) -> None:
    with pytest.raises(InvalidInput):
        parties.authority.issue_svid(WORKLOAD, KEY, "", NOW)


def test_no_token_outlives_the_keys_overlap(parties: Parties) -> None:
    token = parties.authority.issue_task_token("t_1", WORKLOAD, KEY, NOW + 10 * LONGEST_LIFE_MS, NOW)
    assert expiry_of(token) == NOW + LONGEST_LIFE_MS


def test_a_task_tokens_expiry_is_exact(parties: Parties) -> None:
    for expires in (NOW + 1, NOW + 1000, NOW + 1001, NOW + 59_999):
        token = parties.authority.issue_task_token("t_1", WORKLOAD, KEY, expires, NOW)
        assert expiry_of(token) == expires
        assert parties.service.task_handle(token, NOW).expires == expires


@pytest.mark.parametrize("task", ["", "t 1", "t/1", "ä", "x" * 257, "t\n"])
def test_a_malformed_task_id_is_refused(parties: Parties, task: str) -> None:
    with pytest.raises(InvalidInput):
        parties.authority.issue_task_token(task, WORKLOAD, KEY, NOW + 1000, NOW)


def test_a_task_token_that_is_over_is_not_issued(parties: Parties) -> None:
    with pytest.raises(InvalidInput):
        parties.authority.issue_task_token("t_1", WORKLOAD, KEY, NOW, NOW)


def test_a_malformed_trust_domain_is_refused(parties: Parties) -> None:
    with pytest.raises(InvalidInput):
        Authority("Example.org", parties.ring)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "...", "e30.e30.e30"])
def test_no_expiry_in_what_is_no_token(token: str) -> None:
    with pytest.raises(InvalidInput):
        expiry_of(token)
