"""Cedar's schema syntax, read into its JSON form, with the position of every mistake.

The engine reads the syntax too but gives out neither positions nor the JSON form nor the order of declarations
(https://docs.cedarpolicy.com/schema/human-readable-schema-grammar.html). `declared` checks that both read the same.
"""

from __future__ import annotations

import re
from typing import Any, Final

from remit.policy.text import Token, tokens

MAX_TOKENS: Final = 200_000
MAX_NESTING: Final = 32

Json = dict[str, Any]

_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|x([0-7][0-9a-fA-F])|(.))", re.DOTALL)
_PLAIN: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "0": "\0", "'": "'", '"': '"'}
_NESTING: Final = {"{": 1, "<": 1, "[": 1, "}": -1, ">": -1, "]": -1}


class SchemaSyntaxError(ValueError):
    """The text is not a schema; `offset` is where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def parse(text: str) -> Json:
    """The schema in Cedar's JSON form, declarations in the order of the text; `SchemaSyntaxError` otherwise."""
    found: list[Token] = []
    depth = 0
    for token in tokens(text):
        found.append(token)
        depth += _NESTING.get(token.text, 0)
        # SECURITY: the engine's parser and this one recurse; over-nested text must reach neither.
        if depth > MAX_NESTING or len(found) > MAX_TOKENS:
            raise SchemaSyntaxError("the schema is nested too deeply or too long", token.start)
    return _Reader(text, found).schema()


