"""Real records, published, archived by age and verified: with the archive all of it, without it what is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remit.app.folder import Folder
from remit.app.publishing import open_publisher, signer_of
from remit.cli.main import cli
from remit.core.settings import read_settings
from remit.ledger.published import verify_log
from remit.ledger.remaining import MEANING, UNREAD
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.source import FolderSource
from remit.storage.placed import SqlitePlaced
from tests.decide.stage import READ, Stage, staged

LOG = ".remit/log"


async def publish(stage: Stage, sessions: int) -> Folder:
    folder = stage.installation.folder
    for _ in range(sessions):
        grant = await stage.start()
        for n in range(8):
            await stage.report(await stage.permit(grant, READ, {"invoice": str(n)}))
        await stage.end(grant)
    with (folder.root / "remit.toml").open("a") as file:
        file.write(f'\n[ledger]\nfolder = "{LOG}"\n')
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()
    return folder


def runner(folder: Folder) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["--project", str(folder.root), *arguments])

    return run


@staged()
async def test_old_entries_are_moved_and_what_was_not_read_is_said(stage: Stage) -> None:
    folder = await publish(stage, 36)
    run, into = runner(folder), folder.root / "archive"
    before = ("--before", "2999-01-01")
    assert "to come" in run("log", "archive", *before, str(into)).stderr
    assert "is no time" in run("log", "archive", "--before", "soon", str(into)).stderr
    assert run("log", "archive", "--before", "9999d", str(into)).output.startswith("nothing more is old enough; 0")
    assert not into.exists()
    found = json.loads(run("log", "archive", "--before", "0s", str(into), "--json").stdout)
    assert found["entries"] == found["archived"] == 512
    key = run("log", "key").stdout.strip()
    whole = run("verify", str(folder.root / LOG), "--key", key, "--archive", str(into), "--json")
    assert whole.exit_code == 0, whole.output
    report = json.loads(whole.stdout)
    assert report["records"] == len(stage.records())
    assert UNREAD not in report["unchecked"]
    assert report["checks"]["log_archived"] == 1
    rest = run("verify", str(folder.root / LOG), "--key", key, "--json")
    assert rest.exit_code == 0, rest.output
    report = json.loads(rest.stdout)
    assert report["records"] == len(stage.records()) - 512
    assert report["unchecked"] == {UNREAD: 512, MEANING: report["records"]}
    assert report["checks"]["log_entries"] == report["records"]
    assert "permits" not in report["checks"]
    said = run("verify", str(folder.root / LOG), "--key", key).output
    said = " ".join(said.split())  # lines are as wide as the terminal
    assert "not checked: archived entries" in said
    assert "that are left; 512 archived entries were not read" in said
    # The service starts and goes on with such a log, and receipts of archived entries can be made.
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()
    decision = next(each for each in stage.records() if each.kind == "decision").body["id"]
    made = run("prove", decision, "-o", str(folder.root / "receipt.json"))
    assert made.exit_code == 0, made.output
    assert run("verify", str(folder.root / "receipt.json"), "--key", key).exit_code == 0


@staged()
async def test_what_was_left_out_is_not_excused_by_an_archive(stage: Stage) -> None:
    folder = await publish(stage, 36)
    run, into = runner(folder), folder.root / "archive"
    placed = SqlitePlaced(folder.database)
    entries = placed.entries(0, 10_000)
    placed.close()
    signer = signer_of(folder, read_settings(folder.root))
    # The operator leaves one late record out of a log of his own, and archives what is old.
    dropped = next(n for n in range(600, len(entries)) if b'"kind":"decision"' in entries[n])
    shutil.rmtree(folder.root / LOG)
    forged = LogFolder(folder.root / LOG, signer)
    forged.extend([*entries[:dropped], *entries[dropped + 1 :]])
    forged.close()
    assert run("log", "archive", "--before", "0s", str(into)).exit_code == 0
    report = verify_log(FolderSource(folder.root / LOG), signer.key)
    assert {finding.check for finding in report.findings} == {"numbers"}


@staged()
async def test_a_key_that_is_missing_is_not_made_by_archiving(stage: Stage) -> None:
    folder = await publish(stage, 1)
    folder.log_key.unlink()
    found = runner(folder)("log", "archive", "--before", "0s", str(folder.root / "archive"))
    assert "not published" in found.stderr
    assert not folder.log_key.exists()


@pytest.mark.parametrize("arguments", [["--archive", "."], ["FOLDER", "--archive", "."]])
def test_an_archive_goes_with_a_log(tmp_path: Path, arguments: list[str]) -> None:
    named = [str(tmp_path) if each == "FOLDER" else each for each in arguments]
    assert "public key" in CliRunner().invoke(cli, ["verify", *named]).stderr
