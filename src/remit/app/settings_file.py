"""Edits `remit.toml` in place: a server more for an enforcement point, or other storage; all else as it stands."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from remit.core.documents import parse_toml, read_text
from remit.core.errors import DocumentError, InvalidInput
from remit.core.settings import FILE, read_settings, settings_in
from remit.core.storage import StorageSettings

_TABLE: Final = re.compile(r"\s*\[")
_SERVERS: Final = re.compile(r"(\s*servers\s*=\s*\[)([^\]#]*)(\].*)", re.DOTALL)
_STORAGE: Final = re.compile(r"\s*\[\s*storage\s*\]")
_SET: Final = re.compile(rf"\s*({'|'.join(StorageSettings.__struct_fields__)})\s*=")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def register_server(root: Path, point: str, server: str, owner: str) -> bool:
    """Puts `server` among those of the enforcement point `point`, which is added when there is none of this name.

    Whether anything changed. Raises `DocumentError` where the file does not load or its line can't be edited.
    """
    if not _NAME.fullmatch(point) or not _NAME.fullmatch(server):
        raise InvalidInput("name_invalid", "that is no name for `remit.toml`", "use a-z, 0-9, `-`, `_` and `.`")
    read_settings(root)
    read_settings(root)
    path = root / FILE
    before = read_text(path)
    wanted: dict[str, Any] = tomllib.loads(before)
    points = wanted.setdefault("enforcement_points", [])
    found = next((number for number, each in enumerate(points) if each.get("name") == point), None)
    if found is None:
        points.append({"name": point, "owner": owner, "servers": [server]})
        table = f'[[enforcement_points]]\nname = "{point}"\nowner = "{owner}"\nservers = ["{server}"]\n'
        edited = before.rstrip("\n") + f"\n\n{table}"
    elif server in points[found].get("servers", ()):
        return False
    else:
        points[found]["servers"].append(server)
        edited = _with_server(before, found, server)
    _check(edited, wanted, path, f'add "{server}" to `servers` of the enforcement point `{point}` by hand')
    _replace(path, edited)
    return True


def line_for(point: str, servers: tuple[str, ...]) -> str:
    """The line that `remit.toml` needs under `[[enforcement_points]]`."""
    return f"servers = [{', '.join(f'{chr(34)}{name}{chr(34)}' for name in servers)}]  # of `{point}`"


def storage_lines(storage: StorageSettings) -> list[str]:
    """The lines of `[storage]` for these settings; what is as it is by default is left out."""
    default = StorageSettings()
    values = {name: getattr(storage, name) for name in storage.__struct_fields__}
    return [f"{name} = {json.dumps(value)}" for name, value in values.items() if value != getattr(default, name)]


def storage_text(root: Path, storage: StorageSettings) -> str:
    """The text of `remit.toml` with this `[storage]`; `DocumentError` where it can't be edited line by line."""
    before = read_text(root / FILE)
    wanted: dict[str, Any] = tomllib.loads(before)
    added = storage_lines(storage)
    given = tomllib.loads("\n".join(added))
    lines = before.splitlines()
    head = next((place for place, line in enumerate(lines) if _STORAGE.match(line)), None)
    if head is None:
        edited = before.rstrip("\n") + ("\n\n[storage]\n" + "\n".join(added) if added else "") + "\n"
    else:
        end = next((n for n in range(head + 1, len(lines)) if _TABLE.match(lines[n])), len(lines))
        kept = [line for line in lines[head + 1 : end] if not _SET.match(line)]
        edited = "\n".join([*lines[: head + 1], *added, *kept, *lines[end:]]) + "\n"
    if given or "storage" in wanted:
        wanted["storage"] = given
    _check(edited, wanted, root / FILE, "write under `[storage]` by hand: " + (", ".join(added) or "nothing"))
    settings_in(parse_toml(edited, root / FILE))
    return edited


def change_storage(root: Path, text: str) -> None:
    """Puts what `storage_text` gave in place of `remit.toml`."""
    _replace(root / FILE, text)


def _with_server(text: str, number: int, server: str) -> str:
    """The text with the server added on the `servers` line of the enforcement point at this place."""
    lines = text.splitlines(keepends=True)
    seen = -1
    inside = False
    for place, line in enumerate(lines):
        if _TABLE.match(line) and not line.strip().startswith("[["):
            inside = False
        if re.match(r"\s*\[\[", line):
            is_point = re.match(r"\s*\[\[\s*enforcement_points\s*\]\]", line) is not None
            seen += is_point
            inside = is_point and seen == number
        match = _SERVERS.match(line) if inside else None
        if match is not None:
            listed = match[2].strip().rstrip(",").strip()
            items = f'{listed}, "{server}"' if listed else f'"{server}"'
            lines[place] = f"{match[1]}{items}{match[3]}"
            break
    return "".join(lines)


def _check(edited: str, wanted: dict[str, Any], path: Path, by_hand: str) -> None:
    try:
        parsed = tomllib.loads(edited)
    except tomllib.TOMLDecodeError:
        parsed = {}
    # SECURITY: an edit of lines must change nothing but what was asked for.
    if parsed != wanted:
        raise DocumentError("can't edit the file line by line", path=path, next_step=by_hand)


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777
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
