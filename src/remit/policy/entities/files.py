"""The entities of a project: `entities/*.json`, Cedar's JSON entity format, checked against the project's schema.

What stands here is what policies see of these entities; a caller can't say otherwise. Each mistake is a
`DocumentError` with file and line (https://docs.cedarpolicy.com/auth/entities-syntax.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.core import canonical
from remit.core.documents import read_text
from remit.core.errors import DocumentError
from remit.policy import text as cedar_text
from remit.policy.entities import declared, forms, strict_json
from remit.policy.entities.declared import Declared, EntityType
from remit.policy.entities.forms import Convert, Misfit, Missing
from remit.policy.entities.reading import FILES, load_declared
from remit.policy.entities.strict_json import StrictJsonError
from remit.policy.reads import Uid

MAX_ENTITIES: Final = 100_000
MAX_ANCESTORS: Final = 1_000  # of one entity
_KEYS: Final = frozenset({"uid", "attrs", "parents", "tags"})
_NO_TAGS: Final[Mapping[str, Any]] = {}


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """One entity as the files say it, in Cedar's JSON form."""

    uid: Uid
    attrs: Mapping[str, Any]
    parents: tuple[Uid, ...]
    tags: Mapping[str, Any] = _NO_TAGS
    references: frozenset[Uid] = frozenset()  # named in attributes and tags
    path: str = ""
    offset: int = 0  # in the file's text


class Entities:
    """All entities of a project, with what each is in. Immutable."""

    def __init__(self, declared_: Declared, entities: Mapping[Uid, Entity], texts: Mapping[str, str]) -> None:
        """`texts` are the files by name, the schema's with them.

        `digest` is of the index of all; `texts` has the index and the schema. SECURITY: the entities themselves are
        not kept with the records: they are of people, records are published and never erased, and no recorded
        decision rests on them.
        """
        self.declared = declared_
        self.by_uid = entities
        self.ancestors = _ancestors(entities, texts)
        self.by_type: dict[str, list[str]] = {}
        for type_, id_ in sorted(entities):
            self.by_type.setdefault(type_, []).append(id_)
        kept = {name: text for name, text in texts.items() if name in FILES}
        digests = {name: canonical.sha256(text.encode()) for name, text in texts.items()}
        index = canonical.encode({name: each if name in kept else f"sha256:{each}" for name, each in digests.items()})
        self.digest = canonical.sha256(index) if texts else ""
        self.texts: Mapping[str, str] = (
            {self.digest: index.decode(), **{digests[name]: text for name, text in kept.items()}} if texts else {}
        )


def load_entities(folder: Path) -> Entities:
    """Reads `folder`; a missing one has no entities. The first mistake is a `DocumentError`."""
    schema = load_declared(folder)
    texts: dict[str, str] = {}
    if schema.text:
        texts[Path(schema.path).name] = schema.text
    found: dict[Uid, Entity] = {}
    reader = _Reader(schema, found)
    for file in _files(folder):
        texts[file.name] = text = read_text(file)
        reader.read(text, str(file))
    reader.check_references()
    return Entities(schema, found, texts)


def _files(folder: Path) -> list[Path]:
    """The files of entities, in order; hidden files, Markdown and READMEs are none, any other is refused."""
    files = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.name.startswith(".") or file.name.startswith("README") or file.suffix == ".md":
            continue
        if file.name in FILES:
            continue
        if file.suffix != ".json" or not file.is_file():
            # SECURITY: a misspelt ending must not take entities away without a word.
            raise DocumentError(
                "this is not a file of entities", path=file, next_step="end its name with `.json`, or move it elsewhere"
            )
        files.append(file)
    return files


