"""Expressions in Cedar's JSON form as Cedar text, for people (docs.cedarpolicy.com, grammar)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEVELS: Final[Mapping[str, int]] = {
    "if-then-else": 0, "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3, "has": 3,
    "like": 3, "is": 3, "+": 4, "-": 4, "*": 5, "!": 6, "neg": 6,
}  # fmt: skip
_ATOM: Final = 7
_METHODS: Final = frozenset({"contains", "containsAll", "containsAny", "getTag", "hasTag"})
_CONSTRUCTORS: Final = frozenset({"ip", "decimal", "datetime", "duration"})


def written(form: Any) -> str:
    """The expression as text; what has no known form stands as JSON, so that nothing is left out."""
    try:
        return _written(form)[0]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return json.dumps(form, default=str)


def entity(type_: str, id_: str) -> str:
    """An entity as text."""
    return f"{type_}::{_quoted(id_)}"


def literal(value: Any) -> str:
    """A literal in Cedar's JSON form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if "__entity" in value or value.keys() == {"type", "id"}:
        inner = value.get("__entity", value)
        return entity(inner["type"], inner["id"])
    if "__extn" in value:
        return f"{value['__extn']['fn']}({literal(value['__extn']['arg'])})"
    return "{" + ", ".join(f"{_key(name)}: {literal(each)}" for name, each in value.items()) + "}"


def _written(form: Mapping[str, Any]) -> tuple[str, int]:
    ((op, of),) = form.items()
    level = _LEVELS.get(op, _ATOM)
    if op == "Value":
        return literal(of), _ATOM
    if op == "Var":
        return str(of), _ATOM
    if op == "Slot":
        return str(of), _ATOM
    if op in ("&&", "||"):
        return _chain(op, form), level
    if op == "if-then-else":
        return f"if {_written(of['if'])[0]} then {_written(of['then'])[0]} else {_written(of['else'])[0]}", level
    if op == ".":
        left = _under(of["left"], _ATOM)
        return (f"{left}.{of['attr']}" if _NAME.fullmatch(of["attr"]) else f"{left}[{_quoted(of['attr'])}]"), _ATOM
    if op == "has":
        names = of["attr"] if isinstance(of["attr"], list) else [of["attr"]]
        plain = all(map(_NAME.fullmatch, names))
        return f"{_under(of['left'], 4)} has {'.'.join(names) if plain else ' / '.join(map(_quoted, names))}", level
    if op == "is":
        below = f" in {_under(of['in'], 4)}" if "in" in of else ""
        return f"{_under(of['left'], 4)} is {of['entity_type']}{below}", level
    if op == "like":
        return f"{_under(of['left'], 4)} like {_pattern(of['pattern'])}", level
    if op in ("!", "neg"):
        return f"{'!' if op == '!' else '-'}{_under(of['arg'], level)}", level
    if op == "isEmpty":
        return f"{_under(of['arg'], _ATOM)}.isEmpty()", _ATOM
    if op in _METHODS:
        return f"{_under(of['left'], _ATOM)}.{op}({_written(of['right'])[0]})", _ATOM
    if op == "Set":
        return f"[{', '.join(_written(each)[0] for each in of)}]", _ATOM
    if op == "Record":
        return "{" + ", ".join(f"{_key(name)}: {_written(each)[0]}" for name, each in of.items()) + "}", _ATOM
    if op in _LEVELS:
        return f"{_under(of['left'], level + (level == 3))} {op} {_under(of['right'], level + 1)}", level
    return _call(op, of), _ATOM


def _call(name: str, arguments: Sequence[Any]) -> str:
    if name in _CONSTRUCTORS:
        return f"{name}({', '.join(_written(each)[0] for each in arguments)})"
    first, *others = arguments
    return f"{_under(first, _ATOM)}.{name}({', '.join(_written(each)[0] for each in others)})"


def _chain(op: str, form: Mapping[str, Any]) -> str:
    parts: list[str] = []
    left: Mapping[str, Any] = form
    while op in left:
        parts.append(_under(left[op]["right"], _LEVELS[op] + 1))
        left = left[op]["left"]
    parts.append(_under(left, _LEVELS[op]))
    return f" {op} ".join(reversed(parts))


def _under(form: Mapping[str, Any], level: int) -> str:
    text, own = _written(form)
    return text if own >= level else f"({text})"


def _pattern(parts: Sequence[Any]) -> str:
    text = "".join("*" if part == "Wildcard" else part["Literal"].replace("*", r"\*") for part in parts)
    return '"' + text.replace('"', r"\"") + '"'


def _key(name: str) -> str:
    return name if _NAME.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
