"""`remit exec ACTION -- COMMAND`: the enforcement point for pipelines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from remit.app.ancestry import held_grant
from remit.app.folder import Folder
from remit.app.session import TaskChoice, attached, begin_task, finish_task, point_for
from remit.catalogue.document import load_catalogue
from remit.cli import options
from remit.cli.failures import REFUSED, reported
from remit.core.settings import read_settings
from remit.enforce.arguments import read_arguments
from remit.enforce.exec import execute as run_command


@click.command("exec")
@options.project
@click.option("--as", "point", default="", help="The enforcement point to be; by default the one before this server.")
@click.option("--param", "arguments", multiple=True, metavar="NAME=VALUE", help="An argument of the action.")
@click.option("--file-param", "files", multiple=True, metavar="NAME=PATH", help="An argument that is a file's SHA-256.")
@click.option("--intent", default="", help="Start a task of its own for this one action.")
@click.option("--task-param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of that intent.")
@click.option("--workload", default="", help="Who will act; by default `workload` of remit.toml.")
@click.option("--prompt", default="", help="The user's own words.")
@click.option("--case-type", default="", help="The kind of case, where the intent asks for one.")
@click.option("--starter", default="", help="Start it as this identity; by default as the operator.")
@click.argument("action")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
@reported
def execute(
    context: click.Context,
    project: Path | None,
    point: str,
    arguments: tuple[str, ...],
    files: tuple[str, ...],
    intent: str,
    workload: str,
    params: tuple[str, ...],
    prompt: str,
    case_type: str,
    starter: str,
    action: str,
    command: tuple[str, ...],
) -> None:
    """Ask for ACTION, run COMMAND if it is permitted, and report what became of it.

    The command is not started through a shell. Its exit code comes back; 77 means that the action was refused. With
    --file-param the command reads exactly the bytes that were hashed, at `{NAME}`.

    \b
      remit exec deploy/release --param service=web --file-param artifact=web.tar -- ./deploy.sh {artifact}
    """
    folder = options.folder_of(context, project)
    choice = TaskChoice(
        intent=intent,
        workload=workload,
        starter=starter,
        params=dict(options.assignments(params, "--task-param")),
        prompt=prompt,
        case_type=case_type,
    )
    paths = {name: Path(path) for name, path in options.assignments(files, "--file-param").items()}
    sys.exit(uvloop.run(_execute(folder, action, arguments, paths, command, point, choice)))


async def _execute(
    folder: Folder,
    action: str,
    given: tuple[str, ...],
    files: dict[str, Path],
    command: tuple[str, ...],
    point: str,
    choice: TaskChoice,
) -> int:
    known = load_catalogue(folder.root / "catalogue").actions.get(action)
    arguments: dict[str, Any] = read_arguments(given, known.input_schema if known else {})
    server = action.partition("/")[0]
    async with attached(folder, point_for(read_settings(folder.root), server, point)) as client:
        grant = None
        if choice.intent:
            grant = await begin_task(folder, choice)
        else:
            grant = held_grant(folder)
        code = REFUSED
        try:
            code = await run_command(action, arguments, command, decider=client, grant=grant, files=files)
        finally:
            if choice.intent and grant is not None:
                await finish_task(folder, choice.starter, grant.task, completed=code == 0)
        return code
