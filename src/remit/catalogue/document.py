"""Reads `catalogue/*.yaml` into the catalogue, with every mistake at its file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from remit.catalogue.checks import IMPORT_AGAIN, check_entry
from remit.catalogue.definitions import TOOL_NAME
from remit.catalogue.entries import Entry, action_of
from remit.catalogue.methods import method_actions
from remit.core import canonical
from remit.core.actions import Action, Catalogue, Server
from remit.core.documents import Document, Path_, parse_yaml, read_text
from remit.core.effects import EFFECTS
from remit.core.errors import DocumentError

_EFFECTS: Final = ", ".join(EFFECTS)
SERVER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,63}")


class ServerDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the folder `catalogue`, checked."""

    path: str
    server: str
    command: tuple[str, ...]
    self_enforced: bool
    entries: Mapping[str, Entry]
    lines: Mapping[str, int]  # where each entry's key stands, 1-based


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: str
    command: tuple[str, ...] = ()
    self_enforced: bool = False
    tools: dict[str, Any] = {}


def load_catalogue(folder: Path, *, covered: frozenset[str] = frozenset()) -> Catalogue:
    """All servers of `folder` (`*.yaml`), each with its tools and the MCP methods that are decided.

    `covered` names the servers whose unreviewed tools a pack says that it covers; no file can say so itself. The
    digest is over everything that decides, and is that of `catalogue_text`. Raises `DocumentError`.
    """
    servers: dict[str, Server] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix == ".yml":
            raise DocumentError("the file's name must end in `.yaml`", path=path, next_step="rename it")
        if path.suffix != ".yaml":
            continue
        document = load_server(path)
        actions = (
            *(action_of(document.server, name, entry) for name, entry in document.entries.items()),
            *method_actions(document.server),
        )
        servers[document.server] = Server(
            name=document.server,
            actions={action.tool: action for action in actions},
            command=document.command,
            covers_unreviewed=document.server in covered,
            self_enforced=document.self_enforced,
            output_schemas={
                name: entry.output_schema for name, entry in document.entries.items() if entry.output_schema is not None
            },
        )
    return assemble(servers)


def assemble(servers: Mapping[str, Server]) -> Catalogue:
    """The catalogue of these servers."""
    actions: dict[str, Action] = {
        action.name: action for server in servers.values() for action in server.actions.values()
    }
    return Catalogue(servers=servers, actions=actions, digest=canonical.sha256(_text(servers).encode()))


def catalogue_text(catalogue: Catalogue) -> str:
    """The canonical text of all that decides, for the record: its SHA-256 is `catalogue.digest`.

    The reasons of guesses and the commands of servers are left out: no decision depends on them, and a command may
    hold a path or a secret.
    """
    return _text(catalogue.servers)


def load_server(path: Path) -> ServerDocument:
    """One file, read and checked."""
    return parse_server(read_text(path), path)


def parse_server(text: str, path: Path) -> ServerDocument:
    """One file's text, checked; `path` gives the server's name and stands in errors."""
    document = parse_yaml(text, path)
    if isinstance(document.data, dict):
        for key in ("covers_unreviewed", "pack"):
            if key in document.data:
                # SECURITY: guesses bind after review; only a pack that is loaded may say that it covers them.
                raise document.error(f"`{key}` can't be set in a catalogue file", (key,), "remove it; packs set it")
    file = document.convert(_File)
    if not SERVER_NAME.fullmatch(file.server):
        raise document.error(f"`{file.server}` is not a server's name", ("server",), "use a-z, 0-9, `-`, `_` and `.`")
    if file.server != path.stem:
        raise document.error(
            f"the file of the server `{file.server}` must be named `{file.server}.yaml`",
            ("server",),
            f"rename the file, or write `server: {path.stem}`",
        )
    entries = {name: _entry(document, name, raw) for name, raw in file.tools.items()}
    return ServerDocument(
        path=str(path),
        server=file.server,
        command=file.command,
        self_enforced=file.self_enforced,
        entries=entries,
        lines={name: document.position(("tools", name))[0] for name in entries},
    )


def _entry(document: Document, name: str, raw: Any) -> Entry:
    at: Path_ = ("tools", name)
    if not TOOL_NAME.fullmatch(name):
        raise document.error(f"`{name}` is not a tool's name", at, "use 1 to 128 letters, digits, `_`, `-` and `.`")
    if not isinstance(raw, dict):
        raise document.error(f"the entry of `{name}` is not a mapping", at, "state at least its `effect`")
    if "effect" not in raw:
        raise document.error(f"the effect of `{name}` is missing", at, f"add `effect:` with one of {_EFFECTS}")
    if raw["effect"] not in EFFECTS:
        raise document.error(f"`{raw['effect']}` is not an effect", (*at, "effect"), f"use one of {_EFFECTS}")
    data = dict(raw)
    for key in ("annotations", "input_schema", "output_schema"):
        if isinstance(data.get(key), str):
            data[key] = _json_of(document, data[key], (*at, key))
    entry = document.convert_part(data, Entry, at)
    check_entry(document, name, entry, at)
    return entry


def _json_of(document: Document, text: str, at: Path_) -> Any:
    line = document.position(at)[0]
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        line += error.lineno
        message = error.msg[:1].lower() + error.msg[1:]
    except (ValueError, RecursionError) as error:
        message = str(error)[:100] or "it is nested too deeply"
    raise DocumentError(f"not valid JSON: {message}", path=document.path, line=line, next_step=IMPORT_AGAIN)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not a JSON number")


def _text(servers: Mapping[str, Server]) -> str:
    content = {
        name: {
            "actions": [msgspec.structs.replace(server.actions[tool], reasons={}) for tool in sorted(server.actions)],
            "covers_unreviewed": server.covers_unreviewed,
            "self_enforced": server.self_enforced,
        }
        for name, server in servers.items()
    }
    return canonical.encode(content).decode("utf-8")
