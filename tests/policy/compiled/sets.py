"""Policy sets in Cedar's JSON form as entries of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cedarpy
import msgspec

from remit.policy.compiled.bundle import Entry
from remit.policy.compiled.environment import of_declared
from remit.policy.compiled.typed_index import TypedIndex
from remit.policy.compiled.values import entity_of
from remit.policy.entities.interpretation import interpret
from remit.policy.entities.syntax import parse


def entries_of(text: str, links: Mapping[str, Any] | None = None) -> list[Entry]:
    """The policies of a Cedar text; `links` are more of them, in Cedar's JSON form."""
    return entries_in({**msgspec.json.decode(cedarpy.policies_to_json_str(text)), **(links or {})})


def entries_in(policy_set: Mapping[str, Any]) -> list[Entry]:
    """The policies of a set in Cedar's JSON form, with what its templates are linked to."""
    found: list[Entry] = []
    for id_, policy in policy_set["staticPolicies"].items():
        found.append(Entry(id_, len(found), policy))
    for link in policy_set.get("templateLinks", ()):
        slots = {name: entity_of(value) for name, value in link["values"].items()}
        found.append(Entry(link["newId"], len(found), policy_set["templates"][link["templateId"]], slots))
    return found


def typed_index(entries: list[Entry], schema: str) -> TypedIndex:
    """The index by the types of a schema in Cedar's syntax."""
    return TypedIndex(entries, of_declared(interpret(parse(schema), schema, "schema")))
