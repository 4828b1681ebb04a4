"""HTML and SVG from nested elements: whatever is not an element is escaped, so no value can become markup."""

from __future__ import annotations

from html import escape
from typing import Final

from remit.console.screen import printable

_VOID: Final = frozenset({"meta", "br"})
_NAMES: Final = {"class_": "class", "for_": "for", "http_equiv": "http-equiv"}


class Html(str):
    """Markup that this module made."""

    __slots__ = ()


def element(tag: str, /, *children: str | int | None, **attributes: str | float | None) -> Html:
    """One element; children and attributes that are None are left out, `_` in an attribute's name stands for `-`."""
    given = "".join(
        f' {_NAMES.get(key) or key.replace("_", "-")}="{_text(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{''.join(_text(child) for child in children if child is not None)}</{tag}>")


def joined(*children: str | int | None) -> Html:
    """Elements and texts one after the other."""
    return Html("".join(_text(child) for child in children if child is not None))


def _text(value: str | int) -> str:
    if isinstance(value, Html):
        return value
    # SECURITY: records quote what an agent and its tools wrote; nothing of it may become markup, or turn text around.
    return escape(printable(str(value)), quote=True)


def _number(value: str | float) -> str:
    """Coordinates with one decimal, which is all that a picture needs."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
