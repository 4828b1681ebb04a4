"""A question from outside, typed by the project's schema: what the engine may see of it.

In this order: names, context, properties, and what is missing. Whatever is merely unknown is a deny with its reason;
what does not fit its type is an `InvalidInput`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from remit.core.decisions import Reason
from remit.core.errors import InvalidInput
from remit.policy.entities import Entities, forms
from remit.policy.entities.forms import Misfit, Missing, References
from remit.policy.evaluation import Evaluation
from remit.policy.general.kinds import Kind, Kinds
from remit.policy.general.naming import Names, is_reserved
from remit.policy.questions import Named, Question, What
from remit.policy.reads import Uid

TYPE_UNKNOWN: Final = "type_unknown"
ACTION_UNKNOWN: Final = "action_unknown"
NOT_APPLICABLE: Final = "action_not_applicable"
NOT_LISTED: Final = "entity_not_listed"
ATTRIBUTE_MISSING: Final = "attribute_missing"


class Asked(NamedTuple):
    """A question ready for the engine."""

    kind: Kind
    request: dict[str, Any]  # principal, action and resource
    context: dict[str, Any]
    said: dict[Uid, dict[str, Any]]  # attributes from the caller, by entity; none where the files say all
    references: References  # entities that the caller's values name
    relied: References  # those of them that policies read


class Typed(NamedTuple):
    """A value that a caller gave, in Cedar's JSON form, and the entities that it names."""

    value: Any
    references: References


