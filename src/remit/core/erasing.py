"""Erasing personal values: what is asked for, and what was done."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

AT_ONCE: Final = 2_000  # openings that one step erases

What = Literal["subject", "task", "value", "age"]
# Stream, number of the record, pointer.
Place = tuple[str, int, str]


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention]`: how long personal values are kept beside the records."""

    personal_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36_500,
            description="so many days after a session its personal values are erased; 0: kept until `remit erase`",
        ),
    ] = 0


class Erasing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Personal values that are to be erased: all of a subject, or those at some places; one step of it.

    `id` is the erasure that a step continues; empty begins one.
    """

    what: Literal["subject", "task", "value"]
    reason: str
    subject: str = ""  # whose values; a SPIFFE ID, as a rule
    places: tuple[Place, ...] = ()  # at most `AT_ONCE`
    id: str = ""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What one step erased."""

    id: str
    openings: int
    keys: int
    more: bool  # there is more of the subject: go on with the same id
