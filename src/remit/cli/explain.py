"""`remit explain`: why a decision was made, or would be, clause by clause."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from remit.app.explaining import explain_now, explain_recorded, explain_supposed
from remit.app.folder import Folder
from remit.app.hypothesis import suppose
from remit.app.identities import spiffe_id
from remit.app.probing import arguments_of
from remit.app.records import reader_of
from remit.app.session import TaskChoice, point_for
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.cli.pages import write_page
from remit.console.detail import find
from remit.console.explanation import Explanation
from remit.console.explanation_page import explanation_page
from remit.console.explanation_text import show_explanation
from remit.console.screen import screen
from remit.core.clock import system_clock
from remit.core.settings import read_settings


@click.command()
@click.argument("subject", metavar="DECISION|ACTION")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="An argument, typed by the action's schema."
)
@click.option("--input", "text", default="", metavar="JSON|@FILE", help="Arguments as a JSON object.")
@click.option("--task", default="", metavar="ID", help="Ask under this task (an id, or the end of one).")
@click.option("--intent", default="", help="Ask as if a task under this intent were started now.")
@click.option("--task-param", "task_params", multiple=True, metavar="NAME=VALUE", help="With --intent: its parameters.")
@click.option("--prompt", default="", help="With --intent: the user's own words.")
@click.option("--case-type", default="", help="With --intent: the kind of case.")
@click.option("--starter", default="", help="With --intent: who would start it; by default who may.")
@click.option("--workload", default="", help="With --intent: who would act; by default `workload` of remit.toml.")
@click.option("--as", "point", default="", help="The enforcement point that asks; by default the one of this server.")
@click.option("--all", "everything", is_flag=True, help="Also the clauses of policies that did not match.")
@click.option(
    "--html",
    "page",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as one page; `-` is standard output.",
)
@options.project
@options.as_json
@click.pass_context
@reported
def explain(
    context: click.Context,
    subject: str,
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
    everything: bool,
    page: Path | None,
    project: Path | None,
    as_json: bool,
) -> None:
    """Say why, as a tree: each policy that could matter, each clause with its value, each fact with source and age.

    DECISION is the id of a recorded decision, or its end; it is explained by the policies that decided then. ACTION
    (`server/tool`) with --task or --intent is a question put now, as with `remit decide`. Temporal clauses are told
    with the events that were their witnesses. The exit code is 1 where the trace is not what was decided.

    \b
    Examples:
      remit explain 8c01d2
      remit explain support/export_customer --task 3f9a21 --param customer=C-1
      remit explain payments/pay_invoice --intent pay-invoice --task-param amount=120 --param amount=120 --all
    """
    folder = options.folder_of(context, project)
    if "/" not in subject:
        if task or intent or params or text:
            raise click.UsageError("a recorded decision has its task and arguments: give its id alone")
        with reader_of(folder) as reader:
            found = explain_recorded(folder, reader, find(reader, subject))
    else:
        if bool(task) == bool(intent):
            raise click.UsageError("give --intent INTENT (hypothetical) or --task ID, one of them")
        if task and (task_params or prompt or case_type or starter or workload):
            raise click.UsageError("the task says who acts and for what: these options go with --intent only")
        choice = TaskChoice(
            intent=intent,
            workload=workload,
            starter=starter,
            params=dict(options.assignments(task_params, "--task-param")),
            prompt=prompt,
            case_type=case_type,
        )
        found = _asked(folder, subject, params, text, task, choice, point)
    if page is not None:
        write_page(page, explanation_page(found, system_clock()))
    elif as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        show_explanation(screen(), found, everything=everything)
    if found.disagrees:
        sys.exit(FAILED)


def _asked(
    folder: Folder, action: str, params: tuple[str, ...], text: str, task: str, choice: TaskChoice, point: str
) -> Explanation:
    arguments = arguments_of(folder, action, params, text)
    settings = read_settings(folder.root)
    asking = point_for(settings, action.partition("/")[0], point)
    if task:
        with reader_of(folder) as reader:
            task_id = str(find(reader, task).record.body["task"])
            return explain_now(folder, reader, task_id, action, arguments, spiffe_id(settings.trust_domain, asking))
    supposed = asyncio.run(suppose(folder, choice, action, arguments, asking))
    return explain_supposed(folder, supposed.decision, supposed.detail)
