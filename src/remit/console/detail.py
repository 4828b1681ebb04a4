"""Everything about one decision or task, gathered from the records: for people and, as JSON, for machines.

What stands here was recorded, or is kept beside the record (openings, texts); where something was erased or is not
kept, it says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.console.erasures import By, erased_of
from remit.console.screen import readable
from remit.console.shapes import check_shape
from remit.core import bounds
from remit.core.errors import InvalidInput, NotFound, RemitError
from remit.ledger.commitments import opens
from remit.ledger.record import Record, leaf_hash
from remit.policy import sources
from remit.policy.reads import Path
from remit.policy.sources import Policy, Source
from remit.storage.reader import Reader, Stored

# By pointer: salt and value; None for what is there and does not open.
Openings = dict[str, tuple[bytes, bytes] | None]

_END: Final = 4  # characters of an id's end that are enough to look for it
_PARTS: Final = ("policies", "intents", "catalogue", "windows", "settings")


class Concealed(msgspec.Struct, frozen=True):
    """A personal value: opened where its opening is kept, erased where it is not."""

    value: Any
    opened: bool
    genuine: bool = True  # whether the opening gives the commitment of the record


def find(reader: Reader, given: str) -> Stored:
    """The record of the decision or task that `given` names: its id, or an end of it that only one has."""
    if len(given) > bounds.NAME_BYTES:
        raise InvalidInput("id_invalid", "this is too long for an id", "`remit log` shows ids")
    found = reader.find(given)
    if found is not None:
        return found
    keys = reader.keys_ending(given) if len(given) >= _END else []
    if len(keys) > 1:
        raise InvalidInput("id_ambiguous", f"`{given}` is the end of several ids", f"one of {', '.join(keys)}")
    found = reader.find(keys[0]) if keys else None
    if found is None:
        raise NotFound("record_unknown", f"there is no decision or task `{given[:64]}`", "`remit log` shows ids")
    return found


def detail(reader: Reader, stored: Stored, place_of: Callable[[Stored], int | None] | None = None) -> dict[str, Any]:
    """All that is known of it, as JSON types; `kind` is `decision` or `task`.

    `place_of` says where a record stands in the published log, or None while it is pending; without it records are not
    published. `InvalidInput` where the record is not what its kind must be.
    """
    record = checked(stored)
    gather = _decision if record.kind == "decision" else _task
    published = {"published": place_of(stored)} if place_of is not None else {}
    return gather(reader, stored, record) | {"record": place(stored, record) | published}


def checked(stored: Stored) -> Record:
    """The record; `InvalidInput` where it is not what its kind must be."""
    record = stored.record
    try:
        check_shape(record.kind, record.body)
    except ValueError:
        raise InvalidInput(
            "record_unreadable",
            f"record {stored.n} of `{stored.stream}` is not what a {record.kind} must be",
            "`remit verify` says what is wrong with it",
        ) from None
    return record


def place(stored: Stored, record: Record) -> dict[str, Any]:
    """Where the record stands, and by what an outsider finds it again."""
    return {
        "bytes": len(stored.data),
        "hash": leaf_hash(stored.data),
        "n": stored.n,
        "previous": record.prev,
        "seq": stored.seq,
        "stream": stored.stream,
        "version": record.v,
    }


def _decision(reader: Reader, stored: Stored, record: Record) -> dict[str, Any]:
    body = record.body
    opened = _explained(reader, stored, record)
    context = opened.get("context", {})
    configuration = configuration_of(reader, str(body.get("config", "")))
    policies = decisive(reader, configuration, body["reason"].get("policies", ()))
    later = list(_after(reader, stored, body["id"]))
    task = reader.find(body["task"]) if body.get("task") else None
    mattered = sorted({path for policy in policies for path in policy.pop("reads")})
    facts = {path: {"absent": True} if (value := at(context, path)) is _ABSENT else value for path in mattered}
    return {
        "kind": "decision",
        "id": body["id"],
        "at": record.t,
        "effect": body["effect"],
        "would": body.get("would", ""),
        "mode": body["mode"],
        "reason": {key: body["reason"].get(key, "") for key in ("code", "message", "nextStep")},
        "policies": policies,
        "action": body["action"],
        "actionEffect": body.get("serverEffect", ""),
        "arguments": context.get("input") if body.get("serverEffect") else None,
        "who": {
            "workload": body["subject"],
            "enforcementPoint": body["pep"],
            "enforcement": body["enforcement"],
            "principal": body.get("principal", {}),
        },
        "task": _brief(task.record if task else None, str(body.get("task", ""))),
        "facts": facts if context else {},
        "context": context,
        "above": opened.get("above", []),
        "usage": body.get("usage", {}),
        "adds": body.get("adds", {}),
        "obligations": body.get("obligations", []),
        "requestable": body.get("requestable"),
        "permit": {"expires": body["expires"], "deadline": body.get("deadline", 0)} if body["expires"] else None,
        "outcomes": [_outcome(reader, each) for each in later if each.record.kind in ("outcome", "resolution")],
        "repeated": sum(each.record.body["count"] for each in later if each.record.kind == "denials"),
        "request": {
            "digest": body["digest"],
            "id": body.get("request", ""),
            "idempotencyKey": body.get("idempotencyKey", ""),
            "micros": body.get("micros", 0),
        },
        "decidedBy": configuration,
    }


def _task(reader: Reader, stored: Stored, record: Record) -> dict[str, Any]:
    body = _explained(reader, stored, record)
    history: list[dict[str, Any]] = []
    decisions = {"permit": 0, "deny": 0}
    children: list[str] = []
    for each in reader.stream(stored.stream):
        inner = checked(each)
        if inner.kind == "task" and inner.body["task"] == body["task"] and each.n != stored.n:
            change = {key: inner.body.get(key, "") for key in ("state", "by", "reason")}
            history.append({"at": inner.t, **change, "n": each.n})
        elif inner.kind == "task" and inner.body.get("parent") == body["task"]:
            children.append(inner.body["task"])
        elif inner.kind == "decision" and inner.body.get("task") == body["task"]:
            decisions[inner.body["effect"]] += 1
        elif inner.kind == "denials" and (denied := reader.find(inner.body["decision"])) is not None:
            decisions["deny"] += inner.body["count"] if denied.record.body.get("task") == body["task"] else 0
    keys = ("intent", "workload", "starter", "root", "parent", "params", "prompt", "caseType", "onBehalfOf", "key",
            "expires", "emergency", "limits")  # fmt: skip
    return {
        "kind": "task",
        "id": body["task"],
        "at": record.t,
        "state": history[-1]["state"] if history else body["state"],
        **{key: body.get(key, "") for key in keys},
        "history": history,
        "children": children,
        "decisions": decisions,
        "decidedBy": configuration_of(reader, str(body.get("config", ""))),
    }


# --- what is kept beside the record -------------------------------------------------------------------------

_ABSENT: Final = object()


def revealed(reader: Reader, stored: Stored, record: Record) -> dict[str, Any]:
    """The body with each commitment replaced: `{"personal": value}` where opened, `{"erased": hex}` where not.

    `{"unreadable": hex}` stands for one whose sealed opening is there and does not open.
    """
    openings: Openings = {path: (salt, value) for path, salt, value in reader.openings(stored.stream, stored.n)}
    openings |= dict.fromkeys(reader.broken(stored.stream, stored.n))
    return {key: _opened(value, f"/{key}", openings) for key, value in record.body.items()}


def _explained(reader: Reader, stored: Stored, record: Record) -> dict[str, Any]:
    """As `revealed`, where an erasure is on record with `{"erased": {"commitment", "at", "by"}}`."""
    body = revealed(reader, stored, record)
    if '"erased":' not in msgspec.json.encode(body).decode():
        return body
    for path, who in erased_of(reader, stored.stream, stored.n).items():
        _say_who(body, path, who)
    return body


def _say_who(body: dict[str, Any], path: str, who: By) -> None:
    node: Any = body
    for step in path.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and node.keys() == {"literal"}:
            node = node["literal"]
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return
    if isinstance(node, dict) and isinstance(node.get("erased"), str):
        node["erased"] = {"commitment": node["erased"], "at": who.at, "by": who.by}


def _opened(node: Any, at_: str, openings: Openings) -> Any:
    if isinstance(node, list):
        return [_opened(item, f"{at_}/{index}", openings) for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"commitment"}:
        if at_ not in openings:
            return {"erased": node["commitment"]}
        kept = openings[at_]
        if kept is None:
            return {"unreadable": node["commitment"]}
        try:
            value = msgspec.json.decode(kept[1])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return {"forged": repr(kept[1])[:100]}
        # SECURITY: an opening that does not give the commitment is not what was decided on.
        return {"personal": value} if opens(node, kept[0], value) else {"forged": value}
    if node.keys() == {"literal"} and isinstance(node["literal"], dict):
        return {"literal": node["literal"]}
    return {
        key: _opened(value, f"{at_}/{key.replace('~', '~0').replace('/', '~1')}", openings)
        for key, value in node.items()
    }


def configuration_of(reader: Reader, digest: str) -> dict[str, Any]:
    """The digests of what decided, and when that configuration began to decide."""
    for stored in reader.stream("administration"):
        record = stored.record
        if record.kind == "configuration" and record.body.get("config") == digest:
            return {"config": digest, **{part: record.body.get(part, "") for part in _PARTS}, "since": record.t}
    return {"config": digest}


def decisive(reader: Reader, configuration: Mapping[str, Any], named: Sequence[Any]) -> list[dict[str, Any]]:
    """The policies of a decision with file, line, text and what they read, from the texts that decided."""
    ids = [item["id"] if isinstance(item, dict) else str(item) for item in named]
    known: dict[str, Policy] = {}
    if ids:
        for policy in policies_of(reader, str(configuration.get("policies", ""))):
            known.setdefault(policy.id, policy)
    found = []
    for id_ in ids:
        if id_ not in known:
            found.append({"id": id_, "path": "", "line": 0, "text": "", "reads": ()})
            continue
        policy = known[id_]
        reads = [".".join(path) for path in sorted(_shown(policy)) if path]
        where = {"path": policy.ref.path, "line": policy.ref.line}
        found.append({"id": id_, **where, "text": policy.source.text[policy.start : policy.end], "reads": reads})
    return found


def policies_of(reader: Reader, digest: str) -> Iterator[Policy]:
    """The policies behind a digest, from the kept list of their texts; none when that is not kept."""
    text = reader.text(digest)
    try:
        listed = msgspec.json.decode(text, type=list[tuple[str, str]]) if text else []
    except (msgspec.MsgspecError, ValueError):
        listed = []
    texts = [Source(path, text, "user") for path, of in listed if (text := reader.text(of)) is not None]
    try:
        macros = sources.macros(texts)
    except RemitError:
        macros = {}
    for source in texts:
        try:
            yield from sources.parse(source, known=macros)
        except RemitError:
            continue


def _shown(policy: Policy) -> set[Path]:
    return set(policy.reads.values) | set(policy.reads.tests)


def at(context: Any, path: str) -> Any:
    """The value at a dotted path of a context; names of limits and prerequisites may have dots of their own."""
    if not path:
        return context
    if not isinstance(context, dict):
        return _ABSENT
    steps = path.split(".")
    for taken in range(len(steps), 0, -1):
        key = ".".join(steps[:taken])
        if key in context:
            found = at(context[key], ".".join(steps[taken:]))
            if found is not _ABSENT:
                return found
    return _ABSENT


def _after(reader: Reader, stored: Stored, decision: str) -> Iterator[Stored]:
    """Later records of the same stream that are about the decision."""
    quoted = decision.encode()
    for each in reader.stream(stored.stream):
        if each.n > stored.n and quoted in each.data and checked(each).body.get("decision") == decision:
            yield each


def _outcome(reader: Reader, stored: Stored) -> dict[str, Any]:
    record = stored.record
    body = _explained(reader, stored, record)
    keys = ("result", "standing", "by", "late", "reason", "selected", "bytes", "started")
    return {"kind": record.kind, "at": record.t, **{key: body[key] for key in keys if key in body}, "n": stored.n}


def _brief(record: Record | None, task: str) -> dict[str, Any]:
    if record is None:
        return {"id": task} if task else {}
    keys = ("intent", "starter", "parent", "onBehalfOf", "caseType", "emergency", "expires")
    return {"id": task, **{key: record.body[key] for key in keys if record.body.get(key)}}


def simplified(found: Mapping[str, Any]) -> dict[str, Any]:
    """The detail with Cedar's own forms of values (entities, decimals, times) as plain text."""
    simple: dict[str, Any] = readable(found)
    return simple
