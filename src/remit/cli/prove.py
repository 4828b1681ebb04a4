"""`remit prove`: a receipt for one decision, which anybody checks offline with the log's public key."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click
import msgspec
from rich.text import Text

from remit.app.proving import ALL, Made, prove
from remit.cli import options
from remit.cli.failures import reported
from remit.console.screen import screen
from remit.core.errors import Conflict
from remit.ledger.statement import printable


@click.command(name="prove")
@click.argument("id_", metavar="ID")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Where to write the receipt; by default `<id>.receipt.json` in this folder.",
)
@click.option(
    "--tlog-proof",
    "plain",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="Write the record's tlog-proof (c2sp.org/tlog-proof) there too, for other software.",
)
@click.option(
    "--open",
    "open_",
    multiple=True,
    metavar="PATH|all",
    help="Open this personal value (a JSON Pointer) to whoever gets the receipt; may be repeated.",
)
@click.option(
    "--with-texts", is_flag=True, help="Put the policies, intents, catalogue and settings that decided into it."
)
@options.project
@options.as_json
@click.pass_context
@reported
def prove_command(
    context: click.Context,
    id_: str,
    output: Path | None,
    plain: Path | None,
    open_: tuple[str, ...],
    with_texts: bool,
    project: Path | None,
    as_json: bool,
) -> None:
    """Write a receipt for one decision or task: ID is its id, or at least four characters of its end.

    The receipt holds the decision's record, its task, what became of it, the digests of what decided it, and the proofs
    that the published log has them. `remit verify FILE --key VKEY` checks it offline, and so does the one-file
    verifier. Personal values are in it as commitments only; --open discloses them to everybody who gets the receipt,
    for good.

    \b
    Examples:
      remit prove 8c01d2
      remit prove 8c01d2 --open /context/input/email -o for-the-auditor.json
    """
    made = prove(options.folder_of(context, project), id_, open_=open_, with_texts=with_texts)
    file = output or Path(f"{made.receipt.id}.receipt.json")
    # SECURITY: opened values are personal: nobody else on this machine reads them here.
    _write(file, made.receipt.encode(), 0o600 if made.receipt.openings else 0o644)
    if plain is not None:
        _write(plain, made.entry.proof.encode(), 0o644)
    if as_json:
        click.echo(msgspec.json.encode(_told(made, file)).decode())
    else:
        _show(made, file)


def _told(made: Made, file: Path) -> dict[str, object]:
    return {
        "id": made.receipt.id,
        "file": str(file),
        "key": str(made.key),
        "records": [{"kind": each.kind, "place": each.place, "leaf": each.leaf} for each in made.proven.records],
        "size": made.proven.size,
        "opened": sorted(each.path for each in made.proven.opened),
        "concealed": made.proven.concealed,
        "pending": made.pending,
        "leftOut": made.left_out,
    }


def _show(made: Made, file: Path) -> None:
    console = screen()
    if made.proven.opened:
        paths = ", ".join(sorted({each.path for each in made.proven.opened}))
        console.print(Text("warning: ", style="bold yellow"), end="")
        warning = f"this receipt discloses personal values to everybody who gets it: {paths}"
        console.print(Text(printable(warning)), soft_wrap=True)
    kinds = ", ".join(each.kind for each in made.proven.records)
    click.echo(f"wrote the receipt of `{made.receipt.id}` to `{file}`: {kinds}")
    if made.pending:
        several = "1 later record" if made.pending == 1 else f"{made.pending} later records"
        click.echo(f"left out, not published yet: {several} about it; prove it again in a second to have all")
    if made.left_out:
        click.echo(f"left out, more than a receipt holds: {made.left_out} records about it")
    if made.proven.concealed and not made.proven.opened:
        several = (
            f"{made.proven.concealed} personal values stay" if made.proven.concealed > 1 else "1 personal value stays"
        )
        click.echo(f"{several} concealed; `--open PATH` or `--open {ALL}` would disclose it")
    click.echo(f"check it anywhere with `remit verify {file} --key {made.key}`")


def _write(file: Path, data: bytes, mode: int) -> None:
    """The file, whole or not at all; one that is there already is not replaced."""
    if file.exists():
        raise Conflict("file_exists", f"`{file}` is there already", "name another file: `-o FILE`")
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name[:100]}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