class _Reader:
    """Reads files into one table of entities."""

    def __init__(self, schema: Declared, found: dict[Uid, Entity]) -> None:
        self.schema = schema
        self.found = found
        self.texts: dict[str, str] = {}
        self._records: dict[str, Convert] = {}

    def read(self, text: str, path: str) -> None:
        self.texts[path] = text
        try:
            for offset, value in strict_json.elements(text):
                entity = self._entity(value, path, offset)
                other = self.found.get(entity.uid)
                if other is not None:
                    raise self._error(
                        path, offset, f"`{_named(entity.uid)}` stands twice: also at {self._place(other)}", "keep one"
                    )
                if len(self.found) >= MAX_ENTITIES:
                    raise self._error(path, offset, f"there are more than {MAX_ENTITIES} entities")
                self.found[entity.uid] = entity
        except StrictJsonError as error:
            raise self._error(path, error.offset, f"not valid JSON: {error.message}") from None

    def check_references(self) -> None:
        """Refuses parents that are not there, and references that policies would rely on in vain."""
        for entity in self.found.values():
            for parent in entity.parents:
                if parent not in self.found:
                    raise self._at(
                        entity, f"its parent `{_named(parent)}` is in no file", "add it, or correct the name"
                    )
            for uid in entity.references:
                type_ = self.schema.types[uid[0]]
                if type_.ids is not None and uid[1] not in type_.ids:
                    raise self._at(entity, f"it names `{_named(uid)}`, which the schema does not list")
                if uid not in self.found and type_.required:
                    # SECURITY: `has` of an attribute that the schema promises would be false, and a forbid silent.
                    raise self._at(
                        entity,
                        f"it names `{_named(uid)}`, which is in no file, but entities of its type must have attributes",
                        f"add it, or make `{sorted(type_.required)[0]}` optional in the schema",
                    )

    def _entity(self, value: Any, path: str, offset: int) -> Entity:
        references: set[Uid] = set()
        try:
            if type(value) is not dict or not {"uid"} <= value.keys() <= _KEYS:
                raise Misfit('is not {"uid": …, "attrs": …, "parents": …}')
            uid = self._uid(value["uid"], "uid")
            type_ = self.schema.types[uid[0]]
            attrs = self._attributes(type_)(value.get("attrs", {}), references)
            parents = self._parents(type_, value.get("parents", []))
            tags = self._tags(type_, value.get("tags"), references)
            if type_.ids is not None and uid[1] not in type_.ids:
                raise Misfit(f"is not listed for `{uid[0]}` in the schema", "uid")
        except Misfit as error:
            what = f"`{error.path}` " if error.path else "this "
            step = "declare it in `entities/schema.cedarschema`, or take it out" if "declared" in error.problem else ""
            if isinstance(error, Missing):
                step = "add it, or make it optional in the schema: `name?: …`"
            raise self._error(path, offset, f"{what}{error.problem}", step) from None
        return Entity(
            uid=uid,
            attrs=attrs,
            parents=parents,
            tags=tags,
            references=frozenset(references),
            path=path,
            offset=offset,
        )

    def _uid(self, value: Any, where: str) -> Uid:
        escaped = value.get("__entity") if type(value) is dict and len(value) == 1 else None
        uid = forms.uid_of(value if escaped is None else escaped)
        if uid is None:
            raise Misfit('is not {"type": …, "id": …}', where)
        if uid[0].partition("::")[0] == "Remit":
            # SECURITY: who has which roles is registered, never read from a file of entities.
            raise Misfit(f"is of the type `{uid[0][:64]}`, which is Remit's own", where)
        if uid[0] not in self.schema.types:
            raise Misfit(f"is of the type `{uid[0][:64]}`, which is not declared in the schema", where)
        try:
            forms.check_id(uid[1])
        except Misfit as error:
            raise error.below(where) from None
        return uid

    def _attributes(self, type_: EntityType) -> Convert:
        convert = self._records.get(type_.name)
        if convert is None:
            convert = forms.record_of(type_.attributes, _same, in_file=True)
            self._records[type_.name] = convert

        def below(value: Any, references: set[Uid]) -> Any:
            try:
                return convert(value, references)
            except Misfit as error:
                raise error.below("attrs") from None

        return below

    def _parents(self, type_: EntityType, value: Any) -> tuple[Uid, ...]:
        if type(value) is not list:
            raise Misfit("is not an array", "parents")
        parents = tuple(self._uid(item, "parents") for item in value)
        for parent in parents:
            if parent[0] not in type_.parents:
                raise Misfit(f"names a `{parent[0]}`, which a `{type_.name}` can't be in by the schema", "parents")
        return parents

    def _tags(self, type_: EntityType, value: Any, references: set[Uid]) -> Mapping[str, Any]:
        if value is None or value == {}:
            return _NO_TAGS
        if type(value) is not dict or type_.tags is None:
            raise Misfit("is not declared in the schema" if type_.tags is None else "is not an object", "tags")
        convert = forms.converter(type_.tags, _same, in_file=True)
        tags: dict[str, Any] = {}
        for name, item in value.items():
            try:
                tags[name] = convert(item, references)
            except Misfit as error:
                raise error.below(name).below("tags") from None
        return tags

    def _at(self, entity: Entity, message: str, next_step: str = "") -> DocumentError:
        return self._error(entity.path, entity.offset, f"`{_named(entity.uid)}`: {message}", next_step)

    def _place(self, entity: Entity) -> str:
        return f"{entity.path}:{cedar_text.position(self.texts[entity.path], entity.offset)[0]}"

    def _error(self, path: str, offset: int, message: str, next_step: str = "") -> DocumentError:
        line, column = cedar_text.position(self.texts[path], offset)
        return DocumentError(message, path=path, line=line, column=column, next_step=next_step)


