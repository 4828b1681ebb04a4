"""Every mistake in a policy is shown where it is: file, line, column, and the line with a mark below it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import DocumentError
from remit.core.excerpt import excerpt
from tests.policy.project import loaded, write

TOOLS = 'principal, action in Remit::Action::"tools", resource'


def mistake(tmp_path: Path, text: str) -> DocumentError:
    with pytest.raises(DocumentError) as told:
        loaded(write(tmp_path, rules=text))
    return told.value


# What is marked in a text, and a part of the message.
MISTAKES = [
    (f"forbid ({TOOLS})\nwhen {{ context.risk > 3 && context.risk > true }};", "context.risk > true", "saw true"),
    (
        f"forbid ({TOOLS})\nwhen {{ context.session.untrusted &&\n  context.task.intent == 3 }};",
        "context.task.intent == 3",
        "not compatible",
    ),
    (f"forbid ({TOOLS})\nwhen {{ context.sesion.untrusted }};", "sesion", "did you mean `session`"),
    (f'forbid ({TOOLS}) when {{ context.risk > 3 }}\nunless {{ principal.age > 3 }};', "age", "not found"),
    (f'forbid ({TOOLS.replace("tools", "tols")});', '"tols"', "did you mean `tools`"),
    (f'forbid ({TOOLS}) when {{ context.task.caseType == "a" }};', "caseType", "may be absent"),
    (
        f'forbid ({TOOLS}) when {{ context.task has caseType }} when {{ context.task.caseType == 1 }};',
        "context.task.caseType == 1",
        "not compatible",
    ),
    (f"forbid ({TOOLS}) when {{ context.risk > }};", "}", "unexpected token"),
    (f'forbid ({TOOLS}) when {{ principal.roles.contians("a") }};', "contians", "not a valid method"),
    (f'@id("a") forbid ({TOOLS});\n@id("a") permit ({TOOLS});', 'id', "stands twice"),
    (f'@id("remit:a")\nforbid ({TOOLS});', "id", "is reserved"),
    (f'@id("a")\n@notifyy("b")\nforbid ({TOOLS});', "@notifyy", "no obligation"),
    (f'@id("a")\n@redact("b")\npermit ({TOOLS});', "@redact", "not the path"),
    (f'forbid ({TOOLS}) when {{ decimal("1.0") < context.risk }};', 'decimal("1.0") < context.risk', "decimal"),
    (f'forbid ({TOOLS}) when {{ context.risk > 3 && ip("a").isIpv4() }};', '"a"', "IP address"),
    (f'forbid ({TOOLS.replace("principal", "principal is Remit::Wrkload")}) when {{ true }};', "Wrkload", "type"),
    (f'forbid ({TOOLS}) when {{ resource == Remit::Server::"payment" }};', '"payment"', "did you mean `payments`"),
    (f'forbid ({TOOLS}) when {{ context.task.intent == "answr-question" }};', '"answr-question"', "did you mean"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "marked", "words"), MISTAKES)
def test_a_mistake_is_marked_where_it_is(tmp_path: Path, text: str, marked: str, words: str) -> None:
    error = mistake(tmp_path, text)
    assert words in error.message
    assert error.path == "policies/rules.cedar"
    assert error.shown == text.splitlines()[error.line - 1]
    assert error.shown[error.column - 1 :][: error.width] == marked
    line, mark = error.excerpt().splitlines()
    assert line[mark.index("^") : mark.rindex("^") + 1] == marked
    assert line.startswith(f"  {error.line} | ")
    assert str(error).splitlines()[1:3] == [line, mark]


def test_what_an_earlier_clause_tests_for_is_not_held_against_a_later_one(tmp_path: Path) -> None:
    text = (
        f"forbid ({TOOLS}) when {{ context has destination && context.destination.internal &&\n"
        f"context.destination.host == 1 }};"
    )
    error = mistake(tmp_path, text)
    assert (error.line, error.column) == (2, 1)


@pytest.mark.parametrize(
    ("file", "text", "line", "shown"),
    [
        ("remit.toml", 'trust_domain = "example.org"\n[limits]\nrate_burst = "much"\n', 3, 'rate_burst = "much"'),
        ("intents/a.yaml", "description: a\nefects: [read]\n", 2, "efects: [read]"),
    ],
)
def test_every_file_of_the_folder_is_shown_alike_by_every_command(
    tmp_path: Path, file: str, text: str, line: int, shown: str
) -> None:
    (tmp_path / "intents").mkdir()
    (tmp_path / "remit.toml").write_text('trust_domain = "example.org"\n', "utf-8")
    (tmp_path / file).write_text(text, "utf-8")
    for command in ("check", "up"):
        told = remit(tmp_path, command)
        assert told.returncode == 1
        assert f"{file}:{line}:" in told.stderr
        assert f"\n  {line} | {shown}\n" in told.stderr
        assert "^" in told.stderr.splitlines()[2]
    error = json.loads(remit(tmp_path, "check", "--json").stderr)
    assert (error["line"], error["shown"]) == (line, shown)


def remit(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "remit", *command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@given(st.text(max_size=400), st.integers(1, 500), st.integers(1, 500))
def test_nothing_in_a_line_moves_the_cursor_or_turns_the_direction(text: str, column: int, width: int) -> None:
    shown = excerpt(text.replace("\n", ""), 7, column, width)
    assert shown.count("\n") == 1
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    assert "^" in shown
    assert len(shown) < 4_000


def test_a_long_line_is_cut_around_its_place() -> None:
    line, mark = excerpt("a" * 500 + "WRONG" + "b" * 500, 12, 501, 5).splitlines()
    assert line[mark.index("^") : mark.rindex("^") + 1] == "WRONG"
    assert line.startswith("  12 | … ")
    assert line.endswith(" …")
    assert len(line) < 140


def test_wide_and_combining_characters_keep_the_mark_in_its_column() -> None:
    _, mark = excerpt('"日本" e\u0301 wrong', 1, 9, 5).splitlines()
    assert mark == "    | " + " " * 9 + "^^^^^"
