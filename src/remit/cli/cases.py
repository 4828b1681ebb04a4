"""`remit test`: runs the decision cases of the folder."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.app.cases import AnyCase, chosen, load_cases
from remit.app.trial import Result, run_cases
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console.screen import printable, screen
from remit.core.errors import InvalidInput, NotFound


@click.command()
@click.option("-k", "pattern", default="", metavar="TEXT", help="Only cases whose name or file has TEXT in it.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report to this file.")
@options.project
@options.as_json
@click.pass_context
@reported
def test(context: click.Context, pattern: str, junit: Path | None, project: Path | None, as_json: bool) -> None:
    """Run the decision cases in tests/*.yaml: given what happened, when this is asked, expect this answer.

    Each case runs in a temporary installation of this folder's configuration with a clock of its own; the records
    of this folder are not touched. The exit code is 1 when a case fails.

    \b
    Examples:
      remit test
      remit test -k payment --junit report.xml
    """
    folder = options.folder_of(context, project)
    cases = load_cases(folder.root / "tests")
    found = chosen(cases, pattern)
    if not found:
        message = f"no case has `{pattern[:64]}` in its name" if cases else "there are no cases in `tests/*.yaml`"
        raise NotFound("no_cases", message, "write one: docs/guides/cases.md shows how")
    console = screen()
    told = (lambda _: None) if as_json else (lambda result: _tell(console, folder.root, result))
    results = asyncio.run(run_cases(folder, found, told))
    if junit is not None:
        _write_junit(junit, results)
    failed = sum(not result.passed for result in results)
    if as_json:
        summary = {"cases": results, "passed": len(results) - failed, "failed": failed}
        click.echo(msgspec.json.encode(summary).decode())
    else:
        _sum_up(console, results, found, cases)
    if failed:
        sys.exit(FAILED)


def _tell(console: Console, root: Path, result: Result) -> None:
    mark = Text("ok    ", style="green") if result.passed else Text("wrong ", style="bold red")
    where = f"{_relative(root, result.path)}:{result.line}"
    console.print(Text.assemble(mark, (f"{where:<28} ", "dim"), printable(result.name)), soft_wrap=True)
    if result.passed:
        return
    if result.error:
        console.print(Text(f"        {printable(result.error)}"), soft_wrap=True)
        if result.next_step:
            console.print(Text.assemble(("        next: ", "cyan"), printable(result.next_step)), soft_wrap=True)
    for each in result.differences:
        console.print(Text(f"        {each.what}", style="bold"))
        console.print(Text(f"          expected  {_shown(each.expected)}", style="green"), soft_wrap=True)
        console.print(Text(f"          got       {_shown(each.got)}", style="red"), soft_wrap=True)
    if result.answer:
        console.print(Text(f"        it was answered: {printable(result.answer)}", style="dim"), soft_wrap=True)
    for policy in result.policies:
        console.print(Text(f"        decided by {printable(policy)}", style="dim"), soft_wrap=True)


def _sum_up(console: Console, results: list[Result], ran: list[AnyCase], cases: list[AnyCase]) -> None:
    failed = sum(not result.passed for result in results)
    seconds = sum(result.seconds for result in results)
    left = f", {len(cases) - len(ran)} not chosen" if len(cases) > len(ran) else ""
    said = f"{len(results) - failed} passed, {failed} failed{left}, in {seconds:.1f} s"
    console.print(Text(f"\n{said}", style="bold red" if failed else "bold green"))


def _shown(value: Any) -> str:
    return printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _relative(root: Path, path: str) -> str:
    return os.path.relpath(path, root)


def _write_junit(path: Path, results: list[Result]) -> None:
    """One `testsuite` for each file."""
    top = ElementTree.Element("testsuites")
    suites: dict[str, ElementTree.Element] = {}
    for result in results:
        name = Path(result.path).name
        if name not in suites:
            suites[name] = ElementTree.SubElement(top, "testsuite", name=name)
        case = ElementTree.SubElement(
            suites[name],
            "testcase",
            name=printable(result.name),
            classname=Path(result.path).stem,
            file=result.path,
            line=str(result.line),
            time=f"{result.seconds:.3f}",
        )
        if result.passed:
            continue
        lines = [
            f"{each.what}: expected {_shown(each.expected)}, got {_shown(each.got)}" for each in result.differences
        ]
        kind = "error" if result.error else "failure"
        told = ElementTree.SubElement(case, kind, message=printable(result.error or "; ".join(lines))[:1024])
        told.text = "\n".join([*lines, printable(result.error), printable(result.answer)]).strip()
    for name, suite in suites.items():
        mine = [result for result in results if Path(result.path).name == name]
        suite.set("tests", str(len(mine)))
        suite.set("failures", str(sum(not each.passed and not each.error for each in mine)))
        suite.set("errors", str(sum(bool(each.error) for each in mine)))
        suite.set("time", f"{sum(each.seconds for each in mine):.3f}")
    try:
        ElementTree.ElementTree(top).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InvalidInput("report_unwritable", f"can't write `{path}`: {error.strerror}") from None
