"""The parts of a pack's page behind its controls: figures with samples, mechanisms, changes, privileges without use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from remit.console.evidence.frameworks import meanings
from remit.console.evidence.pack import Changed, Enforced, Pack, Sample, Shown
from remit.console.html import Html, element, joined

_IN_A_CELL: Final = 5  # names of a breakdown


def figures(pack: Pack) -> Html:
    """All figures, each with its definition, how it divides, and its samples."""
    return element(
        "section",
        element("h2", "Figures and samples", id="figures"),
        element(
            "p",
            "Each figure is counted from the records of the period by the rule beside it. Samples are chosen by the "
            "rule on the first page; the leaf is the hash by which a record is found again in the log.",
        ),
        *(_figure(each) for each in pack.figures),
    )


def _figure(figure: Shown) -> Html:
    of = f" of {number(figure.of)} {figure.of_what}" if figure.of is not None else ""
    kinds = meanings()[figure.id].kinds
    return element(
        "article",
        element(
            "header",
            element("h3", figure.title),
            element(
                "span",
                f"{number(figure.value)} {figure.unit}{of}",
                class_="badge concern" if figure.concern else "soft",
            ),
        ),
        element(
            "p",
            figure.definition,
            f" Counted from: {', '.join(kinds) if kinds else 'all kinds of records'}.",
            class_="soft",
        ),
        _breakdown(figure) if figure.by else None,
        _samples(figure.samples) if figure.samples else None,
        id=f"figure-{figure.id}",
    )


def _breakdown(figure: Shown) -> Html:
    rows = (
        element("tr", element("td", name or "(none)"), element("td", number(times), class_="n"))
        for name, times in figure.by.items()
    )
    more = (
        element("tr", element("td", f"and {figure.more} more", class_="soft"), element("td")) if figure.more else None
    )
    head = element("tr", element("th", "By"), element("th", figure.unit, class_="n"))
    return element("table", element("thead", head), element("tbody", *rows, more))


def _samples(samples: Iterable[Sample]) -> Html:
    rows = (
        element(
            "tr",
            element("td", each.at, class_="t"),
            element("td", each.says, element("br"), element("span", element("code", each.id), class_="soft")),
            element("td", f"{each.n} of ", element("code", each.stream), element("br"),
                    element("span", "leaf ", element("code", each.leaf[:24] + "…"), class_="soft")),
            element("td", _proof(each), class_="t"),
        )
        for each in samples
    )  # fmt: skip
    head = element(
        "tr", *(element("th", name) for name in ("Sampled record", "What it says", "Where it stands", "Proof"))
    )
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def mechanisms(pack: Pack) -> Html:
    """What enforces: where it is described, and by what it is seen."""
    found: dict[str, Enforced] = {}
    for framework in pack.frameworks:
        for control in framework.controls:
            for each in control.enforced:
                found.setdefault(each.mechanism, each)
    return element(
        "section",
        element("h2", "Mechanisms", id="mechanisms"),
        element("p", "Pages are those of Remit's documentation, of the version that made this pack.", class_="soft"),
        element("dl", *(_mechanism(each) for each in found.values()), class_="mechanisms"),
    )


def _mechanism(each: Enforced) -> Html:
    seen = [
        (what, ", ".join(names))
        for what, names in (
            ("settings", each.settings),
            ("kinds of records", each.records),
            ("codes of reasons and errors", each.codes),
            ("commands", [f"remit {name}" for name in each.commands]),
        )
        if names
    ]
    rows = (element("div", element("span", f"{what}: ", class_="soft"), element("code", names)) for what, names in seen)
    page = element("div", element("span", "page: ", class_="soft"), element("code", each.page))
    return joined(
        element("dt", each.name, id=f"mechanism-{each.mechanism}"), element("dd", prose(each.says), page, *rows)
    )


def prose(text: str) -> Html:
    """A sentence in which what stands between backticks is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return joined(text)
    return joined(*(element("code", part) if number_ % 2 else part for number_, part in enumerate(parts)))


def _proof(sample: Sample) -> Html | str:
    return element("a", "receipt", href=sample.receipt) if sample.receipt else f"none: {sample.without}"


def changes(pack: Pack) -> Html | None:
    """What changed of what decides."""
    if not pack.changes:
        return None
    return element(
        "section",
        element("h2", "Changes of what decides", id="changes"),
        element(
            "p",
            "Policies, intents, catalogue, windows and settings, by name. Who made and approved a change stands in "
            "the project's version control; the texts behind the digests are kept with the records.",
        ),
        *(_change(each) for each in pack.changes),
    )


def _change(change: Changed) -> Html:
    rows = (
        element(
            "tr",
            element("td", part),
            element("td", *(_named(how, names) for how, names in found.items()), None if found else "(not told)"),
            element("td", *_digests(change.digests[part])),
        )
        for part, found in change.parts.items()
    )  # fmt: skip
    head = element("tr", *(element("th", name) for name in ("Part", "What changed", "Digests")))
    return element(
        "article",
        element(
            "header", element("h3", change.at), element("span", element("code", change.config), class_="soft small")
        ),
        element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll"),
    )


def _digests(both: list[str]) -> tuple[Html, str, Html]:
    return element("code", _short(both[0])), " → ", element("code", _short(both[1]))


def _named(how: str, names: list[str]) -> Html:
    return element("div", f"{how}: {', '.join(names)}")


def unused(pack: Pack) -> Html | None:
    """The privileges that were held without use."""
    if not pack.privileges_known:
        return element(
            "p", "Which privileges were held can't be said: texts of the configuration are not kept.", class_="note gap"
        )
    if not pack.unused:
        return None
    grouped: dict[tuple[str, str], list[str]] = {}
    for each in pack.unused:
        grouped.setdefault((each.workload, each.intent), []).append(each.action)
    rows = (
        element("tr", element("td", workload), element("td", intent), element("td", ", ".join(actions)))
        for (workload, intent), actions in grouped.items()
    )
    head = element("tr", *(element("th", name) for name in ("Workload", "Intent", "Actions never permitted to it")))
    more = element("p", f"and {number(pack.unused_more)} more", class_="soft") if pack.unused_more else None
    return element(
        "section",
        element("h2", "Privileges held without use", id="unused"),
        element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll"),
        more,
    )


# --- small things -------------------------------------------------------------------------------------------------


def link(figure: Shown) -> Html:
    """A link to a figure."""
    return element("a", figure.title, href=f"#figure-{figure.id}")


def value(figure: Shown) -> str:
    """A figure's value, and what it is counted among."""
    unit = f" {figure.unit}" if figure.unit == "days" else ""
    of = f" of {number(figure.of)}" if figure.of is not None and figure.unit != "days" else ""
    return f"{number(figure.value)}{unit}{of}"


def parts_of(figure: Shown, most: int = _IN_A_CELL) -> str:
    """How a figure divides, in a line."""
    named = [f"{name or '(none)'} {number(times)}" for name, times in list(figure.by.items())[:most]]
    left = len(figure.by) - most + figure.more if len(figure.by) > most else figure.more
    return ", ".join(named) + (f", and {left} more" if left > 0 else "")


def _short(digest: str) -> str:
    return f"{digest[:12]}…" if digest else "(none)"


def number(given: int) -> str:
    """A number as people read it."""
    return f"{given:,}"
