"""The process is killed when it begins a write, a flush or a rename: the very next one is missing, nothing else."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.faults.conftest import TIMES, Recorded
from tests.faults.running import LOG, acknowledged_in, go_on, run_victim
from tests.faults.victim import make_project

KILLS: Final = 30 * TIMES


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", range(KILLS))
def test_killed_at_any_change_of_the_disk(recorder: Path, recorded: Recorded, tmp_path: Path, part: int) -> None:
    """One half at the first start, the other half on an installation that was there."""
    chance = random.Random(part)
    root = tmp_path / "project"
    make_project(root)
    if part % 2:
        assert run_victim(root, 2, recorder).returncode == 0
    at = chance.randrange(1, len(recorded.changes) // (1 if part % 2 else 2))
    killed = run_victim(root, 20, recorder, kill_at=at)
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    seen = root / LOG / "checkpoint"
    left = go_on(root, acknowledged_in(root), seen.read_bytes() if seen.exists() else b"")
    assert left.whole, (at, left)


@pytest.mark.timeout(120)
def test_killed_again_and_again_while_it_recovers(recorder: Path, before: Path, tmp_path: Path) -> None:
    root = shutil.copytree(before, tmp_path / "project")
    for at in range(3, 300, 37):
        killed = run_victim(root, 20, recorder, kill_at=at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = go_on(root, acknowledged_in(root), (root / LOG / "checkpoint").read_bytes())
    assert left.whole, left
