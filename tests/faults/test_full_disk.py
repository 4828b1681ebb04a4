"""The disk is full, for a while or for good: nothing is acknowledged that is not there, and it goes on by itself."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.faults.conftest import TIMES, Recorded
from tests.faults.running import LOG, acknowledged_in, go_on, run_victim

FULL: Final = 20 * TIMES


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", range(FULL))
def test_a_full_disk_loses_nothing_acknowledged(
    recorder: Path, recorded: Recorded, before: Path, tmp_path: Path, part: int
) -> None:
    """From any write on, for a few writes; then there is room again, and the same process goes on."""
    chance = random.Random(part)
    root = shutil.copytree(before, tmp_path / "project")
    at, writes = chance.randrange(1, len(recorded.changes) // 2), chance.choice((1, 2, 7, 30, 60))
    earlier = len(acknowledged_in(root))
    ended = run_victim(root, 20, recorder, full_at=at, full_for=writes)
    # At its very start it may say that it can't start; once it runs, it goes on.
    assert ended.returncode == 0 or "Unavailable" in ended.stderr, ended.stderr
    if ended.returncode == 0:
        assert len(acknowledged_in(root)) > earlier
    left = go_on(root, acknowledged_in(root), (root / LOG / "checkpoint").read_bytes())
    assert left.whole, (at, writes, left)


@pytest.mark.timeout(120)
def test_a_disk_that_stays_full_acknowledges_nothing_more(recorder: Path, before: Path, tmp_path: Path) -> None:
    root = shutil.copytree(before, tmp_path / "project")
    earlier = acknowledged_in(root)
    ended = run_victim(root, 20, recorder, full_at=60, full_for=1_000_000)
    assert ended.returncode == 0 or "Unavailable" in ended.stderr, ended.stderr
    assert "ALARM" in ended.stderr
    assert len(acknowledged_in(root)) - len(earlier) < 20
    left = go_on(root, acknowledged_in(root), (root / LOG / "checkpoint").read_bytes())
    assert left.whole, left
