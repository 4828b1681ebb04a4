"""What a server says of its tools: read, bounded and pinned (MCP 2025-11-25 and 2026-07-28, `tools/list`).

The pin of a tool is the SHA-256 of canonical JSON over its name, title, description, input schema, output schema
and annotations: all that tells a model or a person what the tool does and what its arguments mean. `_meta` and
`icons` are left out: they change without any change of meaning (build numbers, links that expire), and a pin that
breaks every day teaches people to renew it without looking. `execution` is left out because a gateway decides
each call by itself.

Canonical here: keys in code point order, no white space, UTF-8; a key that is absent, null or empty counts the
same for title, description and annotations; numbers in positional decimal notation, so that 1, 1.0 and 1e0 are
one number whatever decoder read them. Integers of 64 bits are exact; beyond that a number is the nearest IEEE 754
double, as it is for most JSON readers (RFC 8785, section 3.2.2.3).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

import jsonschema_rs
import msgspec

from remit.core import bounds, canonical
from remit.core.errors import InvalidInput

TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,128}")  # MCP 2026-07-28, server/tools, "Tool Names"
_DIALECTS: Final = frozenset(
    {
        "http://json-schema.org/draft-04/schema",
        "http://json-schema.org/draft-06/schema",
        "http://json-schema.org/draft-07/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    }
)
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_EXACT: Final = range(-(2**63), 2**64)


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One tool as its server declares it."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] = {}


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A server's tools, and those that can't be governed as declared, by name, with the reason."""

    tools: tuple[Definition, ...]
    refused: Mapping[str, str]


def read_listing(tools: Any) -> Listing:
    """The tools of one server, from the `tools` of all pages of `tools/list` together.

    A tool that can't be read is refused alone; it stays unknown, and so does every call of it. A name that occurs
    twice is refused: nobody could say which of the two is called. Raises `InvalidInput` when it is no list.
    """
    if not isinstance(tools, list):
        raise InvalidInput("listing_invalid", "the server's list of tools is not a list")
    if len(tools) > bounds.TOOLS_PER_SERVER:
        raise InvalidInput("listing_too_large", f"the server lists more than {bounds.TOOLS_PER_SERVER} tools")
    read: dict[str, Definition] = {}
    refused: dict[str, str] = {}
    for number, tool in enumerate(tools, 1):
        name = _shown(tool.get("name"), number) if isinstance(tool, Mapping) else f"number {number}"
        if name in read or name in refused:
            read.pop(name, None)
            # SECURITY: of two tools of one name, the reviewed one must not vouch for the other.
            refused[name] = "the server lists this name more than once"
            continue
        try:
            read[name] = read_definition(tool)
        except InvalidInput as error:
            refused[name] = error.message
    return Listing(tools=tuple(read.values()), refused=refused)


def read_definition(tool: Any) -> Definition:
    """One tool from its JSON object; `InvalidInput` (`definition_invalid`) when it can't be governed."""
    if not isinstance(tool, Mapping):
        _refuse("a tool's definition is not an object")
    content = {key: tool[key] for key in ("name", *_OPTIONAL) if tool.get(key) is not None}
    _check_bounds(content)
    name = content.get("name")
    # SECURITY: a name such as `*` or `mcp:resources/read` would stand for other actions in policies.
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        _refuse("a tool's name must be 1 to 128 letters, digits, `_`, `-` or `.`")
    for key, type_ in _OPTIONAL.items():
        if not isinstance(content.get(key, type_()), type_):
            _refuse(f"`{key}` is not {'an object' if type_ is dict else 'a string'}")
    if "inputSchema" not in content:
        _refuse("`inputSchema` is missing")
    for key in ("inputSchema", "outputSchema"):
        if key in content:
            check_schema(content[key], key)
    definition = Definition(
        name=name,
        title=content.get("title", ""),
        description=content.get("description", ""),
        input_schema=content["inputSchema"],
        output_schema=content.get("outputSchema"),
        annotations=content.get("annotations", {}),
    )
    if len(canonical_definition(definition)) > bounds.DEFINITION_BYTES:
        _refuse(f"the definition is larger than {bounds.DEFINITION_BYTES} bytes")
    return definition


def definition_digest(tool: Mapping[str, Any] | Definition) -> str:
    """The pin of a tool as the server declares it now, 64 hex digits; `InvalidInput` when it can't be governed."""
    definition = tool if isinstance(tool, Definition) else read_definition(tool)
    return canonical.sha256(canonical_definition(definition))


