"""`remit verify`: exit 1 when anything is wrong, and says precisely what."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from remit.app.folder import Folder
from tests.cli.desk import Command, Story, command_in


def change(folder: Folder, sql: str, *values: object) -> None:
    with sqlite3.connect(folder.database) as database:
        database.execute(sql, values)
    database.close()


def test_a_project_in_order(remit: Command) -> None:
    result = remit("verify")
    assert result.exit_code == 0, result.output
    assert "in order: " in result.output
    found = json.loads(remit("verify", "--json").output)
    assert found["failed"] is False
    assert found["permits"] == 2


def test_a_record_changed_in_the_database(remit: Command, folder: Folder, story: Story) -> None:
    sql = "UPDATE records SET bytes = CAST(replace(bytes, 'orders/refund', 'orders/refunt') AS BLOB) WHERE key = ?"
    change(folder, sql, story["pay"])
    result = remit("verify")
    assert result.exit_code == 1
    assert "wrong " in result.output
    assert f"session/{story['refund']}" in result.output


def test_a_record_removed_from_the_middle(remit: Command, folder: Folder, story: Story) -> None:
    change(folder, "DELETE FROM records WHERE key = ?", story["large"])
    result = remit("verify", "--json")
    assert result.exit_code == 1
    findings = json.loads(result.output)["findings"]
    assert ("numbers", f"session/{story['refund']}") in [(each["check"], each["stream"]) for each in findings]


def test_a_tail_that_was_cut_off_shows_against_an_earlier_export(
    remit: Command, folder: Folder, story: Story, tmp_path: Path
) -> None:
    assert remit("log", "export", str(tmp_path / "before")).exit_code == 0
    stream = f"session/{story['answer']}"
    change(
        folder,
        "DELETE FROM records WHERE stream = ? AND n = (SELECT max(n) FROM records WHERE stream = ?)",
        stream,
        stream,
    )
    assert remit("verify").exit_code == 0
    for known in (tmp_path / "before", tmp_path / "before/export.json"):
        result = remit("verify", "--known", str(known))
        assert result.exit_code == 1
        assert "history" in result.output


def test_a_folder_that_is_no_export(remit: Command, tmp_path: Path) -> None:
    result = remit("verify", str(tmp_path))
    assert result.exit_code == 1
    assert "export.json" in result.stderr


def test_nothing_stays_behind(remit: Command, folder: Folder) -> None:
    remit("verify")
    assert not [path for path in folder.state.iterdir() if path.name.startswith("verify-")]


def test_a_damaged_database_is_an_error_of_ours(folder: Folder) -> None:
    folder.database.write_bytes(b"not a database" * 1000)
    result = command_in(folder.root)("verify")
    assert result.exit_code == 1
    assert "can't read the records" in result.stderr
