"""Puts what a server lists now into its catalogue file, keeping what people wrote there.

- A tool that is new gets a guess.
- A tool whose pin is the same keeps its entry, letter for letter, with its comments and its review.
- A tool whose definition changed loses its review. What was stated stays where it still fits, but never at less
  than the new guess: the more consequential effect, all labels, trust only if both say so.
- A tool that the server no longer lists goes; an entry without a pin (no MCP tool) stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from remit.catalogue.changes import definition_changes, stated_changes
from remit.catalogue.checks import has_argument
from remit.catalogue.definitions import Definition, read_listing
from remit.catalogue.document import SERVER_NAME, ServerDocument, parse_server
from remit.catalogue.entries import Entry, Review
from remit.catalogue.guess import guess
from remit.catalogue.render import flow, is_hidden, quoted, render_entry, render_file
from remit.catalogue.verbs import RANK
from remit.core import bounds
from remit.core.errors import DocumentError, InvalidInput, TooLarge
from remit.core.fields import has_field

_REFUSED: Final = "# not imported: "


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did to one tool's entry, with the lines that show it."""

    tool: str
    kind: Literal["added", "kept", "changed", "removed", "refused"]
    details: tuple[str, ...] = ()
    was_reviewed: bool = False


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The new text of a server's file, and what changed."""

    text: str
    changes: tuple[Change, ...]


def import_tools(
    server: str,
    tools: list[dict[str, Any]],
    command: tuple[str, ...] = (),
    *,
    previous: str = "",
    refresh: bool = False,
) -> Imported:
    """The text of `catalogue/<server>.yaml` from the tools that the server lists.

    `previous` is the file's text until now, if there is one; `refresh` guesses anew what nobody reviewed. The text
    returned always loads. Raises `InvalidInput`, and `DocumentError` where `previous` does not load.
    """
    if not SERVER_NAME.fullmatch(server):
        raise InvalidInput("server_name_invalid", "that is not a server's name", "use a-z, 0-9, `-`, `_` and `.`")
    path = Path(f"{server}.yaml")
    listing = read_listing(tools)
    old = parse_server(previous, path) if previous else None
    entries: dict[str, Entry] = {}
    changes: list[Change] = []
    for definition in listing.tools:
        entry, change = _entry(definition, old.entries.get(definition.name) if old else None, refresh=refresh)
        entries[definition.name] = entry
        changes.append(change)
    if old is not None:
        for name, entry in old.entries.items():
            if name not in entries and not entry.pin:
                entries[name] = entry
            elif name not in entries:
                changes.append(Change(tool=name, kind="removed", was_reviewed=entry.reviewed is not False))
    changes += [Change(tool=name, kind="refused", details=(why,)) for name, why in listing.refused.items()]
    text = _text(server, entries, command, listing.refused, previous, old)
    if len(text.encode()) > bounds.DOCUMENT_BYTES:
        raise TooLarge("listing_too_large", f"the server's file would be larger than {bounds.DOCUMENT_BYTES} bytes")
    return Imported(text=text, changes=tuple(changes))


def _entry(definition: Definition, old: Entry | None, *, refresh: bool) -> tuple[Entry, Change]:
    guessed = guess(definition)
    name = definition.name
    if old is None:
        return guessed, Change(tool=name, kind="added")
    if old.pin == guessed.pin:
        entry = guessed if refresh and old.reviewed is False else old
        details = stated_changes(old, entry)
        return entry, Change(tool=name, kind="changed" if details else "kept", details=details)
    merged = _merged(old, guessed)
    details = (*definition_changes(old, merged), *stated_changes(old, merged))
    return merged, Change(tool=name, kind="changed", details=details, was_reviewed=old.reviewed is not False)


