"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from remit.app.folder import Folder, find_folder
from remit.core.errors import InvalidInput

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")

project = click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="The project folder; by default the one at or above this folder.",
)


def folder_of(context: click.Context, given: Path | None) -> Folder:
    """The project folder that the command is about."""
    return find_folder(given or context.find_root().obj or Path.cwd())


def assignments(given: tuple[str, ...], option: str) -> dict[str, str]:
    """`name=value` pairs of a repeated option."""
    found: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(
                "option_invalid", f"`{option} {pair[:64]}` is not name=value", f"write `{option} name=value`"
            )
        if name in found:
            raise InvalidInput("option_invalid", f"`{option} {name}=…` is given twice", "give it once")
        found[name] = value
    return found