class _Reader:
    """A reader of one text: each method reads one construct of the grammar and stands behind it."""

    def __init__(self, text: str, found: list[Token]) -> None:
        self.tokens = [*found, Token("end", "", len(text))]
        self.at = 0

    def schema(self) -> Json:
        namespaces: Json = {}
        while self.next.kind != "end":
            notes = self.annotations()
            if self.next.text != "namespace":
                self.declaration(namespaces.setdefault("", _fragment()), notes)
                continue
            self.take("namespace")
            place = self.next
            name = self.path()
            if name in namespaces:
                raise self.error(f"the namespace `{name}` stands twice", place)
            namespaces[name] = fragment = _fragment(notes)
            self.take("{")
            while not self.took("}"):
                self.declaration(fragment, self.annotations())
        return namespaces

    def declaration(self, fragment: Json, notes: Json) -> None:
        if self.took("entity"):
            self.entity(fragment["entityTypes"], notes)
        elif self.took("action"):
            self.action(fragment["actions"], notes)
        elif self.took("type"):
            place, name = self.next, self.identifier()
            self.take("=")
            self.add(fragment["commonTypes"], name, {**self.type(), **notes}, place)
        else:
            raise self.error("expected `entity`, `action`, `type` or `namespace`", self.next)
        self.take(";")

    def entity(self, types: Json, notes: Json) -> None:
        names = [(self.next, self.identifier())]
        while self.took(","):
            names.append((self.next, self.identifier()))
        declared: Json = dict(notes)
        if self.took("enum"):
            self.take("[")
            declared["enum"] = [self.string()]
            while self.took(","):
                declared["enum"].append(self.string())
            self.take("]")
        else:
            if self.took("in"):
                declared["memberOfTypes"] = self.paths()
            if self.took("=") or self.next.text == "{":
                declared["shape"] = self.record()
            if self.took("tags"):
                declared["tags"] = self.type()
        for place, name in names:
            self.add(types, name, declared, place)

    def action(self, actions: Json, notes: Json) -> None:
        names = [(self.next, self.name())]
        while self.took(","):
            names.append((self.next, self.name()))
        declared: Json = dict(notes)
        if self.took("in"):
            if self.took("["):
                declared["memberOf"] = [self.reference()]
                while self.took(","):
                    declared["memberOf"].append(self.reference())
                self.take("]")
            else:
                declared["memberOf"] = [self.reference()]
        if self.took("appliesTo"):
            declared["appliesTo"] = self.applies()
        if self.took("attributes"):
            self.take("{")
            self.take("}")
        for place, name in names:
            self.add(actions, name, declared, place)

    def applies(self) -> Json:
        applies: Json = {}
        self.take("{")
        while not self.took("}"):
            place, word = self.next, self.word()
            self.take(":")
            if word in ("principal", "resource"):
                self.add(applies, f"{word}Types", self.paths(), place)
            elif word == "context":
                read = self.record() if self.next.text == "{" else {"type": "EntityOrCommon", "name": self.path()}
                self.add(applies, "context", read, place)
            else:
                raise self.error("expected `principal`, `resource` or `context`", place)
            if not self.took(",") and self.next.text != "}":
                raise self.error("expected `,` or `}`", self.next)
        return applies

    def type(self) -> Json:
        if self.next.text == "{":
            return self.record()
        if self.next.text == "Set" and self.tokens[self.at + 1].text == "<":
            self.take("Set")
            self.take("<")
            element = self.type()
            self.take(">")
            return {"type": "Set", "element": element}
        return {"type": "EntityOrCommon", "name": self.path()}

    def record(self) -> Json:
        attributes: Json = {}
        self.take("{")
        while not self.took("}"):
            notes = self.annotations()
            place, name = self.next, self.name()
            required = not self.took("?")
            self.take(":")
            self.add(attributes, name, {**self.type(), "required": required, **notes}, place)
            if not self.took(",") and self.next.text != "}":
                raise self.error("expected `,` or `}`", self.next)
        return {"type": "Record", "attributes": attributes}

    def annotations(self) -> Json:
        notes: Json = {}
        while self.took("@"):
            place, name = self.next, self.word()
            value = ""
            if self.took("("):
                value = self.string()
                self.take(")")
            self.add(notes, name, value, place)
        return {"annotations": notes} if notes else {}

    def reference(self) -> Json:
        """An action that another is a member of: a name, or `Namespace::Action::"name"`."""
        if self.next.kind == "string" or self.tokens[self.at + 1].text != "::":
            return {"id": self.name()}
        parts = [self.identifier()]
        while self.took("::"):
            if self.next.kind == "string":
                return {"type": "::".join(parts), "id": self.string()}
            parts.append(self.identifier())
        raise self.error("expected the name of an action in quotes", self.next)

    def paths(self) -> list[str]:
        if not self.took("["):
            return [self.path()]
        found: list[str] = []
        while not self.took("]"):
            if found:
                self.take(",")
            found.append(self.path())
        return found

    def path(self) -> str:
        parts = [self.identifier()]
        while self.took("::"):
            parts.append(self.identifier())
        return "::".join(parts)

    def name(self) -> str:
        return self.string() if self.next.kind == "string" else self.identifier()

    def identifier(self) -> str:
        return self.word()

    def word(self) -> str:
        token = self.next
        if token.kind != "word" or not token.text.isascii():
            raise self.error("expected a name", token)
        self.at += 1
        return token.text

    def string(self) -> str:
        token = self.next
        if token.kind != "string":
            raise self.error("expected a text in double quotes", token)
        self.at += 1

        def plain(match: re.Match[str]) -> str:
            digits = match[1] or match[2]
            if digits is None and match[3] in _PLAIN:
                return _PLAIN[match[3]]
            point = int(digits, 16) if digits is not None else -1
            if not 0 <= point <= 0x10FFFF or 0xD800 <= point <= 0xDFFF:
                raise self.error("the text has an escape that Cedar does not know", token)
            return chr(point)

        return _ESCAPE.sub(plain, token.text[1:-1])

    def add(self, table: Json, name: str, value: Any, place: Token) -> None:
        if name in table:
            # SECURITY: of two declarations of one name a reader sees one and a parser takes the other.
            raise self.error(f"`{name}` is declared twice", place)
        table[name] = value

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def took(self, text: str) -> bool:
        if self.next.text != text:
            return False
        self.at += 1
        return True

    def take(self, text: str) -> None:
        if not self.took(text):
            raise self.error(f"expected `{text}`", self.next)

    @staticmethod
    def error(message: str, token: Token) -> SchemaSyntaxError:
        seen = f", not `{token.text[:64]}`" if token.text and message.startswith("expected") else ""
        return SchemaSyntaxError(message + seen, token.start)


def _fragment(notes: Json | None = None) -> Json:
    return {**(notes or {}), "commonTypes": {}, "entityTypes": {}, "actions": {}}
