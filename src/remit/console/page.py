"""One self-contained page: no script, no network, one style sheet that its policy names by its hash."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from remit.console.html import Html, element, joined

STYLE: Final = Path(__file__).with_name("page.css").read_text("utf-8")


def document(title: str, *body: str) -> str:
    """The whole page; `title` is text, `body` are elements."""
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
    return f"<!doctype html>\n{element('html', head, element('body', *body), lang='en')}\n"


def facts(pairs: list[tuple[str, str]]) -> Html:
    """Names and values."""
    return element("dl", *(joined(element("dt", name), element("dd", value)) for name, value in pairs), class_="facts")


def counts(given: list[tuple[str, str, str]]) -> Html:
    """Figures at a glance: (figure, what it counts, class)."""
    items = (
        element("li", element("b", figure), element("span", what), class_=look or None) for figure, what, look in given
    )
    return element("ul", *items, class_="counts")
