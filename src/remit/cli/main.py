"""`remit`: one group of commands; each stands in the file of its noun."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Final

import click

from remit import __version__

# Name, module, attribute: commands are loaded when they are called, so that a gateway starts fast.
_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("remit.cli.init", "init"),
    "check": ("remit.cli.check", "check"),
    "test": ("remit.cli.cases", "test"),
    "up": ("remit.cli.up", "up"),
    "reload": ("remit.cli.reload", "reload"),
    "run": ("remit.cli.run", "run"),
    "exec": ("remit.cli.execute", "execute"),
    "gateway": ("remit.cli.gateway", "gateway"),
    "task": ("remit.cli.task", "task"),
    "decide": ("remit.cli.decide", "decide"),
    "explain": ("remit.cli.explain", "explain"),
    "replay": ("remit.cli.replay", "replay_command"),
    "ask": ("remit.cli.ask", "ask"),
    "log": ("remit.cli.log", "log"),
    "lineage": ("remit.cli.lineage", "lineage"),
    "verify": ("remit.cli.verify", "verify"),
    "evidence": ("remit.cli.evidence", "evidence"),
    "prove": ("remit.cli.prove", "prove_command"),
    "witness": ("remit.cli.witness", "witness"),
    "doctor": ("remit.cli.doctor", "doctor"),
    "catalogue": ("remit.cli.catalogue", "catalogue"),
    "trust": ("remit.cli.trust", "trust"),
    "issuers": ("remit.cli.issuers", "issuers"),
    "workload": ("remit.cli.identity", "workload"),
    "starter": ("remit.cli.identity", "starter"),
    "pep": ("remit.cli.identity", "pep"),
    "approver": ("remit.cli.identity", "approver"),
    "store": ("remit.cli.store", "store"),
    "erase": ("remit.cli.erase", "erase"),
    "notify": ("remit.cli.notify", "notify"),
    "forward": ("remit.cli.forward", "forward"),
}

SECTIONS: Final = {
    "Begin": ("init", "check", "test", "up", "doctor"),
    "Govern": ("run", "exec", "gateway", "task"),
    "Look": ("decide", "explain", "replay", "ask", "log", "lineage", "verify", "evidence", "prove", "witness"),
    "Administer": (
        "reload",
        "catalogue",
        "workload",
        "starter",
        "pep",
        "approver",
        "trust",
        "issuers",
        "store",
        "erase",
        "notify",
        "forward",
    ),
}


class Commands(click.Group):
    """Loads a command when it is called, and lists them in sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the sections."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, imported now; None when there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section after the other, each command with its first sentence."""
        for title, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [(name, command.get_short_help_str(200)) for name, command in commands if command is not None]
                )


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="remit")
@click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    envvar="REMIT_PROJECT",
    help="The project folder; by default the one at or above this folder.",
)
@click.option("--url", default="", envvar="REMIT_URL", help="The service, where it is not this folder's own.")
@click.option("--ca", default="", envvar="REMIT_CA", metavar="FILE", help="PEM: the authorities of its certificate.")
@click.option("--certificate", default="", envvar="REMIT_CERTIFICATE", metavar="FILE", help="PEM: your X.509-SVID.")
@click.option("--key", default="", envvar="REMIT_KEY", metavar="FILE", help="PEM: its key, mode 0600.")
@click.pass_context
def cli(context: click.Context, project: Path | None, url: str, ca: str, certificate: str, key: str) -> None:
    """Decide, at the moment an action is about to happen, whether it lies within the actor's remit.

    A first minute: `remit init`, then `remit up` in one terminal and `remit run` in another.
    """
    context.obj = project
    # For this command, and for the gateways of an agent that it starts.
    given = {"REMIT_URL": url, "REMIT_CA": ca, "REMIT_CERTIFICATE": certificate, "REMIT_KEY": key}
    os.environ.update({name: value for name, value in given.items() if value})


def main() -> None:
    """The program `remit`."""
    # A reader that goes away (`remit log | head`) is no error.
    try:
        cli(prog_name="remit")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
