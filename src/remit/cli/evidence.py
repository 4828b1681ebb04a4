"""`remit evidence`: what the records of a period show of what frameworks ask, as a pack that is handed to auditors."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.cli.failures import reported
from remit.cli.options import as_json
from remit.console.evidence.frameworks import Found, Framework, explained, frameworks, meanings, mechanisms
from remit.console.layout import labelled
from remit.console.screen import plain_table, screen

_COLUMN = 14


@click.group()
def evidence() -> None:
    """Show what the records say of OWASP's lists, NIST's frameworks and MAESTRO."""


@evidence.command(name="frameworks")
@as_json
@reported
def list_frameworks(as_json: bool) -> None:
    """List the frameworks that are mapped, with their versions and controls.

    \b
    Example:
      remit evidence frameworks
    """
    if as_json:
        click.echo(msgspec.json.encode([_framework(each) for each in frameworks()]).decode())
        return
    console = screen()
    table = plain_table("framework", "what", "version", "controls", wrap=("what", "controls"))
    for each in frameworks():
        table.add_row(
            Text(each.id, style="bold"),
            Text(f"{each.name} ({each.publisher})"),
            Text(f"{each.version}, mapping {each.mapping}", style="dim"),
            Text(_range([control.id for control in each.controls])),
        )
    console.print(table)
    click.echo("`remit evidence explain ID` shows one control; `--framework all` takes every framework")


@evidence.command()
@click.argument("label", metavar="ID")
@as_json
@reported
def explain(label: str, as_json: bool) -> None:
    """Show one control: what it asks, how Remit enforces it, what shows it, and what is not covered.

    ID is an official id (NHI5, ASI02, PR.AA, GOVERN). Labels that are met in the wild and are none (AGENT-04, M1,
    NHI-06) are looked up too, with what they most likely mean.

    \b
    Example:
      remit evidence explain NHI5
    """
    found = explained(label)
    if as_json:
        click.echo(msgspec.json.encode([_found(each) for each in found]).decode())
        return
    console = screen()
    if found[0].remark:
        console.print(Text(found[0].remark, style="yellow"), soft_wrap=True)
    for each in found:
        console.print()
        _show(console, each)


def _show(console: Console, found: Found) -> None:
    control, framework = found.control, found.framework
    console.print(Text.assemble((control.id, "bold"), f"  {control.title}"))
    source = framework.source(control)
    _part(console, "source", f"{source.document}, {source.version}, {source.section}")
    _part(console, "", source.url)
    _part(console, "asks", control.asks)
    for number, each in enumerate(control.enforced):
        mechanism = mechanisms()[each.by]
        _part(console, "" if number else "enforced by", f"{mechanism.name}: {each.how}")
        _part(console, "", mechanism.page, style="dim")
    if not control.enforced:
        _part(console, "enforced by", "nothing: Remit does not cover it", style="yellow")
    for number, figure in enumerate(control.figures):
        _part(console, "" if number else "shown by", meanings()[figure].title)
    for number, said in enumerate(control.not_covered):
        _part(console, "" if number else "not covered", said, style="yellow")


def _part(console: Console, label: str, text: str, *, style: str = "") -> None:
    labelled(console, Text(label, style="dim"), [Text(text, style=style)], column=_COLUMN, indent=2)


def _range(ids: list[str]) -> str:
    return ", ".join(ids) if len(ids) < 5 else f"{ids[0]} … {ids[-1]} ({len(ids)})"


def _framework(framework: Framework) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(framework)
    return made | {"controls": [{"id": each.id, "title": each.title} for each in framework.controls]}


def _found(found: Found) -> dict[str, Any]:
    control = found.control
    return {
        "framework": found.framework.id,
        "remark": found.remark,
        **msgspec.to_builtins(control),
        "source": msgspec.to_builtins(found.framework.source(control)),
        "enforced": [{"how": each.how, **msgspec.to_builtins(mechanisms()[each.by])} for each in control.enforced],
        "figures": [msgspec.to_builtins(meanings()[figure]) for figure in control.figures],
    }
