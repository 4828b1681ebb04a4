"""MCP client configurations in the folder: every server in them goes through `remit gateway`."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.app.doctor.finding import Finding, Situation, listed
from remit.core import bounds

FILES: Final = (
    ".mcp.json",
    "mcp.json",
    ".cursor/mcp.json",
    ".vscode/mcp.json",
    ".gemini/settings.json",
    "claude_desktop_config.json",
)
_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING: Final = re.compile(r'("(?:\\.|[^"\\])*")|,(\s*[}\]])')


def configurations(situation: Situation) -> Iterator[Finding]:
    """Each server of each configuration is behind the gateway; one that is not is a way around Remit."""
    root = situation.folder.root
    for name in FILES:
        path = root / name
        if not path.is_file():
            continue
        servers = _servers(path)
        if servers is None:
            yield Finding(
                check="MCP clients",
                level="warn",
                message=f"can't read `{name}` as JSON, so what it starts is not known",
                next_step="correct it, then run this again",
            )
            continue
        around = [server for server, entry in servers.items() if not is_governed(entry)]
        if around:
            yield Finding(
                check="MCP clients",
                level="fail",
                message=f"in `{name}` {listed(around)} do not go through Remit",
                next_step=f"start it as `{_suggested(servers[around[0]])}`, or remove it",
            )
        else:
            yield Finding(
                check="MCP clients", level="ok", message=f"the {len(servers)} servers of `{name}` go through Remit"
            )


def is_governed(entry: Any) -> bool:
    """Whether a client's entry of a server starts `remit gateway`, and nothing else before it."""
    if not isinstance(entry, dict) or entry.get("disabled") is True:
        return isinstance(entry, dict)
    if "url" in entry or "serverUrl" in entry or "httpUrl" in entry:
        return False
    words = _words(entry)
    before = words[: words.index("--")] if "--" in words else words
    if not before:
        return False
    place = next((number for number, word in enumerate(before) if os.path.basename(word) == "remit"), None)
    if place is None or "gateway" not in before[place + 1 :]:
        return False
    # SECURITY: `sh -c 'upstream; remit gateway'` mentions the gateway, and goes around it.
    return place == 0 or os.path.basename(before[0]) in _RUNNERS or before[place - 1 : place] == ["-m"]


_RUNNERS: Final = frozenset({"uv", "uvx", "pipx", "sudo", "ssh", "env", "doas", "runuser", "poetry", "hatch"})


def _words(entry: dict[str, Any]) -> list[str]:
    command, arguments = entry.get("command"), entry.get("args", [])
    words = [command] if isinstance(command, str) else command if isinstance(command, list) else []
    words = [*words, *(arguments if isinstance(arguments, list) else [])]
    return [word for word in words if isinstance(word, str)]


def _suggested(entry: Any) -> str:
    words = _words(entry) if isinstance(entry, dict) else []
    return f"remit gateway -- {shlex.join(words)[:160]}" if words else "remit gateway -- COMMAND"


def _servers(path: Path) -> dict[str, Any] | None:
    """The servers of one configuration by name; None when it can't be read."""
    try:
        with path.open("rb") as file:
            data = file.read(bounds.DOCUMENT_BYTES + 1)
    except OSError:
        return None
    if len(data) > bounds.DOCUMENT_BYTES:
        return None
    try:
        found = msgspec.json.decode(_without_comments(data.decode("utf-8-sig")))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    servers: dict[str, Any] = {}
    for key in ("mcpServers", "servers"):
        listed_ = found.get(key)
        if isinstance(listed_, dict):
            servers |= listed_
    return servers


def _without_comments(text: str) -> str:
    """JSON from JSON with comments and trailing commas, as editors write it."""
    bare = _COMMENT.sub(lambda match: match[1] or " ", text)
    return _TRAILING.sub(lambda match: match[1] or match[2], bare)
