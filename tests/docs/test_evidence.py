"""`docs/guides/evidence.md`: its commands print what it says."""

from __future__ import annotations

import pytest

from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/evidence.md").read_text("utf-8")


@pytest.mark.timeout(300)  # every command is a process of its own
def test_its_commands_print_what_it_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/evidence.md`\n" + "\n".join(differences)