def parse_with_engine(entities: Entities, schema: Any) -> Any:
    """The engine's handle of all entities and actions, parsed against the merged schema; it has the last word."""
    plain = [
        {
            "uid": {"type": entity.uid[0], "id": entity.uid[1]},
            "attrs": entity.attrs,
            "parents": [{"type": type_, "id": id_} for type_, id_ in entity.parents],
            "tags": entity.tags,
        }
        for entity in entities.by_uid.values()
    ]
    try:
        return cedar.Entities.from_json_str(msgspec.json.encode(plain).decode(), schema, release_gil=True)
    except ValueError as error:
        message = str(error)
        for entity in entities.by_uid.values():
            if f"{entity.uid[0]}::{cedar_text.quote(entity.uid[1])}" in message:
                raise DocumentError(f"the engine refuses the entities: {message}", path=entity.path) from None
        raise DocumentError(f"the engine refuses the entities: {message}", path="entities") from None


def _ancestors(entities: Mapping[Uid, Entity], texts: Mapping[str, str]) -> dict[Uid, tuple[Uid, ...]]:
    """All that each entity is in, over any number of steps; a circle is a `DocumentError`."""
    closed: dict[Uid, tuple[Uid, ...]] = {}
    for start in entities:
        stack: list[tuple[Uid, Iterator[Uid]]] = [(start, iter(entities[start].parents))]
        path = {start}
        while stack:
            uid, rest = stack[-1]
            parent = next((each for each in rest if each not in closed), None)
            if parent is None:
                stack.pop()
                path.discard(uid)
                closed[uid] = _above(entities[uid], closed, texts)
            elif parent in path:
                raise _error(entities[uid], f"`{_named(parent)}` is in itself", texts)
            else:
                stack.append((parent, iter(entities[parent].parents)))
                path.add(parent)
    return {uid: above for uid, above in closed.items() if above}


def _above(entity: Entity, closed: Mapping[Uid, tuple[Uid, ...]], texts: Mapping[str, str]) -> tuple[Uid, ...]:
    above: dict[Uid, None] = {}
    for parent in entity.parents:
        above[parent] = None
        above.update(dict.fromkeys(closed[parent]))
    if len(above) > MAX_ANCESTORS:
        raise _error(entity, f"`{_named(entity.uid)}` is in more than {MAX_ANCESTORS} others", texts)
    return tuple(above)


def _error(entity: Entity, message: str, texts: Mapping[str, str]) -> DocumentError:
    text = texts.get(Path(entity.path).name, "")
    line, column = cedar_text.position(text, entity.offset)
    return DocumentError(message, path=entity.path, line=line, column=column)


def _same(name: str) -> str:
    return name


def _named(uid: Uid) -> str:
    return f"{uid[0]}::{cedar_text.quote(uid[1][:64])}"


NO_ENTITIES: Final = Entities(declared.EMPTY, {}, {})
