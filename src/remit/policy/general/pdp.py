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

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cedarpy import _internal as cedar

from remit.core.decisions import Reason
from remit.core.errors import InvalidInput
from remit.policy import forms, obligations, reasons
from remit.policy.entities import Entities
from remit.policy.evaluation import Evaluation
from remit.policy.forms import Misfit, Missing
from remit.policy.kinds import Kind, Kinds
from remit.policy.naming import Names, is_reserved
from remit.policy.questions import Found, Named, Question, What
from remit.policy.reads import Uid
from remit.policy.search import search
from remit.policy.slices import Verdict
from remit.policy.sources import Policy

__all__ = ["Found", "General", "Named", "Prepared", "Question", "What"]

TYPE_UNKNOWN: Final = "type_unknown"
ACTION_UNKNOWN: Final = "action_unknown"
NOT_APPLICABLE: Final = "action_not_applicable"
NOT_LISTED: Final = "entity_not_listed"
ATTRIBUTE_MISSING: Final = "attribute_missing"

PAGE: Final = 1_000  # results of a search by default
_EXPLAINED: Final = 10_000


class Prepared(NamedTuple):
    """A question ready for the engine."""

    kind: Kind
    request: dict[str, Any]  # with the context as text
    said: dict[Uid, dict[str, Any]]  # attributes from the caller, by entity; empty where the files say all
    references: set[Uid]  # entities that the caller's values name


