"""What loads and was probably not meant is warned of; what would show a reviewer another text is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from tests.policy.project import PAY, READ, loaded, write

TOOLS = 'principal, action in Remit::Action::"tools", resource'


def warned(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    return [(each.code, each.policy) for each in loaded(write(tmp_path, rules=text)).warnings()]


NEVER = [
    "context.risk > 3 && false",
    'context has risk && !(context has risk)',
    "resource is Remit::Workload",
    'principal == Remit::Person::"a"',
    '"a" == "b"',
    f'action == Remit::Action::"{READ}" && action == Remit::Action::"{PAY}" && 1 == 2',
]  # fmt: skip


@pytest.mark.parametrize("condition", NEVER)
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_a_policy_that_can_never_apply_is_warned_of(tmp_path: Path, condition: str, effect: str) -> None:
    text = f'@id("a")\n{effect} ({TOOLS})\nwhen {{ {condition} }};\n'
    assert warned(tmp_path, text) == [("never_applies", "a")]


def test_unless_and_several_conditions_count_together(tmp_path: Path) -> None:
    text = f'@id("a")\nforbid ({TOOLS})\nwhen {{ context.risk > 3 }} // why; ever\nunless {{ true }};\n'
    assert warned(tmp_path, text) == [("never_applies", "a")]


@pytest.mark.parametrize(
    "text",
    [
        f"forbid ({TOOLS}) when {{ context.risk > 90 }};",
        f'forbid (principal, action == Remit::Action::"{PAY}", resource);',
        f'permit (principal, action == Remit::Action::"{READ}", resource);',
        f'permit (principal in Remit::Group::"a", action == Remit::Action::"{PAY}", resource);',
        f'permit (principal, action == Remit::Action::"{PAY}", resource) when {{ context.risk < 3 }};',
        'forbid (principal, action, resource) when { principal.kind == "bot" };',
    ],
)
def test_what_people_mean_is_not_warned_of(tmp_path: Path, text: str) -> None:
    assert warned(tmp_path, text) == []


@pytest.mark.parametrize("more", ["", " when { true }", " unless { false }", " when { principal is Remit::Workload }"])
@pytest.mark.parametrize("scope", [TOOLS, f'principal, action == Remit::Action::"{PAY}", resource'])
def test_a_permit_of_something_consequential_for_everybody_is_warned_of(tmp_path: Path, scope: str, more: str) -> None:
    [warning] = loaded(write(tmp_path, rules=f'@id("a") permit ({scope}){more};')).warnings()
    assert (warning.code, warning.path, warning.line) == ("permits_everything", "policies/rules.cedar", 1)
    assert PAY in warning.message


def test_a_policy_that_every_request_has_to_look_at_is_warned_of(tmp_path: Path) -> None:
    text = '@id("a") forbid (principal, action, resource) when { principal.owner like "x*" };'
    assert warned(tmp_path, text) == [("not_indexed", "a")]


def test_a_policy_that_covers_no_action_is_warned_of(tmp_path: Path) -> None:
    text = '@id("a") forbid (principal, action in Remit::Action::"deploy", resource) when { false };'
    assert warned(tmp_path, text) == [("covers_nothing", "a")]


@pytest.mark.parametrize(
    ("value", "words"),
    [("\u0430dmin", "several scripts"), ("ad\u200bmin", "can't be seen"), ("\uff41dmin", "several scripts")],
)
def test_attack_letters_that_look_like_others_are_warned_of(tmp_path: Path, value: str, words: str) -> None:
    text = f'@id("a")\nforbid ({TOOLS})\nwhen {{ context.caller.id == "{value}" }};'
    [warning] = loaded(write(tmp_path, rules=text)).warnings()
    assert (warning.code, warning.line, warning.width) == ("odd_characters", 3, len(value) + 2)
    assert words in warning.message
    assert warning.message.isascii()


@pytest.mark.parametrize("value", ["Müller", "日本語 Tools", "Иванов", "ελ"])
def test_names_in_other_scripts_are_not(tmp_path: Path, value: str) -> None:
    assert warned(tmp_path, f'forbid ({TOOLS}) when {{ context.caller.id == "{value}" }};') == []


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\u2069", "\u200f"])
@pytest.mark.parametrize("where", ['when {{ context.caller.id == "a{}" }}', "/*{}*/", "// {}\n", '@id("{}")'])
def test_attack_text_that_is_shown_in_another_order_than_it_decides(tmp_path: Path, char: str, where: str) -> None:
    written = where.replace("{{", "{").replace("}}", "}").replace("{}", char, 1)
    text = f"{written}\nforbid ({TOOLS});" if where[0] in "@/" else f"forbid ({TOOLS})\n{written};"
    if where.startswith("/*"):
        text = f"forbid ({TOOLS}) // {char}\nwhen {{ context.risk > 3 }};"
    if where.startswith("// "):
        text = f"{written}forbid ({TOOLS});"
    with pytest.raises(DocumentError, match="turns the direction") as told:
        loaded(write(tmp_path, rules=text))
    assert told.value.excerpt().replace("\n", "").isprintable()


def test_check_tells_warnings_and_is_strict_when_it_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "remit.toml").write_text('trust_domain = "example.org"\n', "utf-8")
    (tmp_path / "policies").mkdir()
    scope = 'principal, action == Remit::Action::"identity.change", resource'
    (tmp_path / "policies" / "a.cedar").write_text(f'@id("a")\nforbid ({scope}) when {{ false }};\n', "utf-8")
    told = {}
    for options in ((), ("--strict",), ("--json",), ("--json", "--strict")):
        command = [sys.executable, "-m", "remit", "check", *options]
        told[options] = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert [each.returncode for each in told.values()] == [0, 1, 0, 1]
    assert told[()].stderr.startswith("warning: policies/a.cedar:2:1: policy `a` can never apply")
    assert f"\n  2 | forbid ({scope}) when {{ false }};\n    | ^^^^^^\n" in told[()].stderr
    [warning] = json.loads(told[("--json",)].stdout)["warnings"]
    assert (warning["code"], warning["line"], warning["shown"]) == (
        "never_applies",
        2,
        f"forbid ({scope}) when {{ false }};",
    )
