"""`remit store`: where the records stand, and moving them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec
from rich.text import Text

from remit.app.moving import Moved, move, place_of
from remit.app.storing import Shown, show_store
from remit.cli import options
from remit.cli.failures import reported
from remit.console.layout import labelled
from remit.console.progress import progress_bar
from remit.console.screen import moment, printable, screen


@click.group()
def store() -> None:
    """Show where the records stand, and move them between SQLite and PostgreSQL.

    \b
    Examples:
      remit store show
      remit store migrate --to "postgresql://remit@db.example.org/remit?sslmode=verify-full" --switch
    """


@store.command()
@options.project
@options.as_json
@click.pass_context
@reported
def show(context: click.Context, project: Path | None, as_json: bool) -> None:
    """Show the storage: where it is, what it holds, and which processes decide on it now.

    \b
    Example:
      remit store show --json | jq .records
    """
    shown = show_store(options.folder_of(context, project))
    if as_json:
        click.echo(msgspec.json.encode(shown).decode())
        return
    for name, value in _lines(shown):
        labelled(screen(), Text(f"{name:<10}", style="bold"), [Text(printable(value))], column=11)


def _lines(shown: Shown) -> list[tuple[str, str]]:
    what = f"PostgreSQL {shown.server}, schema {shown.schema}" if shown.server else "SQLite"
    lines = [
        ("storage", f"{what}, at {shown.place}"),
        (
            "holds",
            f"{shown.records} records of {shown.streams} streams, {shown.openings} openings, {shown.texts} texts",
        ),
        ("size", f"{shown.bytes / 1024**2:.1f} MiB, tables of version {shown.version}"),
        ("last", moment(shown.last) if shown.last else "nothing was recorded yet"),
    ]
    if shown.moved:
        lines.append(("moved", f"the records stand at {shown.moved} now; nobody decides on these"))
    else:
        lines.append(
            ("processes", "; ".join(_process(each.host, each.configuration) for each in shown.processes) or "none")
        )
    return lines


def _process(host: str, configuration: str) -> str:
    return f"{host}, configuration {configuration}" if configuration else f"one on {host}"


@store.command()
@click.option("--to", required=True, metavar="PLACE", help="`postgresql://…`, `sqlite`, or `sqlite:FILE` for a copy.")
@click.option("--password-file", default="", metavar="FILE", help="The file of the role's password, mode 0600.")
@click.option("--schema", default="", metavar="NAME", help="The schema of the database that gets the tables.")
@click.option("--unencrypted", is_flag=True, help="Permit a connection to another machine without TLS.")
@click.option("--switch", is_flag=True, help="Then write the place into remit.toml, and close the old records.")
@options.project
@options.as_json
@click.pass_context
@reported
def migrate(
    context: click.Context,
    to: str,
    password_file: str,
    schema: str,
    unencrypted: bool,
    switch: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Copy all records, byte for byte, to an empty database, and compare every one of them.

    No service may run on the records meanwhile. What is interrupted leaves both as they were, and nothing is deleted:
    with --switch the old records are marked as moved, so that nobody decides on them by mistake; they can be read.
    Run it again with --switch after a first run without; it finds the copy and compares it.

    \b
    Examples:
      remit store migrate --to "postgresql://remit@db.example.org/remit?sslmode=verify-full" \\
          --password-file /run/secrets/remit --switch
      remit store migrate --to sqlite --switch
      remit store migrate --to sqlite:/backup/remit.db
    """
    folder = options.folder_of(context, project)
    secret = str(Path(password_file).absolute()) if password_file else ""
    target = place_of(to, password_file=secret, schema=schema, unencrypted=unencrypted)
    with progress_bar(shown=not as_json) as progress:
        moved = asyncio.run(move(folder, to, target, switch=switch, progress=progress))
    if as_json:
        click.echo(msgspec.json.encode(moved).decode())
    else:
        _tell(moved, is_copy=to.startswith("sqlite:"))


def _tell(moved: Moved, *, is_copy: bool) -> None:
    done = moved.done
    verb = "copied" if done.copied else "found"
    click.echo(
        f"{verb} {done.records} records of {done.streams} streams ({done.bytes / 1024**2:.1f} MiB) at `{done.target}`"
    )
    click.echo(f"with {done.openings} openings and {done.texts} texts; all of it is the same in both")
    if moved.switched:
        click.echo(f"`remit.toml` names it; the records at `{done.source}` are marked as moved")
        click.echo("give every process this file, start, then `remit doctor` and `remit verify`")
    elif not is_copy:
        click.echo("to use it, run this again with --switch, or write into `remit.toml`:")
        click.echo("\n".join(f"  {line}" for line in ["[storage]", *moved.settings]))
