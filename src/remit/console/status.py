"""What a service says when it starts, and the live table of what it decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from remit.console.rows import cells, row_of, styled
from remit.core.settings import Settings
from remit.decide.configuration import Configuration
from remit.ledger.record import decode_record
from remit.storage.reader import Reader

POLL_SECONDS: Final = 0.15
WIDTHS: Final = (12, 15, 8, 16, 30, 8, 22, 6)
TITLES: Final = ("time", "workload", "task", "intent", "action", "decision", "reason", "ms")


def show_start(console: Console, where: list[str], settings: Settings, configuration: Configuration) -> None:
    """Where the service listens, in which mode, with which workloads, intents, catalogue and policies."""
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
    _line(console, "policies", f"{len(configuration.policies.refs)}, digest {configuration.policies.digest[:12]}")
    console.print()


async def follow(console: Console, reader: Reader, after: int) -> None:
    """Prints each decision as one line as it is recorded, until cancelled."""
    console.print(_columns([Text(title, style="bold") for title in TITLES]))
    intents: dict[str, str] = {}
    while True:
        for stored in reader.records(after=after, kinds=("decision", "task")):
            after = stored.seq
            record = decode_record(stored.data)
            if record.kind == "task":
                if "intent" in record.body:
                    intents[record.body["task"]] = record.body["intent"]
                continue
            console.print(_columns(cells(row_of(record, intents))), soft_wrap=True)
        await asyncio.sleep(POLL_SECONDS)


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
