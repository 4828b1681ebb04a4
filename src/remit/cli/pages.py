"""Writes a page to where it was asked for."""

from __future__ import annotations

import os
from pathlib import Path

import click


def write_page(path: Path, text: str) -> None:
    """Writes the file whole or not at all, readable by its owner alone; `-` is standard output."""
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    made = path.with_name(f".{path.name}.{os.getpid()}")
    # SECURITY: a page tells what agents did with which data; it is its owner's to hand on.
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    click.echo(f"wrote {path}", err=True)
