"""The command line of the one-file verifier: what `remit verify` does for outsiders, with nothing but `remit.ledger`.

1. What is to be verified is told from how it looks: a URL or a folder with `--key` is a log, a folder without it an
   export, a file a receipt.
2. It is verified, by the same functions as in `remit verify`.
3. What was found is printed, and the exit code says whether it is in order: 0 yes, 1 no, 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from remit.core.errors import InvalidInput, NotFound, RemitError
from remit.core.evaluations import Evaluator
from remit.ledger.export import MANIFEST, MANIFEST_BYTES, Manifest, decode_manifest
from remit.ledger.findings import CHECKS, LOG_CHECKS, Report
from remit.ledger.opened import read_openings
from remit.ledger.proven import Proven, verify_receipt
from remit.ledger.published import verify_log
from remit.ledger.receipt import read_receipt
from remit.ledger.statement import as_json, printable, statement_of
from remit.ledger.tlog.note import NOTE_BYTES, read_key
from remit.ledger.tlog.source import FolderSource, WithArchives, source_of
from remit.ledger.verify import verify

SHOWN: Final = 100  # findings that are printed; the first one of a stream is its cause
_URL: Final = ("http://", "https://")
_LABEL: Final = 12

Progress = Callable[[str, int, int], None]

_ABOUT: Final = """\
Verify the records of an installation of Remit: a published log, an export, or a receipt.

  FOLDER or URL with --key   a published log: signature, every entry, every tile, and what the records mean
  FOLDER                     an export (`remit log export`)
  RECEIPT with --key         a file that `remit prove` wrote; checked offline
