"""`remit gateway -- COMMAND`: puts Remit in front of an MCP server."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import uvloop

from remit.app.ancestry import held_grant
from remit.app.folder import Folder
from remit.app.session import TaskChoice, attached, begin_task, finish_task, point_for, server_for
from remit.cli import options
from remit.cli.failures import reported
from remit.cli.run import task_options
from remit.core.settings import read_settings
from remit.enforce.gateway import gateway as run_gateway


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@options.project
@click.option("--server", default="", help="Its name in the catalogue; by default the one imported with COMMAND.")
@click.option("--as", "point", default="", help="The enforcement point to be; by default the one before this server.")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 86_400),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the server may take for one answer.",
)
@click.option("--intent", default="", help="Start a task of its own, for clients that `remit run` did not start.")
@task_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
@reported
def gateway(
    context: click.Context,
    project: Path | None,
    server: str,
    point: str,
    timeout: float,
    intent: str,
    workload: str,
    params: tuple[str, ...],
    prompt: str,
    case_type: str,
    starter: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND, an MCP server on stdio, and decide each call to it as it happens.

    A drop-in for COMMAND in any MCP client's configuration. The task is the one that `remit run` started, or, with
    --intent, one of its own that ends with the client.

    \b
      {"command": "remit", "args": ["gateway", "--server", "files", "--", "mcp-server-files", "."]}
    """
    folder = options.folder_of(context, project)
    choice = TaskChoice(
        intent=intent,
        workload=workload,
        starter=starter,
        params=dict(options.assignments(params, "--param")),
        prompt=prompt,
        case_type=case_type,
    )
    sys.exit(uvloop.run(_gateway(folder, command, server, point, choice, timeout)))


async def _gateway(
    folder: Folder, command: tuple[str, ...], server: str, point: str, choice: TaskChoice, seconds: float
) -> int:
    name = server or server_for(folder, command)
    async with attached(folder, point_for(read_settings(folder.root), name, point)) as client:
        if choice.intent:
            grant = await begin_task(folder, choice)
            try:
                return await run_gateway(command, server=name, decider=client, grant=grant, hang_seconds=seconds)
            finally:
                await finish_task(folder, choice.starter, grant.task, completed=True)
        held = held_grant(folder)
        return await run_gateway(command, server=name, decider=client, grant=held, hang_seconds=seconds)
