"""Writes `catalogue/<server>.yaml`: in an order that people read, with comments that teach.

Whatever is shown to a reviewer is shown in full: characters that an editor or terminal would hide or obey stand
as escapes, since text that only a model sees is how a tool's description misleads it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import yaml

from remit.catalogue.entries import Entry, Review

_WIDTH: Final = 100
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./\-]*")
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

HEAD: Final = """\
# What Remit knows of the server `{server}`, one entry for each tool that it offers.
#
# Remit guessed these entries from what the server says of itself; `why` gives the reason for each guess. A guess
# binds nothing until a person has reviewed it: read the entry, correct it, then run
# `remit catalogue review {server} TOOL`. Calls of a tool that is not reviewed, or is not listed here, are refused.
#
#   effect        what a call does, at its worst: read, write, send, pay, share, delete, execute, configure, deploy,
#                 export
#   selectors     arguments that choose who, where, what or how much; an argument in no list counts as a selector
#   content       arguments that are only handed over
#   labels        what results carry, for policies: personal, financial, secret, health, untrusted, or your own words
#   trusted       true only if no outsider can write what the tool returns
#   personal      values that the record holds as commitments: input.<argument>, output.<field>
#   select        result fields that later decisions need: `select: {{invoice.amount: decimal}}`
#   redact        result fields that are removed before the agent sees them
#   destination   where the call goes: input.<argument>, or a fixed host; empty for none
#
# What follows `pin` is the server's own definition. The pin is its digest: when the server changes a letter of it,
# calls are refused until `remit catalogue import` has shown the change and a person has reviewed it again.
"""


def render_file(
    server: str,
    entries: Mapping[str, Entry],
    *,
    command: tuple[str, ...] = (),
    self_enforced: bool = False,
    refused: Mapping[str, str] | None = None,
) -> str:
    """The text of a new file."""
    head = HEAD.format(server=server) + "\n"
    head += "".join(f"# not imported: {name}: {reason}\n" for name, reason in (refused or {}).items())
    head += f"server: {scalar(server)}\ncommand: {flow(command)}\n"
    head += "self_enforced: true  # the workload itself may ask; its outcomes are claims\n" if self_enforced else ""
    if not entries:
        return head + "\ntools: {}\n"
    return head + "\ntools:\n" + "\n".join(render_entry(name, entry) for name, entry in entries.items())


def render_entry(name: str, entry: Entry) -> str:
    """The lines of one entry, from its key to its last line."""
    lines = [
        f"  {scalar(name)}:",
        f"    effect: {entry.effect}",
        f"    selectors: {flow(entry.selectors)}",
        f"    content: {flow(entry.content)}",
        f"    labels: {flow(entry.labels)}",
        f"    trusted: {_boolean(entry.trusted)}",
        f"    personal: {flow(entry.personal)}",
        f"    select: {{{', '.join(f'{scalar(path)}: {type_}' for path, type_ in entry.select.items())}}}",
        f"    redact: {flow(entry.redact)}",
        f"    destination: {scalar(entry.destination)}",
        *(["    why:"] if entry.why else []),
        *(f"      {scalar(key)}: {quoted(reason)}" for key, reason in entry.why.items()),
        f"    reviewed: {reviewed(entry.reviewed)}",
        f"    pin: {quoted(entry.pin)}",
        *([f"    title: {quoted(entry.title)}"] if entry.title else []),
        *_description(entry.description),
        *([f"    annotations: {_json_line(entry.annotations)}"] if entry.annotations else []),
        *_json_block("input_schema", entry.input_schema),
        *([] if entry.output_schema is None else _json_block("output_schema", entry.output_schema)),
    ]
    return "\n".join(lines) + "\n"


def reviewed(review: bool | Review) -> str:
    """The value of `reviewed:`."""
    if isinstance(review, bool):
        return _boolean(review)
    return f"{{by: {quoted(review.by)}, at: {quoted(review.at)}}}"


def scalar(text: str) -> str:
    """A string as YAML: plain where that reads back as the same string, quoted otherwise."""
    plain = _PLAIN.fullmatch(text) is not None and len(text) < _WIDTH
    return text if plain and _resolves_to_text(text) else quoted(text)


def quoted(text: str) -> str:
    """A string in double quotes; hidden characters as escapes (YAML 1.1, section 5.6)."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def is_hidden(character: str) -> bool:
    """Whether a reader would not see this character as what it is: controls, formats, fillers, variants."""
    if character in " \n":
        return False
    if character in _UNSEEN or "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character <= "\U000e0fff":
        return True
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")


def _escaped(character: str) -> str:
    if character == "\n":
        return "\\n"
    if character in '"\\':
        return "\\" + character
    # SECURITY: text that a reviewer can't see must not reach a model.
    if is_hidden(character):
        point = ord(character)
        return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
    return character


@lru_cache(maxsize=4_096)
def _resolves_to_text(text: str) -> bool:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"


def flow(items: tuple[str, ...]) -> str:
    """Strings as a YAML list on one line."""
    return f"[{', '.join(scalar(item) for item in items)}]"


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _description(text: str) -> list[str]:
    if not text:
        return []
    if text != text.strip() or any(is_hidden(character) for character in text):
        return [f"    description: {quoted(text)}"]
    if "\n" not in text and len(text) <= _WIDTH:
        return [f"    description: {quoted(text)}"]
    return ["    description: |-", *(f"      {line}" if line else "" for line in text.split("\n"))]


def _json_block(key: str, value: Any) -> list[str]:
    return [f"    {key}: |-", *(f"      {line}" for line in _pretty(value, 0).split("\n"))]


def _json_line(value: Any) -> str:
    return "'" + json_text(value).replace("'", "''") + "'"


def _pretty(value: Any, indent: int) -> str:
    """JSON on one line where it fits, one item a line otherwise."""
    line = json_text(value)
    if len(line) + indent <= _WIDTH or not isinstance(value, (dict, list)) or not value:
        return line
    inner = "\n" + " " * (indent + 2)
    if isinstance(value, dict):
        items = [f"{json_text(key)}: {_pretty(item, indent + 2)}" for key, item in value.items()]
        return "{" + inner + ("," + inner).join(items) + "\n" + " " * indent + "}"
    items = [_pretty(item, indent + 2) for item in value]
    return "[" + inner + ("," + inner).join(items) + "\n" + " " * indent + "]"


def json_text(value: Any) -> str:
    """A JSON value on one line; hidden characters as escapes."""
    return "".join(_json_character(character) for character in json.dumps(value, ensure_ascii=False))


def _json_character(character: str) -> str:
    if not is_hidden(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
