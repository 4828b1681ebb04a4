"""The peer that evaluates rules for agents, Microsoft's agent-governance-toolkit, in a process of its own.

`python -m bench.agt COUNT CALLS` prints one JSON line: the median time of one decision, and how many were timed. The
call matches one rule that allows, the last of so many.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Final

from bench.result import percentile

VERSION: Final = "5.0.0"
FOLDER: Final = Path(__file__).parents[1] / ".venv" / "agt"  # where `tools/setup.sh` puts it: its needs are not ours
SECONDS: Final = 20.0


def measured(count: int, calls: int) -> dict[str, Any]:
    """One decision with so many rules, measured in a process that can see the peer."""
    if not FOLDER.is_dir():
        raise SystemExit("the agent-governance-toolkit is missing: run `make test` once, or `bash tools/setup.sh dev`")
    command = [sys.executable, "-m", "bench.agt", str(count), str(calls)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the agent-governance-toolkit failed: {done.stderr[-500:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def rules(count: int) -> str:
    """Rules that each allow one action up to an amount (JSON is YAML)."""
    named = [
        {
            "name": f"rule-{number}",
            "condition": f"action.type == 'tool_{number}' and amount.value <= 1000",
            "action": "allow",
        }
        for number in range(count)
    ]
    head = {"apiVersion": "governance.toolkit/v1", "name": "bench", "default_action": "deny"}
    return json.dumps({**head, "rules": named})


def _main(count: int, calls: int) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.path.insert(0, str(FOLDER))
    from agentmesh.governance.policy import PolicyEngine

    engine = PolicyEngine(conflict_strategy="deny_overrides")
    engine.load_yaml(rules(count)).agents = ["*"]
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < calls and time.perf_counter() - began < SECONDS:
        context = {"action": {"type": f"tool_{count - 1}"}, "amount": {"value": 12}}
        started = time.perf_counter()
        is_allowed = engine.evaluate("agent-1", context).allowed
        times.append(time.perf_counter() - started)
        if not is_allowed:
            raise SystemExit("the peer denied what its rule allows")
    print(json.dumps({"p50_us": round(percentile(times, 0.5) * 1e6, 1), "n": len(times)}))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
