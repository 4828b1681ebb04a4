"""Remit as a general PDP: questions about the project's own entities, answered by the same policies.

Nothing is recorded, nothing is consumed, and no governed action is authorised: identities and tools, all of
namespace `Remit`, are decided by the pipeline alone. In this order:

1. names: an unknown type or action is a deny with its reason, one of `Remit` is refused;
2. context, typed by the action's schema; what is not declared is left out;
3. properties, typed by the entity's schema; what the files say can't be said otherwise;
4. whatever a policy mentions, the schema promises and nobody supplies, is a deny;
5. the engine decides; a policy that fails denies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.policy import obligations, reasons
from remit.policy.compiled.engine import Engine
from remit.policy.compiled.environment import of_declared
from remit.policy.compiled.values import Entity as CedarEntity
from remit.policy.entities import Entities
from remit.policy.evaluation import Evaluation
from remit.policy.general.asking import Asked, Asking
from remit.policy.general.filed import OfFiles
from remit.policy.general.kinds import Kind, Kinds
from remit.policy.general.named import check_named, notices
from remit.policy.general.naming import Names
from remit.policy.general.search import Search
from remit.policy.identities import Given
from remit.policy.questions import Found, Question, What
from remit.policy.reference import parsed
from remit.policy.slices import Shelf
from remit.policy.sources import Policy
from remit.policy.verdict import Verdict

PAGE: Final = 1_000  # results of a search by default
_KEPT_HANDLES: Final = 1_000  # of entities with what callers say of them
_KEPT_BYTES: Final = 4 * 1024  # of text, of one of them
_EXPLAINED: Final = 10_000  # distinct outcomes whose explanation is kept


class General:
    """The general PDP over one project's entities and policies. Immutable but for caches; safe in several threads."""

    def __init__(
        self, entities: Entities, handle: Any, policies: Sequence[Policy], engine: Engine, namespace: str = ""
    ) -> None:
        """`policies` are all of the project, those that would be named first standing first.

        A `DocumentError` where one reads what no file has.
        """
        check_named(policies, entities)
        self._policies = policies
        self.entities = entities
        self.declared = entities.declared
        names = Names(entities.declared, namespace)
        shelf = Shelf(policies, engine, any_resource=True, environments=of_declared(entities.declared))
        self._asking = Asking(entities, Kinds(entities, shelf, names), names)
        self._files = OfFiles(entities)
        self._all = Given(self._files, lambda: handle, self._files.forms)
        self._search = Search(self._asking, self._decide, policies)
        self._handles: dict[bytes, Any] = {}
        self._explained: dict[tuple[str, bool, tuple[str, ...]], Evaluation] = {}

    def evaluate(self, question: Question) -> Evaluation:
        """Whether the policies permit it, and why.

        A deny says by its code what is unknown (`type_unknown`, `action_unknown`), does not go together
        (`action_not_applicable`, `entity_not_listed`) or is missing (`attribute_missing`); else as for any
        evaluation. `InvalidInput` for what does not fit the schema: `property_invalid`, `context_invalid`,
        `id_invalid`, `type_reserved`.
        """
        asked = self._asking.ask(question)
        return asked if isinstance(asked, Evaluation) else self._explain(self._decide([asked])[0], asked.kind)

    def evaluate_many(self, questions: Sequence[Question]) -> list[Evaluation]:
        """`evaluate` of each, in their order, those of one kind together."""
        answers = [self._asking.ask(question) for question in questions]
        by_kind: dict[int, list[int]] = {}
        for place, asked in enumerate(answers):
            if not isinstance(asked, Evaluation):
                by_kind.setdefault(id(asked.kind), []).append(place)
        found = {place: answer for place, answer in enumerate(answers) if isinstance(answer, Evaluation)}
        for places in by_kind.values():
            group = [asked for place in places if not isinstance(asked := answers[place], Evaluation)]
            for place, asked, verdict in zip(places, group, self._decide(group), strict=True):
                found[place] = self._explain(verdict, asked.kind)
        return [found[place] for place in range(len(questions))]

    def search(self, what: What, question: Question, *, after: str = "", limit: int = PAGE) -> Found:
        """The subjects, resources or actions for which `question` is permitted, one page of at most `limit`.

        `after` is the `next` of the page before. The question's own id (or action) of what is sought does not
        count, its properties do. `InvalidInput` as for `evaluate`, and `limit_invalid`, `page_invalid`. It may take
        a quarter of a second, so not for an event loop.
        """
        return self._search.find(what, question, after, limit)

    def warm(self, before: General) -> None:
        """Makes the kinds of questions ready that `before` was asked."""
        self._asking.warm(before._asking)

    def notices(self) -> list[str]:
        """What works but deserves a look before it is relied on, one sentence each."""
        return notices(self._policies, self.entities)

    def _decide(self, asked: Sequence[Asked]) -> list[Verdict]:
        """The engine's verdicts on questions of one kind."""
        if not asked:
            return []
        plain = [each for each in asked if not each.said]
        decide = asked[0].kind.slice.decide_many
        verdicts = iter(decide([_put(each) for each in plain], self._all) if plain else ())
        # SECURITY: of two questions that say two things of one entity, neither may see what the other says.
        return [decide([_put(each)], self._given(each))[0] if each.said else next(verdicts) for each in asked]

    def _given(self, asked: Asked) -> Given:
        """The entities of one question, with what its caller says of them."""
        kind, files = asked.kind, self._files

        def pieces() -> list[bytes]:
            return [kind.action_piece, *kind.cut(asked.request, asked.said, asked.relied).values()]

        return Given(
            files.with_said(asked.said),
            lambda: self._parsed(pieces()),
            lambda: [msgspec.json.decode(each) for each in pieces()],
        )

    def _parsed(self, pieces: Sequence[bytes]) -> Any:
        """The reference engine's handle of these entities; the latest are kept, by their whole text."""
        text = b"[" + b",".join(pieces) + b"]"
        handle = self._handles.get(text)
        if handle is None:
            handle = parsed(text)
            if len(text) <= _KEPT_BYTES:
                if len(self._handles) >= _KEPT_HANDLES:
                    self._handles = {}
                self._handles[text] = handle
        return handle

    def _explain(self, verdict: Verdict, kind: Kind) -> Evaluation:
        if verdict.is_disputed:
            return Evaluation(permitted=False, reason=reasons.disputed())
        if verdict.failed or verdict.is_broken:
            reason = reasons.undecidable([policy for policy, _ in verdict.failed])
            errors = tuple((policy.id, message) for policy, message in verdict.failed)
            return Evaluation(permitted=False, reason=reason, policies=reason.policies, errors=errors)
        if not verdict.matched:
            return kind.unpermitted
        key = (kind.action[1], verdict.permitted, tuple([policy.id for policy in verdict.matched]))
        explained = self._explained.get(key)
        if explained is None:
            if verdict.permitted:
                reason = reasons.permitted(verdict.matched)
            else:
                reason = reasons.forbidden(verdict.matched, kind.action[1], ())
            explained = Evaluation(
                permitted=verdict.permitted,
                reason=reason,
                policies=reason.policies,
                facts=reasons.facts(verdict.matched),
                obligations=obligations.of_policies(verdict.matched),
            )
            if len(self._explained) >= _EXPLAINED:
                self._explained = {}
            self._explained[key] = explained
        return explained


def _put(asked: Asked) -> tuple[CedarEntity, CedarEntity, Mapping[str, Any]]:
    principal, resource = asked.request["principal"], asked.request["resource"]
    return (
        CedarEntity((principal["type"], principal["id"])),
        CedarEntity((resource["type"], resource["id"])),
        asked.context,
    )
