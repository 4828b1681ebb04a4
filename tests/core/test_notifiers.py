"""`[[notifiers]]`: what can be declared, and where a mistake is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from remit.core.settings import read_settings

HEAD = 'trust_domain = "example.org"\n'


def read(folder: Path, *tables: str) -> tuple[str, ...]:
    text = HEAD + "".join(f"[[notifiers]]\n{table}\n" for table in tables)
    (folder / "remit.toml").write_text(text)
    return tuple(notifier.name for notifier in read_settings(folder).notifiers)


@pytest.mark.parametrize(
    "table",
    [
        'name = "a"\nfile = "audit.jsonl"',
        'name = "a"\nfile = "/var/log/remit/audit.jsonl"\nper_minute = 6000',
        'name = "a"\nurl = "https://hooks.example.org/remit?channel=5"\nsecret_file = "s"',
        'name = "a"\nurl = "http://127.0.0.1:8080/"\nsecret_file = "s"',
        'name = "a"\nurl = "http://[::1]:8080/"\nsecret_file = "s"',
        'name = "a"\nurl = "http://localhost:8080/"\nsecret_file = "s"',
    ],
)
def test_a_notifier(tmp_path: Path, table: str) -> None:
    assert read(tmp_path, table) == ("a",)


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ('name = "a"', 2, "not clear where `a` delivers to"),
        ('name = "a"\nfile = "f"\nurl = "https://example.org"\nsecret_file = "s"', 2, "not clear where"),
        ('name = "a"\nurl = "https://example.org"', 2, "no secret is named"),
        ('name = "a"\nfile = "f"\nsecret_file = "s"', 5, "a file is not signed"),
        ('name = "a"\nurl = "http://hooks.example.org"\nsecret_file = "s"', 4, "http and not on this machine"),
        ('name = "a"\nurl = "http://127.0.0.1.example.org"\nsecret_file = "s"', 4, "http and not on this machine"),
        ('name = "a"\nurl = "http://169.254.169.254/"\nsecret_file = "s"', 4, "http and not on this machine"),
        ('name = "a"\nurl = "https://user:pass@example.org"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a"\nurl = "https://example.org#part"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a"\nurl = "file:///etc/passwd"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a"\nurl = "gopher://example.org"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a"\nurl = "https://"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a"\nurl = "https://example.org:99999"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a"\nurl = "https://exa mple.org"\nsecret_file = "s"', 4, "not where a webhook can be sent"),
        ('name = "a.b"\nfile = "f"', 3, "regex"),
        ('name = "a"\nfile = "f"\nper_minute = 0', 5, ">= 1"),
        ('name = "a"\nfile = "f"\nsecret = "x"', 5, "unknown field"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, table: str, line: int, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(tmp_path, table)
    assert words in caught.value.message
    assert caught.value.line == line


def test_two_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="`a` is declared twice") as caught:
        read(tmp_path, 'name = "a"\nfile = "f"', 'name = "a"\nfile = "g"')
    assert caught.value.line == 6
