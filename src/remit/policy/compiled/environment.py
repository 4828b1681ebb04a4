"""What a schema promises of a kind of request: type of principal, action, type of resource, context, and entities.

The entities hold the actions of the schema with their groups, and fit their types; they need not be all there.
Typed evaluation (`typed`) and the check that a request keeps these promises (`requests`) read the same environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from remit.policy import shapes
from remit.policy.compiled.values import Entity
from remit.policy.entities.declared import Declared, EntityType
from remit.policy.schema import INTENT, NAMESPACE, PRINCIPAL, Vocabulary
from remit.policy.shapes import Shape


@dataclass(frozen=True, slots=True)
class Environment:
    """One kind of request, and all types of entities of its schema."""

    principal: str  # types, with their namespace
    action: Entity
    resource: str
    context: Shape = shapes.EMPTY
    types: Mapping[str, EntityType] = field(default_factory=dict)
    groups: frozenset[Entity] | None = None  # the action and all that it is in; None where only the entities say it


def of_vocabulary(vocabulary: Vocabulary) -> Iterator[Environment]:
    """Every kind of request of an installation: Remit's own actions, and those of the project's schema."""
    types = {**vocabulary.declared.types, **OWN_TYPES}
    for known in vocabulary.actions.values():
        groups = frozenset(Entity((f"{NAMESPACE}::Action", name)) for name in (known.name, *known.groups))
        action, resource = Entity((f"{NAMESPACE}::Action", known.name)), f"{NAMESPACE}::{known.resource}"
        for principal in known.principals:
            yield Environment(f"{NAMESPACE}::{principal}", action, resource, known.context, types, groups)
    yield from of_declared(vocabulary.declared, types)


def of_declared(declared: Declared, types: Mapping[str, EntityType] | None = None) -> Iterator[Environment]:
    """Every kind of request of a project's own schema; `types` are all that there are, if not its own alone."""
    known = declared.types if types is None else types
    for uid, action in declared.actions.items():
        groups = frozenset(map(Entity, action.groups))
        for principal in sorted(action.principals):
            for resource in sorted(action.resources):
                yield Environment(principal, Entity(uid), resource, action.context, known, groups)


def _own(name: str, shape: Shape = shapes.EMPTY) -> EntityType:
    return EntityType(name=f"{NAMESPACE}::{name}", attributes=shape.fields)


OWN_TYPES: Mapping[str, EntityType] = {
    type_.name: type_
    for type_ in (
        _own("Workload", PRINCIPAL),
        _own("Person", PRINCIPAL),
        _own("Group"),
        _own("Intent", INTENT),
        _own("Server"),
        _own("Installation"),
    )
}
