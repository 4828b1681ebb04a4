"""`remit verify`: checks that the record is whole and means what it must."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.app.exports import known_manifest, verify_export, verify_folder
from remit.app.reevaluating import ENGINE
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console.layout import labelled
from remit.console.progress import progress_bar
from remit.console.screen import plain_table, screen
from remit.core.errors import InvalidInput
from remit.ledger import statement
from remit.ledger.findings import CHECKS, LOG_CHECKS, Report
from remit.ledger.opened import read_openings
from remit.ledger.proven import verify_receipt
from remit.ledger.published import verify_log
from remit.ledger.receipt import read_receipt
from remit.ledger.tlog.note import read_key
from remit.ledger.tlog.source import FolderSource, WithArchives, source_of

_LABEL: Final = 12  # columns of the labels at the left
SHOWN: Final = 100  # findings that are printed; the first one of a stream is its cause


@click.command()
@click.argument("where", required=False, metavar="[FOLDER|URL|RECEIPT]")
@click.option(
    "--key",
    "vkey",
    default=None,
    metavar="VKEY",
    help="The public key of a published log: FOLDER or URL is that log.",
)
@click.option(
    "--witness", "witnesses", multiple=True, metavar="VKEY", help="With --key: who must have cosigned the log too."
)
@click.option(
    "--known",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    metavar="FILE",
    help="What was kept from before: the checkpoint of a log, or the export.json of an export. It must be continued.",
)
@click.option(
    "--archive",
    "archives",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    metavar="DIR",
    help="With --key: where old entries of the log were archived to. Repeat for more.",
)
@click.option(
    "--openings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Personal values that you were shown (JSON Lines): each is compared with its record, and decided on again.",
)
@click.option(
    "--reevaluate/--no-reevaluate",
    default=True,
    help="Whether each decision is evaluated again, from its recorded facts under its recorded policies.",
)
@options.project
@options.as_json
@click.pass_context
@reported
def verify(
    context: click.Context,
    where: str | None,
    vkey: str | None,
    witnesses: tuple[str, ...],
    known: Path | None,
    archives: tuple[Path, ...],
    openings: Path | None,
    reevaluate: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Check numbers, hash links and meaning of all records; exit 1 when anything is wrong.

    With --key, FOLDER or URL is a published log: its signature, every entry and every tile are checked too. Without
    it, FOLDER is an export (`remit log export`); without either, the records of this project are exported to a
    temporary folder first. Nothing of a running service is used but its records. RECEIPT is a file that `remit prove`
    wrote: it is checked with --key alone, offline, and told what it proves and what not.

    Each decision is evaluated again, from its recorded facts under its recorded policies, and must be what they give.
    Where a policy reads a personal value that the record only commits to, it takes the value from --openings.

    \b
    Examples:
      remit verify
      remit verify /backup/records-2026-11-22
      remit verify https://log.example.org --key log.example.org+530d903a+AekyeR...
      remit verify d_019a2b3c.receipt.json --key log.example.org+530d903a+AekyeR...
      remit verify --known /elsewhere/export.json
      remit verify https://log.example.org --key log.example.org+530d903a+AekyeR... --openings case-7.jsonl
    """
    if where is not None and Path(where).is_file():
        _receipt(Path(where), vkey, witnesses, known, openings, as_json=as_json)
        return
    evaluator = ENGINE if reevaluate else None
    shown = read_openings(openings) if openings else None
    with progress_bar(shown=not as_json) as progress:
        if vkey is not None:
            keys = [read_key(witness) for witness in witnesses]
            earlier = known.read_bytes() if known else b""
            report = verify_log(
                WithArchives(source_of(_given(where)), [FolderSource(archive) for archive in archives]),
                read_key(vkey),
                witnesses=keys,
                quorum=len(keys),
                earlier=earlier,
                progress=progress,
                evaluator=evaluator,
                openings=shown,
            )
        elif witnesses or archives or (where and where.startswith(("http://", "https://"))):
            raise InvalidInput(
                "key_missing", "a published log is verified with its public key", "give it: `--key VKEY`"
            )
        elif where is not None:
            manifest = known_manifest(known) if known else None
            report = verify_export(_folder(where), progress, known=manifest, evaluator=evaluator, openings=shown)
        else:
            manifest = known_manifest(known) if known else None
            folder = options.folder_of(context, project)
            report = verify_folder(folder, progress, known=manifest, evaluator=evaluator, openings=shown)
    if as_json:
        found = msgspec.to_builtins(report) | {"failed": report.failed}
        click.echo(msgspec.json.encode(found).decode())
    else:
        _show(screen(), report)
    if report.failed:
        sys.exit(FAILED)


