"""`remit notify`: try a notifier out."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from remit.app.folder import Folder
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.core.errors import NotFound
from remit.core.settings import read_settings
from remit.sdk.notifiers import Notifiers


@click.command()
@click.argument("name")
@options.project
@click.pass_context
@reported
def notify(context: click.Context, name: str, project: Path | None) -> None:
    """Send a test message to a notifier of remit.toml, as an enforcement point here would, and say what came of it.

    The message is of the type `remit.test`, signed like any other. The exit code is 1 when it was not delivered.

    \b
    Examples:
      remit notify security
    """
    problem = asyncio.run(_try_out(options.folder_of(context, project), name))
    if problem:
        click.echo(f"`{name}` was not told: {problem}", err=True)
        sys.exit(FAILED)
    click.echo(f"`{name}` was told")


async def _try_out(folder: Folder, name: str) -> str:
    declared = read_settings(folder.root).notifiers
    names = [notifier.name for notifier in declared]
    if name not in names:
        known = ", ".join(names) or "none"
        raise NotFound("notifier_unknown", f"there is no notifier `{name[:64]}` in `remit.toml`", f"known: {known}")
    notifiers = Notifiers(declared, folder.root)
    try:
        return await notifiers.try_out(name)
    finally:
        await notifiers.close()
