"""`docs/guides/reading.md`: its commands print what it says, and its pictures are there."""

from __future__ import annotations

from remit.console.lineage import NOT_SEEN
from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/reading.md").read_text("utf-8")


def test_its_commands_print_what_it_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/reading.md`\n" + "\n".join(differences)


def test_what_can_not_be_seen_is_on_the_page() -> None:
    assert len(NOT_SEEN) == 5
    assert "What it can not see" in PAGE


def test_its_pictures_are_modest() -> None:
    for name in ("story.png", "lineage.png"):
        assert 0 < (ROOT / "docs/images" / name).stat().st_size < 200_000
