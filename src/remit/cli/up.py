"""`remit up`: starts the service of a folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

import click
import uvloop
from rich.console import Console

from remit.app.first_question import first_command, silent_keys
from remit.app.folder import Folder
from remit.app.installation import Installation
from remit.app.records import reader_of
from remit.app.service import run_service
from remit.cli import options
from remit.cli.failures import reported
from remit.console.status import follow, show_start
from remit.server.listener import Listener


@click.command()
@options.project
@click.option(
    "--listen",
    default=None,
    metavar="ADDRESS:PORT",
    help="Listen there and not where remit.toml says; processes that share it need a port each. '' for none.",
)
@click.option("--while-attached", is_flag=True, help="Stop when nothing started by `remit run` is attached any more.")
@click.option("--plain", is_flag=True, help="No live table; log lines only.")
@click.pass_context
@reported
def up(context: click.Context, project: Path | None, listen: str | None, while_attached: bool, plain: bool) -> None:
    """Start the service: it decides, records, and shows what it decides.

    It listens on `.remit/remit.sock` (this user only) and on the address that `remit.toml` names. Stop it with Ctrl-C.

    \b
    Examples:
      remit up
      remit up --plain --listen 127.0.0.1:8182     one of several that share a PostgreSQL database
    """
    folder = options.folder_of(context, project)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    serve(folder, listen, while_attached=while_attached, plain=plain or not sys.stdout.isatty())


def serve(folder: Folder, listen: str | None, *, while_attached: bool, plain: bool) -> None:
    """Runs the service until it is stopped."""
    console = Console(highlight=False)
    following: list[asyncio.Task[None]] = []

    def ready(installation: Installation, _: Listener) -> None:
        where = [str(folder.socket), *installation.settings.service.reached_at]
        settings, governor = installation.settings, installation.governor
        url = next(iter(settings.service.reached_at), "")
        command = first_command(settings, folder, governor, url)
        show_start(console, where, settings, installation.configuration, command, silent_keys(settings, governor))
        if not plain:
            following.append(asyncio.get_running_loop().create_task(follow(console, lambda: reader_of(folder))))

    # Ctrl-C before the listener takes it over stops the service as well: what was opened is closed by then.
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run_service(folder, while_attached=while_attached, listen=listen, on_ready=ready))
