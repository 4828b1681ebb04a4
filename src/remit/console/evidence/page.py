"""A pack as one self-contained page that is handed in: no script, no network, printable, light and dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from remit.console.evidence import seal
from remit.console.evidence.pack import ControlShown, Enforced, FrameworkShown, Pack, Shown, State
from remit.console.evidence.picture import picture
from remit.console.evidence.tables import changes, figures, link, mechanisms, number, parts_of, prose, unused, value
from remit.console.html import Html, element, joined

STYLE: Final = Path(__file__).with_name("page.css").read_text("utf-8")

LOOK: Final[Mapping[State, str]] = {"evidence": "evidence", "gap": "gap", "not covered": "uncovered"}
_FIRST: Final = ("decided", "permitted", "denied", "no-outcome", "unused-privileges", "ownerless",
                 "permitted-after-stop", "changes")  # fmt: skip


def page(pack: Pack) -> str:
    """The page of a pack."""
    title = f"Evidence: {pack.trust_domain}, {pack.from_} to {pack.to}"
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    # SECURITY: should a value ever become markup, nothing of it runs, is loaded or is sent.
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        _head(pack),
        _summary(pack),
        _checking(pack),
        *(_framework(each, pack) for each in pack.frameworks),
        figures(pack),
        changes(pack),
        unused(pack),
        mechanisms(pack),
        element(
            "footer",
            f"Made by Remit {pack.remit} at {pack.created} from the records of {pack.trust_domain}. What a mapping "
            "says of a framework is in our own words; the named source counts. This pack is material for a judgement, "
            "and not the judgement.",
        ),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


# --- the first page -----------------------------------------------------------------------------------------------


def _head(pack: Pack) -> Html:
    log = pack.log
    facts: list[tuple[str, str]] = [
        (
            "Period",
            joined(f"from {pack.from_} up to, and not including, {pack.to}", "" if pack.over else " (not over yet)"),
        ),
        ("Installation", joined("trust domain ", element("code", pack.trust_domain))),
        ("Made", f"{pack.created}, by Remit {pack.remit}"),
        (
            "Records",
            f"{number(pack.records.in_period)} of the period, of {number(pack.records.read)} read"
            + (f"; {number(pack.records.unreadable)} can't be read" if pack.records.unreadable else ""),
        ),
        ("Log", log.says),
    ]
    if log.published:
        facts.append(("Root", element("code", log.root)))
        facts.append(("Log's key", element("code", log.key)))
    facts.append(("Samples", f"{pack.sampling.rule} Seeded by {pack.sampling.rests_on}."))
    if pack.sampling.challenge:
        facts.append(("Auditor's word", element("code", pack.sampling.challenge)))
    return joined(
        element("div", "Evidence pack", class_="kicker"),
        element("h1", pack.trust_domain),
        element("p", ", ".join(f"{each.name} ({each.version})" for each in pack.frameworks), class_="soft"),
        element("dl", *(joined(element("dt", name), element("dd", value)) for name, value in facts), class_="facts"),
    )


def _summary(pack: Pack) -> Html:
    by_id = pack.by_id
    concerns = [by_id[id_] for id_ in pack.concerns if id_ in by_id]
    tiles = (
        element(
            "li",
            element("b", value(by_id[id_])),
            element("span", element("a", by_id[id_].title, href=f"#figure-{id_}")),
            class_="concern" if by_id[id_].concern else None,
        )
        for id_ in _FIRST
        if id_ in by_id
    )
    return joined(
        element("h2", "Summary", id="summary"),
        element(
            "div",
            element("p", element("b", "These figures should be 0 and are not:")),
            element("ul", *(element("li", link(each), f": {value(each)}") for each in concerns)),
            class_="note concern",
        )
        if concerns
        else None,
        element(
            "p",
            "No log was published: this pack proves nothing about its samples, beyond its own signature.",
            class_="note gap",
        )
        if not pack.log.published
        else None,
        element("ul", *tiles, class_="counts"),
        element(
            "figure",
            picture(pack.frameworks),
            element(
                "figcaption",
                "Controls by state. ✓ evidence: records of the period show it at work. ○ gap: Remit enforces it, and "
                "no record of the period shows that. – not covered: Remit does nothing for it. A red mark: a figure "
                "that should be 0 is not. Evidence never means that a control is met in full: each says what is not "
                "covered.",
            ),
        ),
        *(_states(each) for each in pack.frameworks),
    )


def _states(framework: FrameworkShown) -> Html:
    said = ", ".join(f"{number} {state}" for state, number in framework.states.items() if number)
    return element("p", element("a", framework.name, href=f"#{framework.id}"), f": {said}.")


def _checking(pack: Pack) -> Html:
    command = "remit evidence verify PACK --key KEY" + (" --log-key LOGKEY" if pack.log.published else "")
    return joined(
        element("h2", "How to check this", id="check"),
        element(
            "p",
            "Get the public key of packs (",
            element("code", "remit evidence key"),
            ")",
            joined(" and that of the log (", element("code", "remit log key"), ")") if pack.log.published else "",
            " from the operator by another way than this pack, and run where you trust the machine:",
        ),
        element("pre", command),
        element(
            "p",
            f"That checks the signature over all files ({seal.SIGNATURE}), every digest, and every receipt against "
            "the checkpoint, without the operator's machine. ",
            "With the whole log, ",
            element("code", "remit verify"),
            " checks all records that the figures were counted from, and whoever "
            "holds them can count again and repeat the choice of samples.",
        ),
    )


# --- frameworks ---------------------------------------------------------------------------------------------------


def _framework(framework: FrameworkShown, pack: Pack) -> Html:
    source = joined(
        f"{framework.document}, {framework.version}, {framework.publisher}: ",
        element("a", framework.url, href=framework.url, rel="noreferrer"),
    )
    return element(
        "section",
        element("h2", f"{framework.name} {framework.version}", id=framework.id),
        element("p", source),
        element("p", f"Mapped: {framework.scope}", class_="soft"),
        element("p", f"Read for this mapping (version {framework.mapping}): {framework.consulted}", class_="soft"),
        *(_control(framework, each, pack) for each in framework.controls),
    )


def _control(framework: FrameworkShown, control: ControlShown, pack: Pack) -> Html:
    by_id = pack.by_id
    counted = [by_id[id_] for id_ in control.figures]
    return element(
        "article",
        element(
            "header",
            element("h3", f"{control.id} {control.title}"),
            element("span", control.state, class_=f"badge {LOOK[control.state]}"),
            element("span", "needs a look", class_="badge concern") if control.concerns else None,
        ),
        element(
            "p", f"{control.source.document}, {control.source.version}, {control.source.section}", class_="soft small"
        ),
        element("h4", "What it asks"),
        element("p", prose(control.asks)),
        joined(element("h4", "How Remit enforces it"), element("ul", *map(_enforced, control.enforced)))
        if control.enforced
        else None,
        _gap([by_id[id_] for id_ in control.evidence]) if control.state == "gap" else None,
        joined(element("h4", "Figures of the period"), _table(counted)) if counted else None,
        element(
            "div",
            element("h4", "What is not covered"),
            element("ul", *(element("li", prose(said)) for said in control.not_covered)),
            class_="uncoveredbox",
        ),
        id=f"{framework.id}-{control.id}",
        class_="below" if control.part_of else None,
    )


def _enforced(each: Enforced) -> Html:
    name = element("a", each.name, href=f"#mechanism-{each.mechanism}")
    return element("li", element("b", name), ": ", prose(each.how))


def _gap(wanted: Iterable[Shown]) -> Html:
    looked = ", ".join(each.title for each in wanted)
    return element("p", f"No record of the period shows it at work. Looked for: {looked}.", class_="note gap")


def _table(counted: Iterable[Shown]) -> Html:
    rows = (
        element(
            "tr",
            element("td", link(each)),
            element("td", value(each), class_="n concern" if each.concern else "n"),
            element("td", parts_of(each)),
        )
        for each in counted
    )
    head = element("tr", element("th", "Figure"), element("th", "Value", class_="n"), element("th", "Of these"))
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")
