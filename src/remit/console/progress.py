"""A progress bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from remit.console.screen import screen


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """A function that takes what is being done, how much is done, and how much there is.

    The bar goes to standard error, so that the output stays clean, and only when that is a terminal.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen(err=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]  # a TaskID is an int

        yield advance