def _merged(old: Entry, new: Entry) -> Entry:
    """An unreviewed entry of the new definition with what still fits of the old one."""
    before = old.input_schema.get("properties")
    after = new.input_schema.get("properties")
    same = {
        name
        for name, schema in (after.items() if isinstance(after, dict) else ())
        if isinstance(before, dict) and name in before and before[name] == schema
    }
    arguments = (*new.selectors, *new.content)
    stated = {name for name in (*old.selectors, *old.content) if name in same}
    content = {name for name in arguments if name in (old.content if name in stated else new.content)}
    personal = [path for path in old.personal if path not in new.personal and _fits(path, new)]
    redact = [path for path in old.redact if path not in new.redact and has_field(new.output_schema, path)]
    destination = old.destination
    if destination.startswith("input.") and not has_argument(new.input_schema, destination.removeprefix("input.")):
        destination = ""
    return msgspec.structs.replace(
        new,
        effect=max(old.effect, new.effect, key=RANK.index),
        selectors=tuple(name for name in arguments if name not in content),
        content=tuple(name for name in arguments if name in content),
        labels=(*old.labels, *(label for label in new.labels if label not in old.labels)),
        trusted=old.trusted and new.trusted,
        personal=(*new.personal, *personal),
        select={path: type_ for path, type_ in old.select.items() if has_field(new.output_schema, path)},
        redact=(*new.redact, *redact),
        destination=destination or new.destination,
        why=new.why | {"reviewed": _lost(old, new)},
    )


def _fits(path: str, entry: Entry) -> bool:
    where, _, rest = path.partition(".")
    if where == "input":
        return has_argument(entry.input_schema, rest)
    return has_field(entry.output_schema, rest)


def _lost(old: Entry, new: Entry) -> str:
    by = f" after {old.reviewed.by} had reviewed it on {old.reviewed.at}" if isinstance(old.reviewed, Review) else ""
    parts = [line.partition(":")[0] for line in definition_changes(old, new) if ":" in line and line[0] != " "]
    return f"the server changed the definition{by}: {', '.join(parts)[:300] or 'it had no pin'}"


def _text(
    server: str,
    entries: Mapping[str, Entry],
    command: tuple[str, ...],
    refused: Mapping[str, str],
    previous: str,
    old: ServerDocument | None,
) -> str:
    """The new text: spliced into the old one where that reads back as meant, written anew otherwise."""
    if old is None:
        return render_file(server, entries, command=command, refused=_one_line(refused))
    command = command or old.command
    path = Path(f"{server}.yaml")
    text = _spliced(entries, command, refused, previous, old)
    try:
        document = parse_server(text, path)
    except DocumentError:
        document = None
    if document is not None and document.entries == entries and document.command == command:
        return text
    return render_file(server, entries, command=command, self_enforced=old.self_enforced, refused=_one_line(refused))


def _spliced(
    entries: Mapping[str, Entry],
    command: tuple[str, ...],
    refused: Mapping[str, str],
    previous: str,
    old: ServerDocument,
) -> str:
    lines = previous.split("\n")
    starts = {name: _start(lines, line - 1) for name, line in old.lines.items()}
    end = _end(lines, max(old.lines.values(), default=len(lines)))
    marks = [*sorted(starts.values()), end]
    blocks = {
        name: "\n".join(lines[start : marks[marks.index(start) + 1]]).rstrip("\n") + "\n"
        for name, start in starts.items()
    }
    head = [line for line in lines[: marks[0]] if not line.startswith(_REFUSED)]
    notes = [f"{_REFUSED}{name}: {why}" for name, why in _one_line(refused).items()]
    server_line = next((i for i, line in enumerate(head) if line.startswith("server:")), 0)
    head[server_line:server_line] = notes
    head = [f"command: {flow(command)}" if line.startswith("command:") else line for line in head]
    if command != old.command and not any(line.startswith("command:") for line in head):
        head.insert(server_line + len(notes) + 1, f"command: {flow(command)}")
    parts = [
        blocks[name] if name in blocks and old.entries[name] == entry else render_entry(name, entry)
        for name, entry in entries.items()
    ]
    tail = "\n".join(lines[end:])
    return "\n".join(head).rstrip("\n") + "\n" + "\n".join(parts) + (f"\n{tail}" if tail.strip() else "")


def _start(lines: list[str], key: int) -> int:
    """The first line of an entry: comments directly above its key belong to it."""
    while key > 0 and lines[key - 1].lstrip().startswith("#") and lines[key - 1].startswith(" "):
        key -= 1
    return key


def _end(lines: list[str], after: int) -> int:
    """Where the last entry ends: at the next key of the file itself, or at its end."""
    return next((i for i in range(after, len(lines)) if lines[i][:1] not in ("", " ", "#")), len(lines))


def _one_line(refused: Mapping[str, str]) -> dict[str, str]:
    """Names and reasons as they can stand in a comment: whatever would end it or hide in it is an escape."""
    shown: dict[str, str] = {}
    for name, why in refused.items():
        reason = why if not any(is_hidden(character) or character == "\n" for character in why) else quoted(why)
        shown[name] = reason
    return shown
