"""`remit task`: starts tasks, ends them, and shows how they stand."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from remit.app.folder import Folder
from remit.app.operator import run_as_operator
from remit.app.pending import Published, published_of
from remit.app.records import reader_of
from remit.app.session import TaskChoice, attached, begin_task, operator_path
from remit.cli import options
from remit.cli.failures import reported
from remit.cli.pages import write_page
from remit.console import account
from remit.console.detail import detail, find, simplified
from remit.console.screen import moment, screen
from remit.console.story import as_json as story_json
from remit.console.story import story_of
from remit.console.story_page import story_page
from remit.console.story_text import show_story
from remit.console.tasks import task_table, tasks_of
from remit.core.clock import system_clock
from remit.core.errors import NotFound, RemitError
from remit.core.settings import read_settings
from remit.core.tasks import TaskEnd, TaskView
from remit.sdk.api import Remit
from remit.sdk.grant import VARIABLE, TaskGrant
from remit.storage.reader import Reader, Stored

_SHOWN: Final = 50


@click.group()
def task() -> None:
    """Start tasks, end them, and show how they stand. `remit run` starts one together with its agent.

    \b
    Examples:
      eval "$(remit task start --intent answer-question --prompt 'Which invoices are due?')"
      remit task list --open
      remit task suspend 3f9a21 --reason "looking into it"
    """


@task.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those that are open or suspended.")
@click.option(
    "--last", type=click.IntRange(1, 100_000), default=_SHOWN, show_default=True, metavar="N", help="How many to show."
)
@options.project
@options.as_json
@click.pass_context
@reported
def list_(context: click.Context, only_open: bool, last: int, project: Path | None, as_json: bool) -> None:
    """List tasks, the latest ones last.

    \b
    Example:
      remit task list --open --json
    """
    folder = options.folder_of(context, project)
    with reader_of(folder) as reader:
        found = tasks_of(reader, system_clock())
    if only_open:
        found = [each for each in found if each.state in ("open", "suspended")]
    found = found[-last:]
    if as_json:
        click.echo(msgspec.json.encode([each._asdict() for each in found]).decode())
        return
    if not found:
        click.echo("no task is open" if only_open else "no task yet; `remit run` or `remit task start` starts one")
        return
    screen().print(task_table(found))


@task.command()
@click.argument("id_", metavar="ID")
@options.project
@options.as_json
@click.pass_context
@reported
def show(context: click.Context, id_: str, project: Path | None, as_json: bool) -> None:
    """Show everything about one task: ID is its id, or at least four characters of its end.

    \b
    Example:
      remit task show 3f9a21
    """
    folder = options.folder_of(context, project)
    with reader_of(folder) as reader:
        stored = find(reader, id_)
        if stored.record.kind != "task":
            raise NotFound("task_unknown", f"`{id_[:64]}` is no task", f"`remit log show {id_[:64]}` shows it")
        found = detail(reader, stored)
    if as_json:
        click.echo(msgspec.json.encode(simplified(found)).decode())
    else:
        account.show(screen(), found)


@task.command()
@click.argument("id_", metavar="[ID]", default="")
@click.option("--all", "everything", is_flag=True, help="Each event in a row of its own, however many there are.")
@click.option(
    "--html",
    "page",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as one page with a picture; `-` is standard output.",
)
@click.option("--personal", is_flag=True, help="Personal values in the page too: erasing will not reach them there.")
@options.project
@options.as_json
@click.pass_context
@reported
def story(
    context: click.Context,
    id_: str,
    everything: bool,
    page: Path | None,
    personal: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Tell the whole life of a task and of those below it.

    ID is its id, or at least four characters of its end; without one it is the task that was started last, with all
    that belong to it.

    Who started it and what for; every decision with its outcome and the time between; what was denied and by which
    policy, with file and line; children, suspensions, and how it ended; limits, labels and destinations; and whether
    the records are published. Repetition is folded. The page needs no network and runs no script; personal values are
    left out of it.

    \b
    Examples:
      remit task story
      remit task story 3f9a21 --html story.html
      remit task story 3f9a21 --json | jq '.events[] | select(.result == "deny")'
    """
    folder = options.folder_of(context, project)
    with reader_of(folder) as reader:
        stored = find(reader, id_) if id_ else _latest(reader)
        if stored.record.kind != "task":
            raise NotFound("task_unknown", f"`{id_[:64]}` is no task", f"`remit log show {id_[:64]}` shows it")
        told = story_of(reader, stored, system_clock(), _published(folder))
        if page is not None:
            write_page(page, story_page(reader, told, personal=personal))
        elif as_json:
            for piece in story_json(reader, told):
                click.echo(piece, nl=False)
            click.echo()
        else:
            show_story(screen(), reader, told, everything=everything)


