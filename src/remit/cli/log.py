"""`remit log`: what was decided, done and found out; read from the records, beside a running service."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
import msgspec
from rich.console import Console

from remit.app.archiving import archive_log
from remit.app.exports import export_folder
from remit.app.folder import Folder
from remit.app.indexing import ask, index_of, rebuild
from remit.app.operator import run_as_operator
from remit.app.pending import Published, published_of
from remit.app.publishing import signer_of
from remit.app.records import reader_of
from remit.cli import options
from remit.cli.failures import reported
from remit.cli.log_filters import check_known, choice_of, filters, time_of
from remit.console import account, lines
from remit.console.detail import detail, find, simplified
from remit.console.history import History, Line
from remit.console.progress import progress_bar
from remit.console.screen import screen
from remit.core.clock import system_clock
from remit.core.decisions import OutcomeResult
from remit.core.errors import NotFound, RemitError
from remit.core.settings import read_settings
from remit.sdk.api import Remit
from remit.storage.index_choice import Choice
from remit.storage.reader import Reader, Stored

POLL_SECONDS: Final = 0.15
MOST: Final = 100_000
T = TypeVar("T")


@click.group(invoke_without_command=True)
@options.project
@click.option(
    "--last", type=click.IntRange(0, MOST), default=20, show_default=True, metavar="N", help="How many lines to show."
)
@filters
@click.option("--follow", is_flag=True, help="Go on showing lines as they are recorded, until Ctrl-C.")
@click.option("--count", is_flag=True, help="Say how many records fit, and show none.")
@options.as_json
@click.pass_context
@reported
def log(
    context: click.Context,
    project: Path | None,
    last: int,
    given: Mapping[str, tuple[str, ...]],
    task: str,
    denied: bool,
    since: str,
    until: str,
    follow: bool,
    count: bool,
    as_json: bool,
) -> None:
    """Show decisions, tasks and outcomes, the latest ones last.

    \b
    Examples:
      remit log --denied --last 50
      remit log --task 3f9a21 --follow
      remit log --action='bank/*' --decision=deny --since=2h
      remit log --workload=helper --workload=agent --label=pii --count
      remit log --json | jq 'select(.result == "deny")'
      remit log show 8c01d2            everything about one of them

    A filter that is given several times chooses either; different filters choose what fits all of them. In names,
    `*` and `?` stand for anything. The column `id` shows the end of an id, which is enough for `remit log show`.
    --json prints one object a line.
    """
    if context.invoked_subcommand is not None:
        context.find_root().obj = project or context.find_root().obj
        return
    if follow and (count or until):
        raise click.UsageError("--follow goes with neither --count nor --until")
    folder = options.folder_of(context, project)
    with reader_of(folder) as reader:
        times = {"since": since, "until": until, "now": system_clock()}
        choice = choice_of(folder, reader, given, task=task, denied=denied, **times)  # type: ignore[arg-type]
        if count:
            _count(folder, reader, choice, as_json=as_json)
        else:
            _print(folder, reader, choice, last, follow=follow, as_json=as_json)


def _count(folder: Folder, reader: Reader, choice: Choice, *, as_json: bool) -> None:
    def question(history: History) -> int:
        found = history.count(choice)
        if not found and not choice.task:
            check_known(folder, history, choice)
        return found

    number = _ask(folder, reader, choice, question)
    click.echo(msgspec.json.encode({"count": number}).decode() if as_json else str(number))


def _ask(folder: Folder, reader: Reader, choice: Choice, question: Callable[[History], T]) -> T:
    """Asks with the index, unless the latest lines are wanted whatever they are, or those of one task."""
    pending = pending_of(folder)
    if choice.is_open or choice.task:
        return question(History(reader, None, pending))
    with progress_bar() as progress:
        return ask(folder, reader, lambda index: question(History(reader, index, pending)), progress, _warn)


def pending_of(folder: Folder) -> Callable[[Stored], bool] | None:
    """What says of a record that it is still to be published; None where records are not."""
    published = _published(folder)
    return published.is_pending if published is not None else None


def _published(folder: Folder) -> Published | None:
    with suppress(RemitError):  # records can be read whatever else is wrong with the settings
        return published_of(folder, read_settings(folder.root))
    return None


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


def _print(folder: Folder, reader: Reader, choice: Choice, last: int, *, follow: bool, as_json: bool) -> None:
    console = screen()
    columns = lines.Columns(console.width)
    tail = reader.tail(choice.kinds) if follow else None

    def question(history: History) -> list[Line]:
        found = history.last(choice, last) if last else []
        if not found and not follow and not choice.task:
            check_known(folder, history, choice)
        return found

    found = _ask(folder, reader, choice, question)
    before = 0
    if not as_json and (found or follow):
        console.print(columns.head())
    for line in found:
        before = _print_line(console, columns, line, before, as_json=as_json)
    if not found and not follow and not as_json:
        click.echo("nothing yet that fits; `remit run` starts a task" if reader.count() else "there are no records yet")
    if tail is None:
        return
    shown = {(line.stream, line.n) for line in found}  # recorded after the tail began
    with _interrupted() as stopped:
        history = History(reader)
        while not stopped.is_set():
            fresh = tail.fresh()
            if fresh:
                history.pending = pending_of(folder)
            for line in history.lines(fresh, choice):
                if (line.stream, line.n) not in shown:
                    before = _print_line(console, columns, line, before, as_json=as_json)
            stopped.wait(POLL_SECONDS)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Set by Ctrl-C. An exception instead could come up where it is ignored, and the command would go on."""
    stopped = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _print_line(console: Console, columns: lines.Columns, line: Line, before: int, *, as_json: bool) -> int:
    if as_json:
        click.echo(msgspec.json.encode(lines.as_json(line)).decode())
    else:
        lines.show_day(console, line.at, before)
        console.print(columns.line(line), soft_wrap=True)
    return line.at


