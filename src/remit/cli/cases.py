"""`remit test`: runs the decision cases of the folder."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.app import disagreements
from remit.app.cases import AnyCase, chosen, load_cases
from remit.app.coverage import Covered, PolicyCoverage
from remit.app.folder import Folder
from remit.app.trial import Difference, Result, run_covered, run_disagreements
from remit.app.watching import changes, marks
from remit.cli import options
from remit.cli.failures import FAILED, reported, tell
from remit.console.junit import junit as junit_report
from remit.console.progress import progress_bar
from remit.console.screen import printable, screen
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput, NotFound, RemitError

_ORDER: Final = ("never asked", "never matched", "never decisive")


@click.command()
@click.option("-k", "pattern", default="", metavar="TEXT", help="Only cases whose name or file has TEXT in it.")
@click.option("--coverage", "covers", is_flag=True, help="Tell which policies no case matches, or lets decide.")
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 100),
    default=None,
    metavar="PERCENT",
    help="Exit with 1 when less of the policies is covered; implies --coverage.",
)
@click.option("--watch", is_flag=True, help="Run again whenever a file of the project changes, until Ctrl-C.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report to this file.")
@options.project
@options.as_json
@click.pass_context
@reported
def test(
    context: click.Context,
    pattern: str,
    covers: bool,
    fail_under: float | None,
    watch: bool,
    junit: Path | None,
    project: Path | None,
    as_json: bool,
) -> None:
    """Run the decision cases in tests/*.yaml: given what happened, when this is asked, expect this answer.

    Each case runs in a temporary installation of this folder's configuration with a clock of its own; the records
    of this folder are not touched. The exit code is 1 when a case fails, or when coverage is below --fail-under.

    \b
    Examples:
      remit test
      remit test -k payment --junit report.xml
      remit test --coverage --fail-under 90
      remit test --watch
    """
    folder = options.folder_of(context, project)
    covers = covers or fail_under is not None
    if watch:
        if as_json or junit is not None:
            raise click.UsageError("--watch goes with neither --json nor --junit")
        _watch(folder, pattern, covers=covers)
    started = system_clock()
    cases, found = _chosen(folder, pattern)
    results, covered = _run(folder, found, pattern, covers=covers, as_json=as_json)
    if junit is not None:
        _write_junit(junit, folder, results, started)
    failed = sum(not result.passed for result in results)
    below = covered is not None and fail_under is not None and covered.percent < fail_under
    if as_json:
        summary: dict[str, Any] = {"cases": results, "passed": len(results) - failed, "failed": failed}
        if covered is not None:
            summary["coverage"] = _coverage_json(covered)
        click.echo(msgspec.json.encode(summary).decode())
    else:
        console = screen()
        if covered is not None:
            _show_coverage(console, folder.root, covered)
        _sum_up(console, results, found, cases)
    if below and covered is not None:
        click.echo(f"coverage is {covered.percent:.1f} %, and {fail_under:.1f} % is wanted", err=True)
    if failed or below:
        sys.exit(FAILED)


def _chosen(folder: Folder, pattern: str) -> tuple[list[AnyCase], list[AnyCase]]:
    cases = load_cases(folder.root / "tests")
    found = chosen(cases, pattern)
    if not found and not disagreements.files(folder.disagreements):
        message = f"no case has `{pattern[:64]}` in its name" if cases else "there are no cases in `tests/*.yaml`"
        raise NotFound("no_cases", message, "write one: docs/guides/cases.md shows how")
    return cases, found


def _run(
    folder: Folder, cases: Sequence[AnyCase], pattern: str, *, covers: bool, as_json: bool
) -> tuple[list[Result], Covered | None]:
    if not as_json:
        console = screen()
        return _run_all(folder, cases, pattern, lambda result: _tell(console, folder.root, result), covers=covers)
    done = 0
    with progress_bar() as progress:

        def count(_: Result) -> None:
            nonlocal done
            done += 1
            progress("testing", done, max(done, len(cases)))

        return _run_all(folder, cases, pattern, count, covers=covers)


def _run_all(
    folder: Folder, cases: Sequence[AnyCase], pattern: str, told: Callable[[Result], None], *, covers: bool
) -> tuple[list[Result], Covered | None]:
    """The cases, and what the service wrote down of disagreements of its two policy engines."""
    results, covered = asyncio.run(run_covered(folder, cases, told, covers=covers))
    return results + run_disagreements(folder, pattern, told), covered


# --- watching ---------------------------------------------------------------------------------------------------


def _watch(folder: Folder, pattern: str, *, covers: bool) -> None:
    """Runs the cases after each change: first those that failed or that the change is about, then the others."""
    console = screen()
    before: dict[tuple[str, str], Result] = {}
    covered: Covered | None = None
    changed: frozenset[str] = frozenset()
    known = marks(folder.root)
    while True:
        if console.is_terminal:
            console.clear()
        try:
            cases, found = _chosen(folder, pattern)
            ordered = _affected_first(found, before, covered, changed)
            results, covered = _run(folder, ordered, pattern, covers=True, as_json=False)
            before = {(result.path, result.name): result for result in results}
            if covers and covered is not None:
                _show_coverage(console, folder.root, covered)
            _sum_up(console, results, found, cases)
        except RemitError as error:
            tell(error)
        console.print(Text(f"watching {folder.root}; Ctrl-C ends it", style="dim"), soft_wrap=True)
        changed, known = changes(folder.root, known)


def _affected_first(
    cases: Sequence[AnyCase],
    before: dict[tuple[str, str], Result],
    covered: Covered | None,
    changed: frozenset[str],
) -> list[AnyCase]:
    """Cases that are new, failed, stand in a changed file, or came to a policy of one; then the others."""
    about = {
        policy.id
        for policy in (covered.policies if covered is not None else ())
        if any(path.endswith(policy.path) for path in changed)
    }

    def is_affected(case: AnyCase) -> bool:
        result = before.get((case.path, case.name))
        return (
            result is None
            or not result.passed
            or any(path.endswith(case.path) for path in changed)
            or not about.isdisjoint(result.touched)
        )

    return sorted(cases, key=lambda case: not is_affected(case))


# --- what came --------------------------------------------------------------------------------------------------


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


def _show_coverage(console: Console, root: Path, covered: Covered) -> None:
    lacking: dict[str, list[PolicyCoverage]] = {}
    for policy in covered.policies:
        if policy.lacks:
            lacking.setdefault(policy.lacks, []).append(policy)
    console.print(Text(f"\ncoverage {covered.percent:.1f} %", style="bold"), end="")
    console.print(Text(f"  {covered.shown} of {covered.of}: policies that decided, clauses that were true, and false"))
    for what in _ORDER:
        for policy in lacking.get(what, ()):
            _lacks(console, root, what, policy)
    for policy in covered.policies:
        for clause in policy.clauses:
            for side, times in (("never true", clause.true), ("never false", clause.false)):
                if not times:
                    _lacks(console, root, side, policy, f"  temporal clause {clause.name}")


def _lacks(console: Console, root: Path, what: str, policy: PolicyCoverage, more: str = "") -> None:
    path = _relative(root, policy.path) if Path(policy.path).is_absolute() else policy.path
    where = f"{path}:{policy.line}"
    found = Text.assemble((f"  {what:<15}", "yellow"), printable(policy.id), (f"  {where}{more}", "dim"))
    console.print(found, soft_wrap=True)


def _coverage_json(covered: Covered) -> dict[str, Any]:
    policies = [msgspec.to_builtins(policy) | {"lacks": policy.lacks} for policy in covered.policies]
    return {"percent": covered.percent, "shown": covered.shown, "of": covered.of, "policies": policies}


def _shown(value: Any) -> str:
    return printable(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _relative(root: Path, path: str) -> str:
    return os.path.relpath(path, root)


def _write_junit(path: Path, folder: Folder, results: Sequence[Result], started: int) -> None:
    told = [(result, [_difference(each) for each in result.differences]) for result in results]
    try:
        path.write_bytes(junit_report(told, folder.root, started))
    except OSError as error:
        raise InvalidInput("report_unwritable", f"can't write `{path}`: {error.strerror}") from None


def _difference(each: Difference) -> str:
    return f"{each.what}: expected {_shown(each.expected)}, got {_shown(each.got)}"
