"""Projects whose records stand in PostgreSQL: the `[storage]` of a test's database, with its password in a file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

PASSWORD = "postgres-password"


def without_password(url: str, root: Path) -> str:
    """The URL as `remit.toml` may have it; the password goes into a file of the project, mode 0600."""
    parts = urlsplit(url)
    file = root / PASSWORD
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(parts.password or "")
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}"))


def use_postgres(root: Path, url: str, schema: str = "remit") -> None:
    """Writes `[storage]` into the project's `remit.toml`."""
    lines = [f'url = "{without_password(url, root)}"', f'password_file = "{PASSWORD}"', f'schema = "{schema}"']
    file = root / "remit.toml"
    file.write_text(file.read_text() + "\n[storage]\n" + "\n".join(lines) + "\n")
