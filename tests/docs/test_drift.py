"""`docs/guides/drift.md` is kept true: its commands, its policy and its arithmetic."""

from __future__ import annotations

import re
from pathlib import Path

from remit.app.folder import Folder
from remit.app.project import load_project
from remit.core.risk import DenialSettings, NoveltySettings, RiskSettings
from tests.policy.project import loaded, write
from tools.transcript import ROOT, transcribe

PAGE = (ROOT / "docs/guides/drift.md").read_text("utf-8")


def test_its_commands_say_what_the_page_says() -> None:
    _, differences = transcribe(PAGE)
    assert not differences, "run `python tools/transcript.py docs/guides/drift.md`\n" + "\n".join(differences)


def test_its_policy_loads_and_is_that_of_the_example(tmp_path: Path) -> None:
    (example,) = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)
    assert "new-destinations" in loaded(write(tmp_path, guide=example)).refs
    assert example in (ROOT / "examples/drift/policies/unusual.cedar").read_text("utf-8")


def test_eighty_means_what_it_says() -> None:
    novelty, denials = NoveltySettings(), DenialSettings()
    assert (4 * novelty.permitted, 2 * novelty.refused) == (80, 80)
    assert denials.value < 80 <= 2 * denials.value
    assert (2 * denials.count, denials.within_seconds) == (40, 600)
    assert RiskSettings().quarantine_at == 0


def test_the_example_writes_out_the_defaults() -> None:
    settings, _ = load_project(Folder(ROOT / "examples" / "drift"))
    assert settings.novelty == NoveltySettings()
