"""`remit doctor`: is this installation in order, and does enforcement hold here?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.app.checkup import check_up
from remit.app.doctor import Finding
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console.layout import labelled
from remit.console.screen import printable, screen

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_CHECK: Final = 18  # columns of the check's name


@click.command()
@click.option(
    "--agent-user", default="", metavar="USER", help="The user that agents run as; by default the one who asks."
)
@options.project
@options.as_json
@click.pass_context
@reported
def doctor(context: click.Context, agent_user: str, project: Path | None, as_json: bool) -> None:
    """Check this installation, and whether enforcement holds on this machine; exit 1 when a check fails.

    Looked at: files, keys and their modes; socket, clock, database and disk; what waits for review; servers that
    nobody stands before; the mode; ways around Remit (the agent's user, upstreams, secrets in the environment, MCP
    clients of this folder). Nothing is changed. docs/threat-model.md says where enforcement holds.

    \b
    Examples:
      remit doctor
      remit doctor --agent-user agent
      remit doctor --json | jq '.[] | select(.level != "ok")'
    """
    findings = check_up(options.folder_of(context, project), agent_user)
    if as_json:
        click.echo(msgspec.json.encode(findings).decode())
    else:
        _show(screen(), findings)
    if any(finding.level == "fail" for finding in findings):
        sys.exit(FAILED)


def _show(console: Console, findings: list[Finding]) -> None:
    for finding in findings:
        label = Text.assemble(
            (f"{finding.level:<4}", _STYLES[finding.level]), "  ", (f"{finding.check:<{_CHECK}}", "bold")
        )
        bodies = [Text(printable(finding.message)), Text(printable(finding.next_step), style="cyan")]
        labelled(console, label, [body for body in bodies if body.plain], column=_CHECK + 8)
    counts = {level: sum(finding.level == level for finding in findings) for level in _STYLES}
    console.print()
    console.print(Text(f"{counts['ok']} in order, {counts['warn']} to look at, {counts['fail']} wrong"))
