"""The guide is kept true: its example loads, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

from remit.catalogue.checks import IMPORT_AGAIN
from remit.catalogue.definitions import definition_digest
from remit.catalogue.document import parse_server
from remit.catalogue.entries import Entry
from remit.catalogue.methods import METHODS
from remit.core.effects import EFFECTS

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "catalogue.md").read_text(encoding="utf-8")


def test_example_loads() -> None:
    example = GUIDE.split("```yaml\n")[1].split("```")[0]
    bare = parse_server(re.sub(r"    pin: .*\n", "", example), Path("payments.yaml")).entries["pay_invoice"]
    tool = {"name": "pay_invoice", "description": bare.description, "inputSchema": bare.input_schema}
    pin = definition_digest(tool)
    assert f'pin: "{pin}"' in example, f"the example's pin is {pin}"
    assert parse_server(example, Path("payments.yaml")).entries["pay_invoice"].reviewed


def test_every_key_of_an_entry_is_in_the_guide() -> None:
    rows = [line for line in GUIDE.split("\n") if line.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(Entry.__struct_fields__) <= named


def test_every_effect_and_method_is_in_the_guide() -> None:
    assert all(f"`{effect}`" in GUIDE for effect in EFFECTS)
    assert all(f"`<server>/mcp:{method.name}` | {method.effect} |" in GUIDE for method in METHODS)
    assert "remit catalogue import" in IMPORT_AGAIN
