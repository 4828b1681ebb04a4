"""`remit notify`: a test message, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remit.cli.main import cli

SETTINGS = """
trust_domain = "example.org"
[[notifiers]]
name = "audit"
file = "audit.jsonl"
[[notifiers]]
name = "security"
url = "https://hooks.example.org/remit"
secret_file = "security.secret"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "remit.toml").write_text(SETTINGS)
    return tmp_path


def notify(folder: Path, name: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(folder), "notify", name], prog_name="remit")


def test_a_message_arrives(folder: Path) -> None:
    result = notify(folder, "audit")
    assert (result.exit_code, result.output) == (0, "`audit` was told\n")
    [line] = [json.loads(text) for text in (folder / "audit.jsonl").read_text().splitlines()]
    assert line["type"] == "remit.test"


def test_one_that_does_not_says_why(folder: Path) -> None:
    result = notify(folder, "security")
    assert result.exit_code == 1
    assert "`security` was not told: there is no such file" in result.output


def test_one_that_nobody_declared(folder: Path) -> None:
    result = notify(folder, "securty")
    assert result.exit_code == 1
    assert "known: audit, security" in result.output
