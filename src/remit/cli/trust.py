"""`remit trust`: the signing keys of the trust domain."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from remit.cli import options
from remit.cli.failures import reported
from remit.core.clock import system_clock
from remit.identity.keyring import KeyRing


@click.group()
def trust() -> None:
    """Show, rotate and revoke the keys that sign identity documents and task tokens.

    A running service takes a change within five seconds.
    """


@trust.command()
@options.project
@options.as_json
@click.pass_context
@reported
def show(context: click.Context, project: Path | None, as_json: bool) -> None:
    """Print the public keys, and which one signs."""
    ring = KeyRing.load(options.folder_of(context, project).trust)
    if as_json:
        click.echo(msgspec.json.encode(ring.bundle()).decode())
        return
    now = system_clock()
    signing = ring.signing_key(now).kid
    since = datetime.fromtimestamp(ring.signs_since(now) / 1000, UTC)
    for key in ring.bundle()["keys"]:
        signs = key["kid"] == signing
        click.echo(f"{key['kid']}  {f'signs since {since:%Y-%m-%d %H:%M} UTC' if signs else 'verifies only'}")


@trust.command()
@options.project
@click.pass_context
@reported
def rotate(context: click.Context, project: Path | None) -> None:
    """Sign with a new key from now on; what the old ones signed stays valid until it expires."""
    ring = KeyRing.load(options.folder_of(context, project).trust)
    click.echo(f"{ring.rotate(system_clock()).kid} signs from now on")


@trust.command(context_settings={"ignore_unknown_options": True})
@options.project
@click.argument("kid")
@click.pass_context
@reported
def revoke(context: click.Context, project: Path | None, kid: str) -> None:
    """Take key KID out at once, after a compromise: everything that it signed is refused from then on."""
    ring = KeyRing.load(options.folder_of(context, project).trust)
    ring.revoke(kid, system_clock())
    click.echo(f"{kid} is out; holders get new documents with their own keys, tasks must be started again")
