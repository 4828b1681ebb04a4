"""`remit evidence`: what the records of a period show of what frameworks ask, as a pack that is handed to auditors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.text import Text

from remit.app.evidence import Made, Wanted, make_pack, pack_signer
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.console.evidence.check import CHECKS, Verified, verify_pack
from remit.console.evidence.frameworks import ALL, Found, Framework, chosen, explained, frameworks, meanings, mechanisms
from remit.console.evidence.period import period_of
from remit.console.evidence.samples import MOST, USUAL
from remit.console.layout import labelled
from remit.console.progress import progress_bar
from remit.console.screen import plain_table, printable, screen
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput
from remit.core.settings import read_settings
from remit.ledger.tlog.note import read_key

_COLUMN: Final = 14
_CHALLENGE_BYTES: Final = 256
_PACK: Final = "pack"


class _Evidence(click.Group):
    """A group whose options alone mean `pack`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As `Group.parse_args`; what begins with no command is for `pack`."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_PACK, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Evidence)
def evidence() -> None:
    """Write packs of evidence for auditors: what the records of a period show of what frameworks ask.

    \b
    Example:
      remit evidence pack --framework owasp-nhi-2025 --from 2026-10-01 --to 2026-11-01 evidence-october

    Without the word `pack` it is the same.
    """


@evidence.command(name=_PACK)
@click.argument("target", metavar="DIR|FILE.zip", type=click.Path(path_type=Path))
@click.option(
    "--framework",
    "names",
    multiple=True,
    required=True,
    metavar="ID",
    help=f"Which framework, more than once for several; `{ALL}` for every one (`remit evidence frameworks`).",
)
@click.option(
    "--from", "from_", required=True, metavar="TIME", help="When the period begins: a day (midnight UTC), or a time."
)
@click.option("--to", required=True, metavar="TIME", help="The first moment after the period, likewise.")
@click.option(
    "--samples",
    type=click.IntRange(0, MOST),
    default=USUAL,
    show_default=True,
    metavar="N",
    help="How many records are shown for each figure.",
)
@click.option(
    "--challenge", default="", metavar="TEXT", help="A word of the auditor's, on which the choice of samples rests too."
)
@options.project
@options.as_json
@click.pass_context
@reported
def write_pack(
    context: click.Context,
    target: Path,
    names: tuple[str, ...],
    from_: str,
    to: str,
    samples: int,
    challenge: str,
    project: Path | None,
    as_json: bool,
) -> None:
    """Write a signed pack for a period.

    It has evidence.html, evidence.json, receipts and their checkpoint. For each control it says what the framework
    asks, how Remit enforces it, what the records of the period show, with samples that the log's root chooses, and
    what is not covered. Reads beside a running service.

    \b
    Examples:
      remit evidence pack --framework owasp-nhi-2025 --from 2026-10-01 --to 2026-11-01 evidence-october
      remit evidence pack --framework all --from 2026-10-01T00:00+02:00 --to 2027-01-01T00:00+01:00 q4.zip
    """
    wanted = Wanted(chosen(names), period_of(from_, to), samples, _challenge(challenge))
    folder = options.folder_of(context, project)
    with progress_bar(shown=not as_json) as progress:
        made = make_pack(folder, wanted, target, system_clock(), progress)
    if as_json:
        click.echo(msgspec.json.encode(_made(made, target)).decode())
        return
    _show_made(screen(), made, target)


@evidence.command()
@click.argument("source", metavar="DIR|FILE.zip", type=click.Path(path_type=Path))
@click.option("--key", "vkey", required=True, metavar="VKEY", help="The key of packs: `remit evidence key`.")
@click.option("--log-key", default="", metavar="VKEY", help="The key of the log, as you know it: `remit log key`.")
@options.as_json
@reported
def verify(source: Path, vkey: str, log_key: str, as_json: bool) -> None:
    """Check a pack, offline.

    Signature, digests, and every receipt; exit 1 when anything is wrong. No project and no service is needed.
    Without --log-key, receipts are checked with the key that the pack names.

    \b
    Example:
      remit evidence verify evidence-october --key example.org/evidence+530d903a+AekyeR... --log-key ...
    """
    found = verify_pack(source, read_key(vkey), read_key(log_key) if log_key else None)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(found) | {"failed": found.failed}).decode())
    else:
        _show_verified(screen(), found)
    if found.failed:
        sys.exit(FAILED)


