"""`[ledger]`: what can't be published, served or witnessed as it is written stops the start, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from remit.core.ledger import LedgerSettings
from remit.core.settings import read_settings

KEY = "witness.example.org/w1+b9184a30+BN3myJN/e1n6EhN1fR4BoGoDUzXcevvYIVId41P9rF5q"
OTHER = "witness.example.org/w2+b9184a31+BA3myJN/e1n6EhN1fR4BoGoDUzXcevvYIVId41P9rF5q"
FOLDER = 'folder = ".remit/log"\n'


def settings(tmp_path: Path, text: str) -> LedgerSettings:
    (tmp_path / "remit.toml").write_text(f'trust_domain = "example.org"\n[ledger]\n{text}')
    return read_settings(tmp_path).ledger


def witness(url: str = "https://witness.example.org", key: str = KEY) -> str:
    return f'[[ledger.witnesses]]\nurl = "{url}"\nkey = "{key}"\n'


def test_witnesses_are_named_with_their_keys(tmp_path: Path) -> None:
    found = settings(
        tmp_path, FOLDER + "quorum = 2\nserve = true\n" + witness() + witness("http://[::1]:8190/w", OTHER)
    )
    assert [each.key for each in found.witnesses] == [KEY, OTHER]
    assert (found.quorum, found.serve) == (2, True)
    assert settings(tmp_path, FOLDER) == LedgerSettings(folder=".remit/log")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("serve = true\n", "nothing is published"),
        (witness(), "nothing is published"),
        (FOLDER + "quorum = 1\n", "the quorum is 1, and 0 witnesses are named"),
        (FOLDER + "quorum = 2\n" + witness(), "the quorum is 2, and 1 witnesses are named"),
        (FOLDER + "quorum = -1\n", ">= 0"),
        (FOLDER + witness("http://witness.example.org"), "https, or http on a loopback"),
        (FOLDER + witness("https://kim:secret@witness.example.org"), "https, or http on a loopback"),
        (FOLDER + witness("https://witness.example.org/?log=1"), "has no query"),
        (FOLDER + witness("https://witness.example.org/#x"), "https, or http on a loopback"),
        (FOLDER + witness(key="nothing"), "no verifier key"),
        (FOLDER + witness(key=KEY[:-2]), "no verifier key"),
        (FOLDER + witness() + witness("https://other.example.org"), "stands here already"),
        (FOLDER + witness() + witness(key=KEY.replace("w1", "w2")), "stands here already"),
        (FOLDER + witness() + 'color = "red"\n', "color"),
    ],
)
def test_what_can_not_be_so_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said) as caught:
        settings(tmp_path, text)
    assert caught.value.line > 1
