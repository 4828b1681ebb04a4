"""The meaning of a schema in Cedar's JSON form: names resolved, common types written out, memberships closed.

Where the form itself is wrong, this fails as Python does; `reading` has the engine say how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from remit.core.errors import DocumentError
from remit.policy import shapes
from remit.policy.entities.declared import Declared, DeclaredAction, EntityType
from remit.policy.reads import Uid
from remit.policy.shapes import Attribute, Shape

MAX_NODES: Final = 20_000  # of a type, all common types written out
_DEPTH: Final = 32  # of a type, all common types written out
_NAMESPACE: Final = "Remit"
_PRIMITIVES: Final[Mapping[str, Shape]] = {
    "String": shapes.STRING,
    "Long": shapes.LONG,
    "Bool": shapes.BOOL,
    "Boolean": shapes.BOOL,
    "decimal": shapes.DECIMAL,
    "datetime": shapes.DATETIME,
    "duration": shapes.DURATION,
    "ipaddr": shapes.IPADDR,
}


def interpret(json: Mapping[str, Any], text: str, path: str) -> Declared:
    """The schema that `json` is; `text` and `path` are for errors."""
    return _Model(json, text, path).declared()


class _Sized(NamedTuple):
    """A shape with its size, all common types in it written out."""

    shape: Shape
    nodes: int = 1
    depth: int = 1


class _Model:
    """The interpretation of one schema."""

    def __init__(self, json: Mapping[str, Any], text: str, path: str) -> None:
        self.json = json
        self.origin = Declared(json=json, text=text, path=path)
        self.inside = ""  # the declaration that is read
        self.entities: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.common: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self.written_out: dict[str, _Sized] = {}
        for namespace, fragment in json.items():
            self.check_namespace(namespace)
            self.check_open(fragment)
            for name, declaration in fragment.get("entityTypes", {}).items():
                self.entities[_join(namespace, name)] = (namespace, declaration)
            for name, declaration in fragment.get("commonTypes", {}).items():
                self.common[_join(namespace, name)] = (namespace, declaration)

    def declared(self) -> Declared:
        for name in self.common:
            self.common_type(name, 0)
        types = {name: self.entity(name, *found) for name, found in self.entities.items()}
        within = _closed({name: type_.parents for name, type_ in types.items()})
        direct: dict[Uid, frozenset[Uid]] = {}
        read: dict[Uid, tuple[str, Mapping[str, Any]]] = {}
        for namespace, fragment in self.json.items():
            for name, declaration in fragment.get("actions", {}).items():
                self.inside = name
                uid = (_join(namespace, "Action"), name)
                read[uid] = (namespace, declaration)
                direct[uid] = frozenset(self.group(namespace, each) for each in declaration.get("memberOf") or ())
        groups = _closed(direct)
        return msgspec.structs.replace(
            self.origin,
            types={name: msgspec.structs.replace(each, within=frozenset(within[name])) for name, each in types.items()},
            actions={uid: self.action(uid, frozenset([uid, *groups[uid]]), *found) for uid, found in read.items()},
            namespaces=tuple(namespace for namespace in self.json if namespace),
        )

    def entity(self, name: str, namespace: str, declaration: Mapping[str, Any]) -> EntityType:
        self.inside = name.rpartition("::")[2]
        if "enum" in declaration:
            return EntityType(name=name, ids=frozenset(declaration["enum"]))
        shape = declaration.get("shape")
        tags = declaration.get("tags")
        attributes = self.shape(namespace, shape, is_entity=True).shape.fields if shape else {}
        own = shape.get("attributes", {}) if shape else {}
        closed = attributes if self.is_closed(declaration) else [each for each in own if self.is_closed(own[each])]
        return EntityType(
            name=name,
            attributes=attributes,
            closed=frozenset(closed),
            parents=frozenset(self.entity_name(namespace, each) for each in declaration.get("memberOfTypes") or ()),
            tags=self.shape(namespace, tags).shape if tags else None,
        )

    def action(
        self, uid: Uid, groups: frozenset[Uid], namespace: str, declaration: Mapping[str, Any]
    ) -> DeclaredAction:
        self.inside = uid[1]
        self.check_open(declaration)
        applies = declaration.get("appliesTo") or {}
        context = applies.get("context")
        return DeclaredAction(
            uid=uid,
            groups=groups,
            principals=frozenset(self.entity_name(namespace, each) for each in applies.get("principalTypes") or ()),
            resources=frozenset(self.entity_name(namespace, each) for each in applies.get("resourceTypes") or ()),
            context=self.shape(namespace, context).shape if context else shapes.EMPTY,
        )

    def group(self, namespace: str, reference: Mapping[str, Any]) -> Uid:
        type_ = reference.get("type")
        if type_ is None or type_ == "Action":
            id_ = reference["id"]
            known = id_ in self.json[namespace].get("actions", {})
            elsewhere = not known and id_ in self.json.get("", {}).get("actions", {})
            return "Action" if elsewhere else _join(namespace, "Action"), id_
        self.check_name(type_)
        return type_, reference["id"]

    def shape(self, namespace: str, json: Mapping[str, Any], level: int = 0, *, is_entity: bool = False) -> _Sized:
        """The shape of a type, with its size; a `DocumentError` over the bounds.

        SECURITY: types named in types double, or go deeper, with each step; a small schema could fill the memory or
        end the process.
        """
        if level > _DEPTH:
            raise self.too_large()
        kind = json["type"]
        if kind == "Set":
            of = self.shape(namespace, json["element"], level + 1)
            return self.sized(Shape(kind="set", of=of.shape), [of])
        if kind == "Record":
            fields: dict[str, Attribute] = {}
            parts: list[_Sized] = []
            for name, attribute in json.get("attributes", {}).items():
                if not is_entity:
                    self.check_open(attribute)
                parts.append(self.shape(namespace, attribute, level + 1))
                note = (attribute.get("annotations") or {}).get("doc") or ""
                required = attribute.get("required", True)
                fields[name] = Attribute(shape=parts[-1].shape, required=required, note=note)
            return self.sized(Shape(kind="record", fields=fields), parts)
        if kind == "Entity":
            return _Sized(Shape(kind="entity", entity=self.entity_name(namespace, json["name"])))
        return self.named(namespace, json["name"] if kind in ("EntityOrCommon", "Extension") else kind, level)

    def sized(self, shape: Shape, parts: Sequence[_Sized]) -> _Sized:
        nodes = 1 + sum(part.nodes for part in parts)
        depth = 1 + max((part.depth for part in parts), default=0)
        if nodes > MAX_NODES or depth > _DEPTH:
            raise self.too_large()
        return _Sized(shape, nodes, depth)

    def named(self, namespace: str, name: str, level: int) -> _Sized:
        for full in [name] if "::" in name else [_join(namespace, name), name]:
            if full in self.common:
                return self.common_type(full, level + 1)
            if full in self.entities:
                return _Sized(Shape(kind="entity", entity=full))
        primitive = _PRIMITIVES.get(name.removeprefix("__cedar::"))
        if primitive is None:
            self.check_name(name)
            raise self.error(f"there is no type `{name}`", name, "declare it, or correct the name")
        return _Sized(primitive)

    def common_type(self, full: str, level: int) -> _Sized:
        found = self.written_out.get(full)
        if found is None:
            before, self.inside = self.inside, full.rpartition("::")[2]
            namespace, declaration = self.common[full]
            self.check_open(declaration)
            written = self.shape(namespace, declaration, level)
            found = self.written_out[full] = self.sized(written.shape, [written])
            self.inside = before
        return found

    def entity_name(self, namespace: str, name: str) -> str:
        for full in [name] if "::" in name else [_join(namespace, name), name]:
            if full in self.entities:
                return full
        self.check_name(name)
        raise self.error(f"there is no entity type `{name}`", name, "declare it, or correct the name")

    def is_closed(self, json: Mapping[str, Any]) -> bool:
        """Whether `@source("files")` stands at an entity or at one of its attributes."""
        source = (json.get("annotations") or {}).get("source")
        if source not in (None, "files"):
            raise self.error('`@source` has one value: `@source("files")`', "source", "write that, or take it out")
        return source is not None

    def check_open(self, json: Mapping[str, Any]) -> None:
        """SECURITY: what is written down and not heeded is worse than nothing written."""
        if "source" in (json.get("annotations") or {}):
            raise self.error(
                "`@source` stands at an entity or at an attribute of its own, nowhere else", "source", "move it there"
            )

    def check_namespace(self, namespace: str) -> None:
        # SECURITY: identities and governed actions are Remit's own; a project can neither add to them nor borrow them.
        if namespace.partition("::")[0] == _NAMESPACE:
            raise self.error(
                "the namespace `Remit` is Remit's own", _NAMESPACE, "declare your types in a namespace of your own"
            )

    def check_name(self, name: str) -> None:
        if name.partition("::")[0] == _NAMESPACE:
            raise self.error(
                f"`{name}` is Remit's own, and can't stand in a project's schema",
                name,
                "identities and tools are governed by the pipeline; declare a type of your own",
            )

    def too_large(self) -> DocumentError:
        return self.error(
            f"the type refers to itself, or is deeper than {_DEPTH} or larger than {MAX_NODES} attributes",
            self.inside,
            "name fewer types within types",
        )

    def error(self, message: str, word: str, next_step: str) -> DocumentError:
        return self.origin.error(message, word, next_step, inside=self.inside)


def _join(namespace: str, name: str) -> str:
    return f"{namespace}::{name}" if namespace else name


def _closed(direct: Mapping[Any, Iterable[Any]]) -> dict[Any, set[Any]]:
    """All that is reached from each over any number of steps."""
    closed: dict[Any, set[Any]] = {}
    for start in direct:
        seen: set[Any] = set()
        stack = list(direct[start])
        while stack:
            each = stack.pop()
            if each not in seen:
                seen.add(each)
                stack.extend(direct.get(each, ()))
        closed[start] = seen
    return closed
