"""`remit check` says what each temporal clause means and keeps, with its line, and refuses one without a bound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remit.cli.main import cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "support"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "support"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".remit", "__pycache__"))
    return folder


def remit(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(project), *arguments])


def test_each_clause_is_a_line_with_its_place(project: Path) -> None:
    result = remit(project, "check")
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("policies/workload/exports.dw:"))
    assert 'the number of times within 1 h that "support/export_customer" was permitted' in line
    assert line.endswith("keeps each of its times, at most 1 h")


def test_in_json_each_clause_says_how_far_it_looks_back(project: Path) -> None:
    clauses = json.loads(remit(project, "check", "--json").output)["clauses"]
    found = {clause["policy"]: clause for clause in clauses}
    steps = found["export-needs-its-steps"]
    assert steps["path"] == "policies/export.dw"
    assert "temporal {" in (project / steps["path"]).read_text().splitlines()[steps["line"] - 1]
    assert steps["reachMs"] == (30 + 60 + 120) * 60_000
    assert steps["keeps"] == "keeps 3 times per customer, at most 2 h"
    assert steps["looksThrough"] == ""


def test_what_is_looked_through_says_why(project: Path) -> None:
    (project / "policies" / "odd.dw").write_text(
        'forbid (principal, action == Remit::Action::"support/export_customer", resource) when temporal {\n'
        '  formerly within 1h (!Remit::Action::"support/obtain_consent"::response{'
        "input.customer: context.input.customer})\n};\n"
    )
    clauses = json.loads(remit(project, "check", "--json").output)["clauses"]
    odd = next(clause for clause in clauses if clause["path"] == "policies/odd.dw")
    assert "no field of an event tells" in odd["looksThrough"]
    assert odd["keeps"].startswith("keeps every event of the last 1 h, at most 10,000, and looks through them")


def test_windows_that_add_up_to_too_much_are_refused_at_their_line(project: Path) -> None:
    text = 'Remit::Action::"support/obtain_consent"::response{}'
    for _ in range(14):
        text = f"formerly within 30d ({text})"
    (project / "policies" / "long.dw").write_text(
        'forbid (principal, action == Remit::Action::"support/export_customer", resource) when temporal {\n'
        f"  {text}\n}};\n"
    )
    result = remit(project, "check")
    assert result.exit_code != 0
    assert "looks back 420 days" in result.output
    assert "policies/long.dw:2" in result.output
