"""`python -m bench engine`: it runs, all engines decide alike, and everything is measured. No test asserts a speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_quick_run_has_a_row_for_everything() -> None:
    command = [sys.executable, "-m", "bench", "engine", "--json", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert (told["bench"], told["claims"]) == ("engine", [])
    for count in (10, 200):
        rows = {row["what"]: row for row in told["rows"] if row["policies"] == count}
        assert list(rows) == [
            "typed, request checked",
            "dynamic",
            "cedarpy, right slice",
            "cedarpy, whole set",
            "typed, request checked, no scopes",
            "dynamic, no scopes",
            "agent-governance-toolkit",
        ]
        assert all(row["p50_us"] > 0 and row["n"] > 0 for row in rows.values())
