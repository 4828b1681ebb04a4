"""Requests, subjects, persons and tasks, proved; attacks named after what the attacker does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from remit.core.decisions import TaskHandle
from remit.core.errors import InvalidInput, Unauthenticated, Unavailable
from remit.core.identities import Identity
from remit.identity.authenticator import Authenticator, ProofLimits
from remit.identity.holder import REUSE_MS, Holder
from remit.identity.keys import generate_key, public_jwk
from remit.identity.task_token import task_audience

from .parties import (
    AUDIENCE,
    DOMAIN,
    NOW,
    OTHER_PEP,
    PEP,
    URL,
    WORKLOAD,
    Parties,
    forge,
    proof,
    svid_claims,
)


def ask(service: Authenticator, headers: dict[str, str], now: int = NOW, **request: str) -> Identity:
    request = {"method": "POST", "url": URL, **request}
    return service.authenticate(
        headers["Authorization"], headers["DPoP"], method=request["method"], url=request["url"], now=now
    )


def refusal(service: Authenticator, headers: dict[str, str], now: int = NOW, **request: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        ask(service, headers, now, **request)
    for part in (headers["Authorization"].partition(" ")[2] + "." + headers["DPoP"]).split("."):
        assert len(part) < 4 or part not in str(caught.value), "a message quotes a credential"
    return caught.value.code


class TestRequest:
    def test_a_caller_is_who_its_svid_says(self, parties: Parties) -> None:
        holder = parties.holder()
        expected = Identity(id=WORKLOAD, key=holder.key, expires=NOW + 3_600_000)
        assert ask(parties.service, holder.headers("POST", URL, NOW)) == expected
        assert ask(parties.service, holder.headers("POST", URL, NOW)) == expected

    def test_the_query_is_not_part_of_the_proof(self, parties: Parties) -> None:
        holder = parties.holder()
        assert ask(parties.service, holder.headers("GET", URL + "?a=1", NOW), method="GET", url=URL + "?b=2")

    def test_a_stolen_svid_without_its_key(self, parties: Parties) -> None:
        thief = Holder(generate_key(), parties.holder().svid, WORKLOAD)
        assert refusal(parties.service, thief.headers("POST", URL, NOW)) == "key_mismatch"

    def test_a_stolen_svid_with_the_owners_public_key_in_the_header(self, parties: Parties) -> None:
        owner_key = generate_key()
        holder = Holder(owner_key, "", WORKLOAD)
        svid = parties.authority.issue_svid(WORKLOAD, holder.key, AUDIENCE, NOW)
        stolen = proof(generate_key(), svid, header={"jwk": public_jwk(owner_key)})
        assert refusal(parties.service, {"Authorization": f"DPoP {svid}", "DPoP": stolen}) == "proof_invalid"

    def test_another_callers_proof(self, parties: Parties) -> None:
        one, two = parties.holder(), parties.holder("spiffe://example.org/workload/other")
        headers = {**one.headers("POST", URL, NOW), "DPoP": two.headers("POST", URL, NOW)["DPoP"]}
        assert refusal(parties.service, headers) == "key_mismatch"

    def test_a_proof_for_an_earlier_svid_of_the_same_key(self, parties: Parties) -> None:
        key = generate_key()
        holder = Holder(key, "", WORKLOAD)
        old = parties.authority.issue_svid(WORKLOAD, holder.key, AUDIENCE, NOW)
        new = parties.authority.issue_svid(WORKLOAD, holder.key, AUDIENCE, NOW, 7200)
        headers = {"Authorization": f"DPoP {new}", "DPoP": proof(key, old)}
        assert refusal(parties.service, headers) == "proof_mismatch"

    def test_a_proof_without_the_tokens_hash(self, parties: Parties) -> None:
        key = generate_key()
        holder = Holder(key, "", WORKLOAD)
        svid = parties.authority.issue_svid(WORKLOAD, holder.key, AUDIENCE, NOW)
        for ath in (..., "", "x" * 43):
            made = proof(key, svid, claims={"ath": ath})
            assert refusal(parties.service, {"Authorization": f"DPoP {svid}", "DPoP": made}) == "proof_mismatch"

    def test_a_replayed_request(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        ask(parties.service, headers)
        assert refusal(parties.service, headers, NOW + 1) == "proof_replayed"

    def test_a_request_replayed_after_a_restart(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        ask(parties.service, headers)
        restarted = parties.authenticator(started=NOW + 5)
        assert refusal(restarted, headers, NOW + 10) == "proof_stale"

    def test_a_proof_for_another_method_or_url(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        assert refusal(parties.service, headers, method="DELETE") == "proof_mismatch"
        assert refusal(parties.service, headers, url="http://remit.local/v1/tasks") == "proof_mismatch"
        assert ask(parties.service, headers), "and it was not used up by that"

    def test_a_stale_and_a_future_proof(self, parties: Parties) -> None:
        holder = parties.holder()
        assert refusal(parties.service, holder.headers("POST", URL, NOW - 30_001)) == "proof_stale"
        assert refusal(parties.service, holder.headers("POST", URL, NOW + 5_001)) == "proof_early"

    def test_an_expired_svid_that_was_seen_before(self, parties: Parties) -> None:
        holder = parties.holder()
        ask(parties.service, holder.headers("POST", URL, NOW))
        later = NOW + 3_600_000 + 5_000
        assert refusal(parties.service, holder.headers("POST", URL, later), later) == "token_expired"

    @pytest.mark.parametrize(
        "scheme",
        ["Bearer {}", "Basic {}", "{}", "DPoP", "DPoP ", "DPoP  ", "DPoP {} {}", "DPoP {},DPoP {}", "DPoP\t{}"],
    )
    def test_another_scheme_than_dpop(self, parties: Parties, scheme: str) -> None:
        """RFC 9449 section 7.2: the same token as a bearer token would need no proof."""
        headers = parties.holder().headers("POST", URL, NOW)
        token = headers["Authorization"].removeprefix("DPoP ")
        assert refusal(parties.service, {**headers, "Authorization": scheme.replace("{}", token)}) == "token_invalid"

    def test_the_scheme_in_any_case(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        assert ask(parties.service, {**headers, "Authorization": headers["Authorization"].replace("DPoP", "dpop")})

    def test_nothing_is_sent(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        assert refusal(parties.service, {**headers, "Authorization": ""}) == "token_missing"
        assert refusal(parties.service, {**headers, "DPoP": ""}) == "proof_missing"

    def test_an_oversized_token(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        assert refusal(parties.service, {**headers, "Authorization": "DPoP " + "A" * 8192}) == "token_too_large"
        assert refusal(parties.service, {**headers, "DPoP": "A" * 8193}) == "proof_too_large"

    def test_characters_beyond_ascii(self, parties: Parties) -> None:
        headers = parties.holder().headers("POST", URL, NOW)
        assert refusal(parties.service, {**headers, "Authorization": "DPoP \u00e4"}) == "token_invalid"
        assert refusal(parties.service, {**headers, "DPoP": "\ud800"}) == "proof_invalid"

    def test_a_task_token_used_as_an_svid(self, parties: Parties) -> None:
        holder = parties.holder()
        holder.svid = parties.task_token(holder)
        assert refusal(parties.service, holder.headers("POST", URL, NOW)) == "token_invalid"

    def test_a_proof_used_as_an_svid(self, parties: Parties) -> None:
        holder = parties.holder()
        holder.svid = holder.headers("POST", URL, NOW)["DPoP"]
        assert refusal(parties.service, holder.headers("POST", URL, NOW)) == "token_invalid"

    def test_a_subject_proof_used_for_a_request(self, parties: Parties) -> None:
        holder = parties.holder()
        made = holder.subject_proof(PEP, "", NOW)
        assert refusal(parties.service, {**holder.headers("POST", URL, NOW), "DPoP": made}) == "proof_mismatch"

    def test_strangers_can_not_fill_the_memory_of_used_proofs(self, tmp_path: Path) -> None:
        parties = Parties(tmp_path, ProofLimits(used_proofs=8, used_proofs_per_key=8))
        for _ in range(2):
            parties.service.prove_key(proof(generate_key()), method="POST", url=URL, now=NOW)
        with pytest.raises(Unavailable):
            parties.service.prove_key(proof(generate_key()), method="POST", url=URL, now=NOW)
        assert ask(parties.service, parties.holder().headers("POST", URL, NOW))

    def test_one_caller_can_not_fill_it_for_the_others(self, tmp_path: Path) -> None:
        parties = Parties(tmp_path, ProofLimits(used_proofs=8, used_proofs_per_key=2))
        greedy, other = parties.holder(), parties.holder(PEP)
        for _ in range(2):
            ask(parties.service, greedy.headers("POST", URL, NOW))
        with pytest.raises(Unavailable) as caught:
            ask(parties.service, greedy.headers("POST", URL, NOW))
        assert caught.value.code == "proof_memory_full"
        assert ask(parties.service, other.headers("POST", URL, NOW))
        later = NOW + 32_000
        assert ask(parties.service, greedy.headers("POST", URL, later), later)

    def test_verified_tokens_are_bounded(self, tmp_path: Path) -> None:
        parties = Parties(tmp_path, ProofLimits(verified_tokens=3))
        for number in range(5):
            ask(parties.service, parties.holder(f"{WORKLOAD}-{number}").headers("POST", URL, NOW))
        assert len(parties.service._svids) == 3


class TestSubject:
    def subject(
        self, parties: Parties, token: str, made: str, pep: str = PEP, task: str = "", now: int = NOW
    ) -> Identity:
        return parties.service.subject(token, made, pep=pep, task_token=task, now=now)

    def refusal(self, parties: Parties, token: str, made: str, **more: Any) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.subject(parties, token, made, **more)
        return caught.value.code

    def test_a_subject_is_proved_to_one_enforcement_point(self, parties: Parties) -> None:
        holder = parties.holder()
        task = parties.task_token(holder)
        made = holder.subject_proof(PEP, task, NOW)
        for now in (NOW, NOW + 1_000, NOW + 60_000):
            assert self.subject(parties, holder.svid, made, task=task, now=now).id == WORKLOAD

    def test_a_subject_without_a_task(self, parties: Parties) -> None:
        holder = parties.holder()
        assert self.subject(parties, holder.svid, holder.subject_proof(PEP, "", NOW)).id == WORKLOAD

    def test_a_proof_relayed_by_another_enforcement_point(self, parties: Parties) -> None:
        holder = parties.holder()
        task = parties.task_token(holder)
        made = holder.subject_proof(PEP, task, NOW)
        assert self.refusal(parties, holder.svid, made, pep=OTHER_PEP, task=task) == "proof_mismatch"
        self.subject(parties, holder.svid, made, task=task)
        assert self.refusal(parties, holder.svid, made, pep=OTHER_PEP, task=task) == "proof_mismatch"

    def test_a_proof_for_another_task(self, parties: Parties) -> None:
        holder = parties.holder()
        made = holder.subject_proof(PEP, parties.task_token(holder, "t_1"), NOW)
        for other in (parties.task_token(holder, "t_2"), ""):
            assert self.refusal(parties, holder.svid, made, task=other) == "proof_mismatch"

    def test_a_stale_or_future_subject_proof(self, parties: Parties) -> None:
        holder = parties.holder(now=NOW - 60_000)
        made = holder.subject_proof(PEP, "", NOW)
        self.subject(parties, holder.svid, made)
        assert self.refusal(parties, holder.svid, made, now=NOW + 60_001) == "proof_stale"
        assert self.refusal(parties, holder.svid, made, now=NOW - 5_001) == "proof_early"

    def test_a_stolen_task_handle_without_its_key(self, parties: Parties) -> None:
        owner, thief = parties.holder(), parties.holder("spiffe://example.org/workload/thief")
        task = parties.task_token(owner)
        made = thief.subject_proof(PEP, task, NOW)
        assert self.refusal(parties, thief.svid, made, task=task) == "key_mismatch"
        assert self.refusal(parties, owner.svid, made, task=task) == "key_mismatch"

    def test_a_task_handle_of_another_workload_with_the_same_key(self, parties: Parties) -> None:
        key = generate_key()
        one = Holder(key, "", WORKLOAD)
        one.svid = parties.authority.issue_svid(WORKLOAD, one.key, AUDIENCE, NOW)
        task = parties.authority.issue_task_token(
            "t_1", "spiffe://example.org/workload/other", one.key, NOW + 600_000, NOW
        )
        made = one.subject_proof(PEP, task, NOW)
        assert self.refusal(parties, one.svid, made, task=task) == "subject_mismatch"

    def test_a_subject_proof_with_another_keys_signature(self, parties: Parties) -> None:
        key = generate_key()
        holder = Holder(key, "", WORKLOAD)
        holder.svid = parties.authority.issue_svid(WORKLOAD, holder.key, AUDIENCE, NOW)
        made = proof(generate_key(), holder.svid, header={"jwk": public_jwk(key)}, claims={"htu": PEP})
        assert self.refusal(parties, holder.svid, made) == "proof_invalid"
        assert self.refusal(parties, holder.svid, made) == "proof_invalid", "also the second time"

    def test_a_request_proof_used_for_a_subject(self, parties: Parties) -> None:
        holder = parties.holder()
        made = holder.headers("POST", URL, NOW)["DPoP"]
        assert self.refusal(parties, holder.svid, made) == "proof_mismatch"
        assert self.refusal(parties, holder.svid, made, pep=URL.replace("remit.local", "other")) == "proof_mismatch"

    def test_an_expired_task_token(self, parties: Parties) -> None:
        holder = parties.holder()
        task = parties.task_token(holder, life=1_000)
        later = NOW + 6_000
        made = holder.subject_proof(PEP, task, later)
        assert self.refusal(parties, holder.svid, made, task=task, now=later) == "task_token_expired"

    def test_nothing_is_sent(self, parties: Parties) -> None:
        holder = parties.holder()
        made = holder.subject_proof(PEP, "", NOW)
        assert self.refusal(parties, "", made) == "token_missing"
        assert self.refusal(parties, holder.svid, "") == "proof_missing"
        assert self.refusal(parties, "A" * 8193, made) == "token_too_large"
        assert self.refusal(parties, holder.svid, "A" * 8193) == "proof_too_large"
        assert self.refusal(parties, holder.svid, made, task="A" * 8193) == "task_token_too_large"

    def test_a_holder_spares_signatures_but_never_sends_a_stale_proof(self, parties: Parties) -> None:
        holder = parties.holder()
        first = holder.subject_proof(PEP, "", NOW)
        assert holder.subject_proof(PEP, "", NOW + REUSE_MS - 1) == first
        assert holder.subject_proof(PEP, "", NOW + REUSE_MS) != first
        assert holder.subject_proof(PEP, "", NOW - 1) != first
        assert holder.subject_proof(OTHER_PEP, "", NOW) != first
        for number in range(1000):
            holder.subject_proof(PEP, f"token-{number}", NOW)
        assert len(holder._subject_proofs) <= 64


class TestPerson:
    def test_a_persons_own_svid(self, parties: Parties) -> None:
        person = parties.holder("spiffe://example.org/person/ada")
        assert parties.service.person(person.svid, NOW).id == "spiffe://example.org/person/ada"

    @pytest.mark.parametrize(
        "path", ["workload/ada", "person", "person/ada/x", "persons/ada", "workload/person/ada", "Person/ada"]
    )
    def test_an_agent_poses_as_a_person(self, parties: Parties, path: str) -> None:
        token = parties.holder(f"spiffe://example.org/{path}").svid
        with pytest.raises(Unauthenticated) as caught:
            parties.service.person(token, NOW)
        assert caught.value.code == "person_invalid"

    @pytest.mark.parametrize("token", ["spiffe://example.org/person/ada", "ada", ""])
    def test_a_person_is_named_but_not_proved(self, parties: Parties, token: str) -> None:
        with pytest.raises(Unauthenticated):
            parties.service.person(token, NOW)


class TestTaskToken:
    def refusal(self, parties: Parties, token: str, now: int = NOW) -> str:
        with pytest.raises(Unauthenticated) as caught:
            parties.service.task_handle(token, now)
        return caught.value.code

    def forged(self, parties: Parties, header: dict[str, Any] | None = None, **claims: Any) -> str:
        signing = parties.ring.signing_key(NOW)
        base = svid_claims(aud=task_audience(DOMAIN), jti="t_1")
        head = {"alg": "ES256", "kid": signing.kid, "typ": "remit-task+jwt", **(header or {})}
        kept = {name: value for name, value in {**base, **claims}.items() if value is not ...}
        return forge({name: value for name, value in head.items() if value is not ...}, kept, signing.key)

    def test_a_handle_names_task_workload_and_key(self, parties: Parties) -> None:
        holder = parties.holder()
        token = parties.task_token(holder, "t_0123.4")
        handle = TaskHandle(task="t_0123.4", workload=WORKLOAD, key=holder.key, expires=NOW + 600_000)
        assert parties.service.task_handle(token, NOW) == handle
        assert parties.service.task_handle(token, NOW + 1) == handle

    def test_an_svid_used_as_a_task_token(self, parties: Parties) -> None:
        assert self.refusal(parties, parties.holder().svid) == "task_token_invalid"
        assert self.refusal(parties, self.forged(parties, aud=AUDIENCE)) == "task_token_invalid"

    @pytest.mark.parametrize("typ", [..., "JWT", "JOSE", "REMIT-TASK+JWT", 1])
    def test_another_type(self, parties: Parties, typ: Any) -> None:
        assert self.refusal(parties, self.forged(parties, {"typ": typ})) == "task_token_invalid"

    @pytest.mark.parametrize("alg", [..., "none", "HS256", "ES384", "RS256"])
    def test_another_algorithm(self, parties: Parties, alg: Any) -> None:
        assert self.refusal(parties, self.forged(parties, {"alg": alg})) == "task_token_invalid"

    @pytest.mark.parametrize("kid", [..., "", "http://attacker.example/jwks.json", 1])
    def test_another_kid(self, parties: Parties, kid: Any) -> None:
        assert self.refusal(parties, self.forged(parties, {"kid": kid})) == "task_token_invalid"

    @pytest.mark.parametrize("more", [{"crit": ["exp"]}, {"jwk": {}}, {"jku": "http://a"}])
    def test_another_header_member(self, parties: Parties, more: dict[str, Any]) -> None:
        assert self.refusal(parties, self.forged(parties, more)) == "task_token_invalid"

    @pytest.mark.parametrize(
        "claims",
        [
            {"jti": ...},
            {"jti": ""},
            {"jti": "t 1"},
            {"jti": 1},
            {"exp": ...},
            {"exp": 1e300},
            {"iat": ...},
            {"cnf": ...},
            {"cnf": {"jkt": "x"}},
            {"aud": ...},
            {"aud": [task_audience(DOMAIN)]},
            {"sub": "workload/a"},
            {"sub": ...},
        ],
    )
    def test_a_claim_is_missing_or_wrong(self, parties: Parties, claims: dict[str, Any]) -> None:
        assert self.refusal(parties, self.forged(parties, **claims)) == "task_token_invalid"

    def test_an_attackers_signature(self, parties: Parties) -> None:
        head, claims, _ = self.forged(parties).split(".")
        _, _, signature = forge({}, {}, generate_key()).split(".")
        assert self.refusal(parties, f"{head}.{claims}.{signature}") == "task_token_invalid"

    def test_an_expired_task_token(self, parties: Parties) -> None:
        token = parties.task_token(parties.holder(), life=1_000)
        assert parties.service.task_handle(token, NOW + 5_999)
        assert self.refusal(parties, token, NOW + 6_000) == "task_token_expired"

    def test_nothing_or_too_much_is_sent(self, parties: Parties) -> None:
        assert self.refusal(parties, "") == "task_token_missing"
        assert self.refusal(parties, "A" * 8193) == "task_token_too_large"


class TestSetup:
    @pytest.mark.parametrize(
        ("bundles", "audience", "origins"),
        [
            ({}, AUDIENCE, ["http://remit.local"]),
            ({"other.example": None}, AUDIENCE, ["http://remit.local"]),
            ({DOMAIN: None}, "", ["http://remit.local"]),
            ({DOMAIN: None}, AUDIENCE, []),
            ({DOMAIN: None}, AUDIENCE, ["*"]),
            ({DOMAIN: None}, AUDIENCE, ["http://remit.local/path"]),
            ({DOMAIN: None}, AUDIENCE, ["remit.local"]),
        ],
    )
    def test_an_empty_security_setting_stops_the_start(
        self, parties: Parties, bundles: dict[str, None], audience: str, origins: list[str]
    ) -> None:
        real = {name: parties.ring.bundle() for name in bundles}
        with pytest.raises(InvalidInput):
            Authenticator(DOMAIN, real, audience, origins, started=0)

    def test_a_malformed_trust_domain(self, parties: Parties) -> None:
        with pytest.raises(InvalidInput):
            parties.service.trust("Example.org", parties.ring.bundle())


def test_a_request_costs_one_signature_verification(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    from joserfc import jws

    calls: list[int] = []
    real = jws.validate_compact

    def counted(*args: Any, **more: Any) -> bool:
        calls.append(1)
        return real(*args, **more)

    monkeypatch.setattr(jws, "validate_compact", counted)
    holder, pep = parties.holder(), parties.holder(PEP)
    task = parties.task_token(holder)
    ask(parties.service, pep.headers("POST", URL, NOW))
    parties.service.subject(holder.svid, holder.subject_proof(PEP, task, NOW), pep=PEP, task_token=task, now=NOW)
    assert len(calls) == 5, "two SVIDs, two proofs and the task token"
    calls.clear()
    ask(parties.service, pep.headers("POST", URL, NOW))
    parties.service.subject(holder.svid, holder.subject_proof(PEP, task, NOW), pep=PEP, task_token=task, now=NOW)
    assert len(calls) == 1


@pytest.mark.long
def test_a_known_caller_is_authenticated_in_about_one_verification(parties: Parties) -> None:
    """Catches a second verification or an import of the key at every request; it is no figure to quote."""
    holder = parties.holder()
    requests = [holder.headers("POST", URL, NOW + number) for number in range(2000)]
    took: list[float] = []
    for number, headers in enumerate(requests):
        start = time.perf_counter()
        ask(parties.service, headers, NOW + number)
        took.append(time.perf_counter() - start)
    assert sorted(took)[1000] < 300e-6
