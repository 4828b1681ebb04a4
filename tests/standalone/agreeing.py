"""A plug-in of pytest: whatever a test verifies, the one-file verifier verifies too, and must find the same.

`pytest -p tests.standalone.agreeing tests/ledger …`: every call of `verify` and `verify_log` on files is repeated by
the file in an environment of its own, in one that has the policy engine where the test gives one. How many calls were
compared, what came of them, and what differed, is printed at the end.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remit.core import canonical
from remit.core.errors import RemitError
from remit.ledger import published, verify
from remit.ledger.findings import Report
from remit.ledger.opened import encode_opening
from remit.ledger.tlog.source import FolderSource, HttpSource
from tests.standalone.isolated import ENGINE, Isolated, Said

compared: Counter[str] = Counter()
differences: list[str] = []
_folder = tempfile.TemporaryDirectory(prefix="remit-agreeing-")
_without = Isolated(Path(_folder.name) / "without")
_with = Isolated(Path(_folder.name) / "with", ENGINE)


def pytest_configure(config: pytest.Config) -> None:
    """Puts the comparison around what verifies, before any test module takes it by name."""
    verify.verify = _compared(verify.verify, _export)
    published.verify_log = _compared(published.verify_log, _log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how much was compared."""
    for difference in differences:
        terminalreporter.write_line(difference)
    terminalreporter.write_line(f"compared: {dict(sorted(compared.items()))}, differences: {len(differences)}")


def pytest_unconfigure() -> None:
    """Ends what was started."""
    _without.close()
    _with.close()
    _folder.cleanup()


def _compared(function: Callable[..., Report], arguments: Callable[..., list[str] | None]) -> Callable[..., Report]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Report:
        with _files() as write:
            given = arguments(write, *args, **kwargs)
            isolated = _with if kwargs.get("evaluator") is not None else _without
            theirs = isolated.run(*given, "--json") if given is not None else None
        try:
            report = function(*args, **kwargs)
        except RemitError as error:
            _compare("refused", theirs, {"error": error.code, "message": error.message, "next": error.next_step})
            raise
        said = msgspec.json.decode(msgspec.json.encode(report)) | {"failed": report.failed}
        _compare("with findings" if report.failed else "in order", theirs, said)
        return report

    return run


def _compare(result: str, theirs: Said | None, ours: dict[str, Any]) -> None:
    if theirs is None:
        compared["not compared"] += 1
        return
    compared[result] += 1
    found = theirs.json if theirs.out or theirs.err else {}
    wanted = 0 if result == "in order" else 1
    if (found, theirs.code) != (ours, wanted):
        parts = {key: (found.get(key), ours.get(key)) for key in found.keys() | ours.keys()}
        differing = {key: both for key, both in parts.items() if both[0] != both[1]}
        differences.append(f"difference: {result}: exit {theirs.code}: the file, and remit verify: {differing}")


@contextmanager
def _files() -> Iterator[Callable[[bytes], str]]:
    with tempfile.TemporaryDirectory(dir=_folder.name) as folder:

        def write(data: bytes) -> str:
            file = Path(folder) / str(len(list(Path(folder).iterdir())))
            file.write_bytes(data)
            return str(file)

        yield write


def _opened(write: Callable[[bytes], str], openings: Any) -> list[str]:
    return ["--openings", write(b"\n".join(map(encode_opening, openings)) + b"\n")] if openings is not None else []


def _export(
    write: Callable[[bytes], str],
    folder: Path,
    progress: Any = None,
    *,
    known: Any = None,
    evaluator: Any = None,
    openings: Any = None,
) -> list[str] | None:
    if not folder.is_dir():
        return None
    before = ["--known", write(canonical.encode(known))] if known is not None else []
    return [str(folder), *before, *_opened(write, openings)]


def _log(
    write: Callable[[bytes], str],
    source: Any,
    log: Any,
    *,
    witnesses: Any = (),
    quorum: int = 0,
    earlier: bytes = b"",
    progress: Any = None,
    evaluator: Any = None,
    openings: Any = None,
) -> list[str] | None:
    if isinstance(source, FolderSource):
        where = str(source._folder)
    elif isinstance(source, HttpSource):
        where = source._prefix
    else:
        return None
    if quorum != len(witnesses):
        return None
    before = ["--known", write(earlier)] if earlier else []
    cosigned = [each for witness in witnesses for each in ("--witness", str(witness))]
    return [where, "--key", str(log), *cosigned, *before, *_opened(write, openings)]
