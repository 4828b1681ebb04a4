"""Errors: a stable code, a message safe for the caller, and a line that says what to do next (RFC 9457 in HTTP).

Every failure that a caller may see is a `RemitError`. Internal causes go to the log, never into a response.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from remit.core.excerpt import excerpt

SHOWN_LENGTH: Final = 4_096  # of a line that is shown


class RemitError(Exception):
    """A failure that is safe to show: `code` never changes, `message` is one lower-case sentence.

    `next_step` tells the reader what to do; `status` is the HTTP status that the code maps to.
    """

    status = 500
    decision = ""  # the id of the recorded denial, where there is one

    def __init__(self, code: str, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  {self.next_step}" if self.next_step else self.message


class InvalidInput(RemitError):
    """The caller's input is malformed or out of bounds; nothing changed."""

    status = 400


class Unauthenticated(RemitError):
    """The caller did not prove who it is."""

    status = 401


class Forbidden(RemitError):
    """The caller is known, and may not do this."""

    status = 403


class NotFound(RemitError):
    """What was named does not exist, or the caller may not know of it."""

    status = 404


class Conflict(RemitError):
    """The request contradicts what is already recorded."""

    status = 409


class TooLarge(RemitError):
    """The input is over a bound."""

    status = 413


class Unavailable(RemitError):
    """Remit can't decide or record now; the caller must treat this as a refusal."""

    status = 503


class DocumentError(InvalidInput):
    """A file of the project folder is wrong: names file, line and column (1-based) and how to fix it.

    `shown` is that line, and `width` how many characters of it are meant, where that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str,
        line: int = 1,
        column: int = 1,
        next_step: str = "",
        code: str = "document_invalid",
        shown: str = "",
        width: int = 1,
    ) -> None:
        super().__init__(code, message, next_step)
        self.shown = shown[:SHOWN_LENGTH]
        self.width = width
        self.path = str(path)
        self.line = line
        self.column = column

    def excerpt(self) -> str:
        """The line with a mark below the place, as two lines; "" where the line is not known."""
        return excerpt(self.shown, self.line, self.column, self.width) if self.shown.strip() else ""

    def __str__(self) -> str:
        head = f"{self.path}:{self.line}:{self.column}: {self.message}"
        return "\n".join(
            part for part in (head, self.excerpt(), f"  {self.next_step}" if self.next_step else "") if part
        )
