"""The guide to intents is kept true: its examples load, and it names every key."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from remit.core.intents import Binding, Intent, Limit, Parameter, Prerequisite
from remit.tasks.intents import parse_intent

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "intents.md"


def test_its_examples_load() -> None:
    text = GUIDE.read_text()
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        assert parse_intent(example, Path("intents/pay-invoice.yaml")).limits


@pytest.mark.parametrize("type_", [Intent, Parameter, Prerequisite, Limit, Binding])
def test_it_names_every_key(type_: type[msgspec.Struct]) -> None:
    rows = [line.split("|")[1] for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([a-z_]+)`", " ".join(rows)))
    keys = {field.name for field in msgspec.structs.fields(type_)} - {"path", "line"}
    assert keys <= named
