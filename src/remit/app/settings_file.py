"""Edits `remit.toml` in place: one server more for one enforcement point, all else as it stands."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from remit.core.documents import read_text
from remit.core.errors import DocumentError, InvalidInput
from remit.core.settings import FILE, read_settings

_TABLE: Final = re.compile(r"\s*\[")
_SERVERS: Final = re.compile(r"(\s*servers\s*=\s*\[)([^\]#]*)(\].*)", re.DOTALL)
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
    _check(edited, wanted, path, point, server)
    _replace(path, edited)
    return True


def line_for(point: str, servers: tuple[str, ...]) -> str:
    """The line that `remit.toml` needs under `[[enforcement_points]]`."""
    return f"servers = [{', '.join(f'{chr(34)}{name}{chr(34)}' for name in servers)}]  # of `{point}`"


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


def _check(edited: str, wanted: dict[str, Any], path: Path, point: str, server: str) -> None:
    try:
        parsed = tomllib.loads(edited)
    except tomllib.TOMLDecodeError:
        parsed = {}
    # SECURITY: an edit of lines must change nothing but what was asked for.
    if parsed != wanted:
        raise DocumentError(
            "can't edit the file line by line",
            path=path,
            next_step=f'add "{server}" to `servers` of the enforcement point `{point}` by hand',
        )


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
