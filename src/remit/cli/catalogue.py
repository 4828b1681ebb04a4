"""`remit catalogue`: what each tool does, as guessed and then reviewed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.app.catalogue import changes_since_review, documents, import_into, server_document, server_file
from remit.app.folder import Folder
from remit.app.local import is_served
from remit.app.session import operator_path
from remit.app.settings_file import line_for, register_server
from remit.catalogue.document import ServerDocument
from remit.catalogue.review import describe, mark_reviewed, unreviewed
from remit.cli import options
from remit.cli.failures import reported
from remit.console.screen import plain_table, printable, screen
from remit.console.tools import show_changes, tool_table
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput, NotFound
from remit.core.settings import Settings, read_settings
from remit.tasks.intents import load_intents


@click.group()
def catalogue() -> None:
    """Import what a server's tools do, review the guesses, and look at them.

    \b
    Examples:
      remit catalogue import files --register gateway -- npx @modelcontextprotocol/server-filesystem /srv
      remit catalogue review files
      remit catalogue show files/write_file
    """


@catalogue.command("import")
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--register",
    "point",
    default="",
    metavar="PEP",
    help="Put NAME among the servers of this enforcement point in remit.toml.",
)
@click.option("--refresh", is_flag=True, help="Guess anew where nobody reviewed.")
@click.option(
    "--timeout", type=click.FloatRange(1, 600), default=30.0, show_default=True, help="Seconds for everything."
)
@options.project
@options.as_json
@click.pass_context
@reported
def import_(
    context: click.Context,
    name: str,
    command: tuple[str, ...],
    point: str,
    refresh: bool,
    timeout: float,
    project: Path | None,
    as_json: bool,
) -> None:
    """Start COMMAND, ask it for its tools, and write catalogue/NAME.yaml with a guess for each.

    A guess binds nothing until it was reviewed. What people wrote into the file stays; a tool whose definition
    changed loses its review.

    \b
    Examples:
      remit catalogue import git --register gateway -- uvx mcp-server-git --repository /srv/repo
      remit catalogue import git -- uvx mcp-server-git --repository /srv/repo      again, after an upgrade
    """
    folder = options.folder_of(context, project)
    settings = read_settings(folder.root)
    imported, document = asyncio.run(import_into(folder, name, command, seconds=timeout, refresh=refresh))
    registered = register_server(folder.root, point.removeprefix("pep/"), name, settings.operator) if point else False
    points = [each.name for each in read_settings(folder.root).enforcement_points if name in each.servers]
    if as_json:
        changes = [msgspec.to_builtins(change) for change in imported.changes]
        said = {"file": str(server_file(folder, name)), "changes": changes, "enforcementPoints": points}
        click.echo(msgspec.json.encode(said | {"unreviewed": unreviewed(document)}).decode())
        return
    console = screen()
    show_changes(console, imported.changes, document)
    click.echo(f"\nwrote `{server_file(folder, name).relative_to(folder.root)}`")
    waiting = unreviewed(document)
    if waiting:
        click.secho(f"{len(waiting)} guesses bind nothing until reviewed: ", fg="yellow", nl=False)
        click.echo(f"`remit catalogue review {name}`")
    if registered:
        click.echo(f"`{name}` now stands behind the enforcement point `{points[0]}` in `remit.toml`")
    elif not points:
        _say_unregistered(settings, name)
    if is_served(folder):
        click.echo("a service runs here: it takes up changes when it is started again")


def _say_unregistered(settings: Settings, name: str) -> None:
    click.secho(f"no enforcement point stands before `{name}`: ", fg="yellow", nl=False)
    click.echo("without one every call is refused. Under its `[[enforcement_points]]` in `remit.toml` it needs")
    first = settings.enforcement_points[0] if settings.enforcement_points else None
    click.echo(f"  {line_for(first.name, (*first.servers, name)) if first else line_for('gateway', (name,))}")
    click.echo(f"or run this again with `--register {first.name if first else 'gateway'}`")


@catalogue.command()
@click.argument("name")
@click.argument("tools", nargs=-1, metavar="[TOOL]...")
@click.option("--yes", is_flag=True, help="Mark them without asking: you have read them already.")
@options.project
@options.as_json
@click.pass_context
@reported
def review(
    context: click.Context, name: str, tools: tuple[str, ...], yes: bool, project: Path | None, as_json: bool
) -> None:
    """Show what is guessed of NAME's tools, ask about each, and mark those that you accept as reviewed.

    Without TOOL: all that nobody has reviewed. To correct a guess, answer n, edit catalogue/NAME.yaml, review again.

    \b
    Examples:
      remit catalogue review files
      remit catalogue review files read_text_file list_directory --yes
    """
    folder = options.folder_of(context, project)
    by = operator_path(read_settings(folder.root))
    document = server_document(folder, name)
    chosen = tools or unreviewed(document)
    for tool in chosen:
        describe(document, tool)
    if not chosen:
        click.echo(f"every tool of `{name}` is reviewed" if not as_json else '{"reviewed":[]}')
        return
    if not yes and (as_json or not sys.stdin.isatty()):
        raise InvalidInput(
            "review_needs_terminal",
            "a review asks a person, and there is no terminal",
            f"read `catalogue/{name}.yaml`, then give `--yes`",
        )
    accepted = list(chosen) if yes else _ask(screen(), folder, document, chosen)
    if accepted:
        seen = {tool: document.entries[tool].pin for tool in accepted}
        mark_reviewed(server_file(folder, name), accepted, by, system_clock(), seen=seen)
    if as_json:
        click.echo(msgspec.json.encode({"reviewed": accepted, "by": by}).decode())
        return
    click.echo(f"{len(accepted)} of {len(chosen)} marked as reviewed by {by}")
    if accepted and is_served(folder):
        click.echo("a service runs here: it takes up changes when it is started again")


def _ask(console: Console, folder: Folder, document: ServerDocument, tools: tuple[str, ...]) -> list[str]:
    accepted: list[str] = []
    for number, tool in enumerate(tools, 1):
        console.rule(Text(f"{document.server}/{tool}  {number} of {len(tools)}", style="bold"), align="left")
        console.print(Text(describe(document, tool)), soft_wrap=True)
        changed = changes_since_review(folder, document, tool)
        if changed:
            console.print(Text("since it was last reviewed:", style="bold yellow"))
            for line in changed:
                console.print(Text(f"  {line}", style="yellow"), soft_wrap=True)
        answer = click.prompt(
            "is this what it does? [y]es, [n]o, [q]uit", type=click.Choice(["y", "n", "q"]), show_choices=False
        )
        if answer == "q":
            break
        if answer == "y":
            accepted.append(tool)
    return accepted


@catalogue.command("list")
@options.project
@options.as_json
@click.pass_context
@reported
def list_(context: click.Context, project: Path | None, as_json: bool) -> None:
    """List the servers: how many tools, how many of them reviewed, and who stands before them.

    \b
    Example:
      remit catalogue list --json
    """
    folder = options.folder_of(context, project)
    settings = read_settings(folder.root)
    rows: list[dict[str, Any]] = []
    for document in documents(folder):
        points = [point.name for point in settings.enforcement_points if document.server in point.servers]
        waiting = unreviewed(document)
        rows.append(
            {
                "server": document.server,
                "tools": len(document.entries),
                "unreviewed": list(waiting),
                "enforcementPoints": points,
                "selfEnforced": document.self_enforced,
                "command": list(document.command),
            }
        )
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    if not rows:
        click.echo("the catalogue is empty; `remit catalogue import NAME -- COMMAND` fills it")
        return
    table = plain_table("server", "tools", "to review", "stands before it", "command", wrap=("command",))
    for row in rows:
        waiting, points = row["unreviewed"], row["enforcementPoints"]
        table.add_row(
            Text(str(row["server"]), style="bold"),
            str(row["tools"]),
            Text(str(len(waiting)) if waiting else "", style="yellow"),
            Text(", ".join(points) or ("itself" if row["selfEnforced"] else "none"), style="" if points else "yellow"),
            Text(printable(" ".join(row["command"])), style="dim"),
        )
    screen().print(table)


@catalogue.command()
@click.argument("action")
@options.project
@options.as_json
@click.pass_context
@reported
def show(context: click.Context, action: str, project: Path | None, as_json: bool) -> None:
    """Show what is known of ACTION (`server/tool`), why, and which intents justify it; or all tools of a server.

    \b
    Examples:
      remit catalogue show files/write_file
      remit catalogue show files
    """
    folder = options.folder_of(context, project)
    server, slash, tool = action.partition("/")
    document = server_document(folder, server)
    if not slash:
        if as_json:
            click.echo(msgspec.json.encode({"server": server, "tools": document.entries}).decode())
        else:
            screen().print(tool_table(document))
        return
    entry = document.entries.get(tool)
    if entry is None:
        known = ", ".join(document.entries) or "none"
        raise NotFound("tool_unknown", f"`{server}` has no tool `{tool[:128]}` in its file", f"known: {known[:1000]}")
    intents = load_intents(folder.root / "intents").values()
    justified = [each.name for each in intents if action in each.actions or entry.effect in each.effects]
    where = f"{Path(document.path).relative_to(folder.root)}:{document.lines[tool]}"
    if as_json:
        said: dict[str, Any] = {"action": action, "where": where, "intents": justified}
        click.echo(msgspec.json.encode(said | msgspec.to_builtins(entry)).decode())
        return
    console = screen()
    console.print(Text.assemble((action, "bold"), "  ", (where, "dim")))
    console.print(Text(describe(document, tool)), soft_wrap=True)
    console.print(Text(f"justified by the intents: {', '.join(justified) or 'none'}"), soft_wrap=True)