class General:
    """The general PDP over one project's entities and policies. Immutable but for caches; safe in several threads."""

    def __init__(self, entities: Entities, handle: Any, policies: Sequence[Policy], namespace: str = "") -> None:
        """`policies` are all of the project, those that would be named first standing first."""
        self.entities = entities
        self.declared = entities.declared
        self.names = Names(entities.declared, namespace)
        self.kinds = Kinds(entities, policies, self.names)
        self.handle = handle
        self._explained: dict[tuple[str, bool, tuple[str, ...]], Evaluation] = {}

    def evaluate(self, question: Question) -> Evaluation:
        """Whether the policies permit it, and why.

        A deny says by its code what is unknown (`type_unknown`, `action_unknown`), does not go together
        (`action_not_applicable`, `entity_not_listed`) or is missing (`attribute_missing`); else as for any
        evaluation. `InvalidInput` for what does not fit the schema: `property_invalid`, `context_invalid`,
        `type_reserved`.
        """
        return self.evaluate_many([question])[0]

    def evaluate_many(self, questions: Sequence[Question]) -> list[Evaluation]:
        """`evaluate` of each, in their order, with as few calls of the engine as possible."""
        answers: list[Evaluation | None] = [None] * len(questions)
        by_kind: dict[int, list[tuple[int, Prepared]]] = {}
        for place, question in enumerate(questions):
            prepared = self.prepare(question)
            if isinstance(prepared, Evaluation):
                answers[place] = prepared
            else:
                by_kind.setdefault(id(prepared.kind), []).append((place, prepared))
        for group in by_kind.values():
            verdicts = self.decide([prepared for _, prepared in group])
            for (place, prepared), verdict in zip(group, verdicts, strict=True):
                answers[place] = self.explain(verdict, prepared.kind)
        return [answer for answer in answers if answer is not None]

    def search(self, what: What, question: Question, *, after: str = "", limit: int = PAGE) -> Found:
        """The subjects, resources or actions for which `question` is permitted, one page of at most `limit`.

        `after` is the `next` of the page before. `InvalidInput` as for `evaluate`.
        """
        return search(self, what, question, after, limit)

    def prepare(self, question: Question) -> Prepared | Evaluation:
        """The question typed by the schema, or the deny that needs no engine."""
        subject, resource = self.type_of(question.subject), self.type_of(question.resource)
        for named, type_ in ((question.subject, subject), (question.resource, resource)):
            if not type_:
                return _deny(TYPE_UNKNOWN, f"there is no type `{named.type[:64]}` in the project's schema")
        action = self.names.action(question.action, resource)
        if action is None:
            return _deny(ACTION_UNKNOWN, f"there is no action `{question.action[:64]}` in the project's schema")
        kind = self.kinds.get(subject, action, resource)
        if kind is None:
            message = f"`{question.action[:64]}` does not apply to a `{subject}` and a `{resource}`"
            return _deny(NOT_APPLICABLE, message)
        references: set[Uid] = set()
        said: dict[Uid, dict[str, Any]] = {}
        try:
            context = kind.context(_context(question, kind), references)
        except Missing as error:
            return _missing(f"context.{error.path}")
        except Misfit as error:
            raise _invalid("context", error, "context_invalid") from None
        for label, named, type_ in (("subject", question.subject, subject), ("resource", question.resource, resource)):
            uid = (type_, named.id)
            refused = self.take(label, named, uid, said, references)
            if refused is not None:
                return refused
        missing = self.missing(kind, {(subject, question.subject.id), (resource, question.resource.id)}, said)
        missing = missing or self.missing(kind, references, said)
        if missing:
            return _missing(missing)
        request = {
            "principal": {"type": subject, "id": question.subject.id},
            "action": {"type": action[0], "id": action[1]},
            "resource": {"type": resource, "id": question.resource.id},
            "context": kind.slice.encoded(context),
        }
        return Prepared(kind, request, said, references)

    def type_of(self, named: Named) -> str:
        """The Cedar type that the caller names; "" for none. `InvalidInput` for Remit's own."""
        type_ = self.names.type(named.type)
        if not type_ and is_reserved(named.type):
            # SECURITY: who a workload is, and what its tools may do, is proved and governed, never merely named.
            raise InvalidInput(
                "type_reserved",
                f"`{named.type[:64]}` is Remit's own",
                "ask about identities and tools as their enforcement point, with a task",
            )
        return type_

    def take(
        self, label: str, named: Named, uid: Uid, said: dict[Uid, dict[str, Any]], references: set[Uid]
    ) -> Evaluation | None:
        """Adds to `said` what the caller says of one entity and may say; the deny where there can be no such entity."""
        type_ = self.declared.types[uid[0]]
        try:
            forms.check_id(uid[1])
        except Misfit as error:
            raise _invalid(f"{label}.id", error, "id_invalid") from None
        if type_.ids is not None and uid[1] not in type_.ids:
            return _deny(NOT_LISTED, f"`{uid[1][:64]}` is not listed for `{uid[0]}` in the schema")
        if not named.properties:
            return None
        known = self.entities.by_uid.get(uid)
        added: dict[str, Any] = {}
        for name, convert in self.kinds.attributes(type_).items():
            value = named.properties.get(name)
            # SECURITY: what the files say of an entity, a caller can't say otherwise.
            if value is None or (known is not None and name in known.attrs):
                continue
            try:
                added[name] = convert(value, references)
            except Misfit as error:
                raise _invalid(f"{label}.properties", error.below(name), "property_invalid") from None
        before = said.get(uid, {})
        for name, value in added.items():
            if before.setdefault(name, value) != value:
                raise InvalidInput(
                    "property_invalid",
                    f"the subject and the resource are the same, and their properties differ in `{name[:64]}`",
                    "give it once",
                )
        if added:
            said[uid] = {**before, **added}
        return None

    def missing(self, kind: Kind, uids: Iterable[Uid], said: Mapping[Uid, Mapping[str, Any]]) -> str:
        """An attribute that the schema promises, a policy mentions and nobody supplies; "" for none.

        SECURITY: validation trusts the schema: `has` of such an attribute counts as true there and would be false
        here, so a forbid that asks for it would be silent.
        """
        for uid in uids:
            if uid in self.entities.by_uid:
                continue  # checked when it was loaded
            wanted = self.kinds.required(uid[0]) & kind.mentioned
            lacking = wanted - said.get(uid, {}).keys() if wanted else ()
            if lacking:
                return f"{uid[0]}.{min(lacking)}"
        return ""

    def decide(self, prepared: Sequence[Prepared]) -> list[Verdict]:
        """The engine's verdicts on questions of one kind."""
        kind = prepared[0].kind
        plain = [each for each in prepared if not each.said]
        verdicts = iter(kind.slice.decide_many([each.request for each in plain], self.handle) if plain else ())
        if len(plain) == len(prepared):
            return list(verdicts)
        special = iter(self._decide_said([each for each in prepared if each.said]))
        return [next(special) if each.said else next(verdicts) for each in prepared]

    def _decide_said(self, prepared: Sequence[Prepared]) -> list[Verdict]:
        """Those with attributes from callers, over entities cut to what they can reach.

        Several share one set of entities as long as they say the same of each.
        """
        verdicts: list[Verdict] = []
        pieces: dict[Uid, bytes] = {}
        together: list[dict[str, Any]] = []
        kind = prepared[0].kind
        for each in prepared:
            cut = kind.cut(each.request, each.said, each.references)
            if any(pieces.get(uid, piece) != piece for uid, piece in cut.items()):
                verdicts.extend(kind.slice.decide_many(together, _handle(kind, pieces)))
                pieces, together = {}, []
            pieces.update(cut)
            together.append(each.request)
        verdicts.extend(kind.slice.decide_many(together, _handle(kind, pieces)))
        return verdicts

    def explain(self, verdict: Verdict, kind: Kind) -> Evaluation:
        """The evaluation that a verdict is."""
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


def _handle(kind: Kind, pieces: Mapping[Uid, bytes]) -> Any:
    return cedar.Entities.from_json_str((b"[" + b",".join([kind.action_piece, *pieces.values()]) + b"]").decode())


def _context(question: Question, kind: Kind) -> Mapping[str, Any]:
    """What the caller says of the moment; the action's properties stand under `action` where that is a record."""
    if kind.has_action_properties:
        return {**question.context, "action": dict(question.action_properties)}
    return question.context if type(question.context) is dict else dict(question.context)


def _invalid(label: str, error: Misfit, code: str) -> InvalidInput:
    path = f"{label}.{error.path}" if error.path else label
    return InvalidInput(code, f"`{path[:200]}` {error.problem}")


def _missing(what: str) -> Evaluation:
    return _deny(
        ATTRIBUTE_MISSING,
        f"`{what[:200]}` is missing, which the schema requires",
        "supply it, or make it optional in the schema and test it with `has` in policies",
    )


def _deny(code: str, message: str, next_step: str = "") -> Evaluation:
    return Evaluation(permitted=False, reason=Reason(code=code, message=message, next_step=next_step))
