"""The benchmark of temporal clauses, run quickly: it measures, and its verdicts are those of the reference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_clauses_beside_the_reference_with_the_same_verdicts() -> None:
    command = [sys.executable, "-m", "bench", "temporal", "--json", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=True)
    told = json.loads(done.stdout)
    assert told["bench"] == "temporal"
    rows = {(row["what"], row["events"]): row for row in told["rows"]}
    assert rows["remit", 10]["p50_us"] > 0
    assert rows["remit", 10]["rows_held"] < rows["remit", 1_000]["rows_held"] <= 1_010
    assert rows["reference", 1_000]["p50_us"] > rows["reference", 10]["p50_us"]
    assert rows["verdicts as the reference's", 500]["decisions"] > 100
    assert [claim["op"] for claim in told["claims"]] == ["<=", ">="]
