"""Search: for which subjects, resources or actions the answer is permit.

Every result is decided by the engine, as `evaluate` would decide it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from remit.core.errors import InvalidInput
from remit.policy.questions import Found, Named, Question, What

if TYPE_CHECKING:
    from remit.policy.general import General

BATCH: Final = 256  # candidates that the engine decides at once
EXAMINED: Final = 10_000  # candidates of one page


def search(general: General, what: What, question: Question, after: str, limit: int) -> Found:
    """One page of at most `limit` results, from `after` on."""
    if limit < 1:
        raise InvalidInput("limit_invalid", "a page has at least one result")
    if what == "action":
        return _actions(general, question, after, limit)
    sought: Named = getattr(question, what)
    type_ = general.type_of(sought)
    if not type_:
        return Found(results=())
    ids = general.entities.by_type.get(type_, [])
    begin = bisect_right(ids, after) if after else 0
    found: list[Named | str] = []
    last = ""
    for start in range(begin, min(len(ids), begin + EXAMINED), BATCH):
        batch = ids[start : start + BATCH]
        candidates = [Named(sought.type, id_, sought.properties) for id_ in batch]
        asked = [msgspec.structs.replace(question, **{what: candidate}) for candidate in candidates]
        for candidate, answer in zip(candidates, general.evaluate_many(asked), strict=True):
            last = candidate.id
            if answer.permitted:
                found.append(Named(sought.type, candidate.id))
                if len(found) == limit:
                    return Found(results=tuple(found), next=last if last != ids[-1] else "")
    return Found(results=tuple(found), next=last if ids and last and last != ids[-1] else "")


def _actions(general: General, question: Question, after: str, limit: int) -> Found:
    subject, resource = general.type_of(question.subject), general.type_of(question.resource)
    names = [
        general.names.name_of(uid, resource)
        for uid, action in general.declared.actions.items()
        if subject in action.principals and resource in action.resources
    ]
    begin = names.index(after) + 1 if after in names else 0
    asked = [msgspec.structs.replace(question, action=name) for name in names[begin:]]
    answers = general.evaluate_many(asked)
    permitted = [name for name, answer in zip(names[begin:], answers, strict=True) if answer.permitted]
    page = tuple(islice(permitted, limit))
    return Found(results=page, next=page[-1] if len(permitted) > limit else "")
