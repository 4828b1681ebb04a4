"""`remit catalogue`: import from a real process, review, list, show, and the edit of remit.toml."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.app.catalogue import changes_since_review
from remit.app.folder import Folder
from remit.app.settings_file import register_server
from remit.catalogue.document import load_server
from remit.catalogue.review import unreviewed
from remit.core.errors import RemitError
from remit.core.settings import read_settings
from tests.cli.desk import SETTINGS, Command

SERVER = """
import json, sys
TOOLS = {tools}
INFO = {{"name": "x", "version": "1"}}
for line in sys.stdin:
    message = json.loads(line)
    answer = {{"jsonrpc": "2.0", "id": message.get("id")}}
    if message.get("method") == "initialize":
        answer["result"] = {{"protocolVersion": "2025-11-25", "capabilities": {{"tools": {{}}}}, "serverInfo": INFO}}
    elif message.get("method") == "tools/list":
        answer["result"] = {{"tools": TOOLS}}
    elif "id" in message:
        answer["error"] = {{"code": -32601, "message": "no"}}
    else:
        continue
    print(json.dumps(answer), flush=True)
"""


def tool(name: str, description: str = "") -> dict[str, object]:
    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    return {"name": name, "description": description, "inputSchema": schema}


def server(path: Path, *tools: dict[str, object]) -> list[str]:
    """A command that starts an MCP server with these tools."""
    path.write_text(SERVER.format(tools=repr(list(tools))))
    return [sys.executable, str(path)]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    return server(tmp_path / "server.py", tool("read_note", "Reads a note."), tool("delete_note", "Deletes a note."))


def test_import_guesses_and_says_that_nothing_binds_yet(remit: Command, folder: Folder, command: list[str]) -> None:
    result = remit("catalogue", "import", "notes", "--", *command)
    assert result.exit_code == 0, result.stderr
    for part in (
        "read_note",
        "delete_note",
        "delete",
        "2 guesses bind nothing until reviewed",
        'servers = ["orders", "notes"]',
        "--register gateway",
    ):
        assert part in result.output, part
    assert (folder.root / "catalogue/notes.yaml").is_file()
    assert "notes" not in (folder.root / "remit.toml").read_text()


def test_register_adds_the_server_to_its_enforcement_point(remit: Command, folder: Folder, command: list[str]) -> None:
    result = remit("catalogue", "import", "notes", "--register", "gateway", "--json", "--", *command)
    assert json.loads(result.output)["enforcementPoints"] == ["gateway"]
    assert read_settings(folder.root).enforcement_points[0].servers == ("orders", "notes")
    assert (folder.root / "remit.toml").read_text() == SETTINGS.replace('["orders"]', '["orders", "notes"]')


def test_a_new_enforcement_point_is_added(remit: Command, folder: Folder, command: list[str]) -> None:
    assert remit("catalogue", "import", "notes", "--register", "proxy", "--", *command).exit_code == 0
    assert [point.name for point in read_settings(folder.root).enforcement_points] == ["gateway", "proxy"]


def test_review_marks_what_was_named_and_nothing_else(remit: Command, folder: Folder, command: list[str]) -> None:
    remit("catalogue", "import", "notes", "--", *command)
    before = (folder.root / "catalogue/notes.yaml").read_text()
    result = remit("catalogue", "review", "notes", "read_note", "--yes", "--json")
    assert json.loads(result.output) == {"reviewed": ["read_note"], "by": "person/alice"}
    after = (folder.root / "catalogue/notes.yaml").read_text()
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(changed) == 1
    assert 'by: "person/alice"' in changed[0]
    assert json.loads(remit("catalogue", "list", "--json").output)[0]["unreviewed"] == ["delete_note"]


def test_review_without_a_terminal_needs_yes(remit: Command) -> None:
    result = remit("catalogue", "review", "orders")
    assert result.exit_code == 1
    assert "--yes" in result.stderr


def test_review_of_a_tool_that_is_not_there(remit: Command) -> None:
    assert remit("catalogue", "review", "orders", "nothing", "--yes").exit_code == 1


def test_a_changed_definition_loses_its_review_and_is_shown(remit: Command, tmp_path: Path) -> None:
    first = server(tmp_path / "server.py", tool("read_note", "Reads a note."))
    remit("catalogue", "import", "notes", "--", *first)
    remit("catalogue", "review", "notes", "--yes")
    again = server(tmp_path / "server.py", tool("read_note", "Reads a note and sends it."))
    result = remit("catalogue", "import", "notes", "--", *again)
    assert "review lost" in result.output
    assert "sends it" in result.output


def test_a_review_shows_what_differs_from_what_was_reviewed_before(folder: Folder) -> None:
    path = folder.root / "catalogue/orders.yaml"
    text = path.read_text().replace("effect: pay\n", "effect: read\n    trusted: true\n")
    path.write_text(text.replace("selectors: [order, amount]\n    reviewed: true", "selectors: [order, amount]"))
    document = load_server(path)
    assert "refund" in unreviewed(document)
    changes = changes_since_review(folder, document, "refund")
    assert "effect: pay -> read" in changes
    assert any(line.startswith("trusted: false -> true") for line in changes)
    assert changes_since_review(folder, document, "purge") == ()


def test_show_says_which_intents_justify(remit: Command) -> None:
    result = remit("catalogue", "show", "orders/refund")
    assert "justified by the intents: refund" in result.output
    assert "catalogue/orders.yaml:14" in result.output
    assert json.loads(remit("catalogue", "show", "orders/look_up", "--json").output)["intents"] == ["answer", "refund"]
    assert "look_up" in remit("catalogue", "show", "orders").output


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "A", "", "x" * 100])
def test_a_name_that_leads_elsewhere_is_refused(remit: Command, folder: Folder, command: list[str], name: str) -> None:
    before = sorted(folder.root.rglob("*.yaml"))
    result = remit("catalogue", "import", name, "--", *command)
    assert result.exit_code in (1, 2)
    assert sorted(folder.root.rglob("*.yaml")) == before


def test_a_command_that_is_no_server(remit: Command) -> None:
    result = remit("catalogue", "import", "notes", "--timeout", "3", "--", sys.executable, "-c", "pass")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


FORMS = [
    "servers = []",
    'servers = ["a"]',
    'servers = ["a", "b",]',
    "servers=['a']  # before these",
    'servers = ["a"] # a "quoted" ] remark',
    'servers = [\n  "a",\n]',
]


@pytest.mark.parametrize("form", FORMS)
def test_the_edit_changes_one_line_or_says_so(tmp_path: Path, form: str) -> None:
    text = SETTINGS.replace('servers = ["orders"]', form)
    (tmp_path / "remit.toml").write_text(text)
    wanted = tomllib.loads(text)
    wanted["enforcement_points"][0]["servers"].append("new")
    if "\n" in form:
        with pytest.raises(RemitError) as refused:
            register_server(tmp_path, "gateway", "new", "alice")
        assert "by hand" in refused.value.next_step
        assert (tmp_path / "remit.toml").read_text() == text
        return
    assert register_server(tmp_path, "gateway", "new", "alice")
    assert tomllib.loads((tmp_path / "remit.toml").read_text()) == wanted
    assert not register_server(tmp_path, "gateway", "new", "alice")


@given(st.text(max_size=300), st.sampled_from(["gateway", "new-point"]))
def test_any_remark_in_the_file_survives_the_edit(
    tmp_path_factory: pytest.TempPathFactory, text: str, point: str
) -> None:
    root = tmp_path_factory.mktemp("edit")
    remark = "".join(f"# {line}\n" for line in text.splitlines() if line.isprintable())
    (root / "remit.toml").write_text(remark + SETTINGS + remark, "utf-8")
    assert register_server(root, point, "new", "alice")
    edited = (root / "remit.toml").read_text("utf-8")
    assert edited.startswith(remark)
    assert [line for line in edited.splitlines() if line.startswith("#")] == (remark + remark).splitlines()


@given(st.binary(max_size=400))
def test_any_bytes_in_remit_toml_give_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = tmp_path_factory.mktemp("edit")
    (root / "remit.toml").write_bytes(data)
    try:
        register_server(root, "gateway", "new", "alice")
    except RemitError:
        assert (root / "remit.toml").read_bytes() == data
