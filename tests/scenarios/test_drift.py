"""The example of drift, from its cases to the whole play on real servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit.app.cases import load_cases
from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.app.trial import run_cases

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "drift"


def test_the_cases_hold() -> None:
    results = asyncio.run(run_cases(Folder(EXAMPLE), load_cases(EXAMPLE / "tests")))
    assert len(results) >= 15
    assert [result for result in results if not result.passed] == []


def bodies(folder: Folder, kind: str) -> list[dict[str, Any]]:
    with reader_of(folder) as reader:
        return [stored.record.body for stored in reader.records(kinds=(kind,))]


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder with a short name: the service's socket stands in it."""
    with tempfile.TemporaryDirectory(prefix="remit-e2e-") as name:
        yield Path(name)


@pytest.mark.timeout(300)
def test_the_play_on_real_servers(root: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(root), "PYTHONPATH": str(ROOT), "COLUMNS": "150"}
    played = subprocess.run(
        [sys.executable, "-m", "examples.drift.demo"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stderr == ""
    (folder,) = (Folder(made / "research") for made in root.glob("remit-drift-*"))
    decisions = bodies(folder, "decision")
    denied = [each for each in decisions if each["effect"] == "deny"]
    assert [each["reason"]["code"] for each in denied] == ["unusual_tool", "new_destination", "identity_quarantined"]
    for each in denied[:2]:
        assert each["requestable"]["approvals"][0]["by"] == ["group:research-leads"]
    assert denied[0]["context"]["novelty"]["tool"] in range(80, 100)  # rarely used, and not never
    assert denied[1]["context"]["novelty"]["destination"] == 100
    raised = [(each["signal"], each["value"], each["decision"]) for each in bodies(folder, "risk") if each["value"]]
    assert raised == [("novelty", 40, denied[0]["id"]), ("novelty", 80, denied[1]["id"])]
    states = [(each["registration"]["state"], each["by"]) for each in bodies(folder, "identity")]
    assert ("quarantined", "spiffe://research.example/remit") in states
    # The past is made of calls that were permitted, answered and reported.
    assert sum(each["effect"] == "permit" for each in decisions) > 120
    assert len({each["day"] for each in bodies(folder, "practice")}) >= 21
    shown = played.stdout
    assert "A person could approve this" in shown
    assert "it counts: tool notes/directory_tree, destination paste.example" in shown
    assert shown.count("agent: fetch_page done") == 3  # on the ordinary day, before the drift, and after the way back
