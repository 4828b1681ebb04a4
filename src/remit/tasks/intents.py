"""Loads approved purposes from `intents/*.yaml`, one intent a file, and says exactly what is wrong with one.

A file's stem is the intent's name. Keys are those of `core.intents.Intent`; durations may be written `30m`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.core import canonical
from remit.core.documents import Document, parse_yaml, read_text
from remit.core.errors import DocumentError
from remit.core.intents import Binding, Intent, Limit, Parameter, Prerequisite
from remit.tasks.amounts import canonical_decimal
from remit.tasks.checks import check_intent
from remit.tasks.durations import seconds_of

INTENTS: Final = 1_000
_DERIVED = ("path", "line")  # set by the loader, never by a file
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_NUMBERS = ("minimum", "maximum", "at_most")


def load_intents(folder: Path) -> dict[str, Intent]:
    """All intents of a folder by name; a missing folder has none.

    Raises `DocumentError` with file, line and fix for the first thing that is wrong. What needs the catalogue or
    the other intents is checked by `against.check_against`.
    """
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.name[0] != ".")
    if len(files) > INTENTS:
        raise DocumentError(f"there are more than {INTENTS} intents", path=folder, next_step="merge or remove some")
    intents: dict[str, Intent] = {}
    for path in files:
        if path.suffix == ".yml":
            raise DocumentError(f"`{path.name}` would be ignored", path=path, next_step=f"name it `{path.stem}.yaml`")
        intents[path.stem] = parse_intent(read_text(path), path)
    return intents


def parse_intent(text: str, path: Path) -> Intent:
    """One intent from the text of its file; `path` gives its name and is used in errors."""
    document = parse_yaml(text, path)
    if not isinstance(document.data, dict):
        raise document.error("the file does not hold an intent", (), "write `description:`, `actions:` and so on")
    data: dict[str, Any] = dict(document.data)
    for key in _DERIVED:
        if key in data:
            raise document.error(f"unknown key `{key}`", (key,), "remove it")
    data.setdefault("name", path.stem)
    if "time_to_live" in data:
        data["time_to_live"] = _seconds(document, data["time_to_live"], ("time_to_live",))
    if isinstance(params := data.get("params"), dict):
        data["params"] = {name: _part(document, value, Parameter, ("params", name)) for name, value in params.items()}
    for key, type_ in (("order", Prerequisite), ("limits", Limit), ("bindings", Binding)):
        if isinstance(items := data.get(key), list):
            data[key] = [_part(document, item, type_, (key, i)) for i, item in enumerate(items)]
    read: Intent = _convert(document, data, Intent, ())
    intent = msgspec.structs.replace(read, path=str(path), line=document.position(())[0])
    check_intent(intent, document)
    return intent


def digest_of(intents: Mapping[str, Intent]) -> str:
    """The digest that decisions quote: over what the intents say, not over where or how they are written."""
    return canonical.sha256(_index(intents)[0].encode())


def texts_of(intents: Mapping[str, Intent]) -> dict[str, str]:
    """The texts behind `digest_of` by digest: the index (name to digest) and the canonical form of each intent."""
    index, texts = _index(intents)
    return {canonical.sha256(index.encode()): index, **texts}


def _index(intents: Mapping[str, Intent]) -> tuple[str, dict[str, str]]:
    texts: dict[str, str] = {}
    names: dict[str, str] = {}
    for name in sorted(intents):
        text = canonical.encode(msgspec.structs.replace(intents[name], path="", line=0)).decode()
        names[name] = canonical.sha256(text.encode())
        texts[names[name]] = text
    return canonical.encode(names).decode(), texts


def _part(document: Document, value: Any, type_: type[msgspec.Struct], at: tuple[str | int, ...]) -> Any:
    if isinstance(value, dict):
        value = dict(value)
        if "within" in value and type_ is Prerequisite:
            value["within"] = _seconds(document, value["within"], (*at, "within"))
        for key in _NUMBERS:
            if isinstance(number := value.get(key), int | float) and not isinstance(number, bool):
                value[key] = _number(document, number, (*at, key))
    return _convert(document, value, type_, at)


def _convert(document: Document, value: Any, type_: type[Any], at: tuple[str | int, ...]) -> Any:
    try:
        return document.convert_part(value, type_, at)
    except DocumentError as error:
        if match := _UNKNOWN.search(error.message):
            error.line, error.column = document.position((*at, match[1]))
        if not error.next_step and "expected `str`" in error.message:
            error.next_step = "put the value in quotes"
        raise


def _number(document: Document, number: int | float, at: tuple[str | int, ...]) -> str:
    if (text := canonical_decimal(number)) is None:
        raise document.error("the number is out of range or has more than 4 fractional digits", at)
    return str(number) if isinstance(number, int) else text


def _seconds(document: Document, value: Any, at: tuple[str | int, ...]) -> int:
    seconds = seconds_of(value)
    if seconds is None:
        raise document.error(f"`{at[-1]}` is not a duration", at, "write `90s`, `30m`, `1h`, `2d` or seconds")
    return seconds
