"""`remit lineage`: where a value came from and went to, across tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from remit.app.lineage import catch_up, open_lineage
from remit.app.records import reader_of
from remit.cli import options
from remit.cli.failures import reported
from remit.cli.log_filters import time_of
from remit.cli.pages import write_page
from remit.console.detail import find
from remit.console.lineage import lineage_of
from remit.console.lineage_page import lineage_page
from remit.console.lineage_text import show_lineage
from remit.console.progress import progress_bar
from remit.console.screen import screen
from remit.core import bounds, canonical
from remit.core.clock import system_clock
from remit.core.errors import InvalidInput
from remit.storage.lineage_values import long, normal

MOST: Final = 2_000  # places that are told
LOOKED: Final = 50_000  # that are looked at where a task or a time is asked for


@click.command()
@click.argument("value", metavar="VALUE")
@click.option("--task", default="", metavar="ID", help="Only this task and its children (an id, or its end).")
@click.option("--since", default="", metavar="TIME", help="Not before: `2h` ago, `2026-11-01`, or RFC 3339.")
@click.option("--all", "everything", is_flag=True, help="Each place, however many there are.")
@click.option(
    "--html",
    "page",
    default=None,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as one page with a picture; `-` is standard output.",
)
@click.option(
    "--name", default="", metavar="TEXT", help="What the page calls the value; it does not hold it otherwise."
)
@options.project
@options.as_json
@click.pass_context
@reported
def lineage(
    context: click.Context,
    value: str,
    task: str,
    since: str,
    everything: bool,
    page: Path | None,
    name: str,
    project: Path | None,
    as_json: bool,
) -> None:
    """Tell where a value came from and went to, across tasks.

    Which tasks had it as a parameter or prompt, which results held it (in the fields that the catalogue selects), and
    which calls carried it later: in which argument, to which host, and what was decided. VALUE is a whole string or
    number; `-` reads it from standard input, so that it stays out of the shell's history.

    Parts of strings, and values that were encoded, are not found. Erased values are not found either. The first call
    reads all records; later ones what came since.

    \b
    Examples:
      remit lineage INV-2041
      remit lineage - --since 7d < account.txt
      remit lineage INV-2041 --html invoice.html --name "invoice 2041"
    """
    given = sys.stdin.read(bounds.REQUEST_BYTES + 1) if value == "-" else value
    wanted = _wanted(given)
    folder = options.folder_of(context, project)
    now = system_clock()
    after = time_of(since, "--since", now) if since else 0
    with reader_of(folder) as reader:
        of = str(find(reader, task).record.body["task"]) if task else ""
        with open_lineage(folder) as index:
            with progress_bar() as progress:
                catch_up(reader, index, progress)
            sightings, total = index.find(wanted, LOOKED if of or after else MOST)
        lines = lineage_of(reader, sightings, total, task=of, since=after)
    if page is not None:
        write_page(page, lineage_page(lines, now, name=name))
    elif as_json:
        click.echo(msgspec.json.encode(lines).decode())
    else:
        show_lineage(screen(), lines, everything=everything)


def _wanted(given: str) -> list[str]:
    """What stands for the value, also where records hold only its digest."""
    if len(given) > bounds.REQUEST_BYTES:
        raise InvalidInput(
            "value_invalid", f"the value is over {bounds.REQUEST_BYTES} characters", "give a shorter one"
        )
    text = normal(given)
    if text is None:
        raise InvalidInput("value_invalid", "this is no value", "give a string or a number, whole as it was sent")
    found = [text]
    for form in dict.fromkeys((given, given.removesuffix("\n"), given.strip())):
        try:
            data = form.encode()
        except UnicodeEncodeError:
            raise InvalidInput("value_invalid", "this is not valid Unicode", "give it in UTF-8") from None
        if len(data) > bounds.STRING_IN_RECORD:
            found.append(long(canonical.sha256(data)))
    return found
