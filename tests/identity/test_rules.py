"""Rules: what they match, what they must not match, and rules that are refused before they match anything."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.core.issuers import FederationRule, IssuerRule
from remit.identity.foreign_ids import read_foreign_rule
from remit.identity.rules import Rule, groups_of, matches, read_rule

from .issuers import COMPANY, GITHUB, rule

PINNED = {"repository_id": "74"}


def ready(identity: str = "starter/ci", *, issuer: str = COMPANY, **claims: Any) -> Rule:
    return read_rule(rule(identity, claims), 1, issuer=issuer, audience="a")


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [
        ("octo/*", "octo/x", True),
        ("octo/*", "octo-evil/x", False),
        ("octo/*", "octo/x/y", False),
        ("octo/*", "octo/", False),
        ("octo/*", "OCTO/x", False),
        ("repo:octo/*:ref:refs/heads/main", "repo:octo/x:ref:refs/heads/main", True),
        ("repo:octo/*:ref:refs/heads/main", "repo:octo/x:pull_request:ref:refs/heads/main", False),
        ("repo:octo/*:ref:refs/heads/main", "repo:octo/x:environment:y:ref:refs/heads/main", False),
        ("repo:octo/x:*", "repo:octo/x:pull_request", True),
        ("repo:octo/x:*", "repo:octo/x:ref:refs/heads/main", False),
        ("refs/tags/v*", "refs/tags/v1.2.3", True),
        ("refs/tags/v*", "refs/tags/x1", False),
        ("refs/tags/v*", "refs/tags/v1/x", False),
        ("refs/heads/release-*", "refs/heads/release-2", True),
        ("refs/heads/release-*", "refs/heads/release-", False),
        ("refs/heads/*", "refs/heads/feature/x", False),
        ("*@example.org", "ada@example.org", True),
        ("*@example.org", "ada@evil.example@example.org", False),
        ("*@example.org", "ada@example.org.evil.example", False),
        ("*@example.org", "@example.org", False),
        ("system:serviceaccount:prod:*", "system:serviceaccount:prod:x", True),
        ("system:serviceaccount:prod:*", "system:serviceaccount:prod-evil:x", False),
        ("octo/*", "octo/x\n", False),
        ("octo/*", "octo/x octo/y", False),
        ("a.c", "abc", False),
        ("a+", "aa", False),
        ("[a]", "a", False),
        ("$", "", False),
        ("main", "main", True),
        ("main", "Main", False),
    ],
)
def test_values_and_globs(pattern: str, value: str, holds: bool) -> None:
    assert (matches(ready(ref=pattern), {"ref": value}) is not None) is holds


@given(st.text(max_size=40))
def test_an_asterisk_never_reaches_over_its_segment(text: str) -> None:
    if matches(ready(repository="octo/*"), {"repository": text}) is not None:
        owner, _, name = text.partition("/")
        assert owner == "octo"
        assert name.isascii()
        assert not set("/:@* \n") & set(name)


@given(st.text(max_size=60))
def test_an_exact_value_matches_itself_alone(text: str) -> None:
    matched = matches(ready(sub="repo:octo/x:ref:refs/heads/main"), {"sub": text}) is not None
    assert matched is (text == "repo:octo/x:ref:refs/heads/main")


@pytest.mark.parametrize(
    ("wanted", "value", "holds"),
    [
        (True, True, True),
        (True, 1, False),
        (True, "true", False),
        ("true", True, False),
        (1, True, False),
        (1, 1, True),
        (1, 1.0, False),
        ("1", 1, False),
        (("a", "b"), "b", True),
        (("a", "b"), "c", False),
        ("b", ["a", "b"], True),
        ("b", ["a", ["b"]], False),
        ("b", {"b": True}, False),
        ("b", None, False),
        (("b", "c"), ["a", "c"], True),
        ("b", ["a"] * 1000 + ["b"], False),
    ],
)
def test_types_are_compared_too(wanted: Any, value: Any, holds: bool) -> None:
    assert (matches(ready(claim=wanted), {"claim": value}) is not None) is holds


def test_a_claim_inside_another_by_its_pointer() -> None:
    claims = {"kubernetes.io": {"serviceaccount": {"uid": "7"}}, "https://example.org/team": "x", "a/b": {"~": "y"}}
    assert matches(ready(**{"/kubernetes.io/serviceaccount/uid": "7"}), claims)
    assert matches(ready(**{"https://example.org/team": "x"}), claims)
    assert matches(ready(**{"/a~1b/~0": "y"}), claims)
    for name in ("/kubernetes.io/serviceaccount", "/kubernetes.io/x/uid", "/", "//", "/a/b", "/kubernetes.io/0/uid"):
        assert matches(ready(**{name: "7"}), claims) is None


def test_all_claims_of_a_rule_must_match() -> None:
    both = ready(a="1", b="2")
    assert matches(both, {"a": "1", "b": "2"})
    assert matches(both, {"a": "1"}) is None
    assert matches(both, {"b": "2"}) is None


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "*/*",
        "*:*",
        "**",
        "*/",
        "/*/",
        "octo*/x",
        "oc*to",
        "octo/x*y",
        "*octo",
        "octo*",
        "octo/**",
        "x/*a",
        "",
        "a\n",
        "a\x00",
        "x" * 513,
    ],
)
def test_patterns_that_are_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ready(repository=value)
    assert caught.value.code == "rule_invalid"


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "nbf", "iat", "jti"])
def test_claims_that_are_not_for_rules(name: str) -> None:
    with pytest.raises(InvalidInput):
        ready(**{name: "x"})


def test_a_rule_without_claims() -> None:
    with pytest.raises(InvalidInput):
        read_rule(IssuerRule(identity="starter/ci", claims={}), 1, issuer=COMPANY, audience="a")
    with pytest.raises(InvalidInput):
        ready(a=())


@pytest.mark.parametrize(
    "identity",
    [
        "ci",
        "starter/",
        "starter/CI",
        "starter/ci/x",
        "starter/{}",
        "{space}/x",
        "starter/{a}{b}",
        "starter/x-{a}",
        "starter/{a}-x",
        "pep/{a}",
        "group/x",
        "spiffe://example.org/starter/ci",
        "../starter/ci",
        "person/{a",
        "",
    ],
)
def test_identities_that_a_rule_can_not_give(identity: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ready(identity, a="1")
    assert caught.value.code == "rule_invalid"


@pytest.mark.parametrize(
    "claims",
    [
        {"repository": "octo-org/octo-repo"},
        {"repository_owner": "octo-org", "ref": "refs/heads/main"},
        {"sub": "repo:octo-org/octo-repo:ref:refs/heads/main"},
        {"repository_id": "octo/*"},
        {"repository_id": ("74", "octo/*")},
        {"repository_id": 74},
        {"ref": "refs/heads/main"},
    ],
)
def test_a_rule_for_an_issuer_of_everybody_that_names_nobody(claims: dict[str, Any]) -> None:
    """Names are given again after a deletion, and whoever gets them gets the tokens: ids are not."""
    with pytest.raises(InvalidInput):
        ready(issuer=GITHUB, **claims)
    ready(issuer=GITHUB, **claims, repository_owner_id="65")


def test_groups_come_by_an_explicit_list_alone() -> None:
    wanted = rule(
        "person/{login}",
        {"hd": "example.org"},
        register={"owner": "kim"},
        group_claim="groups",
        groups={"fin-approvals": "finance", "7": "seven"},
    )
    found = read_rule(wanted, 1, issuer=COMPANY, audience="a")
    assert groups_of(found, {"groups": ["staff", "fin-approvals", "administrators", "finance", 7]}) == ("finance",)
    assert groups_of(found, {"groups": "fin-approvals"}) == ("finance",)
    for value in (None, {"fin-approvals": 1}, [["fin-approvals"]], 7):
        assert groups_of(found, {"groups": value}) == ()
    assert groups_of(ready(a="1"), {"groups": ["finance"]}) == ()


@pytest.mark.parametrize(
    "more",
    [
        {"register": {"owner": "kim", "groups": ["administrators"]}},
        {"register": {"owner": "kim"}, "group_claim": "groups", "groups": {"x": "administrators"}},
        {"group_claim": "groups", "groups": {"x": "finance"}},
        {"register": {"owner": "kim"}, "group_claim": "groups"},
        {"register": {"owner": "kim"}, "groups": {"x": "finance"}},
    ],
)
def test_no_issuer_makes_an_administrator_nor_gives_groups_in_passing(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read_rule(rule("person/{login}", {"hd": "example.org"}, **more), 1, issuer=COMPANY, audience="a")


def test_no_issuer_registers_an_enforcement_point() -> None:
    with pytest.raises(InvalidInput):
        read_rule(rule("pep/gateway", {"a": "1"}, register={"owner": "kim"}), 1, issuer=COMPANY, audience="a")


@pytest.mark.parametrize(
    ("spiffe_id", "identity"),
    [
        ("spiffe://partner.example/*", "workload/x"),
        ("spiffe://partner.example", "workload/x"),
        ("spiffe://partner.example/a*", "workload/x"),
        ("spiffe://partner.example/*/a", "workload/x"),
        ("spiffe://partner.example/a/**", "workload/x"),
        ("spiffe://partner.example/../a", "workload/x"),
        ("spiffe://other.example/a", "workload/x"),
        ("spiffe://*/a", "workload/x"),
        ("*", "workload/x"),
        ("partner.example/a", "workload/x"),
        ("spiffe://partner.example/a", "workload/{path}"),
        ("spiffe://partner.example/a", "administrator/x"),
        ("spiffe://partner.example/a", "spiffe://partner.example/a"),
    ],
)
def test_foreign_rules_that_are_refused(spiffe_id: str, identity: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_foreign_rule(FederationRule(spiffe_id=spiffe_id, identity=identity), 1, trust_domain="partner.example")
    assert caught.value.code == "rule_invalid"


def test_what_a_rule_says_is_one_sentence_with_a_next_step() -> None:
    with pytest.raises(InvalidInput) as caught:
        ready(repository="octo*/x")
    assert caught.value.message[0] == "`"
    assert caught.value.next_step
    assert not caught.value.message.endswith(".")
    with pytest.raises(msgspec.ValidationError):
        rule("starter/ci", {"a": 1.5})
