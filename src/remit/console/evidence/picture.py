"""The controls of all frameworks by state: a tile each, told apart by sign and pattern, not by colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from remit.console.evidence.pack import ControlShown, FrameworkShown
from remit.console.html import Html, element

_LEFT: Final = 232  # where tiles begin
_WIDTH: Final = 76
_HEIGHT: Final = 40
_GAP: Final = 6
_PER_ROW: Final = 10
_WHOLE: Final = _LEFT + _PER_ROW * (_WIDTH + _GAP)
_BETWEEN: Final = 18
_SIGNS: Final = {"evidence": "✓", "gap": "○", "not covered": "–"}
_CLASSES: Final = {"evidence": "evidence", "gap": "gap", "not covered": "uncovered"}


def picture(frameworks: Iterable[FrameworkShown]) -> Html:
    """The SVG of these frameworks, one below the other."""
    parts: list[Html] = []
    top = 4
    for framework in frameworks:
        name, _, rest = framework.name.partition(" for ")
        lines = [name, f"for {rest}"] if rest else _wrapped(name)
        for number, line in enumerate(lines):
            parts.append(element("text", line, x=0, y=top + 16 + 16 * number, class_="name"))
        parts.append(element("text", framework.version, x=0, y=top + 16 + 16 * len(lines), class_="version"))
        rows = list(_rows(framework.controls))
        for row, controls in enumerate(rows):
            for column, control in enumerate(controls):
                x, y = _LEFT + column * (_WIDTH + _GAP), top + row * (_HEIGHT + _GAP)
                parts.append(_tile(framework, control, x, y))
        top += max(len(rows) * (_HEIGHT + _GAP), 16 * (len(lines) + 2)) + _BETWEEN
    label = "Controls of each framework by state; the list below says the same in words"
    return element("svg", *parts, viewBox=f"0 0 {_WHOLE} {top}", role="group", aria_label=label)


def _tile(framework: FrameworkShown, control: ControlShown, x: int, y: int) -> Html:
    middle = x + _WIDTH / 2
    said = f"{control.id} {control.title}: {control.state}{', needs a look' if control.concerns else ''}"
    flag = (
        element("circle", cx=x + _WIDTH - 3, cy=y + 4, r=8, class_="flag"),
        element("text", "!", x=x + _WIDTH - 3, y=y + 8, class_="bang"),
    )
    return element(
        "a",
        element("title", said),
        element("rect", x=x, y=y, width=_WIDTH, height=_HEIGHT, rx=5, class_="tile"),
        element("text", control.id, x=middle, y=y + 18, class_="id"),
        element("text", _SIGNS[control.state], x=middle, y=y + 33, class_="sign"),
        *(flag if control.concerns else ()),
        href=f"#{framework.id}-{control.id}",
        class_=_CLASSES[control.state],
    )


def _rows(controls: Sequence[ControlShown]) -> Iterator[list[ControlShown]]:
    """Rows of tiles; where controls belong to others, each of these begins a row."""
    is_nested = any(control.part_of for control in controls)
    row: list[ControlShown] = []
    for control in controls:
        if row and (len(row) == _PER_ROW or (is_nested and not control.part_of)):
            yield row
            row = []
        row.append(control)
    if row:
        yield row


def _wrapped(name: str) -> list[str]:
    """A name in lines that fit beside the tiles."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + len(word) > 26:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
