"""Review: a guess binds only after a person has read it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from remit.catalogue.changes import definition_changes, stated, stated_changes
from remit.catalogue.document import ServerDocument, parse_server
from remit.catalogue.entries import Entry, Review
from remit.catalogue.render import render_entry, reviewed
from remit.core import bounds
from remit.core.documents import Document, parse_yaml, read_text
from remit.core.errors import Conflict, InvalidInput, NotFound, TooLarge

_REVIEWED: Final = re.compile(r"(\s*reviewed:\s*)(?:true|false|\{[^{}]*\})(\s*(?:#.*)?)")


def diff(old: ServerDocument | None, new: ServerDocument) -> str:
    """What differs between two states of a server's file, tool by tool; empty where nothing does."""
    before: Mapping[str, Entry] = old.entries if old is not None else {}
    parts: list[str] = []
    for name in (*new.entries, *(name for name in before if name not in new.entries)):
        lines = _tool_diff(before.get(name), new.entries.get(name))
        if lines:
            parts.append("\n".join((lines[0].format(name), *(f"    {line}" for line in lines[1:]))))
    return "\n".join(parts)


def unreviewed(document: ServerDocument) -> tuple[str, ...]:
    """The tools of a server that nobody has reviewed, in the file's order."""
    return tuple(name for name, entry in document.entries.items() if entry.reviewed is False)


def describe(document: ServerDocument, tool: str) -> str:
    """One entry in full, as a reviewer must see it before saying yes. Raises `NotFound`."""
    return render_entry(tool, _known(document, tool))


def mark_reviewed(
    path: Path, tools: Collection[str], by: str, at: int, *, seen: Mapping[str, str] | None = None
) -> ServerDocument:
    """Marks entries as reviewed in the file itself; all else in it stays, comments too.

    `by` is who reviewed, `at` when (milliseconds since 1970, UTC). `seen` gives the pin that the reviewer was shown,
    by tool: where the file has another one by now, nothing is written (`Conflict`). Raises `NotFound` for a tool
    that is not in the file, and `DocumentError` where the file does not load or its line can't be edited.
    """
    if not by or len(by.encode("utf-8", "replace")) > bounds.NAME_BYTES:
        raise InvalidInput("reviewer_missing", "a review names the person who made it", "say who reviewed it")
    text = read_text(path)
    before = parse_server(text, path)
    for tool in tools:
        entry = _known(before, tool)
        # SECURITY: what is marked is what the person was shown, not what an import has put there since.
        if seen is not None and seen.get(tool) != entry.pin:
            raise Conflict(
                "review_outdated", f"the definition of `{tool}` changed while it was reviewed", "review it again"
            )
    review = Review(by=by, at=datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    edited = _edited(parse_yaml(text, path), tools, review)
    after = parse_server(edited, path)
    _check_only_reviews_changed(before, after, tools, path)
    save_server(path, edited)
    return after


def save_server(path: Path, text: str) -> None:
    """Replaces a file of the catalogue whole: a reader sees the old text or the new one. It is checked first."""
    if len(text.encode("utf-8")) > bounds.DOCUMENT_BYTES:
        raise TooLarge("document_too_large", f"the file would be larger than {bounds.DOCUMENT_BYTES} bytes")
    parse_server(text, path)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _tool_diff(old: Entry | None, new: Entry | None) -> list[str]:
    if new is None:
        return ["- {}: no longer listed; calls are refused"]
    if old is None:
        return ["+ {}: new", *stated(new)]
    lines = [*definition_changes(old, new), *stated_changes(old, new)]
    if old.reviewed != new.reviewed:
        lines.append(f"reviewed: {reviewed(old.reviewed)} -> {reviewed(new.reviewed)}")
    return ["~ {}: changed", *lines] if lines else []


def _known(document: ServerDocument, tool: str) -> Entry:
    entry = document.entries.get(tool)
    if entry is None:
        raise NotFound(
            "tool_unknown",
            f"`{document.server}` has no tool `{tool[:128]}` in its file",
            "import it, or check its name",
        )
    return entry


def _edited(document: Document, tools: Collection[str], review: Review) -> str:
    lines = document.text.split("\n")
    added: list[tuple[int, str]] = []
    for tool in tools:
        at = ("tools", tool, "reviewed")
        if at in document.positions:
            line = document.positions[at][0] - 1
            match = _REVIEWED.fullmatch(lines[line].rstrip("\r"))
            if match is None:
                raise document.error("can't edit this line", at, "write `reviewed: true` on a line of its own")
            lines[line] = f"{match[1]}{reviewed(review)}{match[2]}"
        else:
            line, column = document.position(("tools", tool, "effect"))
            added.append((line, " " * (column - 1) + f"reviewed: {reviewed(review)}"))
    for line, text in sorted(added, reverse=True):
        lines.insert(line, text)
    return "\n".join(lines)


def _check_only_reviews_changed(
    before: ServerDocument, after: ServerDocument, tools: Collection[str], path: Path
) -> None:
    same = all(
        before.entries[name] == entry or (name in tools and not _tool_changes(before.entries[name], entry))
        for name, entry in after.entries.items()
    )
    # SECURITY: an edit of lines must not change what an entry states.
    if not same or before.entries.keys() != after.entries.keys():
        raise InvalidInput(
            "review_failed", f"can't edit `{path.name}` line by line", "write `reviewed: true` into it by hand"
        )


def _tool_changes(old: Entry, new: Entry) -> tuple[str, ...]:
    return (*definition_changes(old, new), *stated_changes(old, new))
