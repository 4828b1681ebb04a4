"""`remit evidence`: what an auditor's liaison types, and what they are told when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.app.publishing import open_publisher
from remit.core.settings import read_settings
from tests.cli.desk import Command, Story

ALWAYS = ("--from", "2000-01-01", "--to", "2100-01-01")


def publish(folder: Folder) -> None:
    file = folder.root / "remit.toml"
    file.write_text(file.read_text() + '\n[ledger]\nfolder = ".remit/log"\n')
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()


def test_a_pack_is_written_and_verified(remit: Command, folder: Folder, story: Story, tmp_path: Path) -> None:
    publish(folder)
    target = str(tmp_path / "pack")
    result = remit("evidence", "--framework", "owasp-nhi-2025", *ALWAYS, target)  # without the word `pack`
    assert result.exit_code == 0, result.output
    assert "owasp-nhi-2025" in result.output
    assert "look at it: Permits without an outcome: 1" not in result.output  # no control of this framework names it
    key, log = remit("evidence", "key").output.strip(), remit("log", "key").output.strip()
    assert f"check it with `remit evidence verify {target} --key {key}`" in result.output
    result = remit("evidence", "verify", target, "--key", key, "--log-key", log)
    assert result.exit_code == 0, result.output
    assert "in order: desk.example, 2000-01-01T00:00:00Z to 2100-01-01T00:00:00Z" in result.output
    result = remit("evidence", "verify", target, "--key", key)
    assert result.exit_code == 0
    assert "compare it with the one you know" in result.output
    (tmp_path / "pack" / "evidence.html").write_text("nothing to see")
    result = remit("evidence", "verify", target, "--key", key)
    assert result.exit_code == 1
    assert "wrong files: `evidence.html` is not what was signed" in result.output


def test_for_machines(remit: Command, folder: Folder, story: Story, tmp_path: Path) -> None:
    target = str(tmp_path / "pack.zip")
    made = json.loads(remit("evidence", "pack", "--framework", "all", *ALWAYS, target, "--json").output)
    assert (made["published"], made["receipts"], made["concerns"]) == (False, 0, ["no-outcome"])
    assert made["frameworks"].keys() >= {"owasp-nhi-2025", "nist-csf-2"}
    found = json.loads(remit("evidence", "verify", target, "--key", made["key"], "--json").output)
    assert (found["failed"], found["trustDomain"]) == (False, "desk.example")
    assert json.loads(remit("evidence", "key", "--json").output) == {"key": made["key"]}


def test_without_a_log_it_is_said(remit: Command, story: Story, tmp_path: Path) -> None:
    result = remit("evidence", "pack", "--framework", "csa-maestro", *ALWAYS, str(tmp_path / "pack"))
    assert result.exit_code == 0
    assert "no proofs: the records are not published as a log" in result.output
    assert "the period is not over" in result.output


def test_the_key_of_packs_is_made_once_and_private(remit: Command, folder: Folder) -> None:
    first = remit("evidence", "key").output
    assert first.startswith("desk.example/evidence+")
    assert remit("evidence", "key").output == first
    assert folder.evidence_key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--framework", "soc2", *ALWAYS), "there is no framework `soc2`"),
        (("--framework", "all", "--from", "2026-10-01", "--to", "2026-09-01"), "the period ends at 2026-09-01T00"),
        (("--framework", "all", "--from", "2026-10-01T10:00", "--to", "2026-11-01"), "does not say its time zone"),
        (("--framework", "all", "--from", "soon", "--to", "2026-11-01"), "`--from soon` is no time"),
        (("--framework", "all", *ALWAYS, "--challenge", "a\x1bb"), "not printable"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(remit: Command, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = remit("evidence", "pack", *arguments, str(tmp_path / "pack"))
    assert result.exit_code == 1
    assert said in result.output
    assert "next: " in result.output
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("pack",),
        ("pack", "--framework", "all", "target"),
        ("pack", "--framework", "all", *ALWAYS, "--samples", "11", "x"),
        ("vrfy",),
    ],
)
def test_what_is_not_said_is_asked_for(remit: Command, arguments: tuple[str, ...]) -> None:
    assert remit("evidence", *arguments).exit_code == 2


def test_what_is_no_pack(remit: Command, tmp_path: Path) -> None:
    key = remit("evidence", "key").output.strip()
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    for target, said in (("none", "there is no"), ("empty", "no signed note"), ("text", "no folder and no zip")):
        result = remit("evidence", "verify", str(tmp_path / target), "--key", key)
        assert result.exit_code == 1, target
        assert said in result.output, target
    assert remit("evidence", "verify", str(tmp_path / "empty"), "--key", "nonsense").exit_code == 1


def test_frameworks_are_listed(remit: Command) -> None:
    result = remit("evidence", "frameworks")
    assert result.exit_code == 0
    assert "NHI1 … NHI10 (10)" in result.output
    listed = json.loads(remit("evidence", "frameworks", "--json").output)
    assert listed[0]["id"] == "owasp-nhi-2025"
    assert listed[0]["controls"][4] == {"id": "NHI5", "title": "Overprivileged NHI"}


def test_a_control_is_explained(remit: Command) -> None:
    result = remit("evidence", "explain", "NHI5")
    assert result.exit_code == 0
    for said in ("Overprivileged NHI", "enforced by", "docs/guides/intents.md", "shown by", "not covered", "https://"):
        assert said in result.output
    (found,) = json.loads(remit("evidence", "explain", "NHI5", "--json").output)
    assert found["source"]["section"] == "NHI5:2025"
    assert found["enforced"][0]["page"] == "docs/guides/intents.md"
    assert "nothing: Remit does not cover it" in remit("evidence", "explain", "PR.AT").output


def test_labels_that_are_not_official_are_explained_with_a_remark(remit: Command) -> None:
    result = remit("evidence", "explain", "AGENT-04")
    assert result.exit_code == 0
    assert "it is not an official id" in result.output
    assert "ASI03  Identity and Privilege Abuse" in result.output
    result = remit("evidence", "explain", "XYZ-9")
    assert result.exit_code == 1
    assert "remit evidence frameworks" in result.output
