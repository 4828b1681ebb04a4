"""Moves the records of a folder between SQLite and PostgreSQL, and says or writes where they are looked for then."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Final

import msgspec

from remit.app.folder import Folder
from remit.app.settings_file import change_storage, storage_lines, storage_text
from remit.core.clock import system_clock
from remit.core.errors import Conflict, InvalidInput
from remit.core.settings import read_settings
from remit.core.storage import StorageSettings, mistake_in
from remit.storage.address import address_of
from remit.storage.lock import FolderLock
from remit.storage.migration import Migrated, Progress, migrate, summary
from remit.storage.migration_postgres import PostgresEnd, postgres_end
from remit.storage.migration_sqlite import SqliteEnd, sqlite_end

SQLITE: Final = "sqlite"
Ends = AbstractAsyncContextManager[SqliteEnd] | AbstractAsyncContextManager[PostgresEnd]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What was moved, and what `remit.toml` must say for it to be used."""

    done: Migrated
    settings: list[str]  # the lines of `[storage]`
    switched: bool  # whether they stand there now


def place_of(to: str, *, password_file: str = "", schema: str = "", unencrypted: bool = False) -> StorageSettings:
    """The storage that `sqlite` or a URL names; `InvalidInput("storage_invalid")` for anything else."""
    if to == SQLITE or to.startswith(f"{SQLITE}:"):
        return StorageSettings()
    if "://" not in to:
        raise InvalidInput("storage_invalid", f"`{to[:64]}` is no storage", "write `postgresql://…` or `sqlite`")
    storage = StorageSettings(
        url=to, password_file=password_file, schema=schema or StorageSettings().schema, unencrypted=unencrypted
    )
    if mistake := mistake_in(storage):
        raise InvalidInput("storage_invalid", mistake.message, mistake.next_step)
    return storage


async def move(
    folder: Folder, to: str, target: StorageSettings, *, switch: bool, progress: Progress = lambda *_: None
) -> Moved:
    """Copies the records to `target` and compares; with `switch`, `remit.toml` names it and the old ones are closed.

    `to` may be `sqlite:PATH`, which is a copy in a file and can't be switched to. Raises as `migrate`, and
    `Conflict("folder_in_use")` or `Conflict("records_in_use")` while a service runs.
    """
    settings = read_settings(folder.root)
    now = settings.storage
    elsewhere = Path(to.partition(":")[2]) if to.startswith(f"{SQLITE}:") else None
    if elsewhere is not None and switch:
        raise InvalidInput(
            "storage_invalid", f"a service keeps SQLite records at `{folder.database}` only", "give `--to sqlite`"
        )
    if elsewhere is None and (now.url, now.schema) == (target.url, target.schema):
        raise Conflict("storage_same", "the records stand there already", "name another place")
    text = storage_text(folder.root, target)  # what can't be written is found out before anything is moved
    with ExitStack() as stack:
        folder.state.mkdir(mode=0o700, exist_ok=True)
        stack.callback(FolderLock(folder.lock).release)
        async with _end(folder, now) as source, _end(folder, target, elsewhere) as other:
            if switch and await source.moved() == other.shown:
                done = await summary(source, other, copied=False)  # it was only left to write the settings
            else:
                done = await migrate(source, other, settings.trust_domain, progress)
                if switch:
                    await source.mark_moved(other.shown, system_clock())
            if switch:
                change_storage(folder.root, text)
    return Moved(done=done, settings=storage_lines(target), switched=switch)


def _end(folder: Folder, storage: StorageSettings, path: Path | None = None) -> Ends:
    if storage.url:
        return postgres_end(address_of(storage, folder.root))
    return sqlite_end(path or folder.database)
