"""A power cut at any write, flush or rename: what was acknowledged is there, and no two checkpoints contradict."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final, get_args

import pytest

from tests.faults.conftest import TIMES, Recorded
from tests.faults.disk import Change, How, lay_out, states
from tests.faults.running import LOG, go_on
from tests.faults.victim import ACKNOWLEDGED

CUTS: Final = 6  # states of one test
TESTS: Final = 25 * TIMES
_CHECKPOINT: Final = f"{LOG}/checkpoint"


def _acknowledged(change: Change) -> list[str]:
    return change.data.decode().split() if change.path == ACKNOWLEDGED and change.kind == "w" else []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(TESTS))
def test_a_power_cut_loses_nothing_acknowledged(recorded: Recorded, tmp_path: Path, part: int) -> None:
    """All that was written, nothing that was not flushed, or any part of that, is on the disk afterwards."""
    chance = random.Random(part)
    cuts = sorted(chance.sample(range(len(recorded.changes) + 1), CUTS))
    hows: list[How] = [get_args(How)[(part + number) % 3] for number in range(CUTS)]
    acknowledged: list[str] = []
    seen = b""  # the checkpoint that an outsider could have read last
    for number, disk in states(recorded.start, recorded.changes):
        if number:
            change = recorded.changes[number - 1]
            acknowledged += _acknowledged(change)
            if change.kind == "r" and change.data.decode() == _CHECKPOINT:
                seen = disk.left("kept", chance)[_CHECKPOINT]
        if number not in cuts:
            continue
        how = hows[cuts.index(number)]
        root = tmp_path / f"{number}-{how}"
        lay_out({path: data for path, data in disk.left(how, chance).items() if path != ACKNOWLEDGED}, root)
        (root / ".remit").mkdir(mode=0o700, exist_ok=True)
        left = go_on(root, acknowledged, seen)
        assert left.whole, (number, how, left)


def test_a_missing_flush_would_be_found(recorded: Recorded, tmp_path: Path) -> None:
    """What this would look like if records were acknowledged before they were flushed."""
    changes = [each for each in recorded.changes if not (each.kind == "s" and each.path.endswith("-wal"))]
    disk = next(disk for number, disk in states(recorded.start, changes) if number == len(changes) // 2)
    acknowledged = [id_ for change in changes[: len(changes) // 2] for id_ in _acknowledged(change)]
    lay_out(disk.left("lost", random.Random(0)), tmp_path / "project")
    left = go_on(tmp_path / "project", acknowledged)
    assert not left.whole
