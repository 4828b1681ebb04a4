"""All policies of a project, loaded and validated once: what decides, what it says, and what it can see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from remit.core import canonical
from remit.core.actions import Catalogue
from remit.core.decisions import PolicyRef
from remit.core.errors import DocumentError, InvalidInput
from remit.core.identities import Registration
from remit.core.intents import Intent
from remit.core.pausing import no_collection
from remit.policy import (
    clauses,
    generated,
    obligations,
    obliging,
    provided,
    reasons,
    requestable,
    schema,
    sources,
    validation,
)
from remit.policy import warnings as warned
from remit.policy.cache import Cache
from remit.policy.compiled.engine import Engine
from remit.policy.compiled.environment import of_vocabulary
from remit.policy.compiled.values import Entity
from remit.policy.dogwood.invocations import Invocation
from remit.policy.dogwood.providers import NO_PROVIDERS, Providers
from remit.policy.dogwood.temporal import NO_CLAUSES, NO_NAMES, Temporal
from remit.policy.entities import NO_ENTITIES, Entities, load_entities, parse_with_engine
from remit.policy.evaluation import Evaluation
from remit.policy.general import General
from remit.policy.identities import Identities
from remit.policy.schema import NAMESPACE, Known, Vocabulary
from remit.policy.slices import Shelf, Slice
from remit.policy.sources import Policy, Source
from remit.policy.typed import Converter, value_converter
from remit.policy.verdict import Verdict
from remit.policy.warnings import Warned

_SLICES: Final = 20_000  # kept, by action, resource and intent
_REMEMBERED: Final = Cache()
_EXPLAINED: Final = 10_000  # distinct outcomes whose explanation is kept


class Policies:
    """The loaded policies. Immutable but for caches; safe to use from several threads.

    Make it with `load`; a change of policies, intents or catalogue makes a new one.
    """

    def __init__(
        self,
        texts: list[Source],
        policies: list[Policy],
        vocabulary: Vocabulary,
        converters: Mapping[str, Converter],
        catalogue: Catalogue,
        intents: Mapping[str, Intent],
        entities: Entities,
        handle: Any,
        namespace: str,
        engine: Engine,
    ) -> None:
        self.vocabulary = vocabulary
        self.texts: Mapping[str, str] = {canonical.sha256(source.text.encode()): source.text for source in texts}
        self.digest = canonical.digest([[s.path, canonical.sha256(s.text.encode())] for s in texts])
        self.refs: Mapping[str, PolicyRef] = {policy.id: policy.ref for policy in policies}
        self._sources = texts
        self._policies = sorted(policies, key=reasons.rank)
        self._converters = converters
        self._params = {
            (intent.name, name): value_converter(parameter.type, name)
            for intent in intents.values()
            for name, parameter in intent.params.items()
        }
        self._groups = {name: validation.groups_of(known) for name, known in vocabulary.actions.items()}
        self._resources: Mapping[str, Collection[str]] = {
            "Server": vocabulary.servers,
            "Intent": vocabulary.intents,
            "Installation": (vocabulary.trust_domain,),
        }
        self._justifying = {
            name: sorted(intent.name for intent in intents.values() if schema.justifies(intent, action))
            for name, action in catalogue.actions.items()
        }
        self.engine = engine
        self.temporal: Temporal = NO_CLAUSES
        self.in_words: Callable[[], Iterator[clauses.InWords]] = lambda: iter(())  # of each temporal clause
        self.limits: list[str] = []  # that denied calls use up
        self.providers: Providers = NO_PROVIDERS
        self._invocations: dict[str, tuple[Invocation, ...]] = {}
        self.general = General(entities, handle, self._policies, engine, namespace)
        self._entities = Identities(_fixed_entities(vocabulary, catalogue, intents))
        self._shelf = Shelf(self._policies, engine, by_intent=True, environments=of_vocabulary(vocabulary))
        self._shelf.prepare()
        self._slices: dict[tuple[str, str, str, frozenset[str] | None], Slice] = {}
        self._explained: dict[tuple[str, bool, tuple[str, ...]], Evaluation] = {}

    def evaluate(
        self,
        principal: Registration,
        action: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        intent: str = "",
        *,
        related: tuple[Registration, ...] = (),
    ) -> Evaluation:
        """Whether the policies permit the request, and why.

        `resource` is a type (with or without `Remit::`) and an id. `context` must have the shape that `schema` gives
        for the action, in Cedar's JSON form. `intent` is the task's; a context that says otherwise is a deny.
        `related` are the registrations of the identities that the context names (`task.onBehalfOf`, `workload`):
        policies can read the groups and attributes of no others.
        """
        type_ = resource[0].removeprefix(f"{NAMESPACE}::")
        known = self._known(principal, action, type_, resource[1])
        if known is None or (known.is_tool and not intent):
            return self._unpermitted(action)
        if known.is_tool and context["task"]["intent"] != intent:
            # SECURITY: the slice is cut by intent; under another intent it would lack that one's forbids.
            return _broken()
        chosen = self._slice(known, resource[1], intent if known.is_tool else "")
        return self._explain(self._decide(chosen, principal, related, known, resource[1], context), action)

    def reads(self, action: str, server: str, intent: str, path: tuple[str, ...]) -> bool:
        """Whether a policy that could matter to this action of a tool reads `path` of the context, or what is in it."""
        known = self.vocabulary.actions.get(action)
        if known is None:
            return True
        chosen = self._slice(known, server, intent)
        if any(read[: len(path)] == path[: len(read)] for read in chosen.values):
            return True
        # Whether something above it is there does not depend on it.
        return any(read[: len(path)] == path for read in chosen.tests)

    def clauses(self, action: str, server: str, intent: str) -> frozenset[str]:
        """The temporal clauses that policies which could matter to this action of a tool read, by name."""
        known = self.vocabulary.actions.get(action)
        if known is None or not self.temporal.names:
            return NO_NAMES
        cached = self._slice(known, server, intent).cached
        found: frozenset[str] | None = cached.get("clauses")
        if found is None:
            policies = self._slice(known, server, intent).policies
            found = cached["clauses"] = frozenset(leaf.name for policy in policies for leaf in policy.leaves)
        return found

    def invocations(self, action: str) -> tuple[Invocation, ...]:
        """What policies that could cover this action ask information providers, under whatever intent."""
        if not self.providers.declared:
            return ()
        found = self._invocations.get(action)
        if found is None:
            groups = {action: self._groups[action]} if action in self._groups else {}
            found = self._invocations[action] = tuple(
                invocation
                for policy in self._policies
                if policy.providers and groups and validation.covers(policy, action, groups)
                for invocation in policy.providers
            )
        return found

    def preview(
        self,
        principal: Registration,
        action: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        intent: str,
        *,
        related: tuple[Registration, ...] = (),
    ) -> Evaluation:
        """Whether some call could be permitted, as far as `context` tells: over-approximates.

        The context may lack `input`, `destination`, the sums of limits, and any other attribute as a whole (even
        all: `{}`). Forbids that read what is not known are taken not to match, permits to match; all others are
        evaluated.
        """
        type_ = resource[0].removeprefix(f"{NAMESPACE}::")
        known = self._known(principal, action, type_, resource[1])
        if known is None or not known.is_tool or not intent:
            return self._unpermitted(action)
        facts = frozenset(context)
        if "task" not in facts:
            context = {**context, "task": {"intent": intent}}
        elif context["task"]["intent"] != intent:
            return _broken()
        chosen = self._slice(known, resource[1], intent, facts)
        verdict = self._decide(chosen, principal, related, known, resource[1], context)
        if verdict != _NOTHING:
            return self._explain(verdict, action)
        possible = chosen.cached.get("possible")
        if possible is None:
            settled = {policy.id for policy in chosen.policies}
            every = self._slice(known, resource[1], intent).policies
            unknown = tuple(policy for policy in every if policy.effect == "permit" and policy.id not in settled)
            possible = chosen.cached["possible"] = self._explain(
                Verdict(True, unknown, ()) if unknown else verdict, action
            )
        return possible

    def could_permit(
        self,
        principal: Registration,
        action: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        intent: str,
        *,
        related: tuple[Registration, ...] = (),
    ) -> bool:
        """Whether `preview` leaves the action possible, for filtering lists of tools."""
        return self.preview(principal, action, resource, context, intent, related=related).permitted

    def typed_input(self, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """`context.input`: the arguments that the tool's schema declares, in Cedar's JSON form.

        `InvalidInput` (`arguments_invalid`) when they do not fit the schema or what Cedar can hold.
        """
        converter = self._converters.get(action)
        if converter is None:
            raise InvalidInput("arguments_invalid", "the action is not in the catalogue")
        return converter(arguments)

    def typed_param(self, intent: str, name: str, value: Any) -> Any:
        """One parameter of a task as policies see it in `context.task.params`; decimals may be text."""
        convert = self._params.get((intent, name))
        if convert is None:
            raise InvalidInput("params_invalid", f"the intent `{intent}` has no parameter `{name}`")
        return convert(value)

    def sources(self) -> list[tuple[str, str]]:
        """Every text of policies with its path: shipped, generated and the project's own."""
        return [(source.path, source.text) for source in self._sources]

    def policies(self) -> list[Policy]:
        """Every policy, those that would be named first standing first."""
        return list(self._policies)

    def schema_text(self) -> str:
        """The Cedar schema that the policies were validated against, for editors and other Cedar tools."""
        return validation.schema_text(self.vocabulary)

    def warm(self, before: Policies) -> None:
        """Makes what `before` was asked about ready, so that no question waits for it. For a thread of its own."""
        for (name, id_, intent, facts), asked in list(before._slices.items()):
            known = self.vocabulary.actions.get(name)
            if known is not None:
                self._slice(known, id_, intent, facts).warm(asked)
        self.general.warm(before.general)
        self.compile()

    def parts(self) -> list[object]:
        """The many objects that it consists of, for who lets go of it bit by bit."""
        return [*self._policies, *self._shelf.entries()]

    def compile(self) -> list[tuple[Policy, str]]:
        """Compiles every policy now and not when it is first asked for; those that can't be, with the reason."""
        return self._shelf.uncompiled()

    def warnings(self) -> list[Warned]:
        """What is right by the schema, and probably not what was meant. As costly as validating all policies."""
        return warned.warnings(self._policies, self.vocabulary)

    def notices(self) -> list[str]:
        """What works but deserves a look: tools whose schema can't be used, and policies that cover no action."""
        unusable = [
            f"the input schema of `{name}` can't be used, so every call is refused: {converter.problem}"
            for name, converter in self._converters.items()
            if converter.problem
        ]
        idle = [
            f"{policy.ref.path}:{policy.ref.line}: policy `{policy.id}` covers no action that there is"
            for policy in self._policies
            if policy.origin == "user" and validation.is_idle(policy, self.vocabulary, self._groups)
        ]
        slow = [
            f"{self.refs[id_].path}:{self.refs[id_].line}: policy `{id_}` is not compiled ({why}), so the reference "
            "engine decides what it is about"
            for id_, why in self.engine.uncompiled.items()
        ]
        return unusable + idle + self.limits + self.general.notices() + slow

    def _known(self, principal: Registration, action: str, type_: str, id_: str) -> Known | None:
        """The action, when its schema allows this principal and this resource; nothing else is ever permitted."""
        known = self.vocabulary.actions.get(action)
        if known is None or type_ != known.resource:
            return None
        if principal.kind == "person" and "Person" not in known.principals:
            return None
        names: Collection[str] = (known.server,) if known.is_tool else self._resources[type_]
        return known if id_ in names else None

    def _decide(
        self,
        chosen: Slice,
        principal: Registration,
        related: tuple[Registration, ...],
        known: Known,
        id_: str,
        context: Mapping[str, Any],
    ) -> Verdict:
        given, itself = self._entities.with_(principal, related)
        return chosen.decide(itself, Entity((f"{NAMESPACE}::{known.resource}", id_)), given, context)

    def _slice(self, known: Known, id_: str, intent: str, facts: frozenset[str] | None = None) -> Slice:
        """The policies that could match or fail; with `facts`, of them those that read no other attributes."""
        if intent not in self.vocabulary.intents:
            intent = ""  # no policy names it, so one slice serves all such
        key = (known.name, id_, intent, facts)
        chosen = self._slices.get(key)
        if chosen is None:
            if len(self._slices) >= _SLICES:
                self._slices = {}
            chosen = self._slices[key] = self._shelf.cut(
                (f"{NAMESPACE}::Action", known.name),
                self._groups[known.name],
                (f"{NAMESPACE}::{known.resource}", id_),
                intent if known.is_tool else None,
                None if facts is None else (facts, lambda policy: policy.reads.is_known(facts)),
            )
        return chosen

    def _explain(self, verdict: Verdict, action: str) -> Evaluation:
        if verdict.is_disputed:
            reason = reasons.disputed()
            return Evaluation(permitted=False, reason=reason)
        if verdict.is_broken and not verdict.failed:
            return _broken()
        if verdict.failed:
            reason = reasons.undecidable([policy for policy, _ in verdict.failed])
            errors = tuple((policy.id, message) for policy, message in verdict.failed)
            return Evaluation(permitted=False, reason=reason, policies=reason.policies, errors=errors)
        if not verdict.matched:
            return self._unpermitted(action)
        key = (action, verdict.permitted, tuple([policy.id for policy in verdict.matched]))
        explained = self._explained.get(key)
        if explained is None:
            if verdict.permitted:
                reason = reasons.permitted(verdict.matched)
            else:
                reason = reasons.forbidden(verdict.matched, action, self._justifying.get(action, ()))
            explained = Evaluation(
                permitted=verdict.permitted,
                reason=reason,
                policies=reason.policies,
                facts=reasons.facts(verdict.matched),
                obligations=obligations.of_policies(verdict.matched),
                approvals=() if verdict.permitted else requestable.approvals(verdict.matched),
            )
            if len(self._explained) >= _EXPLAINED:
                self._explained = {}
            self._explained[key] = explained
        return explained

    def _unpermitted(self, action: str) -> Evaluation:
        return Evaluation(permitted=False, reason=reasons.unpermitted(action, self._justifying.get(action, ())))


