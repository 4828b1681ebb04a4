"""All compiled policies of a set, found by what they can match: action, and principal, each with its ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from remit.policy.compiled.compiler import Compiled, compile_policy
from remit.policy.compiled.operators import Entities
from remit.policy.compiled.values import Entity, Failed, entity_of


class Answer(NamedTuple):
    """Cedar's answer: the policies that decided, and those that failed, by id."""

    permitted: bool
    reasons: frozenset[str]
    errors: frozenset[str]


class Index:
    """Compiled policies by (action, principal) in their scope; `None` where the scope leaves it open."""

    def __init__(self, policies: Iterable[Compiled]) -> None:
        self._found: dict[Entity | None, dict[Entity | None, list[Compiled]]] = {}
        for policy in policies:
            for action in policy.actions if policy.actions is not None else (None,):
                for principal in policy.principals if policy.principals is not None else (None,):
                    self._found.setdefault(action, {}).setdefault(principal, []).append(policy)

    def decide(
        self, principal: Entity, action: Entity, resource: Entity, context: Mapping[str, Any], entities: Entities
    ) -> Answer:
        """The answer to one request; `context` holds values (`values.value_of`).

        A forbid that matches decides, then a permit; a policy that fails is skipped and named (Cedar's authorization
        algorithm).
        """
        above = (entities.above(principal), entities.above(action), entities.above(resource))
        permits: set[str] = set()
        forbids: set[str] = set()
        errors: set[str] = set()
        for policy in self._at_hand(above[0], above[1]):
            try:
                if policy.matches(principal, action, resource, context, entities, *above):
                    (forbids if policy.forbids else permits).add(policy.id)
            except Failed:
                errors.add(policy.id)
        return Answer(bool(permits) and not forbids, frozenset(forbids or permits), frozenset(errors))

    def _at_hand(self, principals: frozenset[Entity], actions: frozenset[Entity]) -> Iterator[Compiled]:
        """The policies whose scope could match; one that names several of these entities comes several times."""
        for action in (None, *actions):
            if by_principal := self._found.get(action):
                for principal in (None, *principals):
                    yield from by_principal.get(principal, ())


def compiled(policy_set: Mapping[str, Any]) -> Index:
    """The index of a policy set in Cedar's JSON form, templates and links with it; `Unsupported` where one can't be."""
    found = [compile_policy(id_, policy) for id_, policy in policy_set["staticPolicies"].items()]
    for link in policy_set.get("templateLinks", ()):
        slots = {name: entity_of(value) for name, value in link["values"].items()}
        found.append(compile_policy(link["newId"], policy_set["templates"][link["templateId"]], slots))
    return Index(found)
