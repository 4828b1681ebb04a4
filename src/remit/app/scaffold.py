"""`remit init`: a project folder that works at once, with comments that teach."""

from __future__ import annotations

import getpass
import re
import socket
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from remit.app.folder import Folder
from remit.app.identities import declared
from remit.app.installation import make_state
from remit.app.records import has_records
from remit.app.trust import open_keyring
from remit.core.clock import system_clock
from remit.core.errors import Conflict
from remit.core.settings import FILE, read_settings


def make_project(root: Path, *, trust_domain: str = "", operator: str = "") -> list[Path]:
    """Writes the files of a new project and makes its keys; the paths written.

    `Conflict("project_exists")` when there is a `remit.toml` already; other files that exist are left as they are.
    """
    if (root / FILE).exists():
        raise Conflict("project_exists", f"there is a `{FILE}` in `{root}` already", "`remit check` looks at it")
    root.mkdir(parents=True, exist_ok=True)
    values = {
        "{trust_domain}": trust_domain or f"{_word(root.resolve().name, 'project')}.internal",
        "{port}": str(_free_port()),
        "{operator}": operator or _word(getpass.getuser(), "operator"),
    }
    written: list[Path] = []
    _copy(resources.files("remit.app") / "template", root, values, written)
    folder = Folder(root.resolve())
    settings = read_settings(root)
    make_state(folder)
    open_keyring(folder, settings, system_clock(), has_records=has_records(folder))
    declared(settings, folder)
    return written


def _copy(source: Traversable, target: Path, values: dict[str, str], written: list[Path]) -> None:
    for item in sorted(source.iterdir(), key=lambda each: each.name):
        if item.name.startswith("__"):
            continue
        path = target / (".gitignore" if item.name == "gitignore" else item.name)
        if item.is_dir():
            path.mkdir(exist_ok=True)
            _copy(item, path, values, written)
        elif not path.exists():
            text = item.read_text("utf-8")
            for name, value in values.items():
                text = text.replace(name, value)
            path.write_text(text, "utf-8")
            written.append(path)


def _word(name: str, default: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:60] or default


def _free_port() -> int:
    """The first free port from 8181 on, so that several projects on one machine do not collide."""
    for port in range(8181, 8281):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return 8181
