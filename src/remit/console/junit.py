"""Results of decision cases as a JUnit report, for CI servers (the schema `junit-10` of Jenkins' xunit plug-in)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

from remit.console.screen import printable

_MESSAGE = 1_024


class Ran(Protocol):
    """How one case went."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def passed(self) -> bool: ...
    @property
    def error(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def seconds(self) -> float: ...


def junit(results: Sequence[tuple[Ran, Sequence[str]]], root: Path, started: int) -> bytes:
    """The report: one `testsuite` for each file; each result with the differences that it has, as lines.

    `root` is where paths are told from, `started` when the run began (ms).
    """
    top = ElementTree.Element("testsuites")
    by_file: dict[str, list[tuple[Ran, Sequence[str]]]] = {}
    for ran in results:
        by_file.setdefault(ran[0].path, []).append(ran)
    for path, several in by_file.items():
        shown = printable(os.path.relpath(path, root))
        suite = ElementTree.SubElement(
            top,
            "testsuite",
            name=printable(Path(path).stem),
            file=shown,
            timestamp=datetime.fromtimestamp(started / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            hostname="localhost",
        )
        for name, value in _totals(several).items():
            suite.set(name, value)
        for result, differences in several:
            _case(suite, result, differences, shown)
    for name, value in _totals(results).items():
        if name != "skipped":
            top.set(name, value)
    ElementTree.indent(top)
    return bytes(ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)) + b"\n"


def _totals(several: Sequence[tuple[Ran, Sequence[str]]]) -> dict[str, str]:
    return {
        "tests": str(len(several)),
        "failures": str(sum(not each.passed and not each.error for each, _ in several)),
        "errors": str(sum(bool(each.error) for each, _ in several)),
        "skipped": "0",
        "time": f"{sum(each.seconds for each, _ in several):.3f}",
    }


def _case(suite: ElementTree.Element, result: Ran, differences: Sequence[str], path: str) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        name=printable(result.name),
        classname=printable(Path(result.path).stem),
        time=f"{result.seconds:.3f}",
    )
    if result.passed:
        return
    kind = "error" if result.error else "failure"
    message = printable(result.error or "; ".join(differences))[:_MESSAGE]
    told = ElementTree.SubElement(case, kind, type=kind, message=message)
    lines = [f"{path}:{result.line}", *differences, result.error, result.answer]
    told.text = printable("\n".join(line for line in lines if line))
