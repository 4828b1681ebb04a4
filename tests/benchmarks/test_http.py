"""`python -m bench http`: it runs, everything is measured, and both sides answer the same. No test asserts a speed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from bench import cerbos, rules, served
from bench.processes import Process
from remit.app.project import load_project
from remit.policy.general import Named, Question

ROOT = Path(__file__).parents[2]
GUARDS = 80  # two for each kind: one about reading, one about writing


def test_the_quick_run_has_a_row_for_everything() -> None:
    command = [sys.executable, "-m", "bench", "http", "--json", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert told["bench"] == "http"
    assert [claim["bound"] for claim in told["claims"]] == [1, 1]
    assert [row["what"] for row in told["rows"]] == [
        "a constant, wrk",
        "a constant, mTLS, own client",
        "Cerbos, audit log off",
        "Cerbos, audit log on",
        "Remit, question, bearer key",
        "Remit, question, DPoP",
        "Remit, question, mTLS, own client",
        "Remit, probe under a task",
        "Remit, authorize, durable",
    ]
    for row in told["rows"]:
        assert row["per_second"] > 0
        assert row["p50_ms"] <= row["p99_ms"]
        assert ("of_cerbos" in row) is (row["policies"] > 0)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with cerbos.served(tmp_path_factory.mktemp("cerbos"), GUARDS, audit=False) as running:
        yield running


def asked(**changes: Any) -> dict[str, Any]:
    """The benchmark's question, with other properties."""
    question = json.loads(json.dumps(rules.QUESTION))
    for name, value in changes.items():
        if name in ("department", "level"):
            question["subject"]["properties"][name] = value
        elif name == "action":
            question["action"]["name"] = value
        elif name == "kind":
            question["resource"]["type"] = f"document_{value}"
        else:
            question["resource"]["properties"][name] = value
    return question


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (asked(), True),
        (asked(kind=39), True),
        (asked(amount=1999), True),
        (asked(amount=2000), False),
        (asked(department="finance"), False),
        (asked(action="write"), False),
        (asked(region="blocked-0"), False),
        (asked(region="blocked-1"), True),  # a guardrail of another kind
        (asked(region="blocked-40"), True),  # one about writing
        (asked(kind=1, region="blocked-1"), False),
        (asked(level=100), True),
        (asked(level=101), False),
    ],
)
def test_both_sides_decide_alike(peer: Process, tmp_path: Path, question: dict[str, Any], expected: bool) -> None:
    sent = Request(
        f"{peer.url}/access/v1/evaluation", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(sent, timeout=10) as answer:
        assert json.load(answer)["decision"] is expected
    assert ours(tmp_path, question) is expected


def ours(root: Path, question: dict[str, Any]) -> bool:
    _, configuration = load_project(served.write(root / "project", GUARDS))
    subject, resource = question["subject"], question["resource"]
    put = Question(
        subject=Named(subject["type"], subject["id"], subject["properties"]),
        action=question["action"]["name"],
        action_properties={},
        resource=Named(resource["type"], resource["id"], resource["properties"]),
        context={},
    )
    return configuration.policies.general.evaluate(put).permitted