@no_collection()
def load(
    *,
    folder_policies: list[Path],
    catalogue: Catalogue,
    intents: Mapping[str, Intent],
    trust_domain: str,
    notifiers: Collection[str] = (),
    folder_entities: Path | None = None,
    namespace: str = "",
    cache: Cache | None = None,
    providers: Providers = NO_PROVIDERS,
    engine: Engine | None = None,
    events: str = "",
) -> Policies:
    """Reads, generates, parses and strictly validates all policies, and the project's own entities with them.

    `folder_policies` are `*.cedar` files or folders of them; `notifiers` are the names that `@notify` may have;
    `folder_entities` has the project's schema and entities, and `namespace` is where names without one are meant. A
    `DocumentError` names file, line and fix at the first mistake, whether in a policy, in an entity or in the intent
    that a policy is generated from. `cache` knows what has not changed since; without it, this process's memory does.
    `providers` are what lowered policies can call, and `events` chooses the event schema where the project has none.
    `engine` decides; without it, compiled policies do, and a sample of it is compared.
    """
    entities = load_entities(folder_entities) if folder_entities is not None else NO_ENTITIES
    if namespace and namespace not in entities.declared.namespaces:
        raise DocumentError(
            f"`[authzen] namespace` is `{namespace}`, which the schema in `entities/` does not declare",
            path="remit.toml",
            next_step="name one of its namespaces, or leave it out",
        )
    converters = {name: Converter(action) for name, action in catalogue.actions.items()}
    inputs = {name: converter.shape for name, converter in converters.items()}
    vocabulary = schema.vocabulary(catalogue, intents, inputs, trust_domain, entities.declared)
    texts = [
        *sources.shipped(),
        *generated.generate(intents, catalogue, inputs, trust_domain),
        *sources.read_folder(folder_policies),
    ]
    if any(source.is_dogwood for source in texts):
        texts.insert(0, sources.library())
        texts = [*clauses.schemas(texts, events), *texts]
    macros = sources.macros(texts)
    cache = cache or _REMEMBERED
    with cache.loading():
        policies = [policy for source in texts for policy in sources.parse(source, cache, macros)]
        sources.check_ids(policies)
        provided.check(policies, vocabulary, providers)
        vocabulary = provided.with_given(vocabulary, policies, providers)
        merged = validation.validate(policies, vocabulary, cache)
    asked = clauses.clauses(policies, clauses.events_of(texts, vocabulary, catalogue))
    temporal = clauses.temporal(asked)
    obliging.check(policies, vocabulary, catalogue, notifiers)
    handle = parse_with_engine(entities, merged)
    engine = engine or Engine()
    loaded = Policies(texts, policies, vocabulary, converters, catalogue, intents, entities, handle, namespace, engine)
    loaded.temporal, loaded.providers = temporal, providers
    loaded.in_words = lambda: clauses.in_words(policies, asked)
    loaded.limits = [str(each) for each in clauses.notices(policies, asked.events)]
    return loaded


_NOTHING: Final = Verdict(False, (), ())


def _broken() -> Evaluation:
    return Evaluation(permitted=False, reason=reasons.undecidable(()))


def _fixed_entities(
    vocabulary: Vocabulary, catalogue: Catalogue, intents: Mapping[str, Intent]
) -> list[dict[str, Any]]:
    type_ = f"{NAMESPACE}::Action"
    actions = [
        {
            "uid": {"type": type_, "id": known.name},
            "attrs": {},
            "parents": [{"type": type_, "id": group} for group in known.groups],
        }
        for known in vocabulary.actions.values()
    ]
    purposes = [
        {
            "uid": {"type": f"{NAMESPACE}::Intent", "id": intent.name},
            "attrs": {
                "selfStart": intent.self_start,
                "consequential": schema.is_consequential(intent, catalogue),
                "emergency": intent.emergency,
            },
            "parents": [],
        }
        for intent in intents.values()
    ]
    return [*actions, *purposes]
