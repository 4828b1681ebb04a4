"""`remit erase`: what goes is gone from every file, the log verifies, and it is on record."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from remit.app.folder import Folder
from remit.app.publishing import open_publisher
from remit.core.settings import read_settings
from tests.cli.desk import Command, Story
from tests.cli.test_prove import publish

EMAIL = "kim@example.org"


def everything(folder: Folder) -> bytes:
    """The bytes of all databases of the folder, with their write-ahead logs."""
    return b"".join(path.read_bytes() for path in folder.state.glob("*.db*") if path.is_file())


def keys(folder: Folder) -> list[bytes]:
    with sqlite3.connect(folder.database) as db:
        found = [row[0] for row in db.execute("SELECT key FROM subjects WHERE mark IS NOT NULL")]
    db.close()
    return found


def test_a_value_is_in_no_file_before_and_its_key_in_none_after(remit: Command, story: Story, folder: Folder) -> None:
    (key,) = keys(folder)
    assert EMAIL in remit("log", "show", story["look"]).output
    assert EMAIL.encode() not in everything(folder)
    assert key in everything(folder)
    result = remit("erase", "--subject", "starter/desk", "--reason", "the end", "--yes", "--json")
    assert result.exit_code == 0, result.output + result.stderr
    done = json.loads(result.output)
    assert (done["keys"], done["more"]) == (1, False)
    assert key not in everything(folder)
    output = remit("log", "show", story["look"]).output
    assert EMAIL not in output
    assert "erased on " in output
    assert "by spiffe://desk.example/person/" in output
    verified = remit("verify")
    assert verified.exit_code == 0
    assert "erasures" in verified.output
    listed = json.loads(remit("erase", "--list", "--json").output)
    assert (listed["id"], listed["openings"], listed["what"], listed["reason"]) == (
        done["id"], done["openings"], "subject", "the end",
    )  # fmt: skip
    assert done["id"] in remit("erase", "--list").output
    again = remit("erase", "--subject", "starter/desk", "--reason", "the end", "--yes")
    assert again.exit_code == 1
    assert "no personal values of this are kept" in again.stderr


def test_one_value_goes_wherever_it_stands_and_with_it_the_digest_that_would_tell_it(
    remit: Command, story: Story, folder: Folder
) -> None:
    before = json.loads(remit("erase", "--value", EMAIL, "--dry-run", "--json").output)
    assert EMAIL in remit("log", "show", story["look"]).output
    assert before["openings"] == sum(each["values"] for each in before["held"]) >= 2
    assert {each["kind"] for each in before["held"]} == {"decision"}
    result = remit("erase", "--value", EMAIL, "--reason", "not needed", "--yes")
    assert result.exit_code == 0, result.stderr
    assert f"erased {before['openings']} values" in result.output
    assert EMAIL not in result.output
    assert EMAIL not in remit("log", "show", story["look"]).output
    with sqlite3.connect(folder.database) as db:
        rows = db.execute("SELECT stream, n, path FROM openings").fetchall()
        (record,) = db.execute("SELECT bytes FROM records WHERE kind = 'erasure'").fetchone()
    db.close()
    gone = json.loads(record)["body"]["openings"]
    assert "/digest" in {path for _, _, path in gone}
    assert rows
    assert not {tuple(place) for place in gone} & set(rows)
    assert remit("verify").exit_code == 0


def test_a_task_is_erased_and_another_one_stays(remit: Command, story: Story, folder: Folder) -> None:
    result = remit("erase", "--task", story["refund"][-6:], "--reason", "by mistake", "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    with sqlite3.connect(folder.database) as db:
        left = {row[0] for row in db.execute("SELECT stream FROM openings")}
    db.close()
    assert f"session/{story['refund']}" not in left
    assert remit("verify").exit_code == 0


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--reason", "r"), "it is not said what to erase"),
        (("--subject", "person/x", "--value", "v", "--reason", "r"), "it is not said what to erase"),
        (("--subject", "person/x"), "it is not said why"),
        (("--subject", "person/nobody", "--reason", "r", "--yes"), "no personal values of this are kept"),
        (("--subject", "starter/desk", "--reason", "r"), "is final"),
    ],
)
def test_what_is_unclear_is_refused_and_nothing_goes(
    remit: Command, folder: Folder, given: tuple[str, ...], code: str
) -> None:
    before = keys(folder)
    result = remit("erase", *given)
    assert result.exit_code != 0
    assert code in result.stderr
    assert keys(folder) == before


def test_a_value_can_come_from_standard_input(remit: Command) -> None:
    result = remit("erase", "--value", "-", "--dry-run", "--json", input=f"{EMAIL}\n")
    assert json.loads(result.output)["openings"] >= 2


def test_a_published_log_verifies_as_before_and_a_receipt_opens_nothing_erased(
    remit: Command, story: Story, folder: Folder, tmp_path: Path
) -> None:
    publish(folder)
    key = remit("log", "key").output.strip()
    receipt = str(tmp_path / "receipt.json")
    opens = ("prove", story["look"], "-o", receipt, "--open", "/context/input/email")
    assert remit(*opens).exit_code == 0
    assert remit("erase", "--value", EMAIL, "--reason", "r", "--yes").exit_code == 0
    publisher = open_publisher(folder, read_settings(folder.root))
    assert publisher is not None
    publisher.stop()
    verified = remit("verify", str(folder.root / ".remit/log"), "--key", key)
    assert verified.exit_code == 0, verified.output
    assert "personal values that were erased" in verified.output
    refused = remit(*opens[:3], str(tmp_path / "again.json"), *opens[4:])
    assert refused.exit_code == 1
    assert "was erased on " in refused.stderr
    # Who was shown the value before can show it on: nobody takes back what was given away.
    assert remit("verify", receipt, "--key", key).exit_code == 0
