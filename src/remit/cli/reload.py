"""`remit reload`: has a running service read its folder again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from remit.app.folder import Folder
from remit.app.local import connect_as, is_served
from remit.app.session import operator_path
from remit.cli import options
from remit.cli.failures import reported
from remit.core.errors import NotFound
from remit.core.reloading import Reloaded
from remit.core.settings import read_settings


@click.command()
@options.project
@click.option("--as", "identity", default="", metavar="IDENTITY", help="Who asks; by default the operator.")
@options.as_json
@click.pass_context
@reported
def reload(context: click.Context, project: Path | None, identity: str, as_json: bool) -> None:
    """Have the running service read its folder again, without dropping or pausing a request.

    Policies, intents, catalogue, entities, windows, identities, and the settings that decide take effect at once;
    settings that need a restart are named. A mistake in any file changes nothing. Where several services share one
    database, each reads its own folder: reload each of them.

    \b
    Examples:
      remit reload
      kill -HUP PID        the same, where the service has no terminal
    """
    folder = options.folder_of(context, project)
    found = asyncio.run(_reload(folder, identity or operator_path(read_settings(folder.root))))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for notice in found.notices:
        click.secho("notice: ", fg="yellow", nl=False)
        click.echo(notice)
    for name in found.restart:
        click.secho("restart needed: ", fg="yellow", nl=False)
        click.echo(f"`{name}` of remit.toml has changed, and is read at the start alone")
    if found.config == found.before:
        click.echo(f"nothing has changed: {found.config[:12]} decides")
        return
    click.secho("reloaded: ", fg="green", nl=False)
    click.echo(f"{', '.join(found.changed)}; {found.config[:12]} decides now, before it {found.before[:12]} did")


async def _reload(folder: Folder, identity: str) -> Reloaded:
    if not is_served(folder):
        raise NotFound(
            "service_not_running",
            "no service runs here, so nothing has to be reloaded",
            "commands read the folder each time; `remit up` starts a service",
        )
    async with await connect_as(folder, identity) as client:
        return await client.reload()