@log.command()
@click.argument("id_", metavar="ID")
@options.project
@options.as_json
@click.pass_context
@reported
def show(context: click.Context, id_: str, project: Path | None, as_json: bool) -> None:
    """Show everything about one decision, permit or task: ID is its id, or at least four characters of its end.

    \b
    Who asked, for which task and intent; the action with its arguments (personal values only while they are
    kept, and marked); the decision, its reason, its policies with file, line and text; the facts that mattered;
    the outcome; what decided it; where it stands in the record.

    \b
    Example:
      remit log show 8c01d2
    """
    folder = options.folder_of(context, project)
    with reader_of(folder) as reader:
        found = detail(reader, find(reader, id_), published.place_of if (published := _published(folder)) else None)
    if as_json:
        click.echo(msgspec.json.encode(simplified(found)).decode())
    else:
        account.show(screen(), found)


@log.command()
@options.project
@options.as_json
@click.pass_context
@reported
def key(context: click.Context, project: Path | None, as_json: bool) -> None:
    """Show the public key (vkey) of the log that `[ledger]` publishes, for whoever verifies it.

    Give it to them by another way than the log itself. The key that signs stands in `.remit/log.pem`, or as
    `log.pem` in `[identity] trust`, which all processes share: back it up.

    \b
    Example:
      remit verify .remit/log --key "$(remit log key)"
    """
    folder = options.folder_of(context, project)
    settings = read_settings(folder.root)
    if not settings.ledger.folder:
        raise NotFound(
            "log_not_published", "these records are not published as a log", 'set `[ledger] folder = ".remit/log"`'
        )
    vkey = str(signer_of(folder, settings).key)
    click.echo(msgspec.json.encode({"key": vkey, "folder": settings.ledger.folder}).decode() if as_json else vkey)


@log.command()
@options.project
@options.as_json
@click.pass_context
@reported
def reindex(context: click.Context, project: Path | None, as_json: bool) -> None:
    """Make the index anew by which filters find records; also beside a running service.

    It is derived from the records, in `.remit/index`, and otherwise made and repaired by itself: this is for when a
    disk has damaged it.

    \b
    Example:
      remit log reindex
    """
    folder = options.folder_of(context, project)
    index = index_of(folder)
    with reader_of(folder) as reader, progress_bar(shown=not as_json) as progress:
        rebuild(reader, index, progress)
        records = reader.count()
    if as_json:
        click.echo(msgspec.json.encode({"records": records, "bytes": index.size()}).decode())
    else:
        click.echo(f"indexed {records} records; the index takes {index.size() / 1024**2:.1f} MiB")


