"""One decision or task as a person reads it: what, why, who, for which task, from which facts, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from remit.console.layout import labelled, pairs, verbatim
from remit.console.rows import STYLES
from remit.console.screen import moment, printable, readable
from remit.core.decisions import Approval, Decision, Obligation
from remit.core.obligations import LIMIT, NOTIFY, REDACT, REPORT_FIRST, SELECT, terms
from remit.sdk.access_request import approvers, in_words

_LABEL: Final = 10  # columns of the labels at the left
_TEXT_LINES: Final = 40  # of one policy
_MUST: Final = {
    REDACT: "removed from the result",
    LIMIT: "the most that the result may have",
    SELECT: "reported with the outcome",
    NOTIFY: "told before the action, or of its denial",
    REPORT_FIRST: "the outcome is recorded before the result is given on",
}
Parts = tuple[str, ...]


def show(console: Console, found: Mapping[str, Any]) -> None:
    """Prints what `remit.console.detail.detail` found."""
    if found["kind"] == "task":
        _show_task(console, found)
    else:
        show_decision(console, found)
    _show_record(console, found)


def show_answer(
    console: Console,
    decision: Decision,
    arguments: Mapping[str, Any],
    texts: Mapping[str, str],
    below: Path | None = None,
    label: str = "arguments",
) -> None:
    """Prints a decision that was not recorded; `texts` are policies by id, paths are shown from `below` on."""
    effect = "observed" if decision.reason.code == "observed" else decision.effect
    console.print(Text.assemble((effect, f"bold {STYLES.get(effect, '')}"), "  ", (printable(decision.action), "bold")))
    console.print()
    reason = decision.reason
    _part(console, "why", reason.code, reason.message, reason.next_step and f"next: {reason.next_step}")
    if wanted := in_words(decision):
        _part(console, "approval", "a person could approve this", f"to ask for: {wanted}")
    _values(console, label, arguments)
    _show_obligations(console, decision.obligations)
    found = [
        {"id": ref.id, "path": ref.path.removeprefix(f"{below}/"), "line": ref.line, "text": texts.get(ref.id, "")}
        for ref in reason.policies
    ]
    _show_policies(console, found)


def show_decision(console: Console, found: Mapping[str, Any]) -> None:
    """Prints a decision as `detail` tells it, without its place in the record."""
    observed = found["reason"]["code"] == "observed"
    effect = "observed" if observed else found["effect"]
    kind = f"  ({found['actionEffect']})" if found["actionEffect"] else ""
    console.print(
        Text.assemble((effect, f"bold {STYLES.get(effect, '')}"), "  ", (printable(found["action"]), "bold"), kind)
    )
    verbatim(console, f"{found['id']}  {moment(found['at'])}", style="dim", indent=2)
    if observed:
        verbatim(console, "permitted because this runs in observe mode; enforcing would have denied it", indent=2)
    console.print()
    reason = found["reason"]
    _part(console, "why", reason["code"], reason["message"], reason["nextStep"] and f"next: {reason['nextStep']}")
    if found.get("repeated"):
        _part(console, "", f"asked and refused {found['repeated']} more times in the same way")
    _show_approval(console, found)
    _show_who(console, found)
    _show_arguments(console, found)
    _values(console, "facts", found["facts"], "that the deciding policies read")
    _show_novelty(console, found["context"])
    if found["usage"]:
        _values(console, "spends", found["usage"], "of these limits")
    _show_adds(console, found["adds"])
    _show_obligations(console, [msgspec.convert(each, Obligation) for each in found["obligations"]])
    _show_policies(console, found["policies"])
    _show_outcomes(console, found)


def _show_approval(console: Console, found: Mapping[str, Any]) -> None:
    """Whether a person could approve what was denied, and what would have to be asked for."""
    requestable = found.get("requestable")
    if not requestable:
        return
    approvals = [msgspec.convert(each, Approval) for each in requestable["approvals"]]
    chosen = ", ".join(requestable["selectors"])
    exactly = f"this action with exactly these arguments{f' (what chooses: {chosen})' if chosen else ''}, in this task"
    _part(console, "approval", f"a person could approve this: {approvers(approvals)}", f"to ask for: {exactly}")


def _show_novelty(console: Console, context: Mapping[str, Any]) -> None:
    """How new the action was to the workload: 0 habitual, 100 never completed."""
    novelty = context.get("novelty")
    if not isinstance(novelty, Mapping):
        return
    each = [f"{name} {novelty[name]}" for name in ("tool", "step", "destination") if name in novelty]
    days = novelty.get("days", 0)
    learning = f"it is learning: {days} day{'' if days == 1 else 's'} so far" if novelty.get("isLearning") else ""
    _part(console, "novelty", ", ".join(each), learning)


def _show_who(console: Console, found: Mapping[str, Any]) -> None:
    who, task = found["who"], found["task"]
    principal = who["principal"]
    known = [str(principal[key]) for key in ("kind", "environment") if principal.get(key)]
    known += [f"owner {principal['owner']}"] if principal.get("owner") else []
    known += [f"groups {', '.join(principal['groups'])}"] if principal.get("groups") else []
    asked = {
        "pep": f"asked by {who['enforcementPoint']}, an enforcement point of this server",
        "self": "asked by itself: its outcomes are claims",
    }.get(who["enforcement"], f"asked by {who['enforcementPoint']}, which is no enforcement point of this server")
    _part(console, "who", who["workload"], ", ".join(known), asked)
    if not task:
        _part(console, "task", "none")
        return
    said = [f"under {task['intent']}"] if "intent" in task else []
    said += [f"started by {task['starter']}"] if "starter" in task else []
    said += [f"on behalf of {task['onBehalfOf']}"] if "onBehalfOf" in task else []
    said += [f"case {task['caseType']}"] if "caseType" in task else []
    said += ["EMERGENCY"] if task.get("emergency") else []
    _part(console, "task", task["id"], "; ".join(said))


def _show_arguments(console: Console, found: Mapping[str, Any]) -> None:
    arguments = found["arguments"]
    if arguments is None:
        _part(console, "arguments", "not recorded: it was refused before they were looked at")
    elif not arguments:
        _part(console, "arguments", "none")
    else:
        _values(console, "arguments", arguments)


def _show_adds(console: Console, adds: Mapping[str, Any]) -> None:
    said = [f"labels {', '.join(adds['labels'])}"] if adds.get("labels") else []
    said += ["untrusted content"] if adds.get("untrusted") else []
    said += [f"the destination {adds['destination']}"] if adds.get("destination") else []
    if said:
        _part(console, "session", f"from here on has {', '.join(said)}")


def _show_obligations(console: Console, obligations: Iterable[Obligation]) -> None:
    for number, obligation in enumerate(obligations):
        said = f"{obligation.id} {', '.join(terms(obligation))}"
        _part(console, "" if number else "must", said, _MUST.get(obligation.id, ""))


def _show_policies(console: Console, policies: Iterable[Mapping[str, Any]]) -> None:
    for number, policy in enumerate(policies):
        where = f"  {policy['path']}:{policy['line']}" if policy["path"] else "  its text is not kept"
        _part(console, "" if number else "policies", f"{policy['id']}{where}")
        lines = printable(policy["text"]).splitlines()
        shown = [line for line in lines if not line.lstrip().startswith("@")]
        for line in shown[:_TEXT_LINES]:
            verbatim(console, f"│ {line}", style="cyan", indent=_LABEL + 2)
        if len(shown) > _TEXT_LINES:
            verbatim(console, f"│ and {len(shown) - _TEXT_LINES} more lines (--json has all)", indent=_LABEL + 2)


def _show_outcomes(console: Console, found: Mapping[str, Any]) -> None:
    if found["effect"] != "permit" or "outcomes" not in found:
        return
    if not found["outcomes"]:
        _part(console, "outcome", "none yet", f"the permit becomes unknown {moment(found['permit']['deadline'])}")
    for number, outcome in enumerate(found["outcomes"]):
        after = f"after {outcome['at'] - found['at']} ms"
        if outcome["kind"] == "resolution":
            said = f"resolved by {outcome['by']} {after}: {outcome['reason'] or 'no reason given'}"
        else:
            said = f"{outcome['standing']}, by {outcome['by']}, {after}, {outcome.get('bytes', 0)} bytes"
        late = "it began after its permit had run out" if outcome.get("late") else ""
        _part(console, "" if number else "outcome", outcome["result"], said, late)
        _values(console, "", outcome.get("selected", {}), "kept of the result" if outcome.get("selected") else "")


def _show_task(console: Console, found: Mapping[str, Any]) -> None:
    console.print(Text.assemble((found["state"], "bold blue"), "  task under ", (printable(found["intent"]), "bold")))
    verbatim(console, f"{found['id']}  {moment(found['at'])}", style="dim", indent=2)
    console.print()
    if found["emergency"]:
        _part(console, "", "EMERGENCY")
    _part(console, "workload", found["workload"])
    behalf = f"on behalf of {found['onBehalfOf']}" if found["onBehalfOf"] else ""
    _part(console, "starter", found["starter"], behalf)
    if found["caseType"]:
        _part(console, "case", found["caseType"])
    _part(console, "expires", moment(found["expires"]))
    if found["parent"]:
        _part(console, "parent", found["parent"])
    if found["children"]:
        _part(console, "children", *found["children"])
    _values(console, "params", found["params"])
    if found["prompt"]:
        labelled(console, Text("prompt", style="bold"), [written(found["prompt"])], column=_LABEL + 2)
    limits = {
        limit["name"]: f"{limit['calls']} calls" if limit["calls"] is not None else f"a sum of {limit['atMost']}"
        for limit in found["limits"] or ()
    }
    _values(console, "limits", limits)
    decisions = found["decisions"]
    _part(console, "decisions", f"{decisions['permit']} permitted, {decisions['deny']} refused")
    for number, change in enumerate(found["history"]):
        why = f": {change['reason']}" if change["reason"] else ""
        said = f"{change['state']} {moment(change['at'])} by {change['by']}{why}"
        _part(console, "" if number else "then", said)


def _show_record(console: Console, found: Mapping[str, Any]) -> None:
    by = found["decidedBy"]
    parts = [f"{name} {by[name][:12]}" for name in ("policies", "intents", "catalogue", "windows") if by.get(name)]
    _part(console, "decided by", f"configuration {by['config'][:12]}", ", ".join(parts))
    record = found["record"]
    _part(console, "record", f"number {record['n']} of {record['stream']}")
    if "published" in record:
        at = record["published"]
        _part(console, "published", "pending: not in the published log yet" if at is None else f"entry {at} of the log")
    _part(console, "hash", record["hash"])
    _part(console, "previous", record["previous"] or "none: it is the first of its stream")
    if "request" in found:
        _part(console, "digest", found["request"]["digest"])


# --- building blocks ----------------------------------------------------------------------------------------


def _part(console: Console, label: str, *lines: str) -> None:
    """A label and its lines: the first one plain, the others dim; empty ones are left out."""
    said = [line for line in lines if line]
    bodies = [Text(printable(line), style="dim" if number else "") for number, line in enumerate(said)]
    labelled(console, Text(label, style="bold"), bodies, column=_LABEL + 2)


def _values(console: Console, label: str, values: Mapping[str, Any], note: str = "") -> None:
    """Names and values under a label."""
    if not values:
        return
    if label or note:
        _part(console, label, note)
    rows = [(Text(printable(name)), written(value)) for name, value in values.items()]
    pairs(console, rows, indent=_LABEL + 2)


def written(value: Any) -> Text:
    """A value of a record; personal ones are marked, erased ones said to be."""
    if isinstance(value, dict) and len(value) == 1:
        (key, inner), = value.items()  # fmt: skip
        if key == "personal":
            return written(inner).append("  personal", style="yellow")
        if key == "erased":
            if isinstance(inner, dict):
                who = f"erased on {moment(inner['at'])} by {printable(inner['by'])}"
                return Text.assemble((who, "yellow"), (f"  commitment {inner['commitment'][:12]}…", "dim"))
            return Text.assemble(("erased", "yellow"), (f"  commitment {str(inner)[:12]}…", "dim"))
        if key == "unreadable":
            return Text("kept, and does not open: changed, moved, or sealed under another key", style="bold red")
        if key == "absent":
            return Text("absent", style="yellow")
        if key == "forged":
            return written(inner).append("  does not fit its commitment", style="bold red")
    if isinstance(value, dict) and value.keys() == {"sha256", "bytes"}:
        return Text.assemble(f"{value['bytes']} bytes", (f"  SHA-256 {str(value['sha256'])[:12]}…", "dim"))
    simple = readable(value)
    if isinstance(simple, str):
        return Text(printable(simple) if simple else '""')
    return Text(printable(msgspec.json.encode(simple).decode()))
