"""`remit forward`: how far records were forwarded to other systems, and sending what waits."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import click
import msgspec

from remit.app.forwarding.cursor import check_continues
from remit.app.forwarding.forwarder import EVERY_SECONDS, Forwarding, chosen, cursor_of, rewind
from remit.app.records import reader_of
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console.progress import progress_bar
from remit.console.screen import moment, plain_table, printable, screen
from remit.core.errors import RemitError
from remit.core.settings import read_settings


@click.group()
def forward() -> None:
    """Show how far records were forwarded (`[[forward]]`), send what waits, or begin again.

    The service forwards while it runs. Personal values are not forwarded, only what the records hold.

    \b
    Examples:
      remit forward status
      remit forward send siem
    """


@forward.command()
@options.project
@options.as_json
@click.pass_context
@reported
def status(context: click.Context, project: Path | None, as_json: bool) -> None:
    """Show each receiver: how many records wait, and when it was sent the last one; exit 1 when one can't go on.

    \b
    Example:
      remit forward status --json | jq .waiting
    """
    folder = options.folder_of(context, project)
    rows: list[dict[str, Any]] = []
    with reader_of(folder) as reader:
        last = reader.settled()
        for one in read_settings(folder.root).forward:
            row: dict[str, Any] = {
                "name": one.name,
                "format": one.format,
                "to": one.to,
                "waiting": last,
                "sentAt": 0,
                "problem": "",
            }
            try:
                cursor = cursor_of(folder, one.name).read()
                check_continues(cursor, reader)
                row |= {"waiting": max(0, last - cursor.place), "sentAt": cursor.at}
            except RemitError as error:
                row["problem"] = error.message
            rows.append(row)
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
    elif not rows:
        click.echo("nothing is forwarded; write `[[forward]]` in remit.toml (docs/guides/forwarding.md)")
    else:
        table = plain_table("name", "format", "waiting", "last sent", "to")
        for row in rows:
            sent = moment(row["sentAt"]) if row["sentAt"] else "never"
            where = str(row["problem"] or row["to"])
            table.add_row(str(row["name"]), str(row["format"]), str(row["waiting"]), sent, printable(where))
        screen().print(table)
    if any(row["problem"] for row in rows):
        sys.exit(FAILED)


@forward.command()
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on sending what is recorded, until Ctrl-C.")
@options.project
@options.as_json
@click.pass_context
@reported
def send(context: click.Context, name: str, follow: bool, project: Path | None, as_json: bool) -> None:
    """Send one receiver what waits, from here; for when no service runs, or to see why it does not arrive.

    \b
    Example:
      remit forward send siem
    """
    folder = options.folder_of(context, project)
    forwarding = Forwarding(folder, chosen(read_settings(folder.root), name))
    stopped = threading.Event()
    try:
        with cursor_of(folder, name).alone(), reader_of(folder) as reader, progress_bar(shown=not as_json) as progress:
            sent = forwarding.send(reader, progress=lambda done, whole: progress("sending", done, whole))
            while follow:
                stopped.wait(EVERY_SECONDS)
                sent += forwarding.send(reader)
    finally:
        forwarding.close()
    click.echo(msgspec.json.encode({"name": name, "sent": sent}).decode() if as_json else f"sent {sent} records")


@forward.command("rewind")
@click.argument("name")
@click.option(
    "--to", "where", type=click.Choice(["start", "now"]), required=True, help="Send all again, or none of it."
)
@options.project
@click.pass_context
@reported
def rewind_command(context: click.Context, name: str, where: str, project: Path | None) -> None:
    """Begin again from the start, or leave out what is there now. Stop the service first: it forwards while it runs.

    \b
    Example:
      remit forward rewind siem --to start
    """
    folder = options.folder_of(context, project)
    chosen(read_settings(folder.root), name)
    with reader_of(folder) as reader:
        cursor = rewind(folder, name, where, reader)
    click.echo(f"`{name}` goes on behind record {cursor.place}" if cursor.place else f"`{name}` begins anew")
