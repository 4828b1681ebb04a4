"""`remit workload`, `starter`, `pep` and `approver`: one implementation for every role."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from remit.app import administration
from remit.app.administration import KINDS, Added, Managed, Wanted, identity_id, lifetime
from remit.app.folder import Folder
from remit.app.identities import declared_in
from remit.app.operator import run_as_operator
from remit.app.session import operator_path
from remit.app.workload import account, live_signals
from remit.cli import options
from remit.cli.failures import reported
from remit.console.identities import identity_table, show_identity
from remit.console.screen import moment, screen
from remit.console.workload import show_account
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput
from remit.core.identities import Kind, Lifecycle, Registration
from remit.core.settings import Settings, read_settings
from remit.core.tasks import Forgetting, RiskSignal
from remit.sdk.api import Remit

_WHAT: Final[dict[Managed, str]] = {
    "workload": "workloads: the agents, services, pipelines and bots that act",
    "starter": "starters: the applications and CI identities that start tasks",
    "pep": "enforcement points: the components that ask before an action and report after it",
    "approver": "approvers: the persons who may approve and resolve",
}
_ARTICLES: Final[dict[Managed, str]] = {
    "workload": "a workload",
    "starter": "a starter",
    "pep": "an enforcement point",
    "approver": "an approver",
}


def _group(role: Managed) -> click.Group:
    """The commands of one role."""
    group = click.Group(
        role,
        help=f"Administer {_WHAT[role]}.\n\n\b\nExamples:\n  remit {role} list\n  remit {role} show NAME\n"
        f"  remit {role} quarantine NAME --reason 'looks stolen'",
    )
    for command in (_add(role), _list(role), _show(role)):
        group.add_command(command)
    changes: tuple[tuple[str, Lifecycle], ...] = (
        ("quarantine", "quarantined"),
        ("retire", "retired"),
        ("reactivate", "active"),
    )
    for verb, state in changes:
        group.add_command(_change(role, verb, state))
    return group


def _add(role: Managed) -> click.Command:
    @options.project
    @click.option("--owner", default="", help="The person who answers for it; by default the operator.")
    @click.option("--group", "groups", multiple=True, help="A group that intents and policies name; may be repeated.")
    @click.option("--environment", default="", help="Where it runs, such as production.")
    @click.option("--description", default="", help="What it is for.")
    @click.option(
        "--key", default="", metavar="THUMBPRINT", help="Its key (RFC 7638), which is held elsewhere; else one is made."
    )
    @click.option("--update", is_flag=True, help="Change what is registered already; what is not said stays.")
    @options.as_json
    @click.pass_context
    @reported
    def add(
        context: click.Context,
        name: str,
        project: Path | None,
        owner: str,
        groups: tuple[str, ...],
        environment: str,
        description: str,
        key: str,
        update: bool,
        as_json: bool,
        kind: Kind | None,
        servers: tuple[str, ...] = (),
    ) -> None:
        folder = options.folder_of(context, project)
        settings = read_settings(folder.root)
        wanted = Wanted(
            name=name,
            kind=kind,
            owner=owner,
            groups=groups,
            environment=environment,
            servers=servers,
            description=description,
            key=key,
        )

        async def work(remit: Remit) -> Added:
            return await administration.add(folder, settings, remit, role, wanted, update=update)

        added = run_as_operator(folder, work)
        if as_json:
            click.echo(msgspec.json.encode(added).decode())
            return
        _tell_added(added)

    example = " --server payments" if role == "pep" else ""
    command = click.command(
        "add",
        help=f"Register {_ARTICLES[role]} named NAME, and make a key for it in .remit/keys unless --key is given.\n\n"
        f"\b\nExample:\n  remit {role} add invoices --owner alice --group finance{example}",
    )(add)
    kinds = KINDS[role]
    command.params[:0] = [
        click.Argument(["name"]),
        click.Option(["--kind"], type=click.Choice(kinds), default=None, help=f"What it is; {kinds[0]} if not said."),
    ]
    if role == "pep":
        served = click.Option(["--server", "servers"], multiple=True, help="A server that it stands before.")
        command.params.insert(2, served)
    return command


def _list(role: Managed) -> click.Command:
    @click.command("list", help=f"List the {_WHAT[role]}.\n\n\b\nExample:\n  remit {role} list --json")
    @options.project
    @options.as_json
    @click.pass_context
    @reported
    def list_(context: click.Context, project: Path | None, as_json: bool) -> None:
        folder = options.folder_of(context, project)

        async def work(remit: Remit) -> Sequence[Registration]:
            return await administration.listed(remit, role)

        found = run_as_operator(folder, work)
        if as_json:
            click.echo(msgspec.json.encode(found).decode())
            return
        if not found:
            click.echo(f"none; `remit {role} add NAME` registers one")
            return
        screen().print(identity_table(found, with_servers=role == "pep"))

    return list_


def _show(role: Managed) -> click.Command:
    more = (
        ": what it may do, what it really did and when last, what it is used to, which grants it never used, and which "
        "risk signals live"
        if role == "workload"
        else ""
    )

    @options.project
    @options.as_json
    @click.pass_context
    @reported
    def show(context: click.Context, name: str, project: Path | None, as_json: bool, days: int = 0) -> None:
        folder = options.folder_of(context, project)
        settings = read_settings(folder.root)

        async def work(remit: Remit) -> Registration:
            return await administration.known(settings, remit, role, name)

        registration = run_as_operator(folder, work)
        found = _everything(folder, settings, registration, days)
        if as_json:
            click.echo(msgspec.json.encode(found).decode())
            return
        console = screen()
        show_identity(console, found)
        if role == "workload":
            show_account(console, found)

    command = click.command(
        "show",
        help=f"Show everything about one of the {_WHAT[role].partition(':')[0]}{more}.\n\n"
        f"\b\nExample:\n  remit {role} show invoices",
    )(show)
    command.params.insert(0, click.Argument(["name"]))
    if role == "workload":
        said = "How far back to look at what it did."
        length = click.IntRange(1, 3650)
        command.params.insert(1, click.Option(["--days"], type=length, default=90, show_default=True, help=said))
    return command


def _change(role: Managed, verb: str, state: Lifecycle) -> click.Command:
    effects = {
        "quarantined": "From its record on nothing is permitted to it, also not in the middle of a task.",
        "retired": "This is final: its record stays, and nothing is permitted to it ever again.",
        "active": "It may act again; a retired identity does not come back.",
    }

    @options.project
    @click.option("--reason", default="", help="Why; it stands in the record.")
    @options.as_json
    @click.pass_context
    @reported
    def change(
        context: click.Context, name: str, project: Path | None, reason: str, as_json: bool, yes: bool = True
    ) -> None:
        folder = options.folder_of(context, project)
        settings = read_settings(folder.root)
        if not yes:
            _confirm(identity_id(settings, role, name))

        async def work(remit: Remit) -> Registration:
            return await administration.change(settings, remit, role, name, state, reason)

        changed = run_as_operator(folder, work)
        if as_json:
            click.echo(msgspec.json.encode(changed).decode())
            return
        click.echo(f"`{changed.id}` is ", nl=False)
        click.secho(changed.state, fg="green" if changed.state == "active" else "red")

    command = click.command(
        verb,
        help=f"{verb.capitalize()} {_ARTICLES[role]}. {effects[state]}\n\n"
        f"\b\nExample:\n  remit {role} {verb} invoices --reason 'ticket 4711'",
    )(change)
    command.params.insert(0, click.Argument(["name"]))
    if state == "retired":
        command.params.append(click.Option(["--yes"], is_flag=True, help="Don't ask."))
    return command


@click.command()
@click.argument("name")
@click.option("--value", type=click.IntRange(0, 100), required=True, metavar="0-100", help="How risky it is now.")
@click.option("--for", "length", required=True, metavar="TIME", help="How long this holds: 30m, 1h, 7d.")
@click.option("--signal", default="manual", show_default=True, help="The signal's name; setting it again replaces it.")
@click.option("--reason", required=True, help="Why; it stands in the record as the signal's source.")
@options.project
@options.as_json
@click.pass_context
@reported
def risk(
    context: click.Context,
    name: str,
    value: int,
    length: str,
    signal: str,
    reason: str,
    project: Path | None,
    as_json: bool,
) -> None:
    """Set a live risk signal of a workload. `context.risk` in policies is the highest one that has not expired.

    \b
    Examples:
      remit workload risk finance-agent --value 80 --for 1h --reason "odd requests since noon"
      remit workload risk finance-agent --value 0 --for 1m --reason "looked into: harmless"
    """
    folder = options.folder_of(context, project)
    settings = read_settings(folder.root)
    until = system_clock() + lifetime(length) * 1000
    source = f"{operator_path(settings)}: {reason}"

    async def work(remit: Remit) -> RiskSignal:
        found = await administration.known(settings, remit, "workload", name)
        wanted = RiskSignal(id=found.id, signal=signal, value=value, source=source, expires=until)
        await remit.set_risk(wanted)
        return wanted

    set_ = run_as_operator(folder, work)
    if as_json:
        click.echo(msgspec.json.encode(set_).decode())
        return
    click.echo(f"`{set_.id}` has the risk {value} by the signal `{signal}` until {moment(until)}")


@click.command()
@click.argument("name")
@click.option("--tool", "tools", multiple=True, metavar="SERVER/TOOL", help="An action; may be repeated.")
@click.option("--destination", "destinations", multiple=True, metavar="HOST", help="A host; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Everything: it begins to learn anew.")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@options.project
@options.as_json
@click.pass_context
@reported
def forget(
    context: click.Context,
    name: str,
    tools: tuple[str, ...],
    destinations: tuple[str, ...],
    everything: bool,
    reason: str,
    project: Path | None,
    as_json: bool,
) -> None:
    """Have habits of a workload forgotten, so that they are new again: because they should never have been learned,
    or because it has another job now. `remit workload show NAME` lists them.

    \b
    Examples:
      remit workload forget finance-agent --destination files.example.org --reason "not ours"
      remit workload forget finance-agent --all --reason "new version"
    """
    folder = options.folder_of(context, project)
    settings = read_settings(folder.root)

    async def work(remit: Remit) -> Sequence[str]:
        found = await administration.known(settings, remit, "workload", name)
        return await remit.forget(
            Forgetting(id=found.id, tools=tools, destinations=destinations, everything=everything, reason=reason)
        )

    forgotten = run_as_operator(folder, work)
    if as_json:
        click.echo(msgspec.json.encode(forgotten).decode())
        return
    click.echo(f"forgotten: {', '.join(forgotten)}" if forgotten else "nothing of this was learned")


# --- what is shown ------------------------------------------------------------------------------------------


def _tell_added(added: Added) -> None:
    registration = added.registration
    click.secho("registered ", fg="green", nl=False)
    click.echo(f"`{registration.id}` ({registration.kind}, owner {registration.owner})")
    if added.key_file:
        click.echo(f"  its key was made: {added.key_file} (mode 0600)")
        click.echo("  move it to where it runs, out of reach of anyone else; whoever has it is this identity")
    click.echo(f"  key  {registration.key}")


def _everything(folder: Folder, settings: Settings, registration: Registration, days: int) -> dict[str, Any]:
    """The registration with its life; with `days`, also a workload's account of so many days."""
    now = system_clock()
    life = administration.life_of(folder, registration.id)
    file = folder.key_file(registration.id.split("/", 3)[3])
    risks, level = live_signals(life["risks"], settings.risk.signals, now)
    found: dict[str, Any] = msgspec.to_builtins(registration)
    return found | {
        "declared": registration.id in declared_in(settings),
        "keyFile": str(file) if file.exists() else "",
        "risk": level,
        **life,
        "risks": risks,
        **(account(folder, registration, days, now) if days else {}),
    }


def _confirm(id_: str) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("confirmation_missing", f"retiring `{id_}` is final", "give `--yes`")
    click.confirm(f"retire {id_} for good?", abort=True)


workload = _group("workload")
workload.add_command(risk)
workload.add_command(forget)
starter = _group("starter")
pep = _group("pep")
approver = _group("approver")
