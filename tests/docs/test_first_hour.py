"""`docs/guides/first-hour.md`: every command runs, on a third-party server, and prints what the page says."""

from __future__ import annotations

import shutil

import pytest

from tools.transcript import ROOT, transcribe

PAGE = ROOT / "docs/guides/first-hour.md"
FILES = (ROOT / "node_modules/.bin/mcp-server-filesystem").exists() and shutil.which("npx") is not None


@pytest.mark.skipif(not FILES, reason="npm @modelcontextprotocol/server-filesystem is not installed here")
def test_the_first_hour_is_as_the_page_says() -> None:
    _, differences = transcribe(PAGE.read_text("utf-8"))
    assert not differences, "run `python tools/transcript.py docs/guides/first-hour.md`\n" + "\n".join(differences)
