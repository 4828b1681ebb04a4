"""Writes docs/reference/cli.md from the commands themselves: `python -m tests.cli.reference`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from remit.cli.main import SECTIONS, cli

PAGE: Final = Path(__file__).parents[2] / "docs/reference/cli.md"

HEAD: Final = """\
# Commands

<!-- Made by `python -m tests.cli.reference` from the commands themselves; a test says when it is out of date. -->

Every command works in the project folder at or above the current one; `--project DIRECTORY`, or the environment
variable `REMIT_PROJECT`, names another.

- **`--json`** prints one JSON value (`log`: one object a line), and errors as `{"error": code, "message", "next"}` on
  standard error.
- **Colours** appear on a terminal only, and not where `NO_COLOR` is set.
- **Ids** may be shortened to an end that only one has, at least four characters: the column `id` of `remit log`.

| exit code | meaning |
|---|---|
| 0 | done; `decide`: permitted; `verify`, `check`, `doctor`: in order |
| 1 | refused, or what was checked is not in order |
| 2 | the command line is wrong |
| 77 | `remit exec`: the action was refused, and the command was not started |
| 130 | ended with Ctrl-C |

`remit run` and `remit exec` otherwise end with the exit code of the command that they started.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, groups before what is in them."""
    with click.Context(cli, info_name="remit") as context:
        for names in SECTIONS.values():
            for name in names:
                command = cli.get_command(context, name)
                if command is not None:
                    yield from _below(f"remit {name}", command)


def section_of(page: str, name: str) -> str:
    """The text under the heading of one command; empty when it has none."""
    match = re.search(rf"^#+ `{re.escape(name)}`\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    with click.Context(cli, info_name="remit") as context:
        for title, names in SECTIONS.items():
            parts.append(f"\n## {title}\n")
            for name in names:
                command = cli.get_command(context, name)
                for full, each in _below(f"remit {name}", command) if command is not None else ():
                    parts.append(_section(full, each))
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=name) as context:
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                if found is not None:
                    yield from _below(f"{name} {each}", found)


def _section(name: str, command: click.Command) -> str:
    lines = [f"### `{name}`\n"]
    with click.Context(command, info_name=name, terminal_width=100, max_content_width=100) as context:
        pieces = " ".join(command.collect_usage_pieces(context))
        lines.append(f"```\n{name} {pieces}\n```\n")
        lines.append(_prose(command.help or ""))
        options = [each for each in command.params if isinstance(each, click.Option)]
        rows = [row for row in (option.get_help_record(context) for option in options) if row is not None]
        rows = [row for row in rows if row[0] not in ("--project DIRECTORY", "-h, --help")]
    if rows:
        lines.append("| option | |\n|---|---|")
        lines += [f"| `{names.replace('|', chr(92) + '|')}` | {_cell(said)} |" for names, said in rows]
        lines.append("")
    return "\n".join(lines)


def _prose(help_: str) -> str:
    """Help as Markdown: what stands after a \\b keeps its lines."""
    parts = []
    for paragraph in inspect.cleandoc(help_).split("\n\n"):
        if paragraph.startswith("\b\n"):
            parts.append(f"```\n{paragraph[2:]}\n```")
        else:
            parts.append(re.sub(r"<", "&lt;", paragraph))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