@evidence.command()
@options.project
@options.as_json
@click.pass_context
@reported
def key(context: click.Context, project: Path | None, as_json: bool) -> None:
    """Show the public key (vkey) of packs.

    Packs of this project are signed with it, and whoever verifies one needs it. Give it to them by another way than
    a pack. The key that signs stands in `.remit/evidence.pem`, and is made here when it is missing.

    \b
    Example:
      remit evidence verify evidence-october --key "$(remit evidence key)"
    """
    folder = options.folder_of(context, project)
    vkey = str(pack_signer(folder, read_settings(folder.root)).key)
    click.echo(msgspec.json.encode({"key": vkey}).decode() if as_json else vkey)


@evidence.command(name="frameworks")
@options.as_json
@reported
def list_frameworks(as_json: bool) -> None:
    """List what is mapped, with versions and controls.

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
            Text(each.name),
            Text(f"{each.version}, mapping {each.mapping}", style="dim"),
            Text(_range([control.id for control in each.controls])),
        )
    console.print(table)
    click.echo("`remit evidence explain ID` shows one control; `--framework all` takes every framework")


@evidence.command()
@click.argument("label", metavar="ID")
@options.as_json
@reported
def explain(label: str, as_json: bool) -> None:
    """Explain one control of a framework.

    What it asks, how Remit enforces it, what shows it, and what is not covered. ID is an official id (NHI5, ASI02,
    PR.AA, GOVERN). Labels that are met in the wild and are none (AGENT-04, M1, NHI-06) are looked up too, with what
    they most likely mean.

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


def _challenge(text: str) -> str:
    if len(text.encode()) > _CHALLENGE_BYTES or not text.isprintable():
        raise InvalidInput(
            "challenge_invalid",
            f"the challenge is over {_CHALLENGE_BYTES} bytes, or not printable",
            "take a few words that nobody could foresee",
        )
    return text


def _made(made: Made, target: Path) -> dict[str, Any]:
    pack = made.pack
    return {
        "pack": str(target),
        "key": made.key,
        "from": pack.from_,
        "to": pack.to,
        "frameworks": {each.id: each.states for each in pack.frameworks},
        "concerns": list(pack.concerns),
        "receipts": sum(path.startswith("receipts/") for path in made.files),
        "published": pack.log.published,
    }


def _show_made(console: Console, made: Made, target: Path) -> None:
    pack = made.pack
    table = plain_table("framework", "evidence", "gap", "not covered")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in pack.frameworks:
        table.add_row(Text(each.id, style="bold"), *(str(number) for number in each.states.values()))
    console.print(table)
    by_id = pack.by_id
    for id_ in pack.concerns:
        console.print(Text(f"look at it: {by_id[id_].title}: {by_id[id_].value}", style="yellow"), soft_wrap=True)
    if not pack.log.published:
        console.print(Text("no proofs: the records are not published as a log", style="yellow"), soft_wrap=True)
    if not pack.over:
        console.print(Text("the period is not over: the same pack will say more later", style="yellow"), soft_wrap=True)
    receipts = sum(path.startswith("receipts/") for path in made.files)
    records = f"{pack.records.in_period} records of the period"
    click.echo(f"wrote `{target}`: {records}, {receipts} {'receipt' if receipts == 1 else 'receipts'}")
    click.echo(f"check it with `remit evidence verify {target} --key {made.key}`")


def _show_verified(console: Console, found: Verified) -> None:
    table = plain_table("", "check", "made", "what it says", wrap=("what it says",))
    table.columns[2].justify = "right"
    wrong = {finding.partition(":")[0] for finding in found.findings}
    for name, says in CHECKS.items():
        if name in found.checks or name in wrong:
            mark = Text("wrong", style="bold red") if name in wrong else Text("ok", style="green")
            table.add_row(mark, name, str(found.checks.get(name, 0)), Text(says, style="dim"))
    console.print(table)
    for finding in found.findings:
        console.print(Text.assemble(("wrong ", "bold red"), printable(finding)), soft_wrap=True)
    if found.without:
        console.print(Text(f"not proven: {found.without} samples have no receipt", style="yellow"), soft_wrap=True)
    if found.log_key and not found.log_key_given:
        said = f"the log's key is the one that the pack names, {found.log_key}: compare it with the one you know"
        console.print(Text(printable(said), style="yellow"), soft_wrap=True)
    what = printable(f"{found.trust_domain}, {found.from_} to {found.to}")
    if found.failed:
        console.print(Text.assemble(("wrong: ", "bold red"), what), soft_wrap=True)
    else:
        console.print(Text.assemble(("in order: ", "bold green"), what), soft_wrap=True)


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
