"""A file is damaged while nothing runs: the service refuses to start and says so, or nothing of it mattered."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from remit.app.folder import Folder
from remit.app.publishing import signer_of
from remit.core.settings import read_settings
from remit.ledger.tlog.folder import published
from remit.ledger.tlog.tiles import CHECKPOINT, bundles_of, tiles_of
from tests.faults.conftest import TIMES
from tests.faults.running import LOG, Left, acknowledged_in, go_on

DAMAGES: Final = 30 * TIMES
PAGE: Final = 4096


@pytest.fixture
def root(before: Path, tmp_path: Path) -> Path:
    """An installation that ran, its write-ahead log in its database."""
    root = shutil.copytree(before, tmp_path / "project")
    with sqlite3.connect(root / ".remit/remit.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return root


def _is_refused_or_whole(left: Left) -> bool:
    if left.refused is None:
        return left.whole
    return bool(left.refused.code and left.refused.message and left.refused.next_step)


@pytest.mark.parametrize("part", range(DAMAGES))
def test_a_damaged_page_of_the_records(root: Path, part: int) -> None:
    """A page is overwritten, zeroed, or loses one bit."""
    chance = random.Random(part)
    file = root / ".remit/remit.db"
    data = bytearray(file.read_bytes())
    start = chance.randrange(len(data) // PAGE) * PAGE
    match part % 3:
        case 0:
            data[start : start + PAGE] = chance.randbytes(PAGE)
        case 1:
            data[start : start + PAGE] = bytes(PAGE)
        case _:
            data[start + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    left = go_on(root, acknowledged_in(root), (root / LOG / "checkpoint").read_bytes())
    assert _is_refused_or_whole(left), (start // PAGE, left)


@pytest.mark.parametrize("part", range(10 * TIMES))
def test_one_digit_of_one_record_is_changed(root: Path, part: int) -> None:
    """The database itself finds nothing wrong with it; the published log has another hash."""
    chance = random.Random(part)
    with sqlite3.connect(root / ".remit/remit.db") as db:
        seq, data = chance.choice(db.execute("SELECT seq, bytes FROM records").fetchall())
        places = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
        place = chance.choice(places)
        changed = data[:place] + str((int(chr(data[place])) + 1) % 10).encode() + data[place + 1 :]
        db.execute("UPDATE records SET bytes = ? WHERE seq = ?", (changed, seq))
    db.close()
    left = go_on(root, ())
    assert left.refused is not None
    assert left.refused.code == "records_damaged"


@pytest.mark.parametrize("part", range(10 * TIMES))
def test_a_damaged_file_of_the_log(root: Path, part: int) -> None:
    """The verifier finds it, or the service can't go on from it and says so, or it was written anew."""
    chance = random.Random(part)
    log = root / LOG
    signed = published(log, signer_of(Folder(root), read_settings(root)).key)
    assert signed is not None
    size = signed.checkpoint.size
    needed = [tile.path for tile in (*bundles_of(size), *tiles_of(size))]
    file = chance.choice([log / CHECKPOINT, *(log / path for path in needed), *sorted((log / "texts").iterdir())])
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    left = go_on(root, acknowledged_in(root))
    assert left.refused is not None or left.findings or left.whole, (file, left)
    if left.refused is None and not left.findings:
        assert not file.exists() or file.read_bytes() != bytes(data), file


def test_a_row_that_was_deleted(root: Path) -> None:
    with sqlite3.connect(root / ".remit/remit.db") as db:
        db.execute("DELETE FROM records WHERE seq = 7")
    db.close()
    left = go_on(root, ())
    assert left.refused is not None
    assert left.refused.code == "records_damaged"
