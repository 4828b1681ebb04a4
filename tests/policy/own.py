"""A project with entities of its own, for tests of the general PDP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from remit.core.actions import Catalogue
from remit.policy import Policies, load

NOTHING = Catalogue(actions={}, servers={}, digest="")


def entity(type_: str, id_: str, parents: list[tuple[str, str]] | None = None, **attrs: Any) -> dict[str, Any]:
    return {
        "uid": {"type": type_, "id": id_},
        "attrs": attrs,
        "parents": [{"type": above, "id": name} for above, name in parents or []],
    }


def write(
    root: Path,
    schema: str | dict[str, Any] = "",
    entities: list[dict[str, Any]] | str | None = None,
    policies: str = "",
) -> None:
    (root / "entities").mkdir(parents=True, exist_ok=True)
    (root / "policies").mkdir(exist_ok=True)
    if isinstance(schema, str) and schema:
        (root / "entities" / "schema.cedarschema").write_text(schema)
    elif schema:
        (root / "entities" / "schema.json").write_text(json.dumps(schema))
    if entities is not None:
        text = entities if isinstance(entities, str) else json.dumps(entities)
        (root / "entities" / "data.json").write_text(text)
    (root / "policies" / "own.cedar").write_text(policies)


def read(root: Path, catalogue: Catalogue = NOTHING, namespace: str = "") -> Policies:
    return load(
        folder_policies=[root / "policies"],
        catalogue=catalogue,
        intents={},
        trust_domain="example.org",
        folder_entities=root / "entities",
        namespace=namespace,
    )


def project(
    root: Path,
    schema: str | dict[str, Any] = "",
    entities: list[dict[str, Any]] | str | None = None,
    policies: str = "",
    namespace: str = "",
) -> Policies:
    write(root, schema, entities, policies)
    return read(root, namespace=namespace)
