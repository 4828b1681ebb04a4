"""`remit issuers`: who vouches from elsewhere, how fresh their keys are, and what a token of theirs would be here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from remit.app.issuers import Listed, explain, listed
from remit.cli import options
from remit.cli.failures import REFUSED, reported
from remit.console.screen import moment, printable
from remit.core import bounds
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput
from remit.core.settings import read_settings

_COLOURS = {"fresh": "green", "failing": "yellow", "stale": "red", "unread": "red"}


@click.group()
def issuers() -> None:
    """Show the issuers and trust domains whose tokens are exchanged for identities here.

    \b
    Examples:
      remit issuers list
      remit issuers explain token.jwt
    """


@issuers.command("list")
@options.project
@options.as_json
@click.pass_context
@reported
def list_(context: click.Context, project: Path | None, as_json: bool) -> None:
    """List them: where their keys are, when they were last read, and what went wrong since."""
    folder = options.folder_of(context, project)
    found = listed(folder, read_settings(folder.root), system_clock)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    if not found:
        click.echo("none; `[[issuers]]` and `[[federation]]` in remit.toml name them (docs/guides/identities.md)")
        return
    width = max(len(each.source) for each in found)
    for each in found:
        click.secho(f"{each.standing:8}", fg=_COLOURS[each.standing], nl=False)
        read = f"read {moment(each.read)}" if each.read else "never read"
        click.echo(f"{each.source:{width}}  {_counted(each.keys, 'key')}, {_counted(each.rules, 'rule')}, {read}")
        if wrong := _wrong(each):
            click.echo(f"        {wrong}")


@issuers.command("explain")
@click.argument("file", type=click.File("rb"))
@options.project
@options.as_json
@click.pass_context
@reported
def explain_(context: click.Context, file: BinaryIO, project: Path | None, as_json: bool) -> None:
    """Say which identity the token in FILE (`-`: standard input) would be here, or why it is none.

    Nothing is exchanged or recorded, and no key is fetched: those that the service read last are used. The exit code is
    77 when it would be refused.
    """
    folder = options.folder_of(context, project)
    data: bytes = file.read(bounds.TOKEN_BYTES + 2).strip()
    if not data.isascii():
        raise InvalidInput("token_malformed", "this is not one token", "put the token alone into the file")
    found = explain(folder, read_settings(folder.root), data.decode("ascii"), system_clock)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        for name, value in sorted(found.claims.items()):
            click.echo(f"  {printable(name)} = {printable(msgspec.json.encode(value).decode())}")
        if found.accepted:
            click.secho(f"{found.id} ", fg="green", nl=False)
            click.echo(f"by {found.rule}")
        else:
            click.secho(f"refused: {found.message} ({found.code})", fg="red")
            click.echo(f"  {found.next_step}")
            for rule, missed in found.missed.items():
                click.echo(f"  {rule} wants another {', '.join(f'`{printable(name)}`' for name in missed)}")
    sys.exit(0 if found.accepted else REFUSED)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _wrong(each: Listed) -> str:
    """What an operator reads: nothing where all is well."""
    if each.standing == "fresh":
        return ""
    if each.standing == "unread":
        return printable(each.error) or "the service has not read it yet"
    until = (
        f"tokens are refused since {moment(each.stale)}" if each.standing == "stale" else f"until {moment(each.stale)}"
    )
    return f"{printable(each.error) or 'no service reads it'}; {until}"
