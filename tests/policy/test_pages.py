"""The pages about policy are true: attributes, reason codes, examples and messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from remit.policy import reasons
from remit.policy.schema import CONTEXTS, describe
from tests.policy.project import PAY, loaded, write

PAGES = Path(__file__).parents[2] / "docs"
DESIGN = (PAGES / "design" / "policy.md").read_text()
GUIDE = (PAGES / "guides" / "policies.md").read_text()


def test_every_attribute_of_the_context_is_described() -> None:
    shown = loaded().vocabulary.actions[PAY].context
    named = {path for path, *_ in describe(shown)} | {
        path for _, shape in CONTEXTS.values() for path, *_ in describe(shape)
    }
    leaves = {path for path in named if not any(other.startswith(f"{path}.") for other in named)}
    open_records = ("context.input.", "context.task.params.", "context.task.usage.", "context.task.done.")
    for path in sorted(path for path in leaves if not path.startswith(open_records)):
        assert f"`{path}`" in DESIGN, path


def test_every_reason_code_is_described() -> None:
    codes = {
        *(set(reasons._RANKS) - {"sum_reached"}),
        reasons.PERMITTED,
        reasons.POLICY_FORBIDS,
        reasons.NO_POLICY_PERMITS,
        reasons.POLICY_ERROR,
    }
    for policy in loaded().policies():
        codes |= {policy.annotations["reason"]} if "reason" in policy.annotations else set()
    for code in codes:
        assert f"`{code}`" in DESIGN, code


def test_every_shipped_and_generated_forbid_has_a_code_and_a_message() -> None:
    for policy in loaded().policies():
        assert policy.annotations["message"]
        assert policy.effect == "permit" or policy.annotations["reason"] in reasons._RANKS


def test_the_examples_of_the_guide_load(tmp_path: Path) -> None:
    examples = re.findall(r"```cedar\n(.*?)```", GUIDE, re.DOTALL)
    assert len(examples) >= 5
    policies = loaded(write(tmp_path, guide="\n".join(examples)))
    assert {"payments-need-the-window", "large-payments", "staff-only"} <= set(policies.refs)


@pytest.mark.parametrize(
    "text",
    [
        f'forbid (\n  principal, action == Remit::Action::"{PAY}", resource)\nwhen {{ context.input.amunt == 3 }};\n',
        'forbid (\n  principal,\n  action in Remit::Action::"tools",\n  resource\n)\n'
        "when { context.destination.internal };\n",
    ],
)
def test_the_messages_of_the_guide_are_those_that_are_given(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loaded(write(tmp_path, guard=text))
    assert str(caught.value) in GUIDE
