"""Real third-party servers: their tools are imported, and the guesses are compared with a reading by hand."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from remit.catalogue import importer
from remit.catalogue.definitions import definition_digest
from remit.catalogue.document import load_catalogue
from remit.catalogue.importer import import_server
from remit.catalogue.merge import import_tools
from remit.catalogue.review import save_server

GIT = shutil.which("mcp-server-git", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
NODE = Path(__file__).parents[2] / "node_modules" / ".bin"
FILES = shutil.which("mcp-server-filesystem", path=f"{NODE}{os.pathsep}{os.environ.get('PATH', '')}") or ""

GIT_EFFECTS = {
    "git_status": "read",
    "git_diff_unstaged": "read",
    "git_diff_staged": "read",
    "git_diff": "read",
    "git_commit": "write",
    "git_add": "write",
    "git_reset": "delete",
    "git_log": "read",
    "git_create_branch": "write",
    "git_checkout": "write",
    "git_show": "read",
    "git_branch": "read",
}
FILE_EFFECTS = {
    "read_file": "read",
    "read_text_file": "read",
    "read_media_file": "read",
    "read_multiple_files": "read",
    "write_file": "write",
    "edit_file": "write",
    "create_directory": "write",
    "list_directory": "read",
    "list_directory_with_sizes": "read",
    "directory_tree": "read",
    "move_file": "write",
    "search_files": "read",
    "get_file_info": "read",
    "list_allowed_directories": "read",
}


@pytest.mark.skipif(not GIT, reason="PyPI mcp-server-git is not installed here")
def test_git_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (str(GIT),)
    tools = asyncio.run(import_server(command, "git", 60.0))
    save_server(tmp_path / "git.yaml", import_tools("git", tools, command).text)
    actions = load_catalogue(tmp_path).servers["git"].actions
    guessed = {name: action.effect for name, action in actions.items() if action.pin}
    assert {name: guessed[name] for name in guessed if name in GIT_EFFECTS} == {
        name: effect for name, effect in GIT_EFFECTS.items() if name in guessed
    }
    assert actions["git_commit"].content == ("message",)
    assert not any(action.trusted for action in actions.values())
    # The definitions, and so the pins, are the same in both eras of the protocol.
    monkeypatch.setattr(importer, "_open", lambda child, seconds: importer._handshake(child))
    handshake = asyncio.run(import_server(command, "git", 60.0))
    assert {tool["name"]: definition_digest(tool) for tool in handshake} == {
        tool["name"]: definition_digest(tool) for tool in tools
    }


@pytest.mark.skipif(not FILES, reason="npm @modelcontextprotocol/server-filesystem is not installed here")
def test_filesystem_server(tmp_path: Path) -> None:
    command = (FILES, str(tmp_path))
    tools = asyncio.run(import_server(command, "files", 60.0))
    save_server(tmp_path / "files.yaml", import_tools("files", tools, command).text)
    actions = load_catalogue(tmp_path).servers["files"].actions
    guessed = {name: action.effect for name, action in actions.items() if action.pin}
    assert {name: guessed[name] for name in guessed if name in FILE_EFFECTS} == {
        name: effect for name, effect in FILE_EFFECTS.items() if name in guessed
    }
    assert actions["write_file"].content == ("content",)
    assert [name for name, action in actions.items() if action.trusted] == ["list_allowed_directories"]
