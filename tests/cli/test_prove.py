"""`remit prove` and `remit verify RECEIPT`: a receipt of one decision, from the published log of a project."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.app.publishing import open_publisher
from remit.core.settings import read_settings
from remit.ledger.tlog.note import read_key
from remit.ledger.tlog.proof import read_proof, verify_proof
from tests.cli.desk import Command, Story

EMAIL = "kim@example.org"


def publish(folder: Folder) -> None:
    settings = folder.root / "remit.toml"
    settings.write_text(settings.read_text() + '\n[ledger]\nfolder = ".remit/log"\n')
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()


@pytest.fixture
def key(folder: Folder, remit: Command) -> str:
    """The key of the log, after everything was published."""
    publish(folder)
    return remit("log", "key").output.strip()


@pytest.fixture
def at(tmp_path: Path) -> Callable[[str], str]:
    return lambda name: str(tmp_path / name)


def test_a_receipt_is_checked_with_the_key_alone(
    remit: Command, key: str, story: Story, folder: Folder, at: Callable[[str], str]
) -> None:
    made = remit("prove", story["look"][-8:], "-o", at("r.json"))
    assert made.exit_code == 0, made.output
    assert "configuration, task, decision, outcome" in made.output
    shutil.rmtree(folder.state)
    checked = remit("verify", at("r.json"), "--key", key)
    assert checked.exit_code == 0, checked.output
    for said in ("orders/look_up", "permit", "workload/helper", "`refund`", "response (believed)", "does not prove"):
        assert said in checked.output
    found = json.loads(remit("verify", at("r.json"), "--key", key, "--json").output)
    assert (found["failed"], found["id"], found["kind"]) == (False, story["look"], "decision")


def test_no_personal_value_is_in_it_unless_it_was_asked_for(
    remit: Command, key: str, story: Story, at: Callable[[str], str]
) -> None:
    remit("prove", story["look"], "-o", at("closed.json"))
    closed = Path(at("closed.json")).read_text()
    assert json.loads(closed)["openings"] == []
    assert EMAIL not in closed
    made = remit("prove", story["look"], "-o", at("open.json"), "--open", "/context/input/email")
    assert (
        "warning: this receipt discloses personal values to everybody who gets it: /context/input/email" in made.output
    )
    assert Path(at("open.json")).stat().st_mode & 0o777 == 0o600
    checked = remit("verify", at("open.json"), "--key", key, "--json")
    assert [each["value"] for each in json.loads(checked.output)["opened"]] == [EMAIL]
    remit("prove", story["look"], "-o", at("all.json"), "--open", "all")
    paths = {each["path"] for each in json.loads(Path(at("all.json")).read_text())["openings"]}
    assert paths == {"/context/input/email", "/prompt"}


def test_a_value_that_was_erased_is_not_opened(
    remit: Command, key: str, story: Story, folder: Folder, at: Callable[[str], str]
) -> None:
    refused = remit("prove", story["look"], "--open", "/context/input/order")
    assert refused.exit_code == 1
    assert "not personal, or was erased" in refused.output
    assert not list(folder.root.glob("*.json"))


def test_the_texts_that_decided_are_in_it_where_they_are_asked_for(
    remit: Command, key: str, story: Story, at: Callable[[str], str]
) -> None:
    remit("prove", story["large"], "-o", at("short.json"))
    remit("prove", story["large"], "-o", at("long.json"), "--with-texts")
    short, long = (json.loads(Path(at(name)).read_text())["texts"] for name in ("short.json", "long.json"))
    assert short.items() < long.items()
    assert not any("no-large-refunds" in text for text in short.values())
    assert any("no-large-refunds" in text for text in long.values())
    for name in ("short.json", "long.json"):
        checked = remit("verify", at(name), "--key", key)
        assert checked.exit_code == 0, checked.output
        assert "no-large-refunds" in checked.output  # the policy that decided
        assert "policies/limits.cedar" in checked.output  # its file, with its digest


def test_the_plain_proof_is_for_other_software(
    remit: Command, key: str, story: Story, at: Callable[[str], str], folder: Folder
) -> None:
    made = remit("prove", story["pay"], "-o", at("r.json"), "--tlog-proof", at("r.tlog-proof"), "--json")
    record = next(each for each in json.loads(made.output)["records"] if each["kind"] == "decision")
    proof = read_proof(Path(at("r.tlog-proof")).read_bytes())
    assert proof.index == record["place"]
    with sqlite3.connect(folder.database) as database:
        (data,) = database.execute("SELECT bytes FROM records WHERE seq = ?", (proof.index + 1,)).fetchone()
    database.close()
    verify_proof(proof, hashlib.sha256(b"\x00" + bytes(data)).digest(), read_key(key))


def test_a_task_and_a_denial_are_proved_too(remit: Command, key: str, story: Story, at: Callable[[str], str]) -> None:
    for name, said in (("refund", "intent `refund`"), ("early", "identical denials more")):
        made = remit("prove", story[name], "-o", at(name))
        assert made.exit_code == 0, made.output
        checked = remit("verify", at(name), "--key", key)
        assert checked.exit_code == 0, checked.output
        assert said in checked.output


def test_what_is_not_published_yet_is_pending(remit: Command, key: str, story: Story, folder: Folder) -> None:
    shutil.rmtree(folder.root / ".remit/log")
    refused = remit("prove", story["look"])
    assert refused.exit_code == 1
    assert "try again" in refused.output


def test_records_that_are_not_published_have_no_receipts(remit: Command, story: Story) -> None:
    refused = remit("prove", story["look"], "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.output)["error"] == "log_not_published"


def test_an_id_that_is_not_there_or_not_enough_is_refused(remit: Command, key: str) -> None:
    assert "there is no decision or task" in remit("prove", "nothing-like-it").output


def test_a_file_that_is_there_is_not_replaced(remit: Command, key: str, story: Story, at: Callable[[str], str]) -> None:
    Path(at("r.json")).write_text("mine")
    refused = remit("prove", story["look"], "-o", at("r.json"))
    assert refused.exit_code == 1
    assert Path(at("r.json")).read_text() == "mine"


def test_a_record_that_was_changed_in_the_database_has_no_receipt(
    remit: Command, key: str, story: Story, folder: Folder
) -> None:
    with sqlite3.connect(folder.database) as database:
        sql = (
            "UPDATE records SET bytes = CAST(replace(bytes, 'orders/look_up', 'orders/look_in') AS BLOB) WHERE key = ?"
        )
        database.execute(sql, (story["look"],))
    database.close()
    refused = remit("prove", story["look"], "--json")
    assert json.loads(refused.output)["error"] == "log_differs"


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "key_missing"), (("--key", "KEY", "--known", "FILE"), "option_invalid"), (("--key", "x"), "vkey_invalid")],
)
def test_a_receipt_needs_the_key_and_nothing_else(
    remit: Command, key: str, story: Story, at: Callable[[str], str], options: tuple[str, ...], said: str
) -> None:
    remit("prove", story["look"], "-o", at("r.json"))
    given = [{"KEY": key, "FILE": at("r.json")}.get(each, each) for each in options]
    refused = remit("verify", at("r.json"), *given, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.output)["error"] == said


def test_a_receipt_that_was_changed_fails(remit: Command, key: str, story: Story, at: Callable[[str], str]) -> None:
    remit("prove", story["look"], "-o", at("r.json"))
    file = Path(at("r.json"))
    file.write_text(file.read_text().replace(story["look"], story["pay"]))
    refused = remit("verify", str(file), "--key", key)
    assert refused.exit_code == 1
    assert "this receipt proves nothing" in refused.output
