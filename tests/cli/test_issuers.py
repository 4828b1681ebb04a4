"""`remit issuers`, and what `remit doctor` says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remit.app.key_sources import SourceState
from remit.cli.main import cli
from remit.core.clock import system_clock
from remit.identity.private_file import write_private
from tests.app.test_exchange import HUB, ISSUERS, STAFF, token
from tests.server.real import FINANCE

PARTNER = """
[[federation]]
trust_domain = "partner.example"
bundle_url = "https://spiffe.partner.example/bundle.json"

[[federation.rules]]
spiffe_id = "spiffe://partner.example/billing"
identity = "workload/nobody"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    import shutil

    root = tmp_path / "p"
    shutil.copytree(FINANCE, root, ignore=shutil.ignore_patterns(".remit"))
    with (root / "remit.toml").open("a") as file:
        file.write(ISSUERS + PARTNER)
    (root / "github.json").write_bytes(HUB.jwks())
    (root / "staff.json").write_bytes(STAFF.jwks())
    (root / ".remit").mkdir(mode=0o700)
    return root


def remit(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(project), *arguments])


def keep(project: Path, *, read: int, error: str = "", failures: int = 0) -> None:
    """What the service would have kept of the partner's endpoint."""
    from hashlib import sha256

    source = "federation/partner.example"
    state = SourceState(
        source=source,
        place="https://spiffe.partner.example/bundle.json",
        read=read,
        failures=failures,
        error=error,
        keys=0,
        document='{"keys":[]}' if read else "",
    )
    name = sha256(source.encode()).hexdigest()[:24]
    write_private(project / ".remit/issuers" / f"{name}.json", json.dumps(_plain(state)).encode(), replace=True)


def _plain(state: SourceState) -> object:
    import msgspec

    return msgspec.to_builtins(state)


def standing(project: Path) -> dict[str, str]:
    found = json.loads(remit(project, "issuers", "list", "--json").output)
    return {each["source"]: each["standing"] for each in found}


def test_how_each_source_stands(project: Path) -> None:
    now = system_clock()
    fresh = {"issuers/github": "fresh", "issuers/staff": "fresh"}
    assert standing(project) == {**fresh, "federation/partner.example": "unread"}
    keep(project, read=0, error="the server answered 404", failures=3)
    assert standing(project) == {**fresh, "federation/partner.example": "unread"}
    assert "the server answered 404" in remit(project, "issuers", "list").output
    keep(project, read=now - 3_600_000)
    assert standing(project) == {**fresh, "federation/partner.example": "fresh"}
    keep(project, read=now - 3_600_000, error="the connection failed", failures=2)
    assert standing(project) == {**fresh, "federation/partner.example": "failing"}
    keep(project, read=now - 90_000_000, error="the connection failed", failures=200)
    assert standing(project) == {**fresh, "federation/partner.example": "stale"}
    listed = remit(project, "issuers", "list").output
    assert "tokens are refused since" in listed
    (project / "github.json").unlink()
    broken = remit(project, "issuers", "list")
    assert broken.exit_code == 1
    assert "github.json" in broken.output


def test_what_an_error_says_does_not_drive_the_terminal(project: Path) -> None:
    keep(project, read=0, error="\x1b]0;owned\x07", failures=1)
    assert "\x1b" not in remit(project, "issuers", "list").output


def test_what_a_token_would_be(project: Path) -> None:
    file = project / "token"
    file.write_text(token())
    accepted = remit(project, "issuers", "explain", str(file))
    assert accepted.exit_code == 0
    assert "spiffe://finance.example/starter/ci by issuers/github rule 1" in accepted.output
    assert 'repository_id = "74"' in accepted.output
    for text, code in (
        (token(repository_id="75"), "token_unmapped"),
        (token(aud="x"), "token_audience"),
        (token()[:-4] + "AAAA", "token_invalid"),
        ("nothing", "token_invalid"),
    ):
        file.write_text(text)
        refused = remit(project, "issuers", "explain", str(file), "--json")
        assert refused.exit_code == 77
        answer = json.loads(refused.output)
        assert (answer["accepted"], answer["code"]) == (False, code)
    file.write_text(token(repository_id="75", ref="refs/pull/7/merge"))
    said = remit(project, "issuers", "explain", str(file)).output
    assert "issuers/github rule 1 (starter/ci) wants another `repository_id`, `ref`" in said
    assert "issuers/github rule 2 (workload/{environment}) wants another `aud`, `repository_id`" in said
    # nothing of this is an exchange
    assert not (project / ".remit/remit.db").exists()


def test_what_the_doctor_says(project: Path) -> None:
    keep(project, read=system_clock() - 90_000_000, error="the connection failed", failures=200)
    found = [each for each in json.loads(remit(project, "doctor", "--json").output) if each["check"] == "issuers"]
    assert [(each["level"], each["message"]) for each in found] == [
        ("fail", "`federation/partner.example`: the connection failed"),
        ("warn", "rules name `workload/nobody`, which `remit.toml` does not declare"),
    ]
    with (project / "remit.toml").open("a") as file:
        file.write(
            '[[issuers]]\nname = "t"\nissuer = "http://127.0.0.1:9"\naudience = "a"\nallow_http = true\n'
            '[[issuers.rules]]\nidentity = "person/controller"\nclaims = { sub = "1" }\n'
        )
    messages = [each["message"] for each in json.loads(remit(project, "doctor", "--json").output)]
    assert "`t` may be read over http, which is for tests" in messages
    assert "tokens from elsewhere are `person/controller`, who may approve or administer" in messages


def test_without_any_it_says_where_to_name_them(tmp_path: Path) -> None:
    (tmp_path / "remit.toml").write_text('trust_domain = "example.org"\n')
    assert "docs/guides/identities.md" in remit(tmp_path, "issuers", "list").output