def canonical_definition(definition: Definition) -> bytes:
    """The bytes that the pin is taken over."""
    return canonical_json(
        {
            "annotations": definition.annotations,
            "description": definition.description,
            "inputSchema": definition.input_schema,
            "name": definition.name,
            "outputSchema": definition.output_schema,
            "title": definition.title,
        }
    )


def canonical_json(value: Any) -> bytes:
    """Canonical bytes of a JSON value as the head of this module defines them; the value must be within bounds."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode("utf-8")


def check_schema(schema: Any, what: str) -> None:
    """Refuses what is no JSON Schema, and what points outside itself; nothing is ever fetched."""
    if not isinstance(schema, dict):
        _refuse(f"`{what}` is not an object")
    _check_bounds(schema)
    _check_references(schema, what)
    try:
        jsonschema_rs.validator_for(schema, retriever=_no_retrieval)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        _refuse(f"`{what}` is not a JSON Schema: {' '.join(str(error).split())[:200]}")


_OPTIONAL: Final[dict[str, type[str] | type[dict[str, Any]]]] = {
    "title": str,
    "description": str,
    "inputSchema": dict,
    "outputSchema": dict,
    "annotations": dict,
}


def _refuse(message: str) -> NoReturn:
    raise InvalidInput("definition_invalid", message, "the tool can't be called through Remit as it is declared")


def _no_retrieval(uri: str) -> NoReturn:
    raise ValueError(f"`{uri}` is not fetched")


def _check_bounds(value: Any) -> None:
    """Depth, count, and the JSON types; iterative, so that depth can't exhaust the stack."""
    stack = [(value, 1)]
    nodes = 0
    while stack:
        item, depth = stack.pop()
        nodes += 1
        if depth > bounds.JSON_DEPTH or nodes > bounds.JSON_NODES:
            _refuse("the definition is nested too deeply or has too many values")
        if isinstance(item, dict):
            for key in item:
                _check_text(key)
            stack.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            stack.extend((child, depth + 1) for child in item)
        elif isinstance(item, str):
            _check_text(item)
        elif isinstance(item, float) or (isinstance(item, int) and item not in _EXACT):
            _check_number(item)
        elif item is not None and not isinstance(item, int):
            _refuse("the definition has a value that is not JSON")


def _check_text(text: Any) -> None:
    if not isinstance(text, str):
        _refuse("the definition has a key that is not a string")
    if len(text) > bounds.DEFINITION_BYTES:
        _refuse(f"the definition is larger than {bounds.DEFINITION_BYTES} bytes")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        _refuse("the definition has half of a surrogate pair in a string")


def _check_number(number: int | float) -> None:
    try:
        finite = math.isfinite(float(number))
    except OverflowError:
        finite = False
    if not finite:
        _refuse("the definition has a number that is out of range")


def _check_references(schema: dict[str, Any], what: str) -> None:
    stack: list[Any] = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        if not isinstance(item, dict):
            continue
        stack.extend(item.values())
        for key in _REFERENCES & item.keys():
            # SECURITY: a reference to elsewhere would be fetched when the schema is compiled, and can change later.
            if isinstance(item[key], str) and not item[key].startswith("#"):
                _refuse(f"`{what}` refers to another document (`{item[key][:100]}`)")
        dialect = item.get("$schema")
        if isinstance(dialect, str) and dialect.removesuffix("#") not in _DIALECTS:
            _refuse(f"`{what}` is written in an unknown dialect of JSON Schema (`{dialect[:100]}`)")


def _write(value: Any, parts: list[str]) -> None:
    if isinstance(value, dict):
        parts.append("{")
        for number, key in enumerate(sorted(value)):
            parts.append("," if number else "")
            parts.append(json.dumps(key, ensure_ascii=False) + ":")
            _write(value[key], parts)
        parts.append("}")
    elif isinstance(value, list):
        parts.append("[")
        for number, item in enumerate(value):
            parts.append("," if number else "")
            _write(item, parts)
        parts.append("]")
    elif value is None or isinstance(value, (bool, str)):
        parts.append(json.dumps(value, ensure_ascii=False))
    else:
        parts.append(_positional(value))


def _positional(number: int | float) -> str:
    if number == int(number) and int(number) in _EXACT:
        return str(int(number))
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shown(name: Any, number: int) -> str:
    """A name for messages: what the server says, cut and without characters that a terminal would obey."""
    if not isinstance(name, str) or not name:
        return f"number {number}"
    return name if TOOL_NAME.fullmatch(name) else ascii(name[:100])[1:-1]
