"""`remit witness`: cosigns the checkpoints of logs that only grow; for another machine than the log's, best of all."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
import msgspec
import uvloop

from remit.app.service import listen_address
from remit.app.witness import LISTEN, default_state, key_of, open_witness, run_witness
from remit.cli import options
from remit.cli.failures import reported
from remit.core.errors import InvalidInput
from remit.server.tls import ServerTls

_state = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="DIR",
    help="Its key and what it has seen; by default ~/.local/state/remit/witness.",
)


@click.group(invoke_without_command=True)
@click.option(
    "--log", "logs", multiple=True, metavar="VKEY", help="A log that it cosigns, by its public key. Repeat for more."
)
@click.option(
    "--listen",
    default=LISTEN,
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where logs reach it; without TLS on a loopback address only.",
)
@_state
@click.option(
    "--name",
    default="",
    metavar="NAME",
    help="What it is called for good, such as witness.example.org/w1; by default `<host name>/witness`.",
)
@click.option("--tls-certificate", type=click.Path(path_type=Path), default=None, metavar="FILE", help="PEM, for TLS.")
@click.option("--tls-key", type=click.Path(path_type=Path), default=None, metavar="FILE", help="PEM: its key, 0600.")
@click.pass_context
@reported
def witness(
    context: click.Context,
    logs: tuple[str, ...],
    listen: str,
    state: Path | None,
    name: str,
    tls_certificate: Path | None,
    tls_key: Path | None,
) -> None:
    """Run a witness: it cosigns a log's checkpoint only if that continues what it cosigned before.

    It needs no project, and should run where the log's operator can't change it. Its key is made at the first start.
    A log that was forked or rolled back is an ALARM line, and both checkpoints are kept in DIR. DIR is its memory:
    never restore an older copy of it (docs/guides/verifying.md). Stop it with Ctrl-C.

    \b
    Examples:
      remit witness --log log.example.org+530d903a+AekyeR... --name witness.example.org/w1
      remit witness key                 its public key, for the log's operator and whoever verifies
    """
    if context.invoked_subcommand is not None:
        return
    host, port = listen_address(listen)
    if port is None:
        raise InvalidInput("listen_invalid", "a witness needs an address", f"write `--listen {LISTEN}`")
    if (tls_certificate is None) != (tls_key is None):
        raise InvalidInput("option_invalid", "TLS needs a certificate and its key", "give both, or neither")
    tls = ServerTls(tls_certificate, tls_key) if tls_certificate and tls_key else None
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    opened = open_witness(state or default_state(), name, logs)

    def listening(url: str) -> None:
        click.echo(f"witness {opened.key}")
        click.echo(f"listens on {url}")
        for origin, size in opened.witness.sizes().items():
            click.echo(f"cosigns {origin}, {size} entries so far")

    uvloop.run(run_witness(opened, host=host, port=port, tls=tls, on_listening=listening))


@witness.command()
@_state
@options.as_json
@reported
def key(state: Path | None, as_json: bool) -> None:
    """Show the witness's public key (vkey), for the log's operator and whoever verifies.

    \b
    Example:
      remit verify https://log.example.org --key "$LOG" --witness "$(remit witness key)"
    """
    vkey = str(key_of(state or default_state()))
    click.echo(msgspec.json.encode({"key": vkey}).decode() if as_json else vkey)
