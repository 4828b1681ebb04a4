"""Project files (YAML and TOML) into typed values, with errors that name file, line and fix.

YAML is read with the safe constructors only, without aliases and duplicate keys, and bounded in bytes, depth
and nodes. A value that does not fit its type is reported at its own line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from remit.core import bounds
from remit.core.errors import DocumentError

T = TypeVar("T")
Path_ = tuple[str | int, ...]

_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_PRIVATE = re.compile(r"://[^/\s]*@|password|secret", re.IGNORECASE)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")


class Document(msgspec.Struct, frozen=True):
    """A parsed file: its data and the position (line, column; 1-based) of each node by path."""

    path: Path
    data: Any
    positions: Mapping[Path_, tuple[int, int]]
    text: str

    def error(self, message: str, at: Path_ = (), next_step: str = "", code: str = "document_invalid") -> DocumentError:
        """An error at `at`, or at the nearest node above it that has a position."""
        line, column = self.position(at)
        lines = self.text.splitlines()
        return DocumentError(
            message,
            path=self.path,
            line=line,
            column=column,
            next_step=next_step,
            code=code,
            # SECURITY: a line may hold what must not be shown, such as a password where none may stand.
            shown="" if line > len(lines) or _PRIVATE.search(lines[line - 1]) else lines[line - 1],
        )

    def position(self, at: Path_) -> tuple[int, int]:
        """Line and column of the node at `at`, or of the nearest node above it."""
        while at and at not in self.positions:
            at = at[:-1]
        return self.positions.get(at, (1, 1))

    def convert(self, type_: type[T]) -> T:
        """The data as `type_`; a `DocumentError` at the offending line otherwise."""
        return self.convert_part(self.data, type_, ())

    def convert_part(self, data: Any, type_: type[T], at: Path_) -> T:
        """A part of the data as `type_`; `at` is where it stands in the document."""
        try:
            return msgspec.convert(data, type_, strict=True)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `")
            path = at + _steps(where.rstrip("`"), data)
            if (unknown := _UNKNOWN.search(message)) and (*path, unknown[1]) in self.positions:
                path = (*path, unknown[1])
            raise self.error(_lower(message), path, _fix(message, type_)) from None


def read_text(path: Path) -> str:
    """The file's text; a `DocumentError` when it is missing, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(bounds.DOCUMENT_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"can't read the file: {error.strerror}", path=path) from None
    if len(raw) > bounds.DOCUMENT_BYTES:
        raise DocumentError(f"the file is larger than {bounds.DOCUMENT_BYTES} bytes", path=path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError("the file is not UTF-8", path=path, line=line, next_step="save it as UTF-8") from None


def read_yaml(path: Path) -> Document:
    """Reads one YAML document."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, path: Path) -> Document:
    """Parses one YAML document from `text`; `path` is used in errors only."""
    _check_events(text, path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _yaml_error(error, path) from None
    positions: dict[Path_, tuple[int, int]] = {}
    data = _build(node, (), positions, path) if node is not None else None
    return Document(path, data, positions, text)


def read_toml(path: Path) -> Document:
    """Reads one TOML document; positions are those of the tables and keys that stand on a line of their own."""
    return parse_toml(read_text(path), path)


def parse_toml(text: str, path: Path) -> Document:
    """Parses one TOML document from `text`; `path` is used in errors only."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(match[1]), int(match[2])) if match else (1, 1)
        message = _lower(str(error).split(" (at ")[0])
        raise DocumentError(message, path=path, line=line, column=column) from None
    return Document(path, data, _toml_positions(text), text)


def _check_events(text: str, path: Path) -> None:
    """Refuses aliases, depth and size before any tree is built (a small file can expand without bound)."""
    depth = nodes = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                # SECURITY: aliases make a small file expand without bound.
                raise DocumentError(
                    "aliases are not allowed",
                    path=path,
                    line=_line(event),
                    next_step="write the value out",
                )
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            nodes += 1
            if depth > bounds.JSON_DEPTH or nodes > 20 * bounds.JSON_NODES:
                message = "the file is nested too deeply or has too many values"
                raise DocumentError(message, path=path, line=_line(event))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _yaml_error(error, path) from None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _yaml_error(error: Exception, path: Path) -> DocumentError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return DocumentError(f"not valid YAML: {_lower(problem)}", path=path, line=line, column=column)


def _build(node: yaml.Node, at: Path_, positions: dict[Path_, tuple[int, int]], path: Path) -> Any:
    positions[at] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise DocumentError("a key must be a plain word", path=path, line=line)
            key = str(key_node.value)
            if key in result:
                # SECURITY: of two equal keys a reader sees one and a parser takes the other.
                raise DocumentError(f"`{key}` stands twice", path=path, line=line, next_step="keep one of them")
            result[key] = _build(value_node, (*at, key), positions, path)
            positions[(*at, key)] = (line, key_node.start_mark.column + 1)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*at, i), positions, path) for i, item in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:timestamp":
        return node.value
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(
            f"can't read the value: {_lower(str(error).splitlines()[0])}",
            path=path,
            line=node.start_mark.line + 1,
        ) from None


def _toml_positions(text: str) -> dict[Path_, tuple[int, int]]:
    positions: dict[Path_, tuple[int, int]] = {(): (1, 1)}
    table: Path_ = ()
    counts: dict[Path_, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if match := re.match(r"\[\[\s*([\w.\-\"]+)\s*\]\]", stripped):
            name: Path_ = tuple(match[1].replace('"', "").split("."))
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            positions[table] = (number, 1)
        elif match := re.match(r"\[\s*([\w.\-\"]+)\s*\]", stripped):
            table = tuple(match[1].replace('"', "").split("."))
            positions[table] = (number, 1)
        elif match := re.match(r"([\w\-\"]+)\s*=", stripped):
            positions[(*table, match[1].strip('"'))] = (number, line.index(match[1]) + 1)
    return positions


def _steps(where: str, data: Any) -> Path_:
    """The steps of a msgspec path such as `$.params[...].type`; `[...]` (any value of a mapping) ends the walk."""
    steps: list[str | int] = []
    for match in _STEP.finditer(where):
        if match[1] is not None:
            steps.append(match[1])
        elif match[2] is not None:
            steps.append(int(match[2]))
        else:
            break
    return tuple(steps)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _fix(message: str, type_: Any) -> str:
    if "unknown field" in message:
        names = (
            [field.name for field in msgspec.structs.fields(type_)]
            if isinstance(type_, type) and issubclass(type_, msgspec.Struct)
            else []
        )
        return f"known keys here or below: {', '.join(names)}" if names else ""
    if "missing required field" in message:
        return "add it"
    return ""


def _field_names(type_: Any) -> list[str]:
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return [field.name for field in msgspec.structs.fields(type_)]
    return []
