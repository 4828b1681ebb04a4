"""The schema that a project declares for its own entities: types, actions and contexts outside of `Remit`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from remit.core.errors import DocumentError
from remit.policy import shapes
from remit.policy import text as cedar_text
from remit.policy.reads import Uid
from remit.policy.shapes import Attribute, Shape


class EntityType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of entities: what each has, and what it may be in."""

    name: str  # with its namespace
    attributes: Mapping[str, Attribute] = {}
    parents: frozenset[str] = frozenset()  # types that an entity of it may be directly in
    within: frozenset[str] = frozenset()  # the same, over any number of steps
    tags: Shape | None = None
    ids: frozenset[str] | None = None  # of an enumeration: all that there are
    closed: frozenset[str] = frozenset()  # attributes that only files give: `@source("files")`

    @property
    def required(self) -> frozenset[str]:
        return frozenset(name for name, attribute in self.attributes.items() if attribute.required)


class DeclaredAction(msgspec.Struct, frozen=True, kw_only=True):
    """One action: to whom and what it applies, and its context."""

    uid: Uid
    groups: frozenset[Uid]  # it and all that it is a member of
    principals: frozenset[str]
    resources: frozenset[str]
    context: Shape = shapes.EMPTY


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A project's schema. Empty where it has none."""

    types: Mapping[str, EntityType] = {}
    actions: Mapping[Uid, DeclaredAction] = {}  # in the order of the text, groups included
    namespaces: tuple[str, ...] = ()
    json: Mapping[str, Any] = {}
    path: str = ""
    text: str = ""

    def error(self, message: str, word: str = "", next_step: str = "", *, inside: str = "") -> DocumentError:
        """An error in this schema, at the first place where it says `word`, behind where it says `inside`."""
        begin = _place(self.text, inside, 0) if inside else 0
        return error_at(self.text, self.path, _place(self.text, word, begin), message, next_step)


EMPTY: Final = Declared()


def _place(text: str, word: str, begin: int) -> int:
    """Where `word` stands from `begin` on, as a whole word if it does; else `begin`."""
    if not word:
        return begin
    found = re.compile(rf"(?<![\w:]){re.escape(word)}(?!\w)").search(text, begin)
    return found.start() if found else max(begin, text.find(word, begin))


def error_at(text: str, path: str, offset: int, message: str, next_step: str = "") -> DocumentError:
    """An error at `offset` of a text, with the line itself."""
    line, column = cedar_text.position(text, offset)
    shown = cedar_text.line_at(text, line)
    return DocumentError(message, path=path, line=line, column=column, next_step=next_step, shown=shown)
