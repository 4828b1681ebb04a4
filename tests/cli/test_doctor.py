"""`remit doctor`: each check against a project that is wrong in that way, and in no other."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.app.doctor import Finding, Situation, clients, state
from remit.app.doctor.clients import is_governed
from remit.app.doctor.exposure import environment, user_of
from remit.app.doctor.finding import User
from remit.app.folder import Folder
from remit.core.clock import system_clock
from tests.cli.desk import Command


def findings(remit: Command, *arguments: str) -> list[Finding]:
    result = remit("doctor", "--json", *arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [Finding(**each) for each in json.loads(result.output)]


def levels(remit: Command, check: str, *arguments: str) -> list[str]:
    return [finding.level for finding in findings(remit, *arguments) if finding.check == check]


def situation(folder: Folder, **changes: object) -> Situation:
    fields: dict[str, object] = {"folder": folder, "agent": user_of(), "now": system_clock(), "free_bytes": 10**12}
    return Situation(**(fields | changes))  # type: ignore[arg-type]


def test_a_project_in_order_has_no_fail(remit: Command) -> None:
    result = remit("doctor")
    assert result.exit_code == 0, result.output
    assert not [each for each in findings(remit) if each.level == "fail"]


def test_the_same_user_is_advisory_and_says_what_that_means(remit: Command) -> None:
    found = next(each for each in findings(remit) if each.check == "users")
    assert found.level == "warn"
    assert "enforcement is advisory" in found.message
    assert "docs/threat-model.md" in found.next_step


def loosen(path: str, mode: int) -> Callable[[Folder], None]:
    return lambda folder: os.chmod(folder.root / path, mode)


def write(path: str, text: str) -> Callable[[Folder], None]:
    def change(folder: Folder) -> None:
        target = folder.root / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)

    return change


def replace(old: str, new: str) -> Callable[[Folder], None]:
    def change(folder: Folder) -> None:
        path = folder.root / "remit.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def write_notifier(text: str) -> Callable[[Folder], None]:
    def change(folder: Folder) -> None:
        path = folder.root / "remit.toml"
        path.write_text(path.read_text() + f'\n[[notifiers]]\nname = "audit"\n{text}\n')

    return change


def damage(folder: Folder) -> None:
    with folder.database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


OBSERVE = '[mode]\ndefault = "observe"\nobserve_until = {}\n\n[service]'


@pytest.mark.parametrize(
    ("check", "level", "change"),
    [
        ("state folder", "fail", loosen(".remit", 0o750)),
        ("keys", "fail", loosen(".remit/keys/pep-gateway.jwk", 0o640)),
        ("database", "fail", loosen(".remit/remit.db", 0o644)),
        ("database", "fail", damage),
        ("files", "fail", loosen("remit.toml", 0o664)),
        ("files", "fail", loosen("policies", 0o777)),
        ("files", "fail", loosen("intents/answer.yaml", 0o606)),
        ("project", "fail", write("intents/broken.yaml", "effects: [")),
        ("project", "fail", replace("trust_domain", "trust_domian")),
        ("listener", "fail", replace('listen = ""', 'listen = "0.0.0.0:8181"')),
        ("listener", "fail", replace('listen = ""', 'listen = "nonsense"')),
        ("enforcement points", "warn", replace('["orders"]', "[]")),
        ("enforcement points", "warn", replace('["orders"]', '["orders", "nothing"]')),
        ("mode", "warn", replace("[service]", OBSERVE.format("2100-01-01T00:00:00Z"))),
        ("mode", "warn", replace("[service]", OBSERVE.format("2020-01-01T00:00:00Z"))),
        ("owners", "warn", replace('kind = "agent"\nowner = "alice"', 'kind = "agent"\nowner = "gone"')),
        ("owners", "warn", replace(', "administrator"', "")),
        ("reviews", "warn", lambda folder: None),
        ("notifiers", "fail", write_notifier('file = "nowhere/a.jsonl"')),
        ("notifiers", "fail", write_notifier('file = "policies"')),
        ("notifiers", "fail", write_notifier('url = "https://example.org"\nsecret_file = "nowhere"')),
        ("notifiers", "fail", write_notifier('url = "https://example.org"\nsecret_file = "remit.toml"')),
        ("notifiers", "ok", write_notifier('file = "a.jsonl"')),
        ("MCP clients", "fail", write(".mcp.json", '{"mcpServers": {"a": {"command": "npx", "args": ["a"]}}}')),
        ("MCP clients", "fail", write(".cursor/mcp.json", '{"mcpServers": {"a": {"url": "http://a.example"}}}')),
        ("MCP clients", "fail", write(".vscode/mcp.json", '{"servers": {"a": {"command": "npx",}, } // so\n}')),
        ("MCP clients", "warn", write("claude_desktop_config.json", "{")),
    ],
)
def test_what_is_wrong_is_found(
    remit: Command, folder: Folder, check: str, level: str, change: Callable[[Folder], None]
) -> None:
    change(folder)
    assert level in levels(remit, check)
    assert remit("doctor").exit_code == (1 if "fail" in [each.level for each in findings(remit)] else 0)
    assert all(each.next_step for each in findings(remit) if each.level != "ok")


def test_a_client_behind_the_gateway_is_in_order(remit: Command, folder: Folder) -> None:
    entry = {"command": "remit", "args": ["gateway", "--", "npx", "a"]}
    (folder.root / ".mcp.json").write_text(json.dumps({"mcpServers": {"a": entry}}))
    assert levels(remit, "MCP clients") == ["ok"]


def test_a_clock_behind_the_records(folder: Folder) -> None:
    now = system_clock() - 3_600_000 * 24
    assert [finding.level for finding in state.clock(situation(folder, now=now))] == ["fail"]


@pytest.mark.parametrize(("free", "level"), [(0, "fail"), (200 * 1024**2, "warn"), (10**11, "ok")])
def test_disk(folder: Folder, free: int, level: str) -> None:
    assert [finding.level for finding in state.disk(situation(folder, free_bytes=free))] == [level]


def test_another_user_that_can_reach_nothing(folder: Folder) -> None:
    nobody = User("nobody", 65534, frozenset({65534}))
    assert not any(nobody.may(path, 4) for path in folder.keys.iterdir())
    assert not nobody.may(folder.database, 4)
    os.chmod(folder.keys / "pep-gateway.jwk", 0o644)
    # The folders above still keep it out.
    assert not nobody.may(folder.keys / "pep-gateway.jwk", 4)


def test_a_user_that_is_not_on_this_machine(remit: Command) -> None:
    result = remit("doctor", "--agent-user", "no-such-user-here")
    assert result.exit_code == 1
    assert "no user" in result.stderr


def test_names_of_secrets_are_told_and_never_their_values(folder: Folder) -> None:
    given_ = {
        "GITHUB_TOKEN": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "PATH": "/bin",
        "MONKEY": "x",
        "EMPTY_TOKEN": "",
    }
    found = list(environment(situation(folder, environment=given_)))
    assert [each.level for each in found] == ["warn"]
    assert "`AWS_SECRET_ACCESS_KEY`, `GITHUB_TOKEN`" in found[0].message
    assert "hunter2" not in repr(found)
    assert "MONKEY" not in found[0].message


@pytest.mark.parametrize(
    ("entry", "governed"),
    [
        ({"command": "remit", "args": ["gateway", "--", "npx", "a"]}, True),
        ({"command": "/opt/v/bin/remit", "args": ["--project", "/p", "gateway", "--server", "a", "--", "npx"]}, True),
        ({"command": "uvx", "args": ["remit", "gateway", "--", "npx"]}, True),
        ({"command": "python", "args": ["-m", "remit", "gateway", "--", "npx"]}, True),
        ({"command": "sudo", "args": ["-u", "svc", "remit", "gateway", "--", "npx"]}, True),
        ({"command": ["remit", "gateway", "--", "npx"]}, True),
        ({"command": "npx", "args": ["a"], "disabled": True}, True),
        ({"command": "npx", "args": ["remit", "gateway"]}, False),
        ({"command": "npx", "args": ["a", "--", "remit", "gateway"]}, False),
        ({"command": "sh", "args": ["-c", "upstream; remit gateway -- x"]}, False),
        ({"command": "bash", "args": ["run", "remit", "gateway"]}, False),
        ({"command": "remit", "args": ["exec", "a", "--", "gateway"]}, False),
        ({"command": "remit", "args": ["gateway"], "url": "http://a.example"}, False),
        ({"url": "http://a.example"}, False),
        ({}, False),
        ("remit gateway", False),
        (None, False),
    ],
)
def test_which_entries_go_through_the_gateway(entry: object, governed: bool) -> None:
    assert is_governed(entry) is governed


@given(st.binary(max_size=300))
def test_any_bytes_of_a_client_configuration_give_findings(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.mktemp("client")
    (root / ".mcp.json").write_bytes(data)
    assert list(clients.configurations(situation(Folder(root))))


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.text(max_size=4) | st.none(),
            lambda x: st.lists(x) | st.dictionaries(st.text(max_size=3), x),
            max_leaves=5,
        ),
    )
)
def test_any_servers_of_a_client_configuration_give_findings(
    tmp_path_factory: pytest.TempPathFactory, servers: dict[str, object]
) -> None:
    root = tmp_path_factory.mktemp("client")
    (root / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert list(clients.configurations(situation(Folder(root))))


def test_it_changes_nothing(remit: Command, folder: Folder) -> None:
    def seen() -> list[tuple[Path, int]]:
        return [
            (path, path.stat().st_mtime_ns)
            for path in sorted(folder.root.rglob("*"))
            if "remit.db-" not in path.name and path.is_file() and "cache" not in f"{path.parent.name}/{path.name}"
        ]

    before = seen()
    remit("doctor")
    assert seen() == before


def test_a_folder_that_was_never_started(fresh: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_PROJECT", str(fresh.root))
    from tests.cli.desk import command_in

    found = findings(command_in(fresh.root))
    assert next(each for each in found if each.check == "state folder").level == "warn"
    assert not fresh.state.exists()


def test_records_that_a_thief_replaced_by_another_file(folder: Folder, remit: Command) -> None:
    folder.database.unlink()
    sqlite3.connect(folder.database).close()
    assert "fail" in levels(remit, "database")
