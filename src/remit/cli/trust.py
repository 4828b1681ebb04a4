"""`remit trust`: the signing keys of the trust domain."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from remit.app.trust import load_keyring, rotation_delay
from remit.cli import options
from remit.cli.failures import reported
from remit.core.clock import system_clock
from remit.core.settings import Settings, read_settings
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
    ring = _ring(context, project)[0]
    if as_json:
        click.echo(msgspec.json.encode(ring.bundle()).decode())
        return
    now = system_clock()
    signing = ring.signing_key(now).kid
    since = datetime.fromtimestamp(ring.signs_since(now) / 1000, UTC)
    coming = ring.signs_next(now)
    for key in ring.bundle()["keys"]:
        what = f"signs since {since:%Y-%m-%d %H:%M} UTC" if key["kid"] == signing else "verifies only"
        if coming is not None and key["kid"] == coming.kid:
            what = "signs next"
        click.echo(f"{key['kid']}  {what}")


@trust.command()
@options.project
@click.pass_context
@reported
def rotate(context: click.Context, project: Path | None) -> None:
    """Sign with a new key from now on; what the old ones signed stays valid until it expires.

    Where several processes share the keys, it signs from half a minute from now on, when all of them have read it.
    """
    ring, settings = _ring(context, project)
    delay = rotation_delay(settings)
    kid = ring.rotate(system_clock(), delay_ms=delay).kid
    click.echo(f"{kid} signs {f'in {delay // 1000} seconds' if delay else 'from now on'}")


@trust.command(context_settings={"ignore_unknown_options": True})
@options.project
@click.argument("kid")
@click.pass_context
@reported
def revoke(context: click.Context, project: Path | None, kid: str) -> None:
    """Take key KID out at once, after a compromise: everything that it signed is refused from then on."""
    ring = _ring(context, project)[0]
    ring.revoke(kid, system_clock())
    click.echo(f"{kid} is out; holders get new documents with their own keys, tasks must be started again")


def _ring(context: click.Context, project: Path | None) -> tuple[KeyRing, Settings]:
    folder = options.folder_of(context, project)
    settings = read_settings(folder.root)
    return load_keyring(folder, settings), settings
