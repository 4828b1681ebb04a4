"""`remit erase`: personal values, for good; the records stay, and say that it was done."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.text import Text

from remit.app import erasing
from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.app.operator import run_as_operator
from remit.app.records import reader_of
from remit.cli import options
from remit.cli.failures import reported
from remit.console.detail import find
from remit.console.layout import labelled
from remit.console.progress import progress_bar
from remit.console.screen import moment, printable, screen
from remit.core.erasing import Erasure, Place, What
from remit.core.errors import InvalidInput, NotFound
from remit.core.settings import read_settings
from remit.sdk.api import Remit
from remit.storage.reader import Reader

SHOWN = 20


@click.command()
@click.option("--subject", default="", metavar="ID", help="All values of a person (`person/ann`, or a SPIFFE ID).")
@click.option("--task", default="", metavar="ID", help="All values of a task and the tasks below it.")
@click.option("--value", default="", metavar="VALUE", help="This value, wherever it stands; `-` reads it from a line.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the record. No personal value here.")
@click.option("--dry-run", is_flag=True, help="Only say how many values would go, by task and kind.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--list", "listed", is_flag=True, help="Only show which erasures are on record.")
@options.project
@options.as_json
@click.pass_context
@reported
def erase(
    context: click.Context,
    subject: str,
    task: str,
    value: str,
    reason: str,
    dry_run: bool,
    yes: bool,
    listed: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Erase personal values for good, as the operator; an `erasure` record says so.

    Records never hold personal values, only commitments to them: the log verifies as before. What a task still needs of
    an erased value is denied from then on. Backups and replicas that were made before keep what they have.

    \b
    Examples:
      remit erase --subject person/ann --reason "asked for on 3 May" --dry-run
      remit erase --task 3f9a21 --reason "started by mistake"
      remit erase --value - --reason "a password in a prompt" < secret.txt
      remit erase --list
    """
    folder = options.folder_of(context, project)
    if listed:
        _list(folder, as_json=as_json)
        return
    what, given = _choice(subject, task, value)
    if not reason.strip() and not dry_run:
        raise InvalidInput("reason_missing", "it is not said why", "give `--reason`; it stands in the record")
    with reader_of(folder) as reader, progress_bar(shown=not as_json) as progress:
        if what == "subject":
            given = spiffe_id(read_settings(folder.root).trust_domain, given) if "/" in given else given
            places = erasing.of_subject(reader, given, progress)
        elif what == "task":
            places = erasing.of_task(reader, _task(reader, given))
        else:
            places = erasing.of_value(reader, given, progress)
        held = erasing.held(reader, places)
    if not places:
        raise NotFound(
            "nothing_to_erase",
            "no personal values of this are kept",
            "they were erased before, or there never were any; `remit log show ID` says which",
        )
    if not as_json:
        _show(held)
    if dry_run:
        if as_json:
            click.echo(msgspec.json.encode({"openings": len(places), "held": held}).decode())
        return
    if not yes:
        _confirm(places)
    done = _erase(folder, what, given if what == "subject" else "", reason, places, shown=not as_json)
    if as_json:
        click.echo(msgspec.json.encode(done).decode())
    else:
        click.echo(f"erased {done.openings} values, {done.keys} keys; `{done.id}` is on record")


def _erase(folder: Folder, what: What, subject: str, reason: str, places: list[Place], *, shown: bool) -> Erasure:
    with progress_bar(shown=shown) as progress:

        async def work(remit: Remit) -> Erasure:
            there = () if subject else places
            return await erasing.erase(remit, what, reason, progress, subject=subject, places=there)

        return run_as_operator(folder, work)


def _list(folder: Folder, *, as_json: bool) -> None:
    with reader_of(folder) as reader:
        found = erasing.past(reader)
    for each in found:
        if as_json:
            click.echo(msgspec.json.encode(each).decode())
            continue
        said = f"{each.openings} values, {each.keys} keys, by {each.what}"
        about = [Text(f"{moment(each.at)}  {said}"), Text(printable(f"{each.by}: {each.reason}"), style="dim")]
        labelled(screen(), Text(printable(each.id)), about, column=34)
    if not found and not as_json:
        click.echo("nothing was erased yet")


def _choice(subject: str, task: str, value: str) -> tuple[What, str]:
    """What is to be erased; exactly one of the three."""
    given: list[tuple[What, str]] = [("subject", subject), ("task", task), ("value", value)]
    chosen = [each for each in given if each[1]]
    if len(chosen) != 1:
        raise InvalidInput(
            "erasure_unclear", "it is not said what to erase", "give one of `--subject`, `--task` and `--value`"
        )
    what, text = chosen[0]
    # A value that is given as an argument stands in the history of a shell.
    return (what, sys.stdin.readline().rstrip("\n")) if chosen[0] == ("value", "-") else (what, text)


def _task(reader: Reader, given: str) -> str:
    return str(find(reader, given).record.body["task"])


def _confirm(places: list[Place]) -> None:
    count = f"{len(places)} personal values"
    if not sys.stdin.isatty():
        raise InvalidInput("confirmation_missing", f"erasing {count} is final", "give `--yes`")
    click.confirm(f"erase {count} for good?", abort=True)


def _show(held: list[erasing.Held]) -> None:
    console = screen()
    for each in held[:SHOWN]:
        labelled(console, Text(printable(each.where)), [Text(f"{each.kind}: {each.values}")], column=34)
    if len(held) > SHOWN:
        click.echo(f"and {len(held) - SHOWN} more lines")
    tasks = len({each.where for each in held})
    click.echo(f"{sum(each.values for each in held)} personal values of {tasks} task{'s' * (tasks != 1)}")
