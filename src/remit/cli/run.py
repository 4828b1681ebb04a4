"""`remit run`: starts a task as the person at the keyboard, and the agent that works on it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from remit.app.ancestry import mark_run
from remit.app.folder import Folder
from remit.app.session import TaskChoice, attached, begin_task, finish_task, operator_path
from remit.cli import options
from remit.cli.failures import reported
from remit.core.settings import read_settings
from remit.sdk.grant import VARIABLE

F = TypeVar("F", bound=Callable[..., Any])


def task_options(function: F) -> F:
    """The options by which a person says which task to start."""
    for option in (
        click.option("--starter", default="", help="Start it as this identity; by default as the operator."),
        click.option("--case-type", default="", help="The kind of case, where the intent asks for one."),
        click.option("--prompt", default="", help="The user's own words."),
        click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the intent."),
        click.option("--workload", default="", help="Who will act; by default `workload` of remit.toml."),
    ):
        function = option(function)
    return function


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@options.project
@click.option("--intent", required=True, help="The approved purpose.")
@task_options
@click.option("--keep", is_flag=True, help="Leave the task open when the agent ends.")
@click.argument("agent", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
@reported
def run(
    context: click.Context,
    project: Path | None,
    intent: str,
    workload: str,
    params: tuple[str, ...],
    prompt: str,
    case_type: str,
    starter: str,
    keep: bool,
    agent: tuple[str, ...],
) -> None:
    """Start a task, and AGENT to work on it; its gateways find the task by themselves.

    The task is completed when the agent ends with 0, cancelled otherwise. The exit code is the agent's.

    \b
      remit run --intent answer-question --prompt "Which invoices are due?" -- my-agent
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
    sys.exit(uvloop.run(_run(folder, choice, agent, keep)))


async def _run(folder: Folder, choice: TaskChoice, agent: tuple[str, ...], keep: bool) -> int:
    starter = choice.starter or operator_path(read_settings(folder.root))
    async with attached(folder, starter):
        grant = await begin_task(folder, choice)
        click.secho(f"task {grant.task} ", fg="cyan", nl=False, err=True)
        click.echo(f"under {grant.intent}, for {grant.workload}", err=True)
        environment = {
            **os.environ,
            VARIABLE: str(folder.run / f"{grant.task}.json"),
            "REMIT_PROJECT": str(folder.root),
        }
        code = 1
        mark = mark_run(folder, grant.task)
        try:
            code = await _agent(agent, environment)
        finally:
            mark.unlink(missing_ok=True)
            if not keep:
                await finish_task(folder, starter, grant.task, completed=code == 0)
        return code


async def _agent(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """Runs the agent with this terminal; signals go to it, and its exit code comes back."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as error:
        click.echo(f"error: can't start `{command[0]}`: {error.strerror}", err=True)
        return 127
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, process.send_signal, number)
    code = await process.wait()
    return code if code >= 0 else 128 - code