class Asking:
    """What turns the questions of one project into what its policies can decide."""

    def __init__(self, entities: Entities, kinds: Kinds, names: Names) -> None:
        self.entities = entities
        self.names = names
        self._kinds = kinds
        self._types = entities.declared.types

    def warm(self, before: Asking) -> None:
        """Works out the kinds of questions that `before` was asked."""
        for subject, action, resource in before._kinds.asked():
            if action in self.entities.declared.actions:
                self._kinds.get(subject, action, resource)

    def ask(self, question: Question, sought: What | None = None) -> Asked | Evaluation:
        """The question typed by the schema, or the deny that needs no engine.

        Of what is `sought`, only the type counts here.
        """
        subject, resource = self.type_of(question.subject), self.type_of(question.resource)
        for named, type_ in ((question.subject, subject), (question.resource, resource)):
            if not type_:
                return _deny(code=TYPE_UNKNOWN, message=f"there is no type `{named.type[:64]}` in the project's schema")
        action = self.names.action(question.action, resource)
        if action is None:
            return _deny(
                code=ACTION_UNKNOWN, message=f"there is no action `{question.action[:64]}` in the project's schema"
            )
        kind = self._kinds.get(subject, action, resource)
        if kind is None:
            message = f"`{question.action[:64]}` does not apply to a `{subject}` and a `{resource}`"
            return _deny(code=NOT_APPLICABLE, message=message)
        request: dict[str, Any] = {
            "principal": {"type": subject, "id": question.subject.id},
            "action": {"type": action[0], "id": action[1]},
            "resource": {"type": resource, "id": question.resource.id},
        }
        asked = Asked(kind, request, {}, {}, set(), set())
        lacking = self._take_context(asked, question)
        for label, named, type_ in (("subject", question.subject, subject), ("resource", question.resource, resource)):
            if label == sought:
                continue
            uid = (type_, named.id)
            if not self._is_listed(label, uid):
                return _deny(code=NOT_LISTED, message=f"`{uid[1][:64]}` is not listed for `{uid[0]}` in the schema")
            if named.properties:
                self.say(asked, uid, self.typed(label, named, type_))
        lacking = lacking or self.lacks(asked, sought)
        if lacking:
            return _deny(
                code=ATTRIBUTE_MISSING,
                message=f"`{lacking[:200]}` is missing, which the schema requires",
                next_step="supply it, or make it optional in the schema and test it with `has` in policies",
            )
        return asked

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

    def typed(self, label: str, named: Named, type_: str) -> dict[str, Typed]:
        """The declared ones of an entity's properties; others are ignored."""
        found: dict[str, Typed] = {}
        for name, convert in self._kinds.attributes(type_).items():
            value = named.properties.get(name)
            if value is not None:
                references: References = set()
                try:
                    found[name] = Typed(convert(value, references), references)
                except Misfit as error:
                    raise _invalid(f"{label}.properties", code="property_invalid", error=error.below(name)) from None
        return found

    def say(self, asked: Asked, uid: Uid, typed: Mapping[str, Typed]) -> None:
        """Adds to what is said of an entity that of which the files say nothing."""
        known = self.entities.by_uid.get(uid)
        # SECURITY: what the files say of an entity, a caller can't say otherwise.
        added = {name: each for name, each in typed.items() if known is None or name not in known.attrs}
        if not added:
            return
        said = asked.said.setdefault(uid, {})
        for name, each in added.items():
            if said.setdefault(name, each.value) != each.value:
                raise InvalidInput(
                    "property_invalid",
                    f"the subject and the resource are the same, and their properties differ in `{name[:64]}`",
                    "give it once",
                )
            _name(asked, name, each.references)

    def lacks(self, asked: Asked, sought: What | None = None) -> str:
        """An attribute that the schema promises, a policy mentions and nobody supplies; "" for none.

        SECURITY: validation trusts the schema: `has` of such an attribute counts as true there and would be false
        here, so a forbid that asks for it would be silent.
        """
        reads = asked.kind.reads
        lacking = ""
        for label, side, mentioned in (
            ("subject", "principal", reads.principal),
            ("resource", "resource", reads.resource),
        ):
            if label != sought:
                named = asked.request[side]
                lacking = lacking or self._lacks((named["type"], named["id"]), mentioned, asked.said)
        for uid in sorted(asked.relied) if asked.relied else ():
            lacking = lacking or self._lacks(uid, reads.others, asked.said)
        return lacking

    def _lacks(self, uid: Uid, mentioned: frozenset[str], said: Mapping[Uid, Mapping[str, Any]]) -> str:
        if uid in self.entities.by_uid:
            return ""  # checked when it was loaded
        wanted = self._kinds.required(uid[0]) & mentioned
        lacking = wanted - said.get(uid, {}).keys() if wanted else ()
        return f"{uid[0]}.{min(lacking)}" if lacking else ""

    def _take_context(self, asked: Asked, question: Question) -> str:
        """Types what the caller says of the moment; what is missing of it, "" for nothing."""
        given = question.context
        if asked.kind.has_action_properties:
            given = {**given, "action": dict(question.action_properties)}
        lacking = ""
        for name, (is_required, convert) in asked.kind.context.items():
            value = given.get(name)
            if value is not None:
                references: References = set()
                try:
                    asked.context[name] = convert(value, references)
                except Missing as error:
                    lacking = lacking or f"context.{error.below(name).path}"
                except Misfit as error:
                    raise _invalid("context", code="context_invalid", error=error.below(name)) from None
                _name(asked, name, references)
            elif is_required:
                lacking = lacking or f"context.{name}"
        return lacking

    def _is_listed(self, label: str, uid: Uid) -> bool:
        """Whether there can be such an entity; `InvalidInput` for what is no id."""
        try:
            forms.check_id(uid[1])
        except Misfit as error:
            raise _invalid(f"{label}.id", code="id_invalid", error=error) from None
        ids = self._types[uid[0]].ids
        return ids is None or uid[1] in ids


def _name(asked: Asked, attribute: str, references: References) -> None:
    """Notes the entities that the value of an attribute names."""
    asked.references.update(references)
    if attribute in asked.kind.reads.followed:
        asked.relied.update(references)


def _invalid(label: str, *, code: str, error: Misfit) -> InvalidInput:
    where = f"{label}.{error.path}" if error.path else label
    return InvalidInput(code, f"`{where[:200]}` {error.problem}")


def _deny(*, code: str, message: str, next_step: str = "") -> Evaluation:
    return Evaluation(permitted=False, reason=Reason(code=code, message=message, next_step=next_step))
