"""The benchmark of filters, run quickly: it asks, and its questions find something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_index_and_answers_beside_plain_sql() -> None:
    command = [sys.executable, "-m", "bench", "filters", "--json", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=True)
    told = json.loads(done.stdout)
    assert told["bench"] == "filters"
    rows = {row["what"]: row for row in told["rows"]}
    assert rows["records"]["entries"] == 100_000
    assert 1 < rows["index"]["bytes_per_entry"] < 40
    assert 0 < rows["of these, fewer lines than asked for"]["questions"] < rows["last 20 by filters"]["questions"]
    assert rows["plain SQL, decisions only"]["p50_ms"] > 0
    assert [claim["op"] for claim in told["claims"]] == ["<=", "<="]
