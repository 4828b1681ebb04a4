"""What is wrong in a text of Dogwood, and where."""

from __future__ import annotations


class Mistake(Exception):
    """A mistake in a text: `at` is an offset in it; a sentence, and what to do next. `path`: in another file."""

    def __init__(self, at: int, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.next_step = next_step
        self.path = ""
