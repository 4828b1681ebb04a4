"""Tokens of pages: where the next page of a search begins, for the same search only (AuthZEN 1.0, section 8.2).

A token holds the place, the limit, and the digest of the search that it was made for. It is not signed: whoever makes
one up asks for another part of what the same search, which is decided anew for this caller, would answer anyway. So
tokens need no key, and hold across restarts and on every process.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final

import msgspec

from remit.core import bounds, canonical
from remit.core.errors import InvalidInput
from remit.policy.general import Question, What
from remit.sdk.authzen import PageRequest

DIGITS: Final = 32  # of the search's digest
_NEXT_STEP: Final = "send the `next_token` of the page before, with the same search"


class Page(msgspec.Struct, frozen=True):
    """What is asked for: at most `limit` results from behind `after`."""

    limit: int
    after: str = ""


class _Token(msgspec.Struct, frozen=True, array_like=True):
    search: str
    limit: Annotated[int, msgspec.Meta(ge=0, le=bounds.SEARCH_RESULTS)]
    after: str


_decoder = msgspec.json.Decoder(_Token)


def page_of(asked: PageRequest | msgspec.UnsetType, what: What, question: Question) -> Page:
    """The page of this search that is asked for; `InvalidInput` for a token of another search."""
    if asked is msgspec.UNSET:
        return Page(bounds.SEARCH_RESULTS)
    given = None if asked.limit is msgspec.UNSET else min(asked.limit, bounds.SEARCH_RESULTS)
    if not asked.token:
        return Page(bounds.SEARCH_RESULTS if given is None else given)
    token = _read(asked.token)
    # SECURITY: a token goes on with the search that it was made for, and with no other.
    if token.search != _digest(what, question) or given not in (None, token.limit):
        raise InvalidInput("page_token_mismatch", "the page token belongs to another search or limit", _NEXT_STEP)
    return Page(token.limit, token.after)


def next_token(what: What, question: Question, limit: int, after: str) -> str:
    """The token of the page of this search that begins behind `after`."""
    token = _Token(_digest(what, question), limit, after)
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _digest(what: What, question: Question) -> str:
    """What tells one search from another: its kind, subject, action, resource and context."""
    # json, because msgspec has no text for the numbers beyond 64 bits that a caller may send.
    text = json.dumps([what, msgspec.structs.asdict(question)], sort_keys=True, default=msgspec.structs.asdict)
    return canonical.sha256(text.encode())[:DIGITS]


def _read(text: str) -> _Token:
    try:
        if len(text) > bounds.TOKEN_BYTES:
            raise ValueError(text)
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        return _decoder.decode(data)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise InvalidInput("page_token_invalid", "the page token is none of this service", _NEXT_STEP) from None
