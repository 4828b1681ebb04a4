"""`[[bearer_keys]]`: every mistake is told with its line, and none makes a key that opens more than it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from remit.core.settings import Settings, read_settings

HEAD = """\
trust_domain = "example.org"
[[enforcement_points]]
name = "interop"
owner = "kim"
servers = []
[[enforcement_points]]
name = "other"
owner = "kim"
servers = []
"""
A, B = "a" * 64, "b" * 64


def read(folder: Path, text: str) -> Settings:
    (folder / "remit.toml").write_text(HEAD + text)
    return read_settings(folder)


def test_keys_of_one_identity_may_follow_one_another(tmp_path: Path) -> None:
    text = f'[[bearer_keys]]\nidentity = "pep/interop"\nsha256 = "{A}"\nexpires = 2027-01-01T00:00:00Z\n'
    text += f'[[bearer_keys]]\nidentity = "pep/interop"\nsha256 = "{B}"\n[[bearer_keys]]\nidentity = "pep/other"\n'
    assert [key.sha256 for key in read(tmp_path, text).bearer_keys] == [A, B, ""]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ('identity = "pep/nobody"', "this file declares no `pep/nobody`", 11),
        ('identity = "interop"', "this file declares no `interop`", 11),
        ('identity = "spiffe://example.org/pep/interop"', "this file declares no", 11),
        ('identity = ""', "this file declares no ``", 11),
        ('identity = "None/x"', "this file declares no", 11),
        (f'identity = "pep/interop"\nsha256 = "{A.upper()}"', "the digest is not", 12),
        ('identity = "pep/interop"\nsha256 = "the secret itself"', "the digest is not", 12),
        ('identity = "pep/interop"\nexpires = 2027-01-01T00:00:00', "the end has no time zone", 12),
        ('identity = "pep/interop"\nsecret = "x"', "unknown field", 12),
        (f'sha256 = "{A}"', "missing required field", 10),
        (
            f'identity = "pep/interop"\nsha256 = "{A}"\n[[bearer_keys]]\nidentity = "pep/other"\nsha256 = "{A}"',
            "have the same bearer key",
            14,
        ),
        (
            'identity = "pep/interop"\n[[bearer_keys]]\nidentity = "pep/interop"',
            "have the same bearer key",
            13,
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, line: int) -> None:
    with pytest.raises(DocumentError, match=message) as caught:
        read(tmp_path, f"[[bearer_keys]]\n{text}\n")
    assert caught.value.line == line


def test_more_keys_than_are_compared(tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        read(tmp_path, "".join(f'[[bearer_keys]]\nidentity = "pep/other"\nsha256 = "{n:064x}"\n' for n in range(65)))
