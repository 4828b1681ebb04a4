"""docs/threat-model.md: every test that it names is there, and everything that `remit doctor` refers to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from remit.app.doctor.exposure import THREAT_MODEL

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / THREAT_MODEL).read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_it_names_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in names


def test_every_attack_names_a_test() -> None:
    attacks = PAGE.partition("## Attacks considered")[2]
    rows = [line for line in attacks.splitlines() if line.startswith("| ") and not line.startswith("| attack ")]
    assert len(rows) > 30
    assert all("::test_" in row for row in rows)


@pytest.mark.parametrize("section", ["Same user", "Separate users", "Separate hosts", "Upstreams"])
def test_what_doctor_points_to_is_there(section: str) -> None:
    assert re.search(rf"^##+ {section}$", PAGE, re.MULTILINE)
