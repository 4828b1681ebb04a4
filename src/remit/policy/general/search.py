"""Search: for which subjects, resources or actions the answer is permit.

1. Whoever is sought is taken from the files of entities, and from what policies, files and the question name; of
   these, those that some permit could match (`narrowing`).
2. Each is decided by the engine, exactly as `evaluate` would decide it, in the order of their ids.
3. A page ends at its limit, or where it has taken its time; then `next` says where to go on. No answer is cut short
   without a word.
4. Whom the files can't name can't be found. Where such a one would be permitted, the answer says that it is not exact.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from remit.core.decisions import Obligation
from remit.core.errors import InvalidInput
from remit.policy.entities import Entities
from remit.policy.evaluation import Evaluation
from remit.policy.general.asking import ATTRIBUTE_MISSING, Asked, Asking
from remit.policy.general.index import Index
from remit.policy.general.narrowing import Narrowing
from remit.policy.obligations import of_policies
from remit.policy.questions import Found, Named, Question, What
from remit.policy.reads import Uid
from remit.policy.sources import Policy
from remit.policy.verdict import Verdict

Decide = Callable[[Sequence[Asked]], list[Verdict]]

BATCH: Final = 128  # candidates that the engine decides at once
PAGE_SECONDS: Final = 0.25
MOST: Final = 10_000  # results of one page
# No id in a file or in a question is this one: it stands for all that are in no file.
_STRANGER: Final = "\0stranger"
_DENY: Final = Verdict(False, (), ())


class Search:
    """Searches over one project. Immutable but for its index."""

    def __init__(
        self,
        asking: Asking,
        decide: Decide,
        policies: Sequence[Policy],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asking = asking
        self._decide = decide
        self._index = Index(asking.entities)
        self._clock = clock
        self._named = _named(asking.entities, policies)

    def find(self, what: What, question: Question, after: str, limit: int) -> Found:
        """One page of at most `limit` results behind `after`."""
        if not 1 <= limit <= MOST:
            raise InvalidInput("limit_invalid", f"a page has 1 to {MOST} results")
        if what == "action":
            return self._actions(question, after, limit)
        return self._entities(what, question, after, limit)

    def _actions(self, question: Question, after: str, limit: int) -> Found:
        asking = self._asking
        subject, resource = asking.type_of(question.subject), asking.type_of(question.resource)
        names = [
            asking.names.name_of(uid, resource)
            for uid, action in asking.entities.declared.actions.items()
            if subject in action.principals and resource in action.resources
        ]
        if after and after not in names:
            raise InvalidInput("page_invalid", "the page does not exist any more", "start the search again")
        begin = names.index(after) + 1 if after else 0
        found: list[str] = []
        obliged: dict[str, tuple[Obligation, ...]] = {}
        why = last = ""
        deadline = self._clock() + PAGE_SECONDS
        for last in names[begin:]:
            asked = asking.ask(msgspec.structs.replace(question, action=last))
            if not isinstance(asked, Evaluation):
                verdict = self._decide([asked])[0]
                found.extend([last] if verdict.permitted else [])
                _note(obliged, last, verdict)
            elif asked.reason.code == ATTRIBUTE_MISSING:
                why = why or f"`{last}` can't be answered: {asked.reason.message}"
            if len(found) == limit or self._clock() > deadline:
                break
        is_end = begin == len(names) or last == names[-1]
        next_ = "" if is_end else last
        return Found(results=tuple(found), obligations=obliged, next=next_, exact=not why, why=why)

    def _entities(self, what: What, question: Question, after: str, limit: int) -> Found:
        asked = self._asking.ask(question, sought=what)
        if isinstance(asked, Evaluation):
            # An unknown type or action has no one; what is missing of the question leaves open who it is.
            is_open = asked.reason.code == ATTRIBUTE_MISSING
            return Found(results=(), exact=not is_open, why=asked.reason.message if is_open else "")
        seek = _Seek(self._asking, self._decide, self._index, what, question, asked)
        ids = seek.candidates(self._named.get(seek.type, frozenset()))
        why = seek.why_inexact()
        found: list[Named | str] = []
        obliged: dict[str, tuple[Obligation, ...]] = {}
        at = bisect_right(ids, after) if after else 0
        deadline = self._clock() + PAGE_SECONDS
        while at < len(ids) and len(found) < limit:
            batch = ids[at : at + BATCH]
            for id_, verdict in zip(batch, seek.decide(batch), strict=True):
                at += 1
                found.extend([Named(seek.name, id_)] if verdict.permitted else [])
                _note(obliged, id_, verdict)
                if len(found) == limit:
                    break
            if self._clock() > deadline:
                break
        next_ = ids[at - 1] if at < len(ids) else ""
        return Found(results=tuple(found), obligations=obliged, next=next_, exact=not why, why=why)


class _Seek:
    """One search for subjects or resources."""

    def __init__(
        self, asking: Asking, decide: Decide, index: Index, what: What, question: Question, asked: Asked
    ) -> None:
        self._asking = asking
        self._decide = decide
        self._index = index
        self._asked = asked
        self._side = "principal" if what == "subject" else "resource"
        sought = question.subject if what == "subject" else question.resource
        self.name = sought.type
        self.type: str = asked.request[self._side]["type"]
        self._supplied = asking.typed(what, sought, self.type)

    def candidates(self, named: frozenset[str]) -> Sequence[str]:
        """The ids of all who could be permitted, in order; `named` are those that files and policies mention."""
        narrowed = self._narrowing(strangers=False).candidates(self._asked.kind.slice.policies)
        if narrowed is not None:
            # The index knows what the files say; whom the question itself describes is looked at in any case.
            described = {id_ for type_name, id_ in self._asked.said if type_name == self.type}
            return sorted(id_ for id_ in narrowed | described if self._may_exist(id_))
        type_ = self._asking.entities.declared.types[self.type]
        if type_.ids is not None:
            return sorted(type_.ids)
        known = self._asking.entities.by_type.get(self.type, [])
        references = self._asked.references.union(*(each.references for each in self._supplied.values()))
        more = {id_ for type_name, id_ in references if type_name == self.type} | named
        for side in ("principal", "resource"):
            fixed = self._asked.request[side]
            if side != self._side and fixed["type"] == self.type:
                more.add(fixed["id"])
        more = {id_ for id_ in more if id_ and (self.type, id_) not in self._asking.entities.by_uid}
        return sorted([*known, *more]) if more else known

    def decide(self, ids: Sequence[str]) -> list[Verdict]:
        """The verdict on each."""
        asked = [self._about((self.type, id_)) for id_ in ids]
        verdicts = iter(self._decide([each for each in asked if each is not None]))
        return [_DENY if each is None else next(verdicts) for each in asked]

    def why_inexact(self) -> str:
        """Why somebody who is in no file could be permitted too; "" where that can't be."""
        type_ = self._asking.entities.declared.types[self.type]
        if type_.ids is not None:
            return ""
        if self.decide([_STRANGER])[0].permitted:
            return f"a `{self.name}` that is in no file of `entities/` is permitted too"
        if self.type not in self._asking.entities.by_type:
            policies = self._asked.kind.slice.policies
            if self._narrowing(strangers=True).candidates(policies) is None:
                return f"no `{self.name}` is in a file of `entities/`, and one may be permitted by its properties"
        return ""

    def _about(self, uid: Uid) -> Asked | None:
        """The question with one candidate in it; None where that is a deny without the engine."""
        base = self._asked
        asked = base._replace(request={**base.request, self._side: {"type": uid[0], "id": uid[1]}})
        if self._supplied:
            asked = asked._replace(
                said={each: dict(attributes) for each, attributes in base.said.items()},
                references=set(base.references),
                relied=set(base.relied),
            )
            try:
                self._asking.say(asked, uid, self._supplied)
            except InvalidInput:
                return None  # it is the other one too, of whom the question says otherwise
        return None if self._asking.lacks(asked) else asked

    def _may_exist(self, id_: str) -> bool:
        ids = self._asking.entities.declared.types[self.type].ids
        return bool(id_) and (ids is None or id_ in ids)

    def _narrowing(self, *, strangers: bool) -> Narrowing:
        request = self._asked.request
        known = {
            side: (request[side]["type"], request[side]["id"])
            for side in ("principal", "action", "resource")
            if side != self._side
        }
        return Narrowing(
            self._asking.entities,
            self._index,
            (self._side, self.type),
            known,
            self._asked.context,
            self._asked.said,
            {name: each.value for name, each in self._supplied.items()},
            strangers=strangers,
        )


def _note(obliged: dict[str, tuple[Obligation, ...]], name: str, verdict: Verdict) -> None:
    """Keeps what the policies that permit `name` oblige to."""
    if verdict.permitted and (found := of_policies(verdict.matched)):
        obliged[name] = found


def _named(entities: Entities, policies: Sequence[Policy]) -> dict[str, frozenset[str]]:
    """By type, the ids that files and policies name."""
    found: dict[str, set[str]] = {}
    for uids in [
        *(entity.references for entity in entities.by_uid.values()),
        *(policy.reads.entities for policy in policies),
    ]:
        for type_, id_ in uids:
            found.setdefault(type_, set()).add(id_)
    return {type_: frozenset(ids) for type_, ids in found.items()}
