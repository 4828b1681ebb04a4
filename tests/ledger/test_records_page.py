"""docs/design/records.md names every kind, check and field that the program has."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from remit.ledger.bodies import BODIES, Limit
from remit.ledger.findings import CHECKS
from remit.ledger.record import KINDS, Record

PAGE = (Path(__file__).parents[2] / "docs" / "design" / "records.md").read_text("utf-8")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_section_with_its_fields(kind: str) -> None:
    section = PAGE.split(f"### `{kind}`")[1].split("\n### ")[0]
    for field in msgspec.structs.fields(BODIES[kind]):
        assert f"`{field.encode_name}`" in section or f'"{field.encode_name}"' in section, field.encode_name


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_is_named(check: str) -> None:
    assert f"[{check}]" in PAGE


@pytest.mark.parametrize("field", [f.encode_name for f in msgspec.structs.fields(Record)])
def test_every_field_of_the_record(field: str) -> None:
    assert f"| `{field}` |" in PAGE


def test_every_field_of_a_limit() -> None:
    for field in msgspec.structs.fields(Limit):
        assert f'"{field.encode_name}"' in PAGE
