"""Denials that a person could overcome, written as an annotation of a forbid:

    @requestable("group:security, person/ada")    these may approve; without a list: any approver

A denial is requestable only if every forbid that decided it is. What is wrong with the annotation is found when the
policy is loaded.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from remit.core.decisions import Approval
from remit.policy.obligations import Mistake

REQUESTABLE: Final = "requestable"
_LISTED: Final = 16
_APPROVER: Final = re.compile(r"(?:group:|person/)[a-z0-9][a-z0-9._-]{0,63}")


class Forbid(Protocol):
    """A policy, as far as its denial can be overcome."""

    @property
    def id(self) -> str:
        """By which decisions name it."""

    @property
    def approvers(self) -> tuple[str, ...] | None:
        """Who may approve; None when nobody can."""


def read(effect: str, annotations: Mapping[str, str]) -> tuple[str, ...] | None:
    """Who may approve what the policy forbids: none for any approver, None where it is final; or a `Mistake`."""
    for name in annotations:
        # SECURITY: misspelt, the denial would be final without a word.
        if _is_misspelt(name):
            raise Mistake(name, f"`@{name}` is not known", f"write `@{REQUESTABLE}`; for something else, another name")
    if REQUESTABLE not in annotations:
        return None
    if effect != "forbid":
        raise Mistake(REQUESTABLE, "only what a forbid refuses can be asked for", "put it on the forbid, or remove it")
    text = annotations[REQUESTABLE]
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    if len(names) > _LISTED:
        raise Mistake(REQUESTABLE, f"`@{REQUESTABLE}` names more than {_LISTED} approvers", "name a group")
    for number, name in enumerate(names):
        if not _APPROVER.fullmatch(name):
            raise Mistake(
                REQUESTABLE, f"`{name[:80]}` is nobody who may approve", "write `group:NAME` or `person/NAME`"
            )
        if name in names[:number]:
            raise Mistake(REQUESTABLE, f"`{name}` stands twice", "keep one of them")
    return names


@functools.lru_cache(1_024)
def _is_misspelt(name: str) -> bool:
    close = difflib.get_close_matches(name.casefold(), [REQUESTABLE], n=1, cutoff=0.8)
    return name != REQUESTABLE and bool(close)


def approvals(forbids: Iterable[Forbid]) -> tuple[Approval, ...]:
    """Who would have to approve what these forbids refused together; none when one of them is final."""
    found = []
    for forbid in forbids:
        if forbid.approvers is None:
            # SECURITY: an approval must never carry an action past a forbid that knows of none.
            return ()
        found.append(Approval(policy=forbid.id, by=forbid.approvers))
    return tuple(found)
