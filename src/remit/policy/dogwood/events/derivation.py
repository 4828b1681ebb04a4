"""What an event schema means for the actions that there are (Dogwood guide, chapter 08, section 4.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from remit.policy import shapes
from remit.policy.dogwood.ast import ContextTerm, Path, ScopeTerm, Window
from remit.policy.dogwood.events.names import ActionName, Names
from remit.policy.dogwood.events.schema import GROUPS, EventSchema, Field, Spread
from remit.policy.dogwood.events.syntax import mistaken
from remit.policy.reads import Uid
from remit.policy.shapes import Shape

MAX_LEAVES: Final = 10_000  # of one event

Reference = ContextTerm | ScopeTerm  # of the request that is decided

# The two fields that stand for the request's own principal and resource (guide, section 4.5).
_ALIASES: Final[Mapping[Path, ScopeTerm]] = {
    ("callerPrincipal",): ScopeTerm("principal"),
    ("callerResource",): ScopeTerm("resource"),
}


@dataclass(frozen=True, slots=True)
class Pinned:
    """A field that equals something of the request wherever it is asked for."""

    path: Path
    value: Reference

    @property
    def is_symmetric(self) -> bool:
        """Whether an event's own value is the one under which a request finds it."""
        return self.value == ContextTerm(self.path) or self.value == _ALIASES.get(self.path)

    def __str__(self) -> str:
        root = "context" if isinstance(self.value, ContextTerm) else self.value.root
        return f"pin {'.'.join(self.path)} = {'.'.join((root, *self.value.path))}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field of an event: the types that its value may have, and what of an action or a request it is."""

    types: tuple[Shape, ...]
    source: Path  # the path in events as Remit emits them: ("input", "user"), ("callerPrincipal",), ("task", "root")


@dataclass(frozen=True, slots=True)
class Signature:
    """The events of one action and one kind."""

    uid: Uid
    kind: str
    decision: bool
    leaves: Mapping[Path, Leaf]
    groups: frozenset[Path]  # paths that hold fields
    pins: tuple[Pinned, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """All events that there can be."""

    schema: EventSchema
    names: Names
    signatures: Mapping[tuple[Uid, str], Signature]

    @property
    def max_window(self) -> Window:
        """How far back conditions may look."""
        return self.schema.window

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of events, in the order of the schema."""
        return self.schema.kinds

    @property
    def decisions(self) -> frozenset[str]:
        """The kinds that are decided."""
        return frozenset(each.kind for each in self.schema.declarations if each.decision)

    @property
    def key(self) -> tuple[Pinned, ...]:
        """The pins that stand on every kind and are symmetric: histories with other values are other histories."""
        universal: list[Pinned] | None = None
        for declaration in self.schema.declarations:
            pins = list(pins_of(declaration.fields))
            universal = pins if universal is None else [pin for pin in universal if pin in pins]
        return tuple(pin for pin in universal or () if pin.is_symmetric)

    def signature(self, type_: str, action: str, kind: str) -> Signature | None:
        """The events of this action and kind; None: there are none."""
        return self.signatures.get(((type_, action), kind))


def derive(schema: EventSchema, names: Names) -> Events:
    """The events that the schema makes of the actions. A `DocumentError` where it can't be."""
    signatures = {
        (action.uid, declaration.kind): Signature(
            uid=action.uid,
            kind=declaration.kind,
            decision=declaration.decision,
            pins=tuple(pins_of(declaration.fields)),
            **_tree(schema, action, names, declaration.fields),  # type: ignore[arg-type]
        )
        for action in names.actions.values()
        if action.principals  # a group of actions has no events
        for declaration in schema.declarations
    }
    return Events(schema, names, signatures)


def pins_of(fields: tuple[Spread | Field, ...], prefix: Path = ()) -> Iterator[Pinned]:
    """The pins among the fields, in the order of the text."""
    for each in fields:
        if not isinstance(each, Field):
            continue
        if each.pin is not None:
            yield Pinned((*prefix, each.name), each.pin.value)
        if each.members is not None:
            yield from pins_of(each.members, (*prefix, each.name))


def _tree(
    schema: EventSchema, action: ActionName, names: Names, fields: tuple[Spread | Field, ...]
) -> dict[str, Mapping[Path, Leaf] | frozenset[Path]]:
    leaves: dict[Path, Leaf] = {}
    groups: set[Path] = set()
    waiting: list[tuple[Path, Spread | Field]] = [((), each) for each in reversed(fields)]
    while waiting:
        prefix, each = waiting.pop()
        if isinstance(each, Spread):
            group = GROUPS[each.selector]
            _spread(_record(action, each), (*prefix, group), (group,), leaves, groups)
        elif each.members is not None:
            groups.add((*prefix, each.name))
            waiting += [((*prefix, each.name), member) for member in reversed(each.members)]
        else:
            path = (*prefix, each.name)
            leaves[path] = _leaf(schema, action, names, each, path)
        if len(leaves) > MAX_LEAVES:
            raise mistaken(schema, each.at, f"the events of `{action.uid[1]}` have more than {MAX_LEAVES} fields")
    return {"leaves": leaves, "groups": frozenset(groups)}


def _record(action: ActionName, spread: Spread) -> Shape:
    if spread.selector == "outputs":
        return action.output
    found = action.context.fields.get("input")
    return shapes.EMPTY if found is None or found.shape.kind != "record" else found.shape


def _spread(record: Shape, path: Path, source: Path, leaves: dict[Path, Leaf], groups: set[Path]) -> None:
    groups.add(path)
    for name, attribute in record.fields.items():
        if attribute.shape.kind == "record":
            _spread(attribute.shape, (*path, name), (*source, name), leaves, groups)
        else:
            leaves[*path, name] = Leaf((attribute.shape,), (*source, name))


def _leaf(schema: EventSchema, action: ActionName, names: Names, field: Field, path: Path) -> Leaf:
    if field.type == "principalType":
        return Leaf(_entities(action.principals), ("callerPrincipal",))
    if field.type == "resourceType":
        return Leaf(_entities(action.resources), ("callerResource",))
    name = "::".join(part for part in field.type if isinstance(part, str))
    shape = names.type(name)
    if shape is None:
        raise mistaken(
            schema, field.at, f"there is no type `{name}`", "write `String`, `Long`, `Bool`, or a type of entities"
        )
    return Leaf((shape,), path)


def _entities(types: tuple[str, ...]) -> tuple[Shape, ...]:
    return tuple(Shape(kind="entity", entity=type_) for type_ in types)
