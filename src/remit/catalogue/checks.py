"""What an entry of a catalogue file must keep to, beyond its types; every mistake is reported at its own line."""

from __future__ import annotations

import re
from typing import Any, Final

from remit.catalogue.definitions import check_schema, definition_digest
from remit.catalogue.entries import FIELD_TYPES, Entry, definition_of
from remit.core import bounds
from remit.core.documents import Document, Path_
from remit.core.errors import DocumentError, InvalidInput
from remit.core.fields import has_field

IMPORT_AGAIN: Final = "don't edit a definition by hand: run `remit catalogue import` again"
_LABEL: Final = re.compile(r"[a-z][a-z0-9_\-]{0,63}")
_SELECTED: Final = re.compile(r"[^\s.\[\]]+(?:\.[^\s.\[\]]+)*")
_FIELD: Final = re.compile(r"[^.]+(?:\.[^.]+)*", re.DOTALL)  # a server may name a field as it likes
_HOST: Final = re.compile(r"(?=.{1,260}\Z)[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")


def check_entry(document: Document, name: str, entry: Entry, at: Path_) -> None:
    """Refuses lists that repeat, arguments and fields that the tool doesn't have, and a pin that doesn't fit."""
    _check_lists(document, entry, at)
    _check_schemas(document, entry, at)
    _check_arguments(document, entry, at)
    _check_results(document, entry, at)
    _check_destination(document, entry, at)
    _check_pin(document, name, entry, at)


def _check_lists(document: Document, entry: Entry, at: Path_) -> None:
    for key in ("selectors", "content", "labels", "personal", "redact"):
        items: tuple[str, ...] = getattr(entry, key)
        for number, item in enumerate(items):
            if item in items[:number]:
                raise document.error(f"`{item}` stands twice in `{key}`", (*at, key, number), "keep one of them")
    for number, label in enumerate(entry.labels):
        if not _LABEL.fullmatch(label):
            raise document.error(f"`{label}` is not a label", (*at, "labels", number), "use a-z, 0-9, `-` and `_`")
    if len(entry.labels) > bounds.SESSION_LABELS:
        raise document.error(f"more than {bounds.SESSION_LABELS} labels", (*at, "labels"))


def _check_schemas(document: Document, entry: Entry, at: Path_) -> None:
    for key, schema in (("input_schema", entry.input_schema), ("output_schema", entry.output_schema)):
        if schema is None:
            continue
        try:
            check_schema(schema, key)
        except InvalidInput as error:
            raise document.error(
                error.message, (*at, key), IMPORT_AGAIN if entry.pin else "correct the schema"
            ) from None


def _check_arguments(document: Document, entry: Entry, at: Path_) -> None:
    for key in ("selectors", "content"):
        for number, argument in enumerate(getattr(entry, key)):
            if not _has(entry.input_schema, (argument,)):
                raise _no_argument(document, entry, argument, (*at, key, number))
    for number, argument in enumerate(entry.content):
        if argument in entry.selectors:
            raise document.error(
                f"`{argument}` is both a selector and content", (*at, "content", number), "keep it in one of the lists"
            )


def _check_results(document: Document, entry: Entry, at: Path_) -> None:
    for number, path in enumerate(entry.personal):
        where, _, rest = path.partition(".")
        here = (*at, "personal", number)
        if where not in ("input", "output") or not rest:
            raise document.error(
                f"`{path}` says neither argument nor result", here, "write `input.<argument>` or `output.<field>`"
            )
        if where == "input" and not has_argument(entry.input_schema, rest):
            raise _no_argument(document, entry, rest, here)
        if where == "output":
            _check_field(document, entry, rest, here)
    for path, type_ in entry.select.items():
        _check_field(document, entry, path, (*at, "select", path), _SELECTED)
        if type_ not in FIELD_TYPES:
            message = f"`{type_}` is not a type of a result field"
            raise document.error(message, (*at, "select", path), f"use one of {', '.join(FIELD_TYPES)}")
    for number, path in enumerate(entry.redact):
        _check_field(document, entry, path, (*at, "redact", number))


def _check_field(document: Document, entry: Entry, path: str, at: Path_, form: re.Pattern[str] = _FIELD) -> None:
    if not form.fullmatch(path):
        raise document.error(f"`{path}` is not the path of a field", at, "write names with dots: `invoice.amount`")
    # SECURITY: a mistyped field would be let through where it was meant to be removed.
    if not has_field(entry.output_schema, path):
        raise document.error(f"the tool's results have no field `{path}`", at, "look at its `output_schema`")


def _check_destination(document: Document, entry: Entry, at: Path_) -> None:
    destination = entry.destination
    if destination.startswith("input."):
        argument = destination.removeprefix("input.")
        if not has_argument(entry.input_schema, argument):
            raise _no_argument(document, entry, argument, (*at, "destination"))
    elif destination and not _HOST.fullmatch(destination):
        raise document.error(
            f"`{destination}` is neither an argument nor a host",
            (*at, "destination"),
            "write `input.<argument>`, a host such as `api.example.com`, or nothing",
        )


def _check_pin(document: Document, name: str, entry: Entry, at: Path_) -> None:
    if not entry.pin:
        return
    if not re.fullmatch(r"[0-9a-f]{64}", entry.pin):
        raise document.error("the pin is not 64 hex digits", (*at, "pin"), IMPORT_AGAIN)
    try:
        digest = definition_digest(definition_of(name, entry))
    except (InvalidInput, ValueError):
        digest = ""
    # SECURITY: a schema that was widened by hand must not pass under the pin of the one that was imported.
    if digest != entry.pin:
        raise document.error(
            f"the definition of `{name}` in this file does not give its pin", (*at, "pin"), IMPORT_AGAIN
        )


def _no_argument(document: Document, entry: Entry, argument: str, at: Path_) -> DocumentError:
    properties = entry.input_schema.get("properties")
    names = ", ".join(f"`{name}`" for name in list(properties)[:20]) if isinstance(properties, dict) else ""
    return document.error(
        f"the tool has no argument `{argument}`",
        at,
        f"its arguments are {names}" if names else "it takes no arguments; describe them in `input_schema`",
    )


def has_argument(schema: dict[str, Any], path: str) -> bool:
    """Whether a tool of this input schema can take the argument; a dotted path names a value within one."""
    return _has(schema, (path,)) or _has(schema, tuple(path.split(".")))


def _has(schema: Any, path: tuple[str, ...]) -> bool:
    """Whether an object of this schema can have a value at `path`; true where the schema leaves that open."""
    for depth, step in enumerate(path):
        if not isinstance(schema, dict) or schema.keys() & {"$ref", "allOf", "anyOf", "oneOf", "patternProperties"}:
            return depth > 0 or isinstance(schema, dict)
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return depth > 0
        if step not in properties:
            return isinstance(schema.get("additionalProperties"), dict) or schema.get("additionalProperties") is True
        schema = properties[step]
    return True
