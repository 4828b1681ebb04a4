"""Records that were moved elsewhere are marked so: nobody decides on them any more, and they can still be read."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from remit.core.errors import Conflict
from remit.storage.postgres_link import Db


def moved(shown: str, place: str) -> Conflict:
    """The refusal of records that stand at `place` now."""
    # SECURITY: two copies of one history would each spend its limits.
    return Conflict(
        "records_moved",
        f"the records at `{shown}` were moved to `{place}`",
        "correct `[storage]` in `remit.toml`; processes that share records share the file",
    )


def sqlite_moved_to(path: Path) -> str:
    """Where the records of a SQLite database were moved to; empty where they were not."""
    if not path.exists():
        return ""
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
    try:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'moved'").fetchone() is None:
            return ""
        return str(db.execute("SELECT place FROM moved").fetchone()[0])
    finally:
        db.close()


async def postgres_moved_to(db: Db) -> str:
    """The same of a PostgreSQL database."""
    if await db.fetchval("SELECT to_regclass('moved')") is None:
        return ""
    return str(await db.fetchval("SELECT place FROM moved"))


def check_not_moved(path: Path) -> None:
    """`Conflict("records_moved")` where the records of a SQLite database stand elsewhere now."""
    try:
        place = sqlite_moved_to(path)
    except sqlite3.Error:
        return  # opening it says more
    if place:
        raise moved(str(path), place)
