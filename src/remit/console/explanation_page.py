"""An explanation as one self-contained page: no script, no network."""

from __future__ import annotations

from remit.console.explanation import Explained, Explanation, Level, Temporal, age_in_words, written
from remit.console.html import Html, element, joined
from remit.console.page import document, facts
from remit.console.rows import name_of
from remit.console.screen import moment
from remit.policy.traced import Clause

_LEAF = "context.temporal."


def explanation_page(found: Explanation, now: int) -> str:
    """The page."""
    body: list[Html] = [
        element("h1", f"{found.effect}: {found.action}"),
        element("p", element("b", found.reason), f": {found.message}"),
    ]
    if found.disagrees:
        body.append(element("p", element("b", f"The trace disagrees: {found.disagrees}.", class_="deny")))
    if found.note:
        body.append(element("p", found.note, class_="soft"))
    known = [("Workload", name_of(found.workload)), ("When", moment(found.at)), ("Configuration", found.config)]
    body.append(facts([("Decision", found.id), *known] if found.id else known))
    for level in found.levels:
        body += [element("h2", f"Policies for the task {level.task}, intent {level.intent}"), _policies(level)]
        body += [element("h2", "Facts that were read"), _facts(level)]
    body.append(element("footer", f"Written {moment(now)}; times are local."))
    return document(f"Why: {found.action}", *body)


def _policies(level: Level) -> Html:
    rows = [_policy(each) for each in level.policies]
    more = f"{level.elsewhere} more are about other principals, resources or intents" if level.elsewhere else None
    return joined(*rows, element("p", more, class_="soft") if more else None)


def _policy(each: Explained) -> Html:
    head = element(
        "summary",
        element("b", each.trace.status, class_="permit" if each.trace.status == "matched" else None),
        f" {each.trace.effect} {each.id} ",
        element("span", f"{each.path}:{each.line}", class_="soft") if each.path else None,
    )
    conditions = element("ul", *(_clause(clause, each.temporal) for clause in each.trace.conditions), class_="plain")
    is_open = "open" if each.trace.status != "not matched" or each.temporal else None
    return element("details", head, conditions, open=is_open)


def _clause(clause: Clause, temporal: dict[str, Temporal]) -> Html:
    below = [_clause(part, temporal) for part in clause.parts if part.text != clause.text]
    for name, part in temporal.items():
        if clause.reads == _LEAF + name:
            below = [_temporal(part)]
    return element(
        "li",
        element("b", _value(clause), class_=_look(clause.value) if clause.state == "value" else "warn"),
        " ",
        element("code", clause.text),
        element("ul", *below, class_="plain") if below else None,
    )


def _temporal(part: Temporal) -> Html:
    events = [
        element(
            "li", f"{moment(event.at)} ", "the request itself" if event.is_now else f"{event.what} {event.decision}"
        )
        for event in part.events
    ]
    values = [element("li", value) for value in part.values]
    below = [_temporal(each) for each in part.parts]
    return element(
        "li",
        element("b", "true" if part.holds else "false", class_=_look(part.holds)),
        " ",
        element("code", part.text),
        element("ul", *values, *events, *below, class_="plain") if values or events or below else None,
    )


def _facts(level: Level) -> Html:
    head = element("tr", *(element("th", name) for name in ("fact", "value", "source", "age")))
    rows = [
        element(
            "tr",
            element("td", element("code", fact.path)),
            element("td", written(fact.value)),
            element("td", fact.source),
            element("td", age_in_words(fact.age) if fact.age is not None else "", class_="t"),
        )
        for fact in level.facts
    ]
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _value(clause: Clause) -> str:
    return written(clause.value) if clause.state == "value" else clause.state


def _look(value: object) -> str | None:
    return {True: "permit", False: "deny"}.get(value) if isinstance(value, bool) else None
