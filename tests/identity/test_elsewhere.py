"""Outside tokens: who they are here, and every way in which they are nobody. All keys are local ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey

from remit.core.errors import Unauthenticated
from remit.identity.elsewhere import Elsewhere
from remit.identity.issuer_keys import read_jwks

from .issuers import (
    COMPANY,
    GITHUB,
    GITLAB,
    KUBERNETES,
    LATER,
    OURS,
    PARTNER,
    SECONDS,
    LocalIssuer,
    elsewhere,
    federated,
    github,
    gitlab,
    kubernetes,
    partner,
    rsa,
    rule,
    settings,
    staff,
)
from .parties import NOW, b64, encoded, forge, forge_hmac

CI = rule("starter/ci", {"repository_id": "74", "ref": "refs/heads/main", "environment": "production"})


def hub(**more: Any) -> tuple[LocalIssuer, Elsewhere]:
    local = LocalIssuer(GITHUB)
    return local, elsewhere((local, settings("github", GITHUB, CI, **more)))


def refusal(found: Elsewhere, token: str, now: int = NOW) -> str:
    with pytest.raises(Unauthenticated) as caught:
        found.arrival(token, now)
    return caught.value.code


# --- who that is here -------------------------------------------------------------------------------------------


def test_a_github_job_is_a_starter() -> None:
    local, found = hub()
    arrival = found.arrival(local.token(github()), NOW)
    assert arrival.id == "spiffe://example.org/starter/ci"
    assert (arrival.source, arrival.rule, arrival.issuer) == ("issuers/github", 1, GITHUB)
    assert arrival.subject == "repo:octo-org/octo-repo:environment:production"
    assert arrival.expires == NOW + 300_000
    assert (arrival.key, arrival.chosen, arrival.register) == ("", False, None)


def test_a_gitlab_job_is_a_workload() -> None:
    local = LocalIssuer(GITLAB)
    wanted = rule("workload/deployer", {"project_id": "20", "ref_protected": "true", "environment": "production"})
    found = elsewhere((local, settings("gitlab", GITLAB, wanted)))
    assert found.arrival(local.token(gitlab()), NOW).path == "workload/deployer"
    assert refusal(found, local.token(gitlab(ref_protected="false"))) == "token_unmapped"


def test_a_kubernetes_service_account_is_a_workload() -> None:
    local = LocalIssuer(KUBERNETES)
    wanted = rule(
        "workload/invoices",
        {"/kubernetes.io/namespace": "finance", "/kubernetes.io/serviceaccount/uid": "14ee3fa4"},
    )
    found = elsewhere((local, settings("cluster", KUBERNETES, wanted)))
    assert found.arrival(local.token(kubernetes()), NOW).path == "workload/invoices"
    other = {"namespace": "finance", "serviceaccount": {"name": "invoices", "uid": "made-again"}}
    assert refusal(found, local.token(kubernetes(**{"kubernetes.io": other}))) == "token_unmapped"


def test_a_member_of_staff_is_a_person_by_name() -> None:
    local = LocalIssuer(COMPANY)
    wanted = rule("person/{preferred_username}", {"groups": "staff", "email": "*@example.org"})
    arrival = elsewhere((local, settings("staff", COMPANY, wanted))).arrival(local.token(staff()), NOW)
    assert (arrival.path, arrival.chosen, arrival.service) == ("person/ada", True, False)


def test_a_partner_is_a_workload() -> None:
    local = LocalIssuer("", kid="p1")
    found = federated(local, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    arrival = found.arrival(local.token(partner()), NOW)
    assert (arrival.path, arrival.source) == ("workload/partner", f"federation/{PARTNER}")
    assert arrival.subject == f"spiffe://{PARTNER}/ns/prod/billing"


def test_rules_with_audiences_of_their_own_tell_identities_apart() -> None:
    local = LocalIssuer(GITHUB)
    rules = [rule(who, {"repository_id": "74"}, audience=f"remit {who}") for who in ("starter/ci", "workload/deployer")]
    found = elsewhere((local, settings("github", GITHUB, *rules)))
    for who in ("starter/ci", "workload/deployer"):
        assert found.arrival(local.token(github(aud=f"remit {who}")), NOW).path == who


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"])
def test_every_algorithm_that_may_be_set(alg: str) -> None:
    curves = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
    local = LocalIssuer(GITHUB, ECKey.generate_key(curves[alg]) if alg in curves else rsa(0), alg=alg)
    found = elsewhere((local, settings("github", GITHUB, CI, algorithms=[alg])))
    assert found.arrival(local.token(github()), NOW).path == "starter/ci"
    allowed = "ES256" if alg == "RS256" else "RS256"
    other = elsewhere((local, settings("github", GITHUB, CI, algorithms=[allowed])))
    assert refusal(other, local.token(github())) == "token_key_unknown"


def test_a_token_bound_to_a_key_says_which() -> None:
    local, found = hub()
    key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert found.arrival(local.token(github(cnf={"jkt": key})), NOW).key == key
    assert refusal(found, local.token(github(cnf={"x5t#S256": key}))) == "token_unbound"
    assert refusal(found, local.token(github(cnf="x"))) == "token_unbound"


# --- algorithms (RFC 8725 section 2.1) --------------------------------------------------------------------------


def test_no_signature_at_all() -> None:
    local, found = hub()
    for alg in ("none", "None", "NONE", "nOnE", ""):
        head = {"alg": alg, "kid": local.kid, "typ": "JWT"}
        token = f"{encoded(head)}.{encoded({'iss': GITHUB, **github()})}."
        assert refusal(found, token) == "token_invalid"


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "modulus"])
def test_hs256_with_the_public_key_as_secret(form: str) -> None:
    local, found = hub()
    secret = {
        "pem": lambda: local.key.as_pem(private=False),
        "der": lambda: local.key.as_der(private=False),
        "jwk": lambda: json.dumps(local.jwk()).encode(),
        "modulus": lambda: str(local.jwk()["n"]).encode(),
    }[form]()
    head = {"alg": "HS256", "kid": local.kid, "typ": "JWT"}
    assert refusal(found, forge_hmac(head, {"iss": GITHUB, **github()}, secret)) == "token_invalid"


def test_another_algorithm_than_the_keys_own() -> None:
    local, found = hub(algorithms=["RS256", "PS256", "ES256"])
    signed_otherwise = LocalIssuer(GITHUB, alg="PS256")  # the same key
    assert refusal(found, signed_otherwise.token(github())) == "token_invalid"
    key = ECKey.generate_key("P-256")
    for alg in ("RS256", "ES256"):
        assert (
            refusal(found, forge({"alg": alg, "kid": local.kid}, {"iss": GITHUB, **github()}, key)) == "token_invalid"
        )


def test_an_elliptic_key_under_the_name_of_an_rsa_key_and_the_reverse() -> None:
    key = ECKey.generate_key("P-256")
    local = LocalIssuer(GITHUB, key, alg="ES256")
    found = elsewhere((local, settings("github", GITHUB, CI)))
    assert refusal(found, LocalIssuer(GITHUB).token(github())) == "token_invalid"
    assert refusal(found, forge({"alg": "RS256", "kid": "k1"}, {"iss": GITHUB, **github()}, key)) == "token_invalid"


def test_psychic_signature() -> None:
    local = LocalIssuer(GITHUB, ECKey.generate_key("P-256"), alg="ES256")
    found = elsewhere((local, settings("github", GITHUB, CI)))
    head = encoded({"alg": "ES256", "kid": "k1"})
    assert refusal(found, f"{head}.{encoded({'iss': GITHUB, **github()})}.{b64(bytes(64))}") == "token_invalid"


# --- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kid",
    [
        "https://evil.example/jwks.json",
        "../../../../dev/null",
        "/proc/self/environ",
        "k1' OR '1'='1",
        "k1\u0000",
        "K1",
        " k1",
        "",
        "k" * 1500,
        None,
        1,
        ["k1"],
        {"k1": "k1"},
        ...,
    ],
)
def test_kid_injection(kid: Any) -> None:
    asked: list[str] = []
    local, found = hub()
    found.on_unknown_key = asked.append
    token = forge_rsa(local, {"kid": kid})
    assert refusal(found, token) == "token_key_unknown"
    assert asked == ["issuers/github"]  # the source, and nothing that the token said


def forge_rsa(local: LocalIssuer, header: Mapping[str, Any], claims: Mapping[str, Any] | None = None) -> str:
    """A token with any header, under a real signature of something else: what is refused before it is looked at."""
    head = {name: value for name, value in {"alg": "RS256", "kid": "k1", **header}.items() if value is not ...}
    real = local.token(github())
    return f"{encoded(head)}.{encoded({'iss': local.issuer, **github(), **(claims or {})})}.{real.split('.')[2]}"


def test_keys_that_the_token_brings_along_are_not_looked_at() -> None:
    local, found = hub()
    thief = LocalIssuer(GITHUB, rsa(1))
    for extra in (
        {"jwk": thief.jwk()},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": thief.jwk(), "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/cert.pem"},
    ):
        assert refusal(found, thief.token(github(), header=extra)) == "token_invalid"
        # and where the signature is the issuer's own, they change nothing
        if "x5c" not in extra:
            assert found.arrival(local.token(github(), header=extra), NOW).path == "starter/ci"


@pytest.mark.parametrize(
    "extra",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": ["kid"]}, {"crit": ["b64"], "b64": True}, {"crit": ["x"], "x": 1}],
)
def test_critical_header_members(extra: dict[str, Any]) -> None:
    local, found = hub()
    assert refusal(found, forge_rsa(local, extra)) == "token_invalid"


@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "secevent+jwt", "remit-task+jwt", "JWE", 1, ["JWT"], {}])
def test_tokens_of_another_type(typ: Any) -> None:
    local, found = hub()
    assert refusal(found, forge_rsa(local, {"typ": typ})) == "token_invalid"


def test_a_logout_token_without_a_type() -> None:
    local, found = hub()
    events = {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert refusal(found, local.token(github(events=events), header={"typ": ...})) == "token_invalid"


# --- issuers ----------------------------------------------------------------------------------------------------


def two(first: LocalIssuer, second: LocalIssuer) -> Elsewhere:
    return elsewhere(
        (first, settings("github", GITHUB, CI)),
        (second, settings("gitlab", GITLAB, rule("workload/deployer", {"project_id": "20"}))),
    )


def test_issuer_mix_up() -> None:
    """Two issuers with the same `kid`: neither signs for the other, also where both sets of claims are there."""
    first, second = LocalIssuer(GITHUB, rsa(0)), LocalIssuer(GITLAB, rsa(1))
    found = two(first, second)
    both = {**gitlab(), **github()}
    assert found.arrival(first.token(both), NOW).path == "starter/ci"
    assert found.arrival(second.token(both), NOW).path == "workload/deployer"
    assert refusal(found, first.token(both, {"iss": GITLAB})) == "token_invalid"
    assert refusal(found, second.token(both, {"iss": GITHUB})) == "token_invalid"


@pytest.mark.parametrize(
    "iss",
    [
        GITHUB + "/",
        GITHUB.upper(),
        GITHUB.replace("https", "http"),
        GITHUB + "/octo-org",
        " " + GITHUB,
        GITHUB + "\u200b",
        "token.actions.githubusercontent.com",
        [GITHUB],
        {"iss": GITHUB},
        None,
        0,
        ...,
    ],
)
def test_an_issuer_that_is_almost_the_same(iss: Any) -> None:
    local, found = hub()
    assert refusal(found, local.token(github(), {"iss": iss})) == "issuer_unknown"


def test_an_outside_issuer_claims_our_trust_domain() -> None:
    local = LocalIssuer(GITHUB)
    found = elsewhere((local, settings("github", GITHUB, CI)))
    for subject in ("spiffe://example.org", "spiffe://example.org/starter/ci", "spiffe://example.org/person/ada"):
        assert refusal(found, local.token(github(sub=subject))) == "token_invalid"


def test_another_trust_domain_claims_ours_or_a_third_one() -> None:
    local = LocalIssuer("", kid="p1")
    found = federated(local, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    assert refusal(found, local.token(partner(sub="spiffe://example.org/workload/invoices"))) == "issuer_unknown"
    assert refusal(found, local.token(partner(sub="spiffe://third.example/ns/prod/x"))) == "issuer_unknown"
    assert refusal(found, local.token(partner(sub=f"spiffe://{PARTNER}.evil.example/x"))) == "issuer_unknown"
    for subject in (
        f"spiffe://{PARTNER}",
        f"spiffe://{PARTNER}/",
        f"spiffe://{PARTNER}/ns/../prod",
        f"spiffe://{PARTNER}/a b",
    ):
        assert refusal(found, local.token(partner(sub=subject))) == "token_invalid"


def test_a_partners_key_does_not_sign_for_an_issuer_and_the_reverse() -> None:
    hub_, domain = LocalIssuer(GITHUB, rsa(0)), LocalIssuer("", rsa(1))
    found = federated(domain, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    both = Elsewhere(
        "example.org",
        two(hub_, LocalIssuer(GITLAB)).issuers.values(),
        found.federations.values(),
        bundles=found.bundles,
    )
    both.take_keys("issuers/github", read_jwks(hub_.jwks(), ["RS256"]), until=LATER)
    assert refusal(both, domain.token(partner(), {"iss": GITHUB})) == "token_invalid"
    assert refusal(both, hub_.token(partner(), {"iss": ...})) == "token_invalid"
    assert refusal(both, domain.token(github(), {"iss": GITHUB})) == "token_invalid"


def test_one_of_two_partners_signs_for_the_other() -> None:
    """Both have a key of the same name; each vouches for its own identities."""
    first, second = LocalIssuer("", rsa(0), kid="p1"), LocalIssuer("", rsa(1), kid="p1")
    one = federated(first, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    two = federated(second, ("spiffe://second.example/ns/prod/*", "workload/second"), domain="second.example")
    one.bundles.put("second.example", two.bundles.bundle("second.example", NOW))
    both = Elsewhere("example.org", (), [*one.federations.values(), *two.federations.values()], bundles=one.bundles)
    theirs = "spiffe://second.example/ns/prod/x"
    assert both.arrival(first.token(partner()), NOW).path == "workload/partner"
    assert both.arrival(second.token(partner(sub=theirs)), NOW).path == "workload/second"
    assert refusal(both, first.token(partner(sub=theirs))) == "token_invalid"
    assert refusal(both, second.token(partner())) == "token_invalid"


@pytest.mark.parametrize(
    ("foreign", "code"),
    [
        ("ns/prod/billing", ""),
        ("ns/prod/billing/worker", ""),
        ("ns/prod", "token_unmapped"),
        ("ns/prod-evil/billing", "token_unmapped"),
        ("ns/prodevil", "token_unmapped"),
        ("ns/dev/billing", "token_unmapped"),
        ("NS/prod/billing", "token_unmapped"),
    ],
)
def test_foreign_ids_below_a_path(foreign: str, code: str) -> None:
    local = LocalIssuer("", kid="p1")
    found = federated(local, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    token = local.token(partner(sub=f"spiffe://{PARTNER}/{foreign}"))
    assert (refusal(found, token) if code else found.arrival(token, NOW).path) == (code or "workload/partner")


def test_a_foreign_svid_has_nothing_more_in_its_header() -> None:
    local = LocalIssuer("", kid="p1")
    found = federated(local, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    for extra in ({"x5t": "x"}, {"jku": "https://evil.example"}, {"typ": "at+jwt"}):
        assert refusal(found, local.token(partner(), header=extra)) == "token_invalid"


# --- audiences --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aud", "code"),
    [
        ("https://other.example.org", "token_audience"),
        (OURS + "/", "token_audience"),
        (OURS.upper(), "token_audience"),
        (["https://other.example.org"], "token_audience"),
        ([OURS, "https://other.example.org"], "token_audience"),
        ([], "token_invalid"),
        ("", "token_invalid"),
        ([OURS, 1], "token_invalid"),
        ({OURS: OURS}, "token_invalid"),
        (None, "token_invalid"),
        (7, "token_invalid"),
        (["a"] * 40, "token_invalid"),
        ([[OURS]], "token_invalid"),
        (..., "token_invalid"),
    ],
)
def test_a_token_for_another_audience(aud: Any, code: str) -> None:
    local, found = hub()
    assert refusal(found, local.token(github(), {"aud": aud})) == code


def test_several_audiences_need_a_party_that_is_known() -> None:
    local = LocalIssuer(COMPANY)
    wanted = rule("person/{preferred_username}", {"groups": "staff"})
    found = elsewhere((local, settings("staff", COMPANY, wanted, authorized_parties=["desk"])))
    several = [OURS, "https://other.example.org"]
    assert found.arrival(local.token(staff(aud=several)), NOW).path == "person/ada"
    for party in ("other", "", None, ["desk"], ...):
        assert refusal(found, local.token(staff(), {"azp": party})) == "token_audience"
        assert refusal(found, local.token(staff(aud=several), {"azp": party})) == "token_audience"


# --- times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"exp": SECONDS - 6}, "token_expired"),
        ({"exp": 1}, "token_expired"),
        ({"exp": ...}, "token_invalid"),
        ({"exp": None}, "token_invalid"),
        ({"exp": "never"}, "token_invalid"),
        ({"exp": str(SECONDS + 300)}, "token_invalid"),
        ({"exp": True}, "token_invalid"),
        ({"exp": -1}, "token_invalid"),
        ({"exp": 1e300}, "token_invalid"),
        ({"exp": [SECONDS + 300]}, "token_invalid"),
        ({"exp": SECONDS + 86_401}, "token_too_long_lived"),
        ({"exp": 253_402_300_799}, "token_too_long_lived"),
        ({"iat": SECONDS - 86_400}, "token_too_long_lived"),
        ({"iat": SECONDS + 6}, "token_not_yet_valid"),
        ({"iat": ...}, "token_invalid"),
        ({"iat": "now"}, "token_invalid"),
        ({"iat": False}, "token_invalid"),
        ({"nbf": SECONDS + 6}, "token_not_yet_valid"),
        ({"nbf": "x"}, "token_invalid"),
        ({"nbf": None}, "token_invalid"),
    ],
)
def test_times(change: dict[str, Any], code: str) -> None:
    local, found = hub()
    assert refusal(found, local.token(github(), change)) == code


def test_clocks_may_differ_by_a_few_seconds() -> None:
    local, found = hub()
    for change in (
        {"exp": SECONDS - 4},
        {"iat": SECONDS + 5, "nbf": SECONDS + 5},
        {"nbf": ...},
        {"exp": SECONDS + 0.5},
    ):
        assert found.arrival(local.token(github(), change), NOW).path == "starter/ci"


def test_a_foreign_svid_may_leave_out_when_it_was_issued_and_still_lives_no_longer() -> None:
    local = LocalIssuer("", kid="p1")
    found = federated(local, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"))
    assert found.arrival(local.token(partner(), {"iat": ...}), NOW).path == "workload/partner"
    assert refusal(found, local.token(partner(), {"iat": ..., "exp": SECONDS + 86_500})) == "token_too_long_lived"
    assert refusal(found, local.token(partner(), {"iat": None})) == "token_invalid"


# --- keys that grow old -----------------------------------------------------------------------------------------


def test_keys_that_were_never_read() -> None:
    local, found = hub()
    fresh = Elsewhere("example.org", found.issuers.values())
    assert refusal(fresh, local.token(github())) == "issuer_stale"


def test_keys_that_could_not_be_read_anew_for_too_long() -> None:
    local = LocalIssuer(GITHUB)
    found = elsewhere((local, settings("github", GITHUB, CI)), until=NOW + 1)
    token = local.token(github())
    assert found.arrival(token, NOW).path == "starter/ci"
    assert refusal(found, token, NOW + 1) == "issuer_stale"


def test_an_expired_bundle() -> None:
    local = LocalIssuer("", kid="p1")
    found = federated(local, (f"spiffe://{PARTNER}/ns/prod/*", "workload/partner"), until=NOW + 1)
    token = local.token(partner())
    assert found.arrival(token, NOW).path == "workload/partner"
    assert refusal(found, token, NOW + 1) == "bundle_stale"


# --- rules ------------------------------------------------------------------------------------------------------


def test_two_rules_that_match_are_one_too_many() -> None:
    local = LocalIssuer(GITHUB)
    narrow = rule("starter/release", {"repository_id": "74", "environment": "production"})
    wide = rule("starter/ci", {"repository_id": "74"})
    for rules in ((narrow, wide), (wide, narrow)):
        found = elsewhere((local, settings("github", GITHUB, *rules)))
        assert refusal(found, local.token(github())) == "token_ambiguous"
        assert found.arrival(local.token(github(environment="test")), NOW).path == "starter/ci"


@pytest.mark.parametrize(
    "change",
    [
        {"repository_id": "75"},
        {"repository_id": 74},
        {"repository_id": ["75"]},
        {"repository_id": None},
        {"repository_id": ...},
        {"ref": "refs/pull/7/merge"},
        {"ref": "refs/heads/main2"},
        {"ref": "refs/heads/main\n"},
        {"environment": "Production"},
        {"environment": {"production": True}},
    ],
)
def test_claims_that_do_not_match(change: dict[str, Any]) -> None:
    local, found = hub()
    assert refusal(found, local.token(github(), change)) == "token_unmapped"


@pytest.mark.parametrize(
    "login",
    [
        "Ada",
        "ada/admin",
        "../ada",
        "ada smith",
        "",
        "a" * 65,
        "ädа",
        "ada\n",
        ".",
        "..",
        "{ada}",
        7,
        True,
        None,
        ["ada"],
        {},
    ],
)
def test_a_claim_that_is_no_name(login: Any) -> None:
    local = LocalIssuer(COMPANY)
    found = elsewhere((local, settings("staff", COMPANY, rule("person/{preferred_username}", {"groups": "staff"}))))
    assert refusal(found, local.token(staff(preferred_username=login))) == "token_unmapped"


@pytest.mark.parametrize("sub", [..., "", None, 7, ["x"], "x" * 513])
def test_no_subject(sub: Any) -> None:
    local, found = hub()
    assert refusal(found, local.token(github(), {"sub": sub})) == "token_invalid"


# --- one reading ------------------------------------------------------------------------------------------------


def raw(head: bytes, body: bytes) -> str:
    return f"{b64(head)}.{b64(body)}.{b64(bytes(256))}"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b'{"alg":"RS256","kid":"k1","kid":"k2"}', b"{}"),
        (b'{"alg":"RS256","alg":"none","kid":"k1"}', b"{}"),
        (b'{"alg":"RS256","kid":"k1"}', b'{"iss":"a","iss":"b"}'),
        (b'{"alg":"RS256","kid":"k1"}', b'{"a":{"b":1,"b":2}}'),
        (b'{"alg":"RS256","kid":"k1"}', b"[]"),
        (b"[]", b"{}"),
        (b'{"alg":"RS256","kid":"k1"}', b'{"exp":NaN}'),
        (b'{"alg":"RS256","kid":"k1"}', b'{"exp":Infinity}'),
        (b'{"alg":"RS256","kid":"k1"}', b'{"exp":' + b"9" * 5000 + b"}"),
        (b'{"alg":"RS256","kid":"k1"}', b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        (b'{"alg":"RS256","kid":"k1"}', b'{"a":' * 900 + b"1" + b"}" * 900),
        (b'{"alg":"RS256","kid":"k1"}', b"\xff\xfe{}"),
        (b'{"alg":"RS256","kid":"' + b"k" * 4000 + b'"}', b"{}"),
        (b"", b""),
    ],
)
def test_json_with_two_readings_or_none(head: bytes, body: bytes) -> None:
    _, found = hub()
    assert refusal(found, raw(head, body)) == "token_invalid"


def test_an_oversized_token() -> None:
    local, found = hub()
    assert refusal(found, local.token(github(padding="x" * 9000))) == "token_too_large"


@pytest.mark.parametrize(
    "text", ["", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d.e", "ä.ö.ü", "a b.c.d", "a=.b.c", "\n"]
)
def test_no_token_at_all(text: str) -> None:
    _, found = hub()
    assert refusal(found, text) == "token_invalid"


def test_one_token_has_one_digest_whatever_its_signature_looks_like() -> None:
    """An ECDSA signature has a twin: what is remembered of a token must not depend on which one it has."""
    key = ECKey.generate_key("P-256")
    local = LocalIssuer(GITHUB, key, alg="ES256")
    found = elsewhere((local, settings("github", GITHUB, CI)))
    token = local.token(github())
    head, body, signature = token.split(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    from base64 import urlsafe_b64decode

    both = urlsafe_b64decode(signature + "==")
    twin = both[:32] + (order - int.from_bytes(both[32:], "big")).to_bytes(32, "big")
    first, second = found.arrival(token, NOW), found.arrival(f"{head}.{body}.{b64(twin)}", NOW)
    assert first.token == second.token
