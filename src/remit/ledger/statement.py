"""What a verified receipt proves and what it does not, in plain words: one line for each thing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from remit.core import canonical
from remit.ledger.commitments import pointer
from remit.ledger.proven import Proven, ProvenRecord

_SHOWN = 300  # characters of one value


class Statement(msgspec.Struct, frozen=True):
    """Labelled lines of what is proved, and lines of what is not."""

    proves: tuple[tuple[str, str], ...]
    not_proved: tuple[str, ...]


def statement_of(proven: Proven) -> Statement:
    """What `proven` says to a person; nothing in it drives a terminal."""
    about = proven.of("decision")[0] if proven.kind == "decision" else proven.of("task")[0]
    lines = [
        *_log(proven, about),
        *(_decision(proven, about) if proven.kind == "decision" else ()),
        *_tasks(proven),
        *_configuration(proven),
        *_afterwards(proven),
        *(("opened", f"{each.path} is {_json(each.value)}") for each in proven.opened),
    ]
    return Statement(
        tuple((label, printable(line)) for label, line in lines), tuple(map(printable, _limits(proven, about)))
    )


def as_json(proven: Proven) -> dict[str, Any]:
    """The same for programs."""
    said = statement_of(proven)
    found: dict[str, Any] = msgspec.to_builtins(proven)
    proves = [f"{label}: {line}" for label, line in said.proves]
    return found | {"proves": proves, "not_proved": list(said.not_proved), "failed": False}


def moment(ms: int) -> str:
    """A time in UTC, to the millisecond."""
    try:
        return (
            datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
        )
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms since 1970"


def printable(text: str) -> str:
    """The text without what drives a terminal."""
    # SECURITY: records hold words of callers.
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _log(proven: Proven, about: ProvenRecord) -> Iterator[tuple[str, str]]:
    yield "log", f"`{proven.log}` holds this at place {about.place} of {proven.size}, and its key signed that"
    for witness in proven.witnesses:
        yield "witness", f"`{witness.name}` had seen the log of {proven.size} entries by {moment(witness.time * 1000)}"


def _arguments(context: object, opened: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The arguments as they were recorded; personal ones where they were opened."""
    arguments = context.get("input") if isinstance(context, dict) else None
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        path = pointer("/context/input", name)
        if path in opened:
            yield "argument", f"{name} is {_json(opened[path])}"
        elif isinstance(value, dict) and value.keys() == {"commitment"}:
            yield "argument", f"{name} is a personal value, which is not opened to you"
        elif isinstance(value, dict) and isinstance(value.get("__extn"), dict):
            yield "argument", f"{name} is {_json(value['__extn'].get('arg'))}"
        else:
            yield "argument", f"{name} is {_json(value)}"


def _decision(proven: Proven, about: ProvenRecord) -> Iterator[tuple[str, str]]:
    body = about.body
    reason = body.get("reason") if isinstance(body.get("reason"), dict) else {}
    yield "who", f"the workload {body['subject']}"
    pep = "itself" if body.get("enforcement") == "self" else body["pep"]
    yield "asked by", f"{pep}{', its enforcement point' if body.get('enforcement') == 'pep' else ''}"
    effect = f" (effect: {body['serverEffect']})" if body.get("serverEffect") else ""
    yield "action", f"{body['action']}{effect}"
    yield from _arguments(
        body.get("context"), {each.path: each.value for each in proven.opened if each.leaf == about.leaf}
    )
    yield "digest", f"{body['digest']}, of the action with its arguments"
    yield "when", moment(about.t)
    said = " ".join(str(reason.get(key, "")) for key in ("code", "message")).strip() if reason else ""
    observed = ", in mode observe: the policies said deny" if body.get("would") == "deny" else ""
    yield "decision", f"{body['effect']}{observed}{': ' if said else ''}{said}"
    for policy in _items(reason.get("policies") if reason else None):
        yield "by policy", str(policy.get("id", "") if isinstance(policy, dict) else policy)


def _tasks(proven: Proven) -> Iterator[tuple[str, str]]:
    for record in proven.of("task"):
        body = record.body
        if body["state"] != "open" or "intent" not in body:
            yield "then", f"{moment(record.t)}: the task is {body['state']}, by {body.get('by', '')}"
            continue
        person = body.get("onBehalfOf", "")
        behalf = f", on behalf of {person}" if isinstance(person, str) and person else ""
        starter, expires = body.get("starter", ""), moment(body.get("expires", 0))
        yield "task", f"{body['task']}, intent `{body['intent']}`, for {body.get('workload', '')}{behalf}"
        yield "started by", f"{starter}, {moment(record.t)}, until {expires}"


def _configuration(proven: Proven) -> Iterator[tuple[str, str]]:
    for record in proven.of("configuration"):
        yield "decided by", f"the configuration {record.body['config']}, in force since {moment(record.t)}"
    for text in proven.texts:
        name = f"{text.part}: {text.name}" if text.name else text.part
        yield ("text" if text.text is not None else "digest"), f"{name} {text.digest}"


def _afterwards(proven: Proven) -> Iterator[tuple[str, str]]:
    for record in proven.of("outcome", "resolution", "denials"):
        body = record.body
        if record.kind == "denials":
            yield "repeated", f"{moment(record.t)}: {body['count']} identical denials more"
        elif record.kind == "resolution":
            yield "resolved", f"{moment(record.t)}: {body['result']}, by {body['by']}, an operator"
        else:
            late = ", begun late" if body.get("late") else ""
            yield "outcome", f"{moment(record.t)}: {body['result']} ({body['standing']}){late}, by {body['by']}"


def _limits(proven: Proven, about: ProvenRecord) -> Iterator[str]:
    yield "that the whole log is in order: `remit verify` of the log itself reads every entry"
    if proven.witnesses:
        yield "the times of the records: they are the service's own; only the witnesses' are not"
    else:
        yield "that others are shown the same log, or when it was signed: no witness was asked for (`--witness`)"
    if about.kind == "decision":
        yield "that the policies give this answer: verifying the log evaluates every decision again"
        if about.body["effect"] == "permit":
            outcomes = proven.of("outcome", "resolution")
            yield (
                "that the outcome is as its reporter says"
                if outcomes
                else "what came of it: the receipt holds no outcome"
            )
    if not proven.of("configuration"):
        yield "what decided it: the receipt holds no configuration"
    yield "what was recorded about it after this receipt was made"
    if proven.concealed:
        values = "1 personal value" if proven.concealed == 1 else f"{proven.concealed} personal values"
        yield f"{values} that the records only commit to, which nobody opened to you"


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(value: object) -> str:
    text = canonical.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
