"""`docs/guides/operating.md` is kept true: its commands, alarms, metrics, unit, filter and sizes."""

from __future__ import annotations

import ast
import asyncio
import configparser
import re
import shlex
import shutil
import sqlite3
from pathlib import Path

import click
import pytest

from bench.installation import ACTION, INPUT, grant, installation, write_project
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import open_installation
from remit.cli.main import cli
from remit.console.history import Line
from remit.core.decisions import Outcome
from tests.docs.test_metrics import named
from tests.postgres import PostgresServer
from tests.storage.places import use_postgres
from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/operating.md").read_text("utf-8")
CALLS = 300


def alarms() -> set[str]:
    """Every line that the source logs as an alarm, with `…` for what varies."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("ALARM "):
                found.add(re.sub(r"%[sda]", "…", node.value))
    return found


def test_every_alarm_stands_on_the_page() -> None:
    assert set(re.findall(r"^\| `(ALARM [^`]+)` \|", PAGE, re.MULTILINE)) == alarms()


def test_its_metrics_are_those_of_the_reference() -> None:
    assert named("docs/guides/operating.md") <= named("docs/reference/http.md")


def test_the_unit_starts_the_service() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser documents it
    unit.read_string(re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)[0])
    program, command, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program == "/opt/remit/bin/remit"
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    assert found.make_context(command, arguments).params["plain"]


def test_the_filter_of_the_log_names_its_fields() -> None:
    fields = re.findall(r"jq -r '.*?\[(.*?)\]", PAGE)[0].replace(".", "").split(", ")
    assert set(fields) <= {*Line._fields, "time"}


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed here")
def test_its_commands_print_what_it_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/operating.md`\n" + "\n".join(differences)


def test_its_sizes_are_measured(postgres: PostgresServer, tmp_path: Path) -> None:
    permit, outcome, call = asyncio.run(sizes())
    on_postgres = asyncio.run(size_on_postgres(postgres, tmp_path))
    rows = dict(re.findall(r"^\| (the [^|]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE))
    said = {name: int(value.replace(",", "")) for name, value in rows.items()}
    assert said["the record of a permit"] == pytest.approx(permit, rel=0.1)
    assert said["the record of its outcome"] == pytest.approx(outcome, rel=0.1)
    assert said["the database, for one governed call (both, with their index)"] == pytest.approx(call, rel=0.15)
    assert said["the PostgreSQL database, for one governed call (likewise)"] == pytest.approx(on_postgres, rel=0.15)


async def sizes() -> tuple[float, float, float]:
    """Mean bytes of a permit's record, of its outcome's, and of what one governed call adds to the database."""
    async with installation(10) as opened:
        point = Embedded(opened, "pep/point", owns=False)
        held = await grant(opened)
        with sqlite3.connect(opened.folder.database) as database:

            def size() -> int:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                return opened.folder.database.stat().st_size

            before = size()
            for _ in range(CALLS):
                decision = await point.authorize(held, ACTION, INPUT)
                outcome = Outcome(decision=decision.id, digest=decision.digest, result="response", started=decision.at)
                await point.report(outcome)
            after = size()
            mean = dict(database.execute("SELECT kind, avg(length(bytes)) FROM records GROUP BY kind"))
        database.close()
    return mean["decision"], mean["outcome"], (after - before) / CALLS


async def size_on_postgres(postgres: PostgresServer, root: Path) -> float:
    """Mean bytes of what one governed call adds to a PostgreSQL database, with indexes."""
    url = postgres.database()
    write_project(root, 10)
    use_postgres(root, url)
    sql = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
    opened = await open_installation(Folder(root))
    try:
        point = Embedded(opened, "pep/point", owns=False)
        grants = [await grant(opened) for _ in range(16)]
        before = int(postgres.sql(sql + "'remit'::regnamespace", url)[0])

        async def call(number: int) -> None:
            for _ in range(CALLS // 4):
                decision = await point.authorize(grants[number], ACTION, INPUT)
                outcome = Outcome(decision=decision.id, digest=decision.digest, result="response", started=decision.at)
                await point.report(outcome)

        await asyncio.gather(*(call(number) for number in range(16)))
        after = int(postgres.sql(sql + "'remit'::regnamespace", url)[0])
    finally:
        await opened.close()
    return (after - before) / (16 * (CALLS // 4))
