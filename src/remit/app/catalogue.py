"""The catalogue's files in a project folder: importing, what awaits review, and what was reviewed before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.catalogue.changes import definition_changes, stated_changes
from remit.catalogue.document import ServerDocument, load_server
from remit.catalogue.entries import Entry
from remit.catalogue.importer import import_server
from remit.catalogue.merge import Imported, import_tools
from remit.catalogue.review import save_server
from remit.core.documents import read_text
from remit.core.errors import InvalidInput, NotFound
from remit.storage.reader import Reader


def server_file(folder: Folder, server: str) -> Path:
    """Where the file of a server stands, or would stand."""
    # SECURITY: a server's name becomes a file's name; it must not lead elsewhere.
    if not server or "/" in server or server.startswith(".") or len(server) > 64:
        raise InvalidInput("server_name_invalid", "that is not a server's name", "use a-z, 0-9, `-`, `_` and `.`")
    return folder.root / "catalogue" / f"{server}.yaml"


def server_document(folder: Folder, server: str) -> ServerDocument:
    """The file of a server, read and checked; `NotFound` says which there are."""
    path = server_file(folder, server)
    if not path.is_file():
        known = ", ".join(each.stem for each in sorted(path.parent.glob("*.yaml"))) or "none"
        raise NotFound(
            "server_unknown",
            f"the catalogue has no server `{server}`",
            f"known: {known}; `remit catalogue import {server} -- COMMAND` adds it",
        )
    return load_server(path)


def documents(folder: Folder) -> Iterator[ServerDocument]:
    """All files of the catalogue."""
    for path in sorted((folder.root / "catalogue").glob("*.yaml")):
        yield load_server(path)


async def import_into(
    folder: Folder, server: str, command: tuple[str, ...], *, seconds: float, refresh: bool
) -> tuple[Imported, ServerDocument]:
    """Asks the server that `command` starts for its tools, and writes its file; what people wrote there is kept."""
    path = server_file(folder, server)
    tools = await import_server(command, server, seconds)
    previous = read_text(path) if path.is_file() else ""
    imported = import_tools(server, tools, command, previous=previous, refresh=refresh)
    path.parent.mkdir(exist_ok=True)
    save_server(path, imported.text)
    return imported, load_server(path)


def changes_since_review(folder: Folder, document: ServerDocument, tool: str) -> tuple[str, ...]:
    """What differs from the entry that was last reviewed and decided here, as lines; none when there was none."""
    new = document.entries[tool]
    try:
        reader = reader_of(folder)
    except NotFound:
        return ()
    with reader:
        old = _last_reviewed(reader, document.server, tool, new)
    return (*definition_changes(old, new), *stated_changes(old, new)) if old is not None else ()


def _last_reviewed(reader: Reader, server: str, tool: str, new: Entry) -> Entry | None:
    """The entry as it was reviewed in the last configuration of the records that had it reviewed."""
    seen: set[str] = set()
    for stored in reversed(list(reader.stream("administration"))):
        record = stored.record
        digest = str(record.body.get("catalogue", "")) if record.kind == "configuration" else ""
        text = reader.text(digest) if digest and digest not in seen else None
        seen.add(digest)
        for action in _actions(text, server):
            if action.get("tool") == tool and action.get("reviewed"):
                return _entry(action, new)
    return None


def _actions(text: str | None, server: str) -> list[dict[str, Any]]:
    try:
        servers = msgspec.json.decode(text or "{}", type=dict[str, Any])
        listed = servers[server]["actions"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        return []
    return [each for each in listed if isinstance(each, dict)]


def _entry(action: dict[str, Any], new: Entry) -> Entry | None:
    """An entry from an action of the records, which keep only what decides; the rest is taken to be unchanged."""
    names = ("effect", "selectors", "content", "labels", "trusted", "personal", "redact", "destination", "pin",
             "description", "input_schema")  # fmt: skip
    fields = {name: action[name] for name in names if name in action}
    fields["select"] = {field["path"]: field["type"] for field in action.get("select", ())}
    try:
        old = msgspec.convert(fields, Entry)
    except msgspec.ValidationError:
        return None
    return msgspec.structs.replace(
        old, title=new.title, annotations=new.annotations, output_schema=new.output_schema, reviewed=True
    )
