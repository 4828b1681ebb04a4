"""`remit init`: makes a project folder."""

from __future__ import annotations

from pathlib import Path

import click

from remit.app.scaffold import make_project
from remit.cli.failures import reported


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--trust-domain", default="", help="Leads every identity; by default made from the folder's name.")
@click.option("--operator", default="", help="The person at this keyboard; by default the user's name.")
@reported
def init(folder: Path, trust_domain: str, operator: str) -> None:
    """Make a project folder that works at once, with comments that teach.

    \b
    Next:
      remit up                                              start the service
      remit catalogue import NAME --register gateway -- COMMAND   learn what a server's tools do
      remit run --intent answer-question -- AGENT           start an agent on a task
    """
    written = make_project(folder, trust_domain=trust_domain, operator=operator)
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"  {folder / '.remit'}  (keys and records of this installation; never commit it)")
    click.secho("made", fg="green", nl=False)
    click.echo(f" the project in `{folder}`; `remit up` starts it")
