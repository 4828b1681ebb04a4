"""`docs/guides/replay.md`: its commands print what it says, and its table has every category."""

from __future__ import annotations

import re

import pytest

from remit.console.replay import CATEGORIES
from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/replay.md").read_text("utf-8")


def test_every_category_stands_in_the_table() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| ", PAGE, re.MULTILINE)
    assert [row for row in rows if row in CATEGORIES] == list(CATEGORIES)


@pytest.mark.timeout(300)
def test_its_commands_print_what_it_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/replay.md`\n" + "\n".join(differences)
