"""How commands fail: one error line, one line that says what to do next, and an exit code that means something."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
import msgspec

from remit.core.errors import DocumentError, RemitError, Unavailable

# The exit codes of every command; `remit exec` and `remit run` otherwise mirror the command that they started.
OK: Final = 0
FAILED: Final = 1  # what was checked is not in order, or the operation was refused
USAGE: Final = 2  # the command line is wrong
REFUSED: Final = 77  # `remit exec`: the action was refused and the command was not started

F = TypeVar("F", bound=Callable[..., Any])


def reported(function: F) -> F:
    """Turns a `RemitError` into its message on standard error (JSON when the command was asked for it) and exit 1."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RemitError as error:
            tell(error, as_json=bool(kwargs.get("as_json")))
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(FAILED)
        except OSError as error:
            tell(_of_system(error), as_json=bool(kwargs.get("as_json")))
            sys.exit(FAILED)

    return run  # type: ignore[return-value]  # same signature


def _of_system(error: OSError) -> RemitError:
    """What the system refused: a file that this user may not read, a full disk."""
    what = f"can't use `{error.filename}`: " if error.filename else ""
    cause = (error.strerror or str(error)).lower()
    next_step = "`remit doctor` looks at files and their modes" if isinstance(error, PermissionError) else ""
    return Unavailable("system_refused", f"{what}{cause}", next_step)


def tell(error: RemitError, *, as_json: bool = False, kind: str = "error") -> None:
    """Shows an error, or a warning in the form of one, to whoever called the command."""
    if as_json:
        shown: dict[str, Any] = {"error": error.code, "message": error.message, "next": error.next_step}
        if isinstance(error, DocumentError):
            shown |= {"path": error.path, "line": error.line, "column": error.column, "shown": error.shown}
        click.echo(msgspec.json.encode(shown).decode(), err=True)
        return
    where = f"{error.path}:{error.line}:{error.column}: " if isinstance(error, DocumentError) else ""
    colour = "red" if kind == "error" else "yellow"
    click.secho(f"{kind}: ", fg=colour, bold=True, nl=False, err=True)
    click.echo(f"{where}{error.message}", err=True)
    if isinstance(error, DocumentError) and (lines := error.excerpt()):
        line, _, mark = lines.partition("\n")
        click.echo(line, err=True)
        click.secho(mark, fg=colour, bold=True, err=True)
    if error.next_step:
        click.secho("  next: ", fg="cyan", nl=False, err=True)
        click.echo(error.next_step, err=True)
