"""`python -m bench load`: it runs, and every policy is loaded each time. No test asserts a speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.load import QUICK

ROOT = Path(__file__).parents[2]


def test_the_quick_run_has_a_row_for_everything() -> None:
    command = [sys.executable, "-m", "bench", "load", "--json", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert (told["bench"], told["claims"]) == ("load", [])
    *loads, quiet, reloading = told["rows"]
    assert [row["what"] for row in loads] == [
        "cold",
        "unchanged, by the cache",
        "10 changed, by the cache",
        "10 changed, loaded before",
    ]
    assert all(row["policies"] >= QUICK and row["seconds"] > 0 and row["cpu_s"] > 0 for row in loads)
    for row in (quiet, reloading):
        assert row["requests"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"] + 0.1
    assert reloading["seconds"] > 0
