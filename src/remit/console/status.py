"""What a service says when it starts, and the live table of what it decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from rich.console import Console
from rich.text import Text

from remit.console.rows import cells, row_of, styled
from remit.core.errors import Unavailable
from remit.core.settings import Settings
from remit.decide.configuration import Configuration
from remit.storage.reader import Reader, Stored, Tail

POLL_SECONDS: Final = 0.15
WIDTHS: Final = (12, 15, 8, 16, 30, 8, 22, 6)
TITLES: Final = ("time", "workload", "task", "intent", "action", "decision", "reason", "ms")


def show_start(
    console: Console,
    where: list[str],
    settings: Settings,
    configuration: Configuration,
    command: Sequence[str] = (),
    notices: Sequence[str] = (),
) -> None:
    """Where the service listens, in which mode, with which workloads, intents, catalogue, entities and policies.

    `command` is shell that asks a first question, where there is one; `notices` deserve a look.
    """
    observing = configuration.mode == "observe"
    console.print(Text.assemble(("Remit", "bold"), " governs ", (settings.trust_domain, "bold cyan")))
    _line(console, "listens", "\n             ".join(where))
    mode = f"observe until {settings.mode.observe_until:%Y-%m-%d %H:%M %Z}" if observing else "enforce"
    _line(console, "mode", mode, style="yellow" if observing else "green")
    _line(console, "workloads", _names([seed.name for seed in settings.workloads]))
    _line(console, "intents", _names(sorted(configuration.intents)))
    reviewed = sum(action.reviewed for action in configuration.catalogue.actions.values())
    total = len(configuration.catalogue.actions)
    _line(
        console,
        "catalogue",
        f"{_names(sorted(configuration.catalogue.servers))}; {reviewed} of {total} actions reviewed",
    )
    entities = configuration.policies.general.entities.by_type
    if entities:
        _line(console, "entities", _names([f"{len(ids)} {name}" for name, ids in sorted(entities.items())]))
    _line(console, "policies", f"{len(configuration.policies.refs)}, digest {configuration.policies.digest[:12]}")
    for notice in notices:
        _line(console, "notice", notice, style="yellow")
    for line_ in command:
        console.print(Text(f"\n{line_}" if line_ is command[0] else line_, style="cyan"), soft_wrap=True)
    console.print()


async def follow(console: Console, open_reader: Callable[[], Reader]) -> None:
    """Prints each decision as one line as it is recorded, until cancelled; what can't be read now is read later.

    Reading goes on in threads: a database that does not answer must not hold up decisions.
    """
    console.print(_columns([Text(title, style="bold") for title in TITLES]))
    reader: Reader | None = None
    tail: Tail | None = None
    intents: dict[str, str] = {}
    try:
        while True:
            with suppress(Unavailable):
                if reader is None:
                    reader = await asyncio.to_thread(open_reader)
                if tail is None:
                    tail = await asyncio.to_thread(reader.tail, ("decision", "task"))
                _print(console, await asyncio.to_thread(tail.fresh), intents)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        if reader is not None:
            reader.__exit__()


def _print(console: Console, found: Iterable[Stored], intents: dict[str, str]) -> None:
    """Prints the decisions among the records; `intents` has those of the tasks that were seen."""
    for stored in found:
        record = stored.record
        if record.kind == "decision":
            console.print(_columns(cells(row_of(record, intents))), soft_wrap=True)
        elif "intent" in record.body:
            intents[record.body["task"]] = record.body["intent"]


def line(texts: Iterable[str], *, header: bool = False) -> Text:
    """One line of the table from plain texts, in the order of `TITLES`."""
    if header:
        return _columns([Text(text, style="bold") for text in texts])
    return _columns(styled(tuple(texts)))


def _columns(texts: list[Text]) -> Text:
    line = Text()
    for text, width in zip(texts, WIDTHS, strict=True):
        padded = text.copy()
        padded.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(padded)
        line.append(" ")
    return line


def _line(console: Console, name: str, value: str, style: str = "") -> None:
    console.print(Text.assemble((f"  {name:<11}", "dim"), (value, style)), soft_wrap=True)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return (f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown) or "none"
