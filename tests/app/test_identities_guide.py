"""docs/guides/identities.md: what it says to copy loads, and does what it says with tokens of that shape."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from remit.app.elsewhere import elsewhere_of
from remit.app.folder import Folder
from remit.core.errors import DocumentError, Unauthenticated
from remit.core.settings import read_settings
from remit.identity.elsewhere import Elsewhere
from remit.identity.issuer_keys import read_jwks
from tests.identity.issuers import LATER, LocalIssuer, github, gitlab, kubernetes, staff
from tests.identity.parties import NOW

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "identities.md").read_text("utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def loaded(folder: Path, block: str) -> Elsewhere:
    head = "" if block.startswith("trust_domain") else 'trust_domain = "example.org"\n'
    (folder / "remit.toml").write_text(head + block)
    return elsewhere_of(Folder(folder), read_settings(folder))


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_what_the_page_says_to_copy_loads(tmp_path: Path, block: str) -> None:
    loaded(tmp_path, block)


def section(title: str) -> str:
    return re.findall(r"```toml\n(.*?)```", PAGE.partition(f"\n## {title}\n")[2], re.DOTALL)[0]


@pytest.mark.parametrize(
    ("title", "claims", "path"),
    [
        ("GitHub Actions", github(aud="https://remit.example.org/starter"), "starter/ci"),
        ("GitHub Actions", github(aud="https://remit.example.org/workload"), "workload/deployer"),
        ("GitHub Actions", github(aud="https://remit.example.org/runner"), "pep/runner"),
        ("GitHub Actions", github(aud="https://remit.example.org/starter", ref="refs/pull/7/merge"), ""),
        ("GitHub Actions", github(aud="https://remit.example.org/starter", repository_id="75"), ""),
        ("GitLab", gitlab(), "workload/deployer"),
        ("GitLab", gitlab(ref_type="tag"), ""),
        ("GitLab", gitlab(ref_protected="false"), ""),
        ("Kubernetes", kubernetes(), "workload/invoices"),
        ("A company's identity provider", staff(aud="remit", sub="9f1c0d5e-0b8e-4a55-9f6e-2f3c6a0e7a10"), "person/ada"),
        ("A company's identity provider", staff(aud="remit"), ""),
        (
            "A company's identity provider",
            staff(aud="https://remit.example.org", client_id="reports", sub="reports", scope="remit"),
            "workload/reports",
        ),
    ],
)
def test_tokens_of_that_shape(tmp_path: Path, title: str, claims: dict[str, object], path: str) -> None:
    found = loaded(tmp_path, section(title))
    (issuer,) = found.issuers.values()
    local = LocalIssuer(issuer.settings.issuer)
    found.take_keys(issuer.source, read_jwks(local.jwks(), issuer.settings.algorithms), until=LATER)
    if path:
        assert found.arrival(local.token(claims), NOW).path == path
        return
    with pytest.raises(Unauthenticated) as caught:
        found.arrival(local.token(claims), NOW)
    assert caught.value.code == "token_unmapped"


HEAD = '[[issuers]]\nname = "a"\nissuer = "https://login.example.org"\naudience = "remit"\n'
RULE = '[[issuers.rules]]\nidentity = "starter/ci"\nclaims = { a = "1" }\n'
DOMAIN = '[[federation]]\ntrust_domain = "partner.example"\n'
FOREIGN = '[[federation.rules]]\nspiffe_id = "spiffe://partner.example/a"\nidentity = "workload/a"\n'


@pytest.mark.parametrize(
    "text",
    [
        HEAD,  # no rules
        HEAD + "rules = []\n",
        HEAD.replace("https", "http") + RULE,
        HEAD.replace("https", "http") + "allow_http = true\n" + RULE,  # not on loopback
        HEAD.replace("https://", "https://user@") + RULE,
        HEAD.replace("login.example.org", "login.example.org?x=1") + RULE,
        HEAD.replace('"https://login.example.org"', '"not a url"') + RULE,
        HEAD + 'jwks_url = "http://login.example.org/k"\n' + RULE,
        HEAD + 'jwks_url = "https://login.example.org/k"\njwks_file = "k"\n' + RULE,
        HEAD + 'algorithms = ["HS256"]\n' + RULE,
        HEAD + 'algorithms = ["none"]\n' + RULE,
        HEAD + "algorithms = []\n" + RULE,
        HEAD + "token_seconds = 0\n" + RULE,
        HEAD + "token_seconds = 604801\n" + RULE,
        HEAD + 'audience2 = "x"\n' + RULE,
        HEAD.replace('audience = "remit"', 'audience = ""') + RULE,
        HEAD + RULE + HEAD + RULE,
        HEAD + RULE + HEAD.replace('"a"', '"b"') + RULE,  # one issuer under two names
        HEAD + RULE.replace('{ a = "1" }', "{}"),
        HEAD + RULE.replace('"1"', '"*"'),
        HEAD + RULE.replace('"1"', "1.5"),
        HEAD + RULE.replace("starter/ci", "starter/ci/x"),
        HEAD.replace("login.example.org", "token.actions.githubusercontent.com") + RULE,
        DOMAIN + FOREIGN,  # no bundle
        DOMAIN + 'bundle_file = "b"\n',  # no rules
        DOMAIN.replace("partner.example", "example.org") + 'bundle_file = "b"\n' + FOREIGN,  # our own
        DOMAIN.replace("partner.example", "PARTNER") + 'bundle_file = "b"\n' + FOREIGN,
        (DOMAIN + 'bundle_file = "b"\n' + FOREIGN) * 2,
        DOMAIN + 'bundle_url = "http://127.0.0.1/b"\n' + FOREIGN,
        DOMAIN + 'bundle_url = "https://p.example/b"\nbundle_file = "b"\n' + FOREIGN,
        DOMAIN + 'bundle_url = "https://p.example/b"\nprofile = "https_spiffe"\nbundle_file = "b"\n' + FOREIGN,
        DOMAIN
        + 'bundle_url = "https://p.example/b"\nprofile = "https_spiffe"\nendpoint_id = "spiffe://partner.example/e"\n'
        + FOREIGN,
        DOMAIN
        + 'bundle_url = "https://p.example/b"\nprofile = "https_spiffe"\nendpoint_id = "spiffe://third.example/e"\n'
        + 'bundle_file = "b"\n'
        + FOREIGN,
        DOMAIN + 'bundle_file = "b"\nendpoint_id = "spiffe://partner.example/e"\n' + FOREIGN,
        DOMAIN + 'bundle_file = "b"\n' + FOREIGN.replace("partner.example/a", "other.example/a"),
        DOMAIN + 'bundle_file = "b"\n' + FOREIGN.replace("example/a", "example/*"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loaded(tmp_path, text)
    assert caught.value.line > 1 or "missing" in caught.value.message
    assert caught.value.path.endswith("remit.toml")


def test_every_claim_that_the_page_names_is_one_of_its_platform() -> None:
    """The pages of the platforms change; the tokens of the tests are in their shape."""
    known = json.dumps([github(), gitlab(), kubernetes(), staff()])
    for name in ("repository_id", "repository_owner_id", "environment", "job_workflow_ref", "project_id"):
        assert f'"{name}"' in known
        assert name in PAGE
