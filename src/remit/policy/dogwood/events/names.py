"""What conditions can name: actions with what events carry of them, and types of entities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from remit.core.actions import Catalogue
from remit.policy import schema, shapes
from remit.policy.entities.declared import Declared
from remit.policy.reads import Uid
from remit.policy.schema import NAMESPACE, Vocabulary
from remit.policy.shapes import Attribute, Shape

PRIMITIVES: Final[Mapping[str, Shape]] = {
    "String": shapes.STRING,
    "Long": shapes.LONG,
    "Bool": shapes.BOOL,
    "Boolean": shapes.BOOL,
    "decimal": shapes.DECIMAL,
    "datetime": shapes.DATETIME,
    "duration": shapes.DURATION,
    "ipaddr": shapes.IPADDR,
}


@dataclass(frozen=True, slots=True)
class EntityName:
    """A type of entities: what each has, the types that it can be in, and its ids where it is an enumeration."""

    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    within: frozenset[str] = frozenset()
    ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ActionName:
    """An action: who may ask for it, what a request carries, and what a result carries."""

    uid: Uid
    principals: tuple[str, ...]
    resources: tuple[str, ...]
    context: Shape
    output: Shape
    groups: frozenset[Uid] = frozenset()  # it and all that it is in


@dataclass(frozen=True, slots=True)
class Names:
    """All that conditions can name."""

    actions: Mapping[Uid, ActionName]
    entities: Mapping[str, EntityName]

    def type(self, name: str) -> Shape | None:
        """The type of this name; None: there is none."""
        if name in self.entities:
            return Shape(kind="entity", entity=name)
        return PRIMITIVES.get(name)


def of_project(vocabulary: Vocabulary, catalogue: Catalogue) -> Names:
    """What conditions of an installation can name. Of results, events carry what the catalogue selects."""
    tools = {name: known for name, known in vocabulary.actions.items() if known.is_tool}
    actions = {
        (f"{NAMESPACE}::Action", name): ActionName(
            uid=(f"{NAMESPACE}::Action", name),
            principals=tuple(f"{NAMESPACE}::{type_}" for type_ in known.principals),
            resources=(f"{NAMESPACE}::{known.resource}",),
            context=known.context,
            output=_selected((field.path, field.type) for field in catalogue.actions[name].select),
            groups=frozenset((f"{NAMESPACE}::Action", group) for group in (name, *known.groups)),
        )
        for name, known in tools.items()
        if name in catalogue.actions
    }
    group = frozenset([f"{NAMESPACE}::Group"])
    own = {
        "Workload": EntityName(schema.PRINCIPAL.fields, group),
        "Person": EntityName(schema.PRINCIPAL.fields, group),
        "Group": EntityName({}, group),
        "Intent": EntityName(schema.INTENT.fields),
        "Server": EntityName(),
        "Installation": EntityName(),
    }
    return Names(
        actions=actions,
        entities={**_declared(vocabulary.declared), **{f"{NAMESPACE}::{name}": type_ for name, type_ in own.items()}},
    )


def of_declared(declared: Declared) -> Names:
    """What a schema of Cedar lets conditions name: results are `context.output` there."""
    actions = {}
    for uid, action in declared.actions.items():
        output = action.context.fields.get("output")
        actions[uid] = ActionName(
            uid=uid,
            principals=tuple(sorted(action.principals)),
            resources=tuple(sorted(action.resources)),
            context=action.context,
            output=shapes.EMPTY if output is None or output.shape.kind != "record" else output.shape,
            groups=action.groups,
        )
    return Names(actions, _declared(declared))


def _declared(declared: Declared) -> dict[str, EntityName]:
    return {name: EntityName(type_.attributes, type_.within, type_.ids) for name, type_ in declared.types.items()}


def _selected(fields: Iterable[tuple[str, str]]) -> Shape:
    """The record of fields at dotted paths; a path that runs through another's value is left out."""
    tree: dict[str, Attribute] = {}
    for path, type_ in sorted(fields):
        tree = _with(tree, path.split("."), shapes.DECLARED[type_])
    return Shape(kind="record", fields=tree)


def _with(tree: Mapping[str, Attribute], path: list[str], shape: Shape) -> dict[str, Attribute]:
    head, *rest = path
    if not rest:
        return {**tree, head: shapes.optional(shape)}
    below = tree[head].shape if head in tree else shapes.EMPTY
    if below.kind != "record":
        return dict(tree)
    return {**tree, head: shapes.optional(Shape(kind="record", fields=_with(below.fields, rest, shape)))}
