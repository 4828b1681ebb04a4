"""What a policy obliges to, written as annotations of the policy:

    @redact("output.customers.email, output.customers.iban")
    @limit("output.customers=100, bytes=65536")
    @notify("security, audit")

A permit may carry all three: they go with every permit that it decides. A forbid may carry `@notify`: its denial is
told. Each is a list of one or more items. What is wrong with them is found when the policy is loaded.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol

from remit.core import bounds
from remit.core.decisions import Obligation
from remit.core.obligations import LIMIT, NOTIFY, REDACT, join

ANNOTATIONS: Final = (REDACT, LIMIT, NOTIFY)
MOST_ITEMS: Final = 1_000_000  # elements of a list
MOST_BYTES: Final = bounds.FRAME_BYTES
_LISTED: Final = 64  # in one annotation

_FIELD: Final = re.compile(r"output(?:\.[^.,=\s]+)+")
_LIST: Final = re.compile(r"output(?:\.[^.,=\s]+)*")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_NOTIFIER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# Names that others use for the same; who writes them means an obligation.
_OTHERS: Final = {"notification": NOTIFY, "redaction": REDACT, "obligation": NOTIFY, "mask": REDACT}


class Mistake(Exception):
    """An annotation that can't be read: which one, why, and what to write."""

    def __init__(self, annotation: str, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.annotation = annotation
        self.message = message
        self.next_step = next_step


class Obliging(Protocol):
    """A policy, as far as its obligations are concerned."""

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """What it obliges to."""


def read(effect: str, annotations: Mapping[str, str]) -> tuple[Obligation, ...]:
    """The obligations that a policy's annotations state; `Mistake` at the first that can't be read."""
    for name in annotations:
        _check_name(name)
    found = [obligation for name in ANNOTATIONS if name in annotations for obligation in _READ[name](annotations[name])]
    for obligation in found:
        if effect == "forbid" and obligation.id != NOTIFY:
            raise Mistake(
                obligation.id,
                f"a forbid lets no result through, so there is nothing to {obligation.id}",
                "put it on a permit that covers the same actions",
            )
    return join(found)


def of_policies(policies: Iterable[Obliging]) -> tuple[Obligation, ...]:
    """The obligations of all policies that decided, joined."""
    found = [obligation for policy in policies for obligation in policy.obligations]
    return join(found) if found else ()


def check_notifiers(obligations: Iterable[Obligation], declared: Collection[str]) -> None:
    """Refuses a notifier that `remit.toml` does not declare, with a `Mistake`."""
    for obligation in obligations:
        if obligation.id == NOTIFY and obligation.to not in declared:
            close = difflib.get_close_matches(obligation.to, sorted(declared), n=1)
            similar = f" (did you mean `{close[0]}`?)" if close else ""
            raise Mistake(
                NOTIFY,
                f"there is no notifier `{obligation.to}`{similar}",
                "declare it in `remit.toml` under `[[notifiers]]`",
            )


@functools.lru_cache(1_024)
def _check_name(name: str) -> None:
    """SECURITY: a misspelt annotation is Cedar too, and would switch the obligation off without a word."""
    if name in ANNOTATIONS:
        return
    plain = name.casefold().replace("_", "")
    meant = _OTHERS.get(plain) or next(iter(difflib.get_close_matches(plain, ANNOTATIONS, n=1, cutoff=0.75)), "")
    if meant:
        raise Mistake(name, f"`@{name}` is no obligation", f"write `@{meant}`; for something else use another name")


def _redact(text: str) -> Iterable[Obligation]:
    fields = []
    for item in _items(REDACT, text):
        if not _FIELD.fullmatch(item):
            raise Mistake(
                REDACT, f"`{item[:80]}` is not the path of a result field", "write `output.` and names with dots"
            )
        fields.append(item.removeprefix("output."))
    return (Obligation(id=REDACT, fields=tuple(fields)),)


def _limit(text: str) -> Iterable[Obligation]:
    items: dict[str, int] = {}
    size = 0
    for item in _items(LIMIT, text):
        what, equals, number = (part.strip() for part in item.partition("="))
        is_size = what == "bytes"
        if not equals or not (is_size or _LIST.fullmatch(what)):
            raise Mistake(
                LIMIT,
                f"`{item[:80]}` limits nothing that a result has",
                "write `output.customers=100` for the elements of a list, or `bytes=65536`; "
                "calls are limited in the intent, under `limits`",
            )
        most = MOST_BYTES if is_size else MOST_ITEMS
        if not _NUMBER.fullmatch(number) or not 1 <= int(number) <= most:
            raise Mistake(LIMIT, f"`{number[:32]}` is not a number from 1 to {most:,}", "write it in plain digits")
        path = what.removeprefix("output").removeprefix(".")
        if (is_size and size) or (not is_size and path in items):
            raise Mistake(LIMIT, f"`{what[:80]}` is limited twice", "keep one of them")
        if is_size:
            size = int(number)
        else:
            items[path] = int(number)
    return (Obligation(id=LIMIT, items=items, bytes=size),)


def _notify(text: str) -> Iterable[Obligation]:
    names = _items(NOTIFY, text)
    for name in names:
        if not _NOTIFIER.fullmatch(name):
            raise Mistake(NOTIFY, f"`{name[:80]}` is not the name of a notifier", "use a-z, 0-9, `-` and `_`")
    return [Obligation(id=NOTIFY, to=name) for name in names]


_READ: Final[Mapping[str, Callable[[str], Iterable[Obligation]]]] = {
    REDACT: _redact,
    LIMIT: _limit,
    NOTIFY: _notify,
}


def _items(annotation: str, text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise Mistake(annotation, f"`@{annotation}` names nothing, or has a comma too many", f"see {_EXAMPLES}")
    if len(items) > _LISTED:
        raise Mistake(annotation, f"`@{annotation}` has more than {_LISTED} items", "split the policy")
    if any(len(item) > bounds.NAME_BYTES for item in items):
        raise Mistake(annotation, f"an item of `@{annotation}` has more than {bounds.NAME_BYTES} characters")
    if repeated := next((item for number, item in enumerate(items) if item in items[:number]), ""):
        raise Mistake(annotation, f"`{repeated[:80]}` stands twice", "keep one of them")
    return items


_EXAMPLES: Final = "docs/guides/obligations.md"
