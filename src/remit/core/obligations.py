"""What an enforcement point may be obliged to, and how the obligations of several policies become one set.

| id | what the enforcement point must do | where it comes from |
|---|---|---|
| `redact` | remove these fields of the result | the catalogue, `@redact` |
| `limit` | pass on at most so many elements of these lists, and so many bytes | `@limit` |
| `notify` | tell a declared notifier, before the action | `@notify` |
| `select` | report these fields of the result in the outcome | the catalogue |
| `report_first` | have the outcome in order before the result leaves | an intent's order |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from remit.core.decisions import Obligation, Reason

REDACT: Final = "redact"
LIMIT: Final = "limit"
NOTIFY: Final = "notify"
SELECT: Final = "select"
REPORT_FIRST: Final = "report_first"
KNOWN: Final = frozenset({REDACT, LIMIT, NOTIFY, SELECT, REPORT_FIRST})

_ORDER: Final = (REDACT, LIMIT, SELECT, NOTIFY, REPORT_FIRST)


def join(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """All of them together, the strictest of each: fields and notifiers are united, of two limits the lower one holds.

    Whoever fulfils the result fulfils each that went in. The order in which they come makes no difference, nor does
    one that comes twice. At most one of each id comes out, and one `notify` for each notifier.
    """
    fields: dict[str, set[str]] = {}
    items: dict[str, int] = {}
    size = 0
    notifiers: set[str] = set()
    for each in obligations:
        fields.setdefault(each.id, set()).update(each.fields)
        for path, most in each.items.items():
            # SECURITY: a second policy can lower a limit, never raise it.
            items[path] = min(most, items.get(path, most))
        if each.bytes:
            size = min(each.bytes, size or each.bytes)
        if each.id == NOTIFY:
            notifiers.add(each.to)
    joined: list[Obligation] = []
    for id_ in (*_ORDER, *sorted(fields.keys() - KNOWN)):
        if id_ not in fields:
            continue
        if id_ == NOTIFY:
            joined += [Obligation(id=NOTIFY, to=name) for name in sorted(notifiers)]
        elif id_ == LIMIT:
            joined.append(Obligation(id=LIMIT, items=dict(sorted(items.items())), bytes=size))
        else:
            joined.append(Obligation(id=id_, fields=tuple(sorted(fields[id_]))))
    return tuple(joined)


def unsupported(ids: Iterable[str], permitted: Reason) -> Reason:
    """The denial of a permit, for an enforcement point that did not say that it can fulfil these obligations."""
    named = ", ".join(f"`{id_}`" for id_ in sorted(ids))
    return Reason(
        code="obligation_unsupported",
        message=f"a permit would oblige to {named}, which this enforcement point did not say it can do",
        next_step="use one that can; it says so with each question, in `context.supported_obligations`",
        policies=permitted.policies,
    )


def terms(obligation: Obligation) -> tuple[str, ...]:
    """What it demands, as text: the fields, `output.customers=100`, `bytes=65536`, the notifier."""
    limits = [f"{f'output.{path}' if path else 'output'}={most}" for path, most in obligation.items.items()]
    size = [f"bytes={obligation.bytes}"] if obligation.bytes else []
    return (*obligation.fields, *limits, *size, *([obligation.to] if obligation.to else []))
