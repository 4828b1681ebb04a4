"""`remit workload|starter|pep|approver`."""

from __future__ import annotations

import json
import stat

import pytest

from remit.app.folder import Folder
from tests.cli.desk import Command, command_in

ROLES = ("workload", "starter", "pep", "approver")


def add(remit: Command, role: str, *more: str) -> dict[str, object]:
    servers = ("--server", "orders") if role == "pep" else ()
    result = remit(role, "add", "newcomer", "--owner", "alice", *servers, "--json", *more)
    assert result.exit_code == 0, result.stderr
    found: dict[str, object] = json.loads(result.output)
    return found


@pytest.mark.parametrize("role", ROLES)
def test_add_makes_a_key_and_registers(remit: Command, folder: Folder, role: str) -> None:
    added = add(remit, role)
    space = "person" if role == "approver" else role
    key = folder.keys / f"{space}-newcomer.jwk"
    assert added["key_file"] == str(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    names = [each["id"] for each in json.loads(remit(role, "list", "--json").output)]
    assert f"spiffe://desk.example/{space}/newcomer" in names
    assert "newcomer" in remit(role, "list").output


def test_a_key_held_elsewhere_is_only_named(remit: Command, folder: Folder) -> None:
    added = add(remit, "workload", "--key", "a" * 43)
    assert added["key_file"] == ""
    assert not (folder.keys / "workload-newcomer.jwk").exists()
    registration = added["registration"]
    assert isinstance(registration, dict)
    assert registration["key"] == "a" * 43


def test_an_identity_is_not_taken_over_by_adding_it_again(remit: Command) -> None:
    add(remit, "workload")
    result = remit("workload", "add", "newcomer", "--key", "b" * 43)
    assert result.exit_code == 1
    assert "--update" in result.stderr
    add(remit, "workload", "--update", "--group", "helpers")
    found = json.loads(remit("workload", "show", "newcomer", "--json").output)
    assert found["groups"] == ["helpers"]


def test_a_key_held_elsewhere_stays_when_something_else_is_changed(remit: Command, folder: Folder) -> None:
    add(remit, "workload", "--key", "a" * 43, "--environment", "production")
    add(remit, "workload", "--update", "--group", "helpers")
    found = json.loads(remit("workload", "show", "newcomer", "--json").output)
    assert (found["key"], found["environment"], found["groups"]) == ("a" * 43, "production", ["helpers"])
    assert not (folder.keys / "workload-newcomer.jwk").exists()


def test_what_remit_toml_declares_is_changed_there(remit: Command) -> None:
    result = remit("workload", "add", "helper", "--update", "--group", "administrators")
    assert result.exit_code == 1
    assert "remit.toml" in result.stderr


def test_an_approver_keeps_the_roles_that_a_person_has(remit: Command) -> None:
    add(remit, "approver")
    found = json.loads(remit("approver", "show", "newcomer", "--json").output)
    assert found["roles"] == ["approver"]
    assert found["kind"] == "person"


@pytest.mark.parametrize("role", ROLES)
def test_quarantine_reactivate_retire(remit: Command, role: str) -> None:
    add(remit, role)
    for verb, state in (("quarantine", "quarantined"), ("reactivate", "active"), ("quarantine", "quarantined")):
        result = remit(role, verb, "newcomer", "--reason", "ticket 1", "--json")
        assert json.loads(result.output)["state"] == state
    assert remit(role, "retire", "newcomer").exit_code == 1
    assert json.loads(remit(role, "retire", "newcomer", "--yes", "--json").output)["state"] == "retired"
    assert remit(role, "reactivate", "newcomer").exit_code == 1
    output = remit(role, "show", "newcomer").output
    assert "retired" in output
    assert "ticket 1" in output
    assert remit("verify").exit_code == 0


def test_risk_is_shown_until_it_expires(remit: Command) -> None:
    result = remit("workload", "risk", "helper", "--value", "70", "--for", "1h", "--reason", "odd requests")
    assert result.exit_code == 0, result.stderr
    found = json.loads(remit("workload", "show", "helper", "--json").output)
    assert found["risk"] == 70
    assert "odd requests" in found["risks"][0]["source"]
    remit("workload", "risk", "helper", "--value", "0", "--for", "1m", "--reason", "harmless")
    assert json.loads(remit("workload", "show", "helper", "--json").output)["risk"] == 0
    assert remit("verify").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("workload", "risk", "helper", "--value", "101", "--for", "1h", "--reason", "x"),
        ("workload", "risk", "helper", "--value", "1", "--for", "forever", "--reason", "x"),
        ("workload", "risk", "helper", "--value", "1", "--for", "9999d", "--reason", "x"),
        ("workload", "risk", "nobody", "--value", "1", "--for", "1h", "--reason", "x"),
        ("workload", "add", "../x"),
        ("workload", "add", "UPPER"),
        ("workload", "add", "x", "--key", "short"),
        ("workload", "add", "x", "--kind", "person"),
        ("workload", "show", "nobody"),
        ("workload", "show", "x" * 5000),
        ("pep", "quarantine", "helper"),
        ("workload", "quarantine", "helper", "--reason", "x" * 5000),
    ],
)
def test_bad_arguments_are_refused_and_say_so(remit: Command, arguments: tuple[str, ...]) -> None:
    result = remit(*arguments)
    assert result.exit_code in (1, 2)
    assert "rror: " in result.stderr


def test_without_an_operator_it_says_what_to_write(fresh: Folder) -> None:
    settings = fresh.root / "remit.toml"
    settings.write_text(settings.read_text().replace('operator = "alice"\n', ""))
    result = command_in(fresh.root)("workload", "list")
    assert result.exit_code == 1
    assert "operator" in result.stderr