@log.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@options.project
@options.as_json
@click.pass_context
@reported
def export(context: click.Context, target: Path, project: Path | None, as_json: bool) -> None:
    """Write all records to DIR, a new folder, which anyone can verify: `remit verify DIR`.

    Personal values are not exported, only commitments to them. docs/design/records.md describes the files. Keep the
    `export.json` of an earlier export elsewhere: `remit verify DIR --known export.json` then shows what was cut off.

    \b
    Example:
      remit log export /backup/records-2026-11-22
    """
    folder = options.folder_of(context, project)
    with progress_bar(shown=not as_json) as progress:
        manifest = export_folder(folder, target, progress)
    records = sum(stream.records for stream in manifest.streams)
    if as_json:
        said: dict[str, Any] = {"folder": str(target), "streams": len(manifest.streams), "records": records}
        click.echo(msgspec.json.encode(said | {"texts": len(manifest.texts)}).decode())
        return
    click.echo(f"wrote {records} records of {len(manifest.streams)} streams to `{target}`")
    click.echo(f"check them with `remit verify {target}`")


@log.command()
@click.option("--before", required=True, metavar="TIME", help="What is older: than `90d`, or before `2026-11-01`.")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@options.project
@options.as_json
@click.pass_context
@reported
def archive(context: click.Context, before: str, target: Path, project: Path | None, as_json: bool) -> None:
    """Move old entries of the published log to DIR; the log then says, signed, how many are there.

    Whole bundles of 256 entries go, from the first one on, up to one with an entry that is not older. Each is written
    to DIR and read back before it is removed; hash tiles stay. `remit verify` with `--archive DIR` verifies the whole;
    without it, everything else, and says how many entries it did not read. The records in the database stay.

    \b
    Example:
      remit log archive --before 90d /archive/remit
    """
    folder = options.folder_of(context, project)
    now = system_clock()
    moment = time_of(before, "--before", now)
    with progress_bar(shown=not as_json) as progress:
        moved = archive_log(folder, target, moment, now, lambda done, most: progress("archiving", done, most))
    if as_json:
        said = {"folder": str(target), "entries": moved.entries, "bytes": moved.bytes, "archived": moved.total}
        click.echo(msgspec.json.encode(said).decode())
    elif not moved.entries:
        click.echo(f"nothing more is old enough; {moved.total} entries are archived in all")
    else:
        click.echo(f"moved {moved.entries} entries ({moved.bytes} bytes) to `{target}`; {moved.total} are archived")
        click.echo(f"check all of it with `remit verify FOLDER|URL --key VKEY --archive {target}`")


@log.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--as",
    "result",
    type=click.Choice(get_args(OutcomeResult)),
    required=True,
    help="What became of it: it answered, it failed, or it never happened (which gives back what it had spent).",
)
@click.option("--reason", required=True, help="How you know; it stands in the record.")
@options.project
@options.as_json
@click.pass_context
@reported
def resolve(
    context: click.Context, id_: str, result: OutcomeResult, reason: str, project: Path | None, as_json: bool
) -> None:
    """Say what became of a permit whose outcome is unknown, as the operator.

    A permit without an outcome becomes `unknown` at its deadline, and stays spent (except for reads) until its
    enforcement point or an operator says what happened.

    \b
    Example:
      remit log resolve 8c01d2 --as not_executed --reason "the bank has no such payment"
    """
    folder = options.folder_of(context, project)
    decision = _decision(folder, id_)

    async def work(remit: Remit) -> None:
        await remit.resolve(decision, result, reason)

    run_as_operator(folder, work)
    if as_json:
        click.echo(msgspec.json.encode({"decision": decision, "result": result}).decode())
    else:
        click.echo(f"`{decision}` is resolved as {result}")


def _decision(folder: Folder, id_: str) -> str:
    with reader_of(folder) as reader:
        return str(find(reader, id_).record.body.get("id", id_))