"""
_NEXT: Final = """\
Exit codes: 0 in order, 1 something is wrong or can't be read, 2 a wrong command line.
Get the key by another way than what it verifies, and this file's SHA-256 by another way than this file.
"""


def main(arguments: Sequence[str], evaluator: Evaluator | None = None, without: str = "") -> int:
    """Runs the command; returns its exit code.

    `evaluator` evaluates decisions again; where there is none, `without` says what would bring it.
    """
    given = _parser().parse_args(arguments)
    try:
        engine = evaluator if given.reevaluate else None
        found = _verified(given, engine, _progress(sys.stderr) if not given.json else _silent)
    except RemitError as error:
        _tell(error, is_json=given.json)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _tell(_of_system(error), is_json=given.json)
        return 1
    if isinstance(found, Proven):
        _show_proven(found, is_json=given.json)
        return 0
    _show_report(found, is_json=given.json, without="" if evaluator else without)
    return 1 if found.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remit-verify", description=_ABOUT, epilog=_NEXT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("where", metavar="FOLDER|URL|RECEIPT")
    parser.add_argument("--key", metavar="VKEY", help="the public key of a published log")
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="who must have cosigned the log; may be repeated"
    )
    parser.add_argument(
        "--known", type=Path, metavar="FILE", help="the checkpoint, or the export.json, that you kept from before"
    )
    parser.add_argument(
        "--archive", action="append", default=[], type=Path, metavar="DIR", help="where old entries were archived to"
    )
    parser.add_argument(
        "--openings", type=Path, metavar="FILE", help="personal values that were opened to you, as JSON Lines"
    )
    parser.add_argument(
        "--reevaluate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether each decision is evaluated again, where the policy engine is installed",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    return parser


def _verified(given: argparse.Namespace, evaluator: Evaluator | None, progress: Progress) -> Report | Proven:
    """1 and 2. What is there, verified."""
    where, witnesses = str(given.where), [read_key(each) for each in given.witness]
    openings = read_openings(given.openings) if given.openings else None
    is_url = where.startswith(_URL)
    if not is_url and Path(where).is_file():
        if given.key is None:
            raise InvalidInput(
                "key_missing", "a receipt is verified with the log's public key", "give it: `--key VKEY`"
            )
        if given.known is not None:
            raise InvalidInput(
                "option_invalid", "a receipt has no earlier state (`--known`)", "verify the log itself with `--known`"
            )
        beside = list(openings) if openings else []
        return verify_receipt(read_receipt(Path(where)), read_key(given.key), witnesses, len(witnesses), beside)
    if not is_url and not Path(where).is_dir():
        raise InvalidInput(
            "folder_missing", f"there is no folder `{where[:200]}`", "name the folder of an export or a log"
        )
    if given.key is not None:
        return verify_log(
            WithArchives(source_of(where), [FolderSource(archive) for archive in given.archive]),
            read_key(given.key),
            witnesses=witnesses,
            quorum=len(witnesses),
            earlier=_read(given.known, NOTE_BYTES) if given.known else b"",
            progress=progress,
            evaluator=evaluator,
            openings=openings,
        )
    if witnesses or given.archive or is_url:
        raise InvalidInput("key_missing", "a published log is verified with its public key", "give it: `--key VKEY`")
    known = _manifest(given.known) if given.known else None

    def told(done: int, total: int) -> None:
        progress("verifying", done, total)

    return verify(Path(where), told, known=known, evaluator=evaluator, openings=openings)


def _manifest(path: Path) -> Manifest:
    return decode_manifest(_read(path / MANIFEST if path.is_dir() else path, MANIFEST_BYTES))


def _read(path: Path, most: int) -> bytes:
    try:
        # SECURITY: a pipe or a device would hold up its reader for ever.
        if path.exists() and not path.is_file():
            raise InvalidInput("known_unreadable", f"`{path}` is not a file", "name what you kept from before")
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        why = error.strerror or "unknown"
        raise InvalidInput(
            "known_unreadable", f"can't read `{path}`: {why}", "name what you kept from before"
        ) from None


# --- 3. what was found --------------------------------------------------------------------------------------


def _show_report(report: Report, *, is_json: bool, without: str) -> None:
    if is_json:
        found: dict[str, Any] = msgspec.to_builtins(report) | {"failed": report.failed}
        print(msgspec.json.encode(found).decode())
        return
    wrong = {finding.check for finding in report.findings}
    for name, says in (LOG_CHECKS | CHECKS).items():
        if (made := report.checks.get(name, 0)) or name in wrong:
            print(f"{'wrong' if name in wrong else 'ok':5}  {name:14} {made:>9}  {says}")
    print()
    for finding in report.findings[:SHOWN]:
        whole = "the log" if finding.check in LOG_CHECKS else "the export"
        where = f"{finding.stream} {finding.n}" if finding.stream else whole
        print(f"wrong {finding.check}: {where}: {finding.message}")
    if more := len(report.findings[SHOWN:]) + report.more:
        print(f"and {more} more findings (--json lists the first 1,000)")
    for what, times in report.unchecked.items():
        print(f"not checked: {printable(what)} ({times})")
    if without and report.unchecked:
        print(without)
    said = report.said
    if not report.failed:
        print(f"in order: {said}")
    elif not report.records:
        print("wrong: there is no record to be checked")
    else:
        print(f"{len(report.findings) + report.more} findings in {said}")


def _show_proven(proven: Proven, *, is_json: bool) -> None:
    if is_json:
        print(msgspec.json.encode(as_json(proven)).decode())
        return
    said = statement_of(proven)
    print("this receipt proves, if that key is the log's:")
    for label, line in said.proves:
        print(f"  {label:{_LABEL}}{line}")
    print("\nit does not prove:")
    for line in said.not_proved:
        print(f"  {line}")


def _tell(error: RemitError, *, is_json: bool) -> None:
    if is_json:
        shown = {"error": error.code, "message": error.message, "next": error.next_step}
        print(msgspec.json.encode(shown).decode(), file=sys.stderr)
        return
    print(f"error: {printable(error.message)}", file=sys.stderr)
    if error.next_step:
        print(f"  next: {printable(error.next_step)}", file=sys.stderr)


def _of_system(error: OSError) -> RemitError:
    what = f"can't use `{error.filename}`: " if error.filename else ""
    return NotFound("system_refused", f"{what}{(error.strerror or str(error)).lower()}")


def _silent(_: str, __: int, ___: int) -> None:
    """Tells nobody."""


def _progress(stream: TextIO) -> Progress:
    """One line that is written over; on a terminal only."""
    if not stream.isatty():
        return _silent

    def tell(what: str, done: int, total: int) -> None:
        share = f"{100 * done // total} %" if total else ""
        stream.write("\r\x1b[K" if done >= total else f"\r{what} {done} of {total} {share}\x1b[K")
        stream.flush()

    return tell
