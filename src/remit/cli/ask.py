"""`remit ask`: what the project's policies answer to a general question; nothing happens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from remit.app.asking import Asked, asked_in, evaluate, search
from remit.app.folder import Folder
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console import account
from remit.console.layout import verbatim
from remit.console.screen import screen
from remit.core.decisions import Decision
from remit.policy import Found, Named

MOST = 1_000


@click.command()
@click.argument("words", nargs=-1, metavar="SUBJECT [ACTION] RESOURCE")
@click.option(
    "--subject", "subject", multiple=True, metavar="NAME=VALUE", help="A property of the subject; JSON, or text."
)
@click.option("--action", "action", multiple=True, metavar="NAME=VALUE", help="A property of the action.")
@click.option("--resource", "resource", multiple=True, metavar="NAME=VALUE", help="A property of the resource.")
@click.option("--context", "context_", multiple=True, metavar="NAME=VALUE", help="A member of the context.")
@click.option("--most", default=MOST, type=click.IntRange(1, 100_000), help="Of a search: how many results.")
@options.project
@options.as_json
@click.pass_context
@reported
def ask(
    context: click.Context,
    words: tuple[str, ...],
    subject: tuple[str, ...],
    action: tuple[str, ...],
    resource: tuple[str, ...],
    context_: tuple[str, ...],
    most: int,
    project: Path | None,
    as_json: bool,
) -> None:
    """Say what the policies answer to a general question, and why. No service is asked, nothing is recorded.

    SUBJECT and RESOURCE are `type/id`, of the types that `entities/schema.cedarschema` declares. Leave out one id, or
    the action, to search for it. The exit code is 0 for a permit, or where a search finds something, and 1 otherwise.

    \b
    Examples:
      remit ask user/alice view record/101
      remit ask user/alice edit record/new --resource owner=alice
      remit ask user view record/101          who may view it
      remit ask user/alice view record        which records alice may view
      remit ask user/alice record/101         what alice may do to it
    """
    folder = options.folder_of(context, project)
    asked = asked_in(
        words,
        subject=_values(subject, "--subject"),
        action=_values(action, "--action"),
        resource=_values(resource, "--resource"),
        context=_values(context_, "--context"),
    )
    if asked.search is None:
        decision, texts = evaluate(folder, asked.question)
        _tell(folder, asked, decision, texts, as_json=as_json)
        sys.exit(0 if decision.permitted else FAILED)
    found = search(folder, asked.search, asked.question, most)
    _tell_found(found, as_json=as_json)
    sys.exit(0 if found.results else FAILED)


def _values(given: tuple[str, ...], option: str) -> dict[str, Any]:
    """`name=value` pairs whose values are JSON where they can be read as such, else text."""
    found: dict[str, Any] = {}
    for name, text in options.assignments(given, option).items():
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            found[name] = text
    return found


def _tell(folder: Folder, asked: Asked, decision: Decision, texts: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        shown = {"decision": decision.permitted, "reason": decision.reason, "obligations": decision.obligations}
        click.echo(msgspec.json.encode(shown).decode())
        return
    said: dict[str, Any] = {}
    for label, named in (("subject", asked.question.subject), ("resource", asked.question.resource)):
        said[label] = f"{named.type}/{named.id}"
        said |= {f"{label}.{name}": value for name, value in named.properties.items()}
    said |= {f"action.{name}": value for name, value in asked.question.action_properties.items()}
    said |= {f"context.{name}": value for name, value in asked.question.context.items()}
    account.show_answer(screen(), decision, said, texts, below=folder.root, label="question")


def _tell_found(found: Found, *, as_json: bool) -> None:
    names = [each.id if isinstance(each, Named) else each for each in found.results]
    if as_json:
        click.echo(
            msgspec.json.encode(
                {"results": names, "complete": not found.next, "exact": found.exact, "why": found.why}
            ).decode()
        )
        return
    for name in names:
        click.echo(name)
    console = screen(err=True)
    if not names:
        verbatim(console, "nothing was found", style="dim")
    if found.next:
        verbatim(console, "there is more: --most says how much to show", style="yellow")
    if not found.exact:
        verbatim(console, f"not exact: {found.why}", style="yellow")
