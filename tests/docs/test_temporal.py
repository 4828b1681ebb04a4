"""`docs/guides/temporal.md` is kept true: its commands and its conditions."""

from __future__ import annotations

import re

from remit.policy.dogwood import rules
from remit.policy.dogwood.conditions import parse
from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/temporal.md").read_text("utf-8")


def test_its_commands_say_what_the_page_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/temporal.md`\n" + "\n".join(differences)


def test_its_conditions_and_macros_are_read() -> None:
    blocks = re.findall(r"```dogwood\n(.*?)```", PAGE, re.DOTALL)
    conditions = [block for block in blocks if not block.startswith(("@", "def", "forbid"))]
    assert len(conditions) == 2
    for block in conditions:
        parse(block)
    (macros,) = [block for block in blocks if block.startswith("def")]
    assert {"consented", "is_high"} <= set(rules.read("policies/page.dw", macros, {}).macros)


def test_it_names_every_macro_that_is_shipped() -> None:
    assert all(f"`{name}(" in PAGE for name in rules.library([(rules.SHIPPED, rules.shipped())]))
