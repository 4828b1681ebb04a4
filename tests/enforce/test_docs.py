"""The guide names every code that the enforcement points give."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CODE = re.compile(
    r'(?:FrameError|Unreadable|InvalidInput|Unavailable)\(\s*"([a-z_]+)"'
    r'|code="([a-z_]+)"|"code": "([a-z_]+)"|_gave_up\([^"]*"([a-z_]+)"'
)
INTERNAL = {"not_listed"}  # never shown: stands for the lack of a verdict


def test_every_code_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guides" / "gateway.md").read_text()
    codes = set()
    for path in (ROOT / "src" / "remit" / "enforce").glob("*.py"):
        codes |= {code for groups in CODE.findall(path.read_text()) for code in groups if code}
    assert len(codes) > 30
    assert {code for code in codes - INTERNAL if f"`{code}`" not in guide} == set()


def test_the_design_page_names_every_file() -> None:
    page = (ROOT / "docs" / "design" / "gateway.md").read_text()
    files = {path.name for path in (ROOT / "src" / "remit" / "enforce").glob("*.py")} - {"__init__.py"}
    assert {name for name in files if f"`{name}`" not in page} == set()
