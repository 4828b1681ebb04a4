"""`remit replay`: recorded decisions against other policies, intents or catalogue."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from remit.app.folder import Folder
from remit.app.project import load_project
from remit.app.recordings import Installed, Recordings, recordings_of
from remit.app.records import reader_of
from remit.app.replaying import Wanted, configuration_for, replay
from remit.app.replaying_traces import replay_trace
from remit.cli import options
from remit.cli.failures import FAILED, reported
from remit.cli.log_filters import time_of
from remit.cli.pages import write_page
from remit.console.detail import find
from remit.console.progress import progress_bar
from remit.console.replay import CATEGORIES, Replayed, headline
from remit.console.replay_page import replay_page
from remit.console.replay_text import show_replay
from remit.console.screen import screen
from remit.core.clock import system_clock
from remit.storage.index_choice import matcher

_PARTS: Final = ("policies", "intents", "catalogue")
_FAIL: Final = tuple(category.replace(" ", "-") for category in CATEGORIES)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command(name="replay")
@click.option("--policies", type=_FOLDER, default=None, metavar="DIR", help="Judge by the policies in DIR.")
@click.option("--intents", type=_FOLDER, default=None, metavar="DIR", help="Judge by the intents in DIR.")
@click.option("--catalogue", type=_FOLDER, default=None, metavar="DIR", help="Judge by the catalogue in DIR.")
@click.option("--against", type=_FOLDER, default=None, metavar="DIR", help="Judge by all of another project folder.")
@click.option("--from", "source", type=_FOLDER, default=None, metavar="DIR", help="An export, a log or an archive.")
@click.option("--archive", type=_FOLDER, multiple=True, metavar="DIR", help="With --from: its archived entries.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    metavar="FILE",
    help="A Dogwood trace in place of records: what the folder's own policies say to it, and what the others would.",
)
@click.option("--since", default="", metavar="TIME", help="Not before: `2h` ago, `2026-11-01`, or RFC 3339.")
@click.option("--until", default="", metavar="TIME", help="Before: in the same forms.")
@click.option("--task", default="", metavar="ID", help="Only this task and its children (an id, or its end).")
@click.option("--workload", multiple=True, metavar="W", help="Only this workload (its name or SPIFFE ID).")
@click.option("--cascade", is_flag=True, help="With the history that there would have been.")
@click.option("--all", "everything", is_flag=True, help="Tell each change, however many there are.")
@click.option("--fail-on", type=click.Choice(_FAIL), multiple=True, help="Exit with 1 when there is one; for CI.")
@click.option(
    "--html",
    "page",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as one page; `-` is standard output.",
)
@options.project
@options.as_json
@click.pass_context
@reported
def replay_command(
    context: click.Context,
    policies: Path | None,
    intents: Path | None,
    catalogue: Path | None,
    against: Path | None,
    source: Path | None,
    archive: tuple[Path, ...],
    trace: Path | None,
    since: str,
    until: str,
    task: str,
    workload: tuple[str, ...],
    cascade: bool,
    everything: bool,
    fail_on: tuple[str, ...],
    page: Path | None,
    project: Path | None,
    as_json: bool,
) -> None:
    """Say what a change of policies, intents or catalogue would have denied or permitted of what was recorded.

    Without --policies, --intents, --catalogue or --against, the folder's files as they stand now are the change: edit,
    replay, then reload. Each call is judged as it was made, with history as it happened; with --cascade, what would
    have been denied did not happen for the calls after it. Nothing is recorded.

    \b
    Examples:
      remit replay --since 7d
      remit replay --policies ../proposed/policies --fail-on newly-denied
      remit replay --from /backup/records-2026-11-22 --html change.html
      remit replay --task 3f9a21 --cascade --json
    """
    if archive and source is None:
        raise click.UsageError("--archive goes with --from only")
    if trace is not None and (source is not None or cascade):
        raise click.UsageError("--trace goes with neither --from nor --cascade")
    folder = options.folder_of(context, project)
    now = system_clock()
    given = dict(zip(_PARTS, (policies, intents, catalogue), strict=True))
    parts = {name: path.resolve() for name, path in given.items() if path is not None}
    configuration = configuration_for(folder, against, parts)
    chosen = Wanted(
        since=time_of(since, "--since", now) if since else 0,
        until=time_of(until, "--until", now) if until else None,
        task=task,
        workload=matcher("workload", workload) if workload else lambda _: True,
    )
    if trace is not None:
        _, current = load_project(folder)
        with progress_bar() as progress:
            found = replay_trace(trace, current, configuration, chosen, progress)
    else:
        with _recordings(folder, source, archive, task) as (recordings, root), progress_bar() as progress:
            wanted = msgspec.structs.replace(chosen, task=root)
            found = replay(recordings, configuration, wanted, cascade=cascade, progress=progress)
    if page is not None:
        write_page(page, replay_page(found, now, _against(folder, against, given)))
        click.echo(headline(found), err=True)
    elif as_json:
        said: dict[str, Any] = {"summary": headline(found), **msgspec.to_builtins(found)}
        click.echo(msgspec.json.encode(said).decode())
    else:
        show_replay(screen(), found, everything=everything)
    if _fails(found, fail_on):
        sys.exit(FAILED)


@contextmanager
def _recordings(
    folder: Folder, source: Path | None, archive: tuple[Path, ...], task: str
) -> Iterator[tuple[Recordings, str]]:
    """The records, and the id of the task that is meant."""
    if source is not None:
        yield recordings_of(source, archive), task
        return
    with reader_of(folder) as reader:
        root = str(find(reader, task).record.body["task"]) if task else ""
        yield Installed(reader), root


def _fails(found: Replayed, fail_on: tuple[str, ...]) -> bool:
    return any(found.counts[name.replace("-", " ")] for name in fail_on)


def _against(folder: Folder, against: Path | None, parts: dict[str, Path | None]) -> str:
    said = [f"{name} of {path}" for name, path in parts.items() if path is not None]
    whole = f"the project {against or folder.root}"
    return f"{', '.join(said)}, and {whole} otherwise" if said else whole
