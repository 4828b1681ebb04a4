"""What people do by mistake: a clock set back, two services on one folder, an old backup restored."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.installation import ACTION, INPUT
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import open_installation
from remit.app.publishing import open_publisher
from remit.core.errors import Conflict, RemitError
from tests.faults.running import LOG, acknowledged_in, copied, go_on, run_victim
from tests.faults.victim import start


@pytest.mark.parametrize("minutes", [1, 60, 60 * 24 * 400])
def test_a_clock_that_was_set_back_permits_nothing(before: Path, tmp_path: Path, minutes: int) -> None:
    root = copied(before, tmp_path / "project")
    seen = (root / LOG / "checkpoint").read_bytes()
    with sqlite3.connect(root / ".remit/remit.db") as db:
        (last,) = db.execute("SELECT max(t) FROM records").fetchone()
    db.close()

    async def decide() -> None:
        opened = await open_installation(Folder(root), lambda: last - minutes * 60_000)
        try:
            point = Embedded(opened, "pep/point", owns=False)
            decision = await point.authorize(await start(opened), ACTION, INPUT)
            assert not decision.permitted
        finally:
            await opened.close()

    with pytest.raises(RemitError, match="clock moved back"):
        asyncio.run(decide())
    left = go_on(root, acknowledged_in(root), seen)
    assert left.whole, left


def test_a_second_service_on_one_folder_is_refused(before: Path, tmp_path: Path) -> None:
    root = copied(before, tmp_path / "project")
    code = (
        "import asyncio, sys, pathlib\nfrom remit.app.folder import Folder\n"
        "from remit.app.installation import open_installation\n"
        "async def main():\n await open_installation(Folder(pathlib.Path(sys.argv[1])))\n print('open', flush=True)\n"
        " sys.stdin.read()\nasyncio.run(main())\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"open\n"
        left = go_on(root, ())
        assert left.refused is not None
        assert left.refused.code == "folder_in_use"
    finally:
        first.kill()
        first.communicate()
    assert go_on(root, acknowledged_in(root)).whole


def test_records_restored_without_the_log_are_refused(before: Path, tmp_path: Path, recorder: Path) -> None:
    """The log has entries that the records do not have any more."""
    root = copied(before, tmp_path / "project")
    backup = copied(root, tmp_path / "backup")
    assert run_victim(root, 4, recorder).returncode == 0
    for name in ("remit.db", "remit.db-wal"):
        (root / ".remit" / name).unlink(missing_ok=True)
    shutil.copy2(backup / ".remit/remit.db", root / ".remit/remit.db")
    if (backup / ".remit/remit.db-wal").exists():
        shutil.copy2(backup / ".remit/remit.db-wal", root / ".remit/remit.db-wal")
    left = go_on(root, ())
    assert left.refused is not None
    assert left.refused.code in ("log_ahead", "log_forked")


def test_a_copy_that_went_its_own_way_can_not_publish_into_the_log(before: Path, tmp_path: Path) -> None:
    """Two histories under one key: the one that comes second is refused."""
    root = copied(before, tmp_path / "project")
    copy = copied(root, tmp_path / "copy")
    assert go_on(root, acknowledged_in(root)).whole
    assert go_on(copy, acknowledged_in(copy)).whole
    shutil.rmtree(copy / LOG)
    shutil.copytree(root / LOG, copy / LOG)

    async def publish() -> None:
        opened = await open_installation(Folder(copy))
        try:
            await asyncio.to_thread(open_publisher, opened.folder, opened.settings)
        finally:
            await opened.close()

    with pytest.raises((Conflict, RemitError)) as raised:
        asyncio.run(publish())
    assert raised.value.code in ("log_ahead", "log_forked", "records_damaged")
