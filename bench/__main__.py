"""`python -m bench NAME [--json]`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from rich.console import Console
from rich.table import Table

from bench.result import Result

NAMES = ("decide", "gateway", "record", "http", "replicas", "ledger", "engine", "filters", "load", "temporal")


def main() -> None:
    """Runs one benchmark and prints what it measured; a claim that does not hold is printed as such."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure one part of Remit.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: to see that it runs")
    given = parser.parse_args()
    result: Result = importlib.import_module(f"bench.{given.name}").run(quick=given.quick)
    if given.json:
        print(json.dumps(result.as_json(given.name)))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table(title=f"bench {given.name}", title_justify="left", box=None, header_style="bold")
    columns = list(dict.fromkeys(key for row in result.rows for key in row))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in result.rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    console.print(table)
    for claim in result.claims:
        colour, word = ("green", "holds") if claim.holds else ("red", "does not hold")
        console.print(f"  [{colour}]{word}[/{colour}]  {claim.name}: {claim.value} {claim.op} {claim.bound}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