@task.command()
@click.option("--intent", required=True, help="The approved purpose.")
@click.option("--workload", default="", help="Who will act; by default `workload` of remit.toml.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the intent.")
@click.option("--prompt", default="", help="The user's own words.")
@click.option("--case-type", default="", help="The kind of case, where the intent asks for one.")
@click.option("--starter", default="", help="Start it as this identity; by default as the operator.")
@click.option("--parent", default="", metavar="ID", help="Make it a child of this task, which it can only narrow.")
@options.project
@options.as_json
@click.pass_context
@reported
def start(
    context: click.Context,
    intent: str,
    workload: str,
    params: tuple[str, ...],
    prompt: str,
    case_type: str,
    starter: str,
    parent: str,
    project: Path | None,
    as_json: bool,
) -> None:
    """Start a task, and write its grant: the file with which the workload's gateways prove it.

    On standard output stands the line that hands the grant to a shell, so that `eval "$(remit task start …)"` works.
    Whoever reads the grant can act as this workload under this task.

    \b
    Examples:
      remit task start --intent answer-question --prompt "Which invoices are due?"
      remit task start --intent pay-invoice --param invoice=INV-2041 --param amount=120 --starter starter/accounts
    """
    folder = options.folder_of(context, project)
    choice = TaskChoice(
        intent=intent,
        workload=workload,
        starter=starter,
        params=dict(options.assignments(params, "--param")),
        prompt=prompt,
        case_type=case_type,
        parent=_full(folder, parent) if parent else "",
    )
    grant = asyncio.run(_start(folder, choice))
    path = folder.run / f"{grant.task}.json"
    if as_json:
        said: dict[str, Any] = {"task": grant.task, "workload": grant.workload, "intent": grant.intent}
        click.echo(msgspec.json.encode(said | {"expires": grant.expires, "grant": str(path)}).decode())
        return
    click.secho(f"task {grant.task} ", fg="cyan", nl=False, err=True)
    click.echo(f"under {grant.intent}, for {grant.workload}, until {moment(grant.expires)}", err=True)
    click.echo(f"its grant is {path} (mode 0600)", err=True)
    click.echo(f"export {VARIABLE}={shlex.quote(str(path))}")


async def _start(folder: Folder, choice: TaskChoice) -> TaskGrant:
    async with attached(folder, choice.starter or operator_path(read_settings(folder.root))):
        return await begin_task(folder, choice)


def _end(verb: str, state: TaskEnd, what: str) -> click.Command:
    @task.command(verb, help=f"{what}\n\n\b\nExample:\n  remit task {verb} 3f9a21 --reason 'ticket 4711'")
    @click.argument("id_", metavar="ID")
    @click.option("--reason", default="", help="Why; it stands in the record.")
    @click.option("--starter", default="", help="As this identity, its starter; by default as the operator.")
    @options.project
    @options.as_json
    @click.pass_context
    @reported
    def end(context: click.Context, id_: str, reason: str, starter: str, project: Path | None, as_json: bool) -> None:
        folder = options.folder_of(context, project)
        id_ = _full(folder, id_)

        async def work(remit: Remit) -> TaskView:
            return await remit.end_task(id_, state, reason)

        view = run_as_operator(folder, work, identity=starter)
        if state in ("completed", "cancelled"):
            (folder.run / f"{view.id}.json").unlink(missing_ok=True)
        if as_json:
            click.echo(msgspec.json.encode(view).decode())
            return
        click.echo(f"task {view.id} is {view.state}")

    return end


complete = _end("complete", "completed", "Complete a task and those below it: from its record on nothing is permitted.")
cancel = _end("cancel", "cancelled", "Cancel a task and those below it: from its record on nothing is permitted.")
suspend = _end("suspend", "suspended", "Suspend a task and those below it until they are resumed.")
resume = _end("resume", "open", "Let a suspended task go on.")


def _published(folder: Folder) -> Published | None:
    with suppress(RemitError):  # records can be read whatever else is wrong with the settings
        return published_of(folder, read_settings(folder.root))
    return None


def _latest(reader: Reader) -> Stored:
    """The record that opened the session in which a task was opened last."""
    for stored in reader.backwards(("task",)):
        if b'"intent":' in stored.data:
            return find(reader, stored.stream.removeprefix("session/"))
    raise NotFound("task_unknown", "no task was started yet", "`remit run` or `remit task start` starts one")


def _full(folder: Folder, id_: str) -> str:
    """The whole id of a task that is named by its end."""
    with reader_of(folder) as reader:
        body = find(reader, id_).record.body
    return str(body.get("task", "")) or id_
