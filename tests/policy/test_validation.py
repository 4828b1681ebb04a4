"""Strict validation: what a policy may not say, and how it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cedarpy import _internal as cedar

from remit.core.errors import DocumentError
from tests.policy.project import PAY, loaded, write

TOOLS = 'principal, action in Remit::Action::"tools", resource'
PAYMENT = f'principal, action == Remit::Action::"{PAY}", resource'


def refusal(folder: Path, text: str) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        loaded(write(folder, rules=text))
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"forbid ({PAYMENT})\nwhen {{ context.input.amunt == 3 }};", 2, "did you mean `amount`?"),
        (f"forbid ({PAYMENT})\nwhen {{ context.input has amunt }};", 2, "did you mean `amount`?"),
        (f"forbid ({TOOLS})\nwhen {{ context.input has iban }};", 2, "no action that this policy covers has"),
        (f"forbid ({TOOLS})\nwhen {{\n  context.sesion.untrusted }};", 3, "did you mean `session`?"),
        (f'forbid ({TOOLS})\nwhen {{ context.task.intent == "pay-invioce" }};', 2, "did you mean `pay-invoice`?"),
        ('forbid (principal, action, resource == Remit::Server::"payment");', 1, "did you mean `payments`?"),
        ('forbid (principal, action == Remit::Action::"payments/pay", resource);', 1, "there is no action"),
        ('forbid (principal,\naction == Remit::Action::"pay", resource);', 2, "is a group of actions"),
        (f"forbid ({TOOLS})\nwhen {{ context.destination.internal }};", 2, "may be absent"),
        (f"forbid ({PAYMENT})\nwhen {{ context.input.amount > 3 }};", 2, "expected Long but saw decimal"),
        (f'forbid ({TOOLS})\nwhen {{ context.risk == "high" }};', 2, "not compatible"),
        (f"forbid ({TOOLS})\nwhen {{ resource.owner == 1 }};", 2, "`owner`"),
        (f'forbid ({PAYMENT})\nwhen {{ decimal(context.input.account) == decimal("1.0") }};', 2, "non-literal"),
        ('forbid (principal == Remit::Robot::"x", action, resource);', 1, "unrecognized entity type"),
        (f'forbid (principal is Remit::Group, action == Remit::Action::"{PAY}", resource);', 1, "applicable action"),
    ],
)
def test_a_mistake_is_named_at_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    error = refusal(tmp_path, f"// rules\n{text}")
    assert (error.path, error.line) == ("policies/rules.cedar", line + 1)
    assert words in error.message


def test_an_optional_attribute_says_how_to_test_it(tmp_path: Path) -> None:
    error = refusal(tmp_path, f"forbid ({TOOLS}) when {{ context.destination.internal }};")
    assert error.next_step == "test it first: `context has destination && …`"


def test_a_policy_for_actions_that_are_not_there_yet_is_idle_and_noticed(tmp_path: Path) -> None:
    folder = write(tmp_path, rules='@id("d") forbid (principal, action in Remit::Action::"deploy", resource);')
    assert loaded(folder).notices() == ["policies/rules.cedar:1: policy `d` covers no action that there is"]


def test_the_first_mistake_in_the_order_of_the_files_is_reported(tmp_path: Path) -> None:
    good = f"forbid ({TOOLS}) when {{ context.risk > 3 }};\n"
    error = refusal(tmp_path, good * 3 + f"forbid ({TOOLS}) when {{ context.risk > true }};\n" + good)
    assert error.line == 4


def test_an_unchanged_policy_is_not_validated_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    engine = cedar.validate_policies

    def counting(text: str, schema: Any, **more: Any) -> str:
        asked.append(text)
        return str(engine(text, schema, **more))

    monkeypatch.setattr(cedar, "validate_policies", counting)
    text = f"forbid ({TOOLS}) when {{ context.risk > 91 }};\n"
    loaded(write(tmp_path, rules=text))
    asked.clear()
    loaded(write(tmp_path, rules=text))
    assert asked == []
    loaded(write(tmp_path, rules=text + f"forbid ({TOOLS}) when {{ context.risk > 92 }};\n"))
    assert len(asked) == 1
    assert asked[0].count("forbid") == 1
