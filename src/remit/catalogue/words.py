"""Words of names and sentences, as the rules of guessing compare them."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_WORD: Final = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s|\n\s*\n")
_READ_CHARACTERS: Final = 4_000  # of a description; the rest can't change a guess
_JOINED: Final = {
    ("check", "out"): "checkout",
    ("log", "in"): "login",
    ("log", "out"): "logout",
    ("look", "up"): "lookup",
    ("pull", "request"): "pullrequest",
    ("pull", "requests"): "pullrequest",
    ("roll", "back"): "rollback",
    ("roll", "out"): "rollout",
    ("sign", "in"): "login",
    ("sign", "out"): "logout",
    ("sign", "up"): "register",
    ("clean", "up"): "cleanup",
    ("opt", "out"): "unsubscribe",
}


def words_of_name(name: str) -> tuple[str, ...]:
    """The words of an identifier, in order, lower case: `sendEmail2` and `send_email-2` are `send email 2`."""
    return _join(tuple(part.lower() for part in _PART.findall(name[:256])))


def words_of_text(text: str) -> tuple[str, ...]:
    """The words of a text, in order, lower case."""
    return _join(tuple(word.lower() for word in _WORD.findall(text[:_READ_CHARACTERS])))


def first_sentence(text: str) -> str:
    """The first sentence of a description, white space at its ends removed."""
    return _SENTENCE_END.split(text.strip()[:_READ_CHARACTERS], maxsplit=1)[0]


def forms(word: str) -> tuple[str, ...]:
    """The word and what it may be a form of: `copies` may be `copy`, `deletes` may be `delete`."""
    found = [word]
    if word.endswith("ies"):
        found.append(word[:-3] + "y")
    if word.endswith("es"):
        found.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        found.append(word[:-1])
    if word.endswith("ing"):
        found += [word[:-3], word[:-3] + "e"]
    return tuple(found)


def mentions(words: tuple[str, ...], wanted: frozenset[str]) -> str:
    """The first of `words` that is one of `wanted` in some form, or the empty string."""
    return next((word for word in words if any(form in wanted for form in forms(word))), "")


def _join(words: tuple[str, ...]) -> tuple[str, ...]:
    joined: list[str] = []
    for word in words:
        if joined and (joined[-1], word) in _JOINED:
            joined[-1] = _JOINED[joined[-1], word]
        else:
            joined.append(word)
    return tuple(joined)
