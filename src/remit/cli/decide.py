"""`remit decide`: what would be decided, and why; nothing happens."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.text import Text

from remit.app.folder import Folder
from remit.app.hypothesis import Hypothetical, suppose
from remit.app.probing import arguments_of, policies_of_project, probe
from remit.app.session import TaskChoice, point_for
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console import account
from remit.console.detail import simplified
from remit.console.rows import name_of
from remit.console.screen import screen
from remit.core.decisions import Decision
from remit.core.errors import InvalidInput
from remit.core.settings import read_settings


@click.command()
@click.argument("action")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="An argument, typed by the action's schema."
)
@click.option("--input", "text", default="", metavar="JSON|@FILE", help="Arguments as a JSON object.")
@click.option("--task", default="", metavar="ID", help="Ask under this running task (an id, or the end of one).")
@click.option("--intent", default="", help="Ask as if a task under this intent were started now.")
@click.option("--task-param", "task_params", multiple=True, metavar="NAME=VALUE", help="With --intent: its parameters.")
@click.option("--prompt", default="", help="With --intent: the user's own words.")
@click.option("--case-type", default="", help="With --intent: the kind of case.")
@click.option("--starter", default="", help="With --intent: who would start it; by default who may.")
@click.option("--workload", default="", help="With --intent: who would act; by default `workload` of remit.toml.")
@click.option("--as", "point", default="", help="The enforcement point that asks; by default the one of this server.")
@options.project
@options.as_json
@click.pass_context
@reported
def decide(
    context: click.Context,
    action: str,
    params: tuple[str, ...],
    text: str,
    task: str,
    intent: str,
    task_params: tuple[str, ...],
    prompt: str,
    case_type: str,
    starter: str,
    workload: str,
    point: str,
    project: Path | None,
    as_json: bool,
) -> None:
    """Say what would be decided for ACTION (`server/tool`), and why. Nothing is recorded, consumed or permitted.

    With --task the service is asked under that task, with its history. With --intent it is hypothetical: a new task
    in a temporary copy of this installation, with its configuration and identities, and no history. The exit code
    is 0 for a permit, 1 for a deny.

    \b
    Examples:
      remit decide payments/pay_invoice --param invoice=INV-2041 --param amount=120 \\
          --intent pay-invoice --task-param invoice=INV-2041 --task-param amount=120
      remit decide files/read_text_file --input '{"path": "/srv/a.txt"}' --intent answer-question
      remit decide files/read_text_file --input @arguments.json --task 3f9a21
    """
    if bool(task) == bool(intent):
        raise click.UsageError("give --intent INTENT (hypothetical) or --task ID (a running task), one of them")
    if task and (task_params or prompt or case_type or starter or workload):
        raise click.UsageError("the task says who acts and for what: these options go with --intent only")
    folder = options.folder_of(context, project)
    arguments = arguments_of(folder, action, params, text)
    asking = point_for(read_settings(folder.root), _server(action), point)
    if task:
        decision = asyncio.run(probe(folder, task, action, arguments, asking))
        _tell_probe(folder, decision, arguments, as_json=as_json)
    else:
        choice = TaskChoice(
            intent=intent,
            workload=workload,
            starter=starter,
            params=dict(options.assignments(task_params, "--task-param")),
            prompt=prompt,
            case_type=case_type,
        )
        supposed = asyncio.run(suppose(folder, choice, action, arguments, asking))
        decision = supposed.decision
        _tell_supposed(supposed, intent, arguments, as_json=as_json)
    sys.exit(0 if decision.permitted else FAILED)


def _server(action: str) -> str:
    server, slash, tool = action.partition("/")
    if not slash or not server or not tool:
        raise InvalidInput("action_invalid", f"`{action[:80]}` is no action", "write `server/tool`")
    return server


def _tell_supposed(supposed: Hypothetical, intent: str, arguments: dict[str, Any], *, as_json: bool) -> None:
    found = supposed.detail
    for key in ("record", "outcomes", "permit", "repeated"):
        found.pop(key, None)
    if as_json:
        said = {"hypothetical": True, "starter": supposed.starter, **simplified(found)}
        click.echo(msgspec.json.encode(said if found else {"hypothetical": True} | _wire(supposed.decision)).decode())
        return
    console = screen()
    console.print(
        Text.assemble(
            ("hypothetical: ", "bold yellow"),
            f"as if {name_of(supposed.starter)} had just started a task under {intent} for "
            f"{name_of(supposed.workload)}, and this were its first action; nothing was recorded",
        )
    )
    if found:
        account.show_decision(console, found)
    else:
        account.show_answer(console, supposed.decision, arguments, {})


def _tell_probe(folder: Folder, decision: Decision, arguments: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"probe": True, **_wire(decision)}).decode())
        return
    console = screen()
    console.print(Text.assemble(("probe: ", "bold yellow"), f"under task {decision.task}; nothing was recorded"))
    texts = {id_: policy.source.text[policy.start : policy.end] for id_, policy in policies_of_project(folder).items()}
    account.show_answer(console, decision, arguments, texts, below=folder.root)


def _wire(decision: Decision) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(decision)
    return found
