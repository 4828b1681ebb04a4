"""The project's schema from its file: `entities/schema.cedarschema` or `entities/schema.json`.

It is merged with the generated schema later, so that all policies are validated together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.core.documents import read_text
from remit.core.errors import DocumentError
from remit.policy.entities import strict_json, syntax
from remit.policy.entities.declared import EMPTY, Declared, error_at
from remit.policy.entities.interpretation import interpret
from remit.policy.entities.strict_json import StrictJsonError
from remit.policy.entities.syntax import SchemaSyntaxError

FILES: Final = ("schema.cedarschema", "schema.json")
_LINE = re.compile(r" at line (\d+) column (\d+)")
_ACTION = re.compile(r'::"([^"]+)"')
_QUOTED = re.compile(r"`([^`]+)`")


def load_declared(folder: Path) -> Declared:
    """The schema in `folder`; empty where there is none. A `DocumentError` names file, line and fix."""
    files = [folder / name for name in FILES if (folder / name).exists()]
    if len(files) > 1:
        raise DocumentError(
            "there are two schemas, `schema.cedarschema` and `schema.json`", path=files[1], next_step="keep one of them"
        )
    if not files:
        return EMPTY
    text = read_text(files[0])
    return _read_text(text, str(files[0])) if files[0].suffix == ".cedarschema" else _read_json(text, str(files[0]))


def _read_text(text: str, path: str) -> Declared:
    try:
        json = syntax.parse(text)
    except SchemaSyntaxError as error:
        raise error_at(text, path, error.offset, f"not a Cedar schema: {error.message}") from None
    declared = _interpret(json, text, path)
    try:
        as_text = str(cedar.Schema.from_str(text))
    except ValueError as error:
        raise _refused(declared, error) from None
    if as_text != _accepted(declared, msgspec.json.encode(json).decode()):
        # SECURITY: what is read here must be what the engine reads.
        raise declared.error(
            "the schema can't be read reliably", next_step="write it in Cedar's JSON form as `entities/schema.json`"
        )
    return declared


def _read_json(text: str, path: str) -> Declared:
    try:
        json, _ = strict_json.value(text, 0)
    except StrictJsonError as error:
        raise error_at(text, path, error.offset, f"not valid JSON: {error.message}") from None
    declared = _interpret(json, text, path)
    _accepted(declared, text)
    return declared


def _accepted(declared: Declared, text: str) -> str:
    """The engine's own text of a schema in JSON; a `DocumentError` where it refuses it."""
    try:
        return str(cedar.Schema.from_json_str(text))
    except ValueError as error:
        raise _refused(declared, error) from None


def _refused(declared: Declared, error: ValueError) -> DocumentError:
    message = str(error).removeprefix("error parsing schema: ")
    place = _LINE.search(message)
    if place is not None:
        message = message[: place.start()]
        lines = declared.text.split("\n")[: int(place[1]) - 1]
        offset = sum(len(line) + 1 for line in lines) + max(0, int(place[2]) - 1)
        return error_at(declared.text, declared.path, offset, f"not a valid schema: {message}")
    word = next(iter([*_ACTION.findall(message), *_QUOTED.findall(message)]), "") or message.rpartition(": ")[2]
    return declared.error(f"not a valid schema: {message}", word)


def _interpret(json: Any, text: str, path: str) -> Declared:
    try:
        return interpret(json, text, path)
    except (AttributeError, KeyError, TypeError):
        # Where the form is wrong the engine says how; what it lets pass and this does not know is refused.
        declared = Declared(path=path, text=text)
        if '"commonTypes"' not in text:  # SECURITY: of those, only what was bounded reaches the engine.
            _accepted(declared, text)
        raise declared.error("not a schema in Cedar's JSON form") from None
