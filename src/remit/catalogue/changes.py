"""What differs between two entries or two definitions of a tool, in lines that a person reads."""

from __future__ import annotations

from typing import Any, Final

from remit.catalogue.entries import Entry
from remit.catalogue.render import json_text, quoted

_LINES: Final = 40  # of one tool; what is cut is counted
_STATED: Final = (
    "effect",
    "selectors",
    "content",
    "labels",
    "trusted",
    "personal",
    "select",
    "redact",
    "destination",
)
_SHOWN: Final = 2_000  # characters of one value


def definition_changes(old: Entry, new: Entry) -> tuple[str, ...]:
    """What the server changed: one line a change, with the path and both values; hidden characters as escapes."""
    lines: list[str] = []
    for key in ("title", "description"):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            lines += [f"{key}:", f"  - {_cut(quoted(before))}", f"  + {_cut(quoted(after))}"]
    for key in ("annotations", "input_schema", "output_schema"):
        lines += _differences(key, getattr(old, key), getattr(new, key))
    return _bounded(lines)


def stated(entry: Entry) -> tuple[str, ...]:
    """What an entry states: its effect, and each other key that isn't empty."""
    lines = [_with_reason(f"effect: {entry.effect}", entry, "effect")]
    for key in _STATED[1:]:
        if getattr(entry, key):
            lines.append(_with_reason(f"{key}: {_listed(getattr(entry, key))}", entry, key))
    return _bounded(lines)


def stated_changes(old: Entry, new: Entry) -> tuple[str, ...]:
    """What changed of what the entry states: one line a key, with both values and the new reason where there is one."""
    lines = []
    for key in _STATED:
        before, after = _listed(getattr(old, key)), _listed(getattr(new, key))
        if before != after:
            lines.append(_with_reason(f"{key}: {before} -> {after}", new, key))
    return _bounded(lines)


def _differences(path: str, old: Any, new: Any) -> list[str]:
    """Differences of two JSON values by path; lists are compared whole."""
    lines: list[str] = []
    stack = [(path, old, new)]
    while stack:
        at, before, after = stack.pop()
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted(before.keys() | after.keys(), reverse=True):
                where = f"{at}.{_cut(quoted(key))[1:-1]}"
                stack.append((where, before.get(key, _ABSENT), after.get(key, _ABSENT)))
        elif after is _ABSENT:
            lines.append(f"{at}: removed {_cut(json_text(before))}")
        elif before is _ABSENT:
            lines.append(f"{at}: added {_cut(json_text(after))}")
        elif json_text(before) != json_text(after):
            lines.append(f"{at}: {_cut(json_text(before))} -> {_cut(json_text(after))}")
    return lines


_ABSENT: Final = object()


def _with_reason(line: str, entry: Entry, key: str) -> str:
    because = entry.why.get(key, "")
    return f"{line}  ({_cut(quoted(because)[1:-1])})" if because else line


def _bounded(lines: list[str]) -> tuple[str, ...]:
    if len(lines) <= _LINES:
        return tuple(lines)
    return (*lines[:_LINES], f"and {len(lines) - _LINES} more lines")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _listed(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(quoted(item)[1:-1] for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{quoted(key)[1:-1]}: {item}" for key, item in value.items()) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(str(value))[1:-1] or "none"
