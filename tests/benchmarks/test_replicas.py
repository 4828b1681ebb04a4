"""`python -m bench replicas`: it runs, and says where the time goes. No test asserts a speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from remit.storage.spent import STEPS

ROOT = Path(__file__).parents[2]


def test_the_quick_run_has_a_row_for_everything() -> None:
    command = [sys.executable, "-m", "bench", "replicas", "--json", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert (told["bench"], told["claims"]) == ("replicas", [])
    rows = {(row["what"], row["connections"]): row for row in told["rows"]}
    assert set(rows) == {
        (what, connections)
        for what in ("plain inserts, a row a commit", "many tasks", "one task")
        for connections in (2, 4)
    }
    for (what, connections), row in rows.items():
        assert row["per_second"] > 0
        if what.startswith("plain"):
            continue
        assert row["processes"] == connections // 2
        assert row["per_batch"] >= 1
        assert all(row[f"{step}_ms"] > 0 for step in STEPS)
        assert all(row[f"{side}_cpu_us"] > 0 for side in ("services", "database", "clients"))