def _receipt(
    file: Path,
    vkey: str | None,
    witnesses: tuple[str, ...],
    known: Path | None,
    openings: Path | None,
    *,
    as_json: bool,
) -> None:
    if vkey is None:
        raise InvalidInput("key_missing", "a receipt is verified with the log's public key", "give it: `--key VKEY`")
    if known is not None:
        raise InvalidInput(
            "option_invalid", "a receipt has no earlier state (`--known`)", "verify the log itself with `--known`"
        )
    keys = [read_key(witness) for witness in witnesses]
    beside = list(read_openings(openings)) if openings else []
    proven = verify_receipt(read_receipt(file), read_key(vkey), keys, len(keys), beside)
    if as_json:
        click.echo(msgspec.json.encode(statement.as_json(proven)).decode())
    else:
        _show_proven(screen(), statement.statement_of(proven))


def _show_proven(console: Console, said: statement.Statement) -> None:
    console.print(Text("this receipt proves, if that key is the log's:", style="bold green"))
    for label, line in said.proves:
        labelled(console, Text(label, style="bold"), [Text(line)], column=_LABEL, indent=2)
    console.print()
    console.print(Text("it does not prove:", style="bold yellow"))
    for line in said.not_proved:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _given(where: str | None) -> str:
    if where is None:
        raise InvalidInput("log_missing", "it is not said which log", "name its folder or its URL")
    return where if where.startswith(("http://", "https://")) else str(_folder(where))


def _folder(where: str) -> Path:
    folder = Path(where)
    if not folder.is_dir():
        raise InvalidInput(
            "folder_missing", f"there is no folder `{where[:200]}`", "name the folder of an export or a log"
        )
    return folder


def _show(console: Console, report: Report) -> None:
    wrong: dict[str, int] = {}
    for finding in report.findings:
        wrong[finding.check] = wrong.get(finding.check, 0) + 1
    table = plain_table("", "check", "made", "what it says", wrap=("what it says",))
    table.columns[2].justify = "right"
    for name, says in (LOG_CHECKS | CHECKS).items():
        made = report.checks.get(name, 0)
        if not made and name not in wrong:
            continue
        mark = Text("wrong", style="bold red") if name in wrong else Text("ok", style="green")
        table.add_row(mark, name, str(made), Text(says, style="dim"))
    console.print(table)
    console.print()
    for finding in report.findings[:SHOWN]:
        whole = "the log" if finding.check in LOG_CHECKS else "the export"
        where = f"{finding.stream} {finding.n}" if finding.stream else whole
        console.print(Text.assemble(("wrong ", "bold red"), (f"{finding.check}: ", "bold"), f"{where}: "), end="")
        console.print(Text(finding.message), soft_wrap=True)
    more = len(report.findings[SHOWN:]) + report.more
    if more:
        console.print(Text(f"and {more} more findings (--json lists the first 1,000)", style="red"))
    for what, times in report.unchecked.items():
        console.print(Text(f"not checked: {what} ({times})", style="yellow"))
    said = report.said
    if not report.failed:
        console.print(Text.assemble(("in order: ", "bold green"), said))
    elif report.records == 0:
        console.print(Text.assemble(("wrong: ", "bold red"), "there is no record to be checked"))
    else:
        count = len(report.findings) + report.more
        console.print(Text.assemble((f"{count} findings ", "bold red"), f"in {said}"))
