"""A project with entities: part of what decides, never part of the records; and the guide's own project."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from remit.app.cases import load_cases
from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.installation import open_installation
from remit.app.project import load_project, notices
from remit.app.records import reader_of
from remit.app.trial import run_cases
from remit.core.errors import DocumentError
from tests.policy import own

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "pdp.md"
SETTINGS = """
trust_domain = "test.example"
operator = "alice"
[service]
listen = ""
[[people]]
name = "alice"
roles = ["administrator"]
"""
SCHEMA = "namespace App { entity User = { phone: String }; action call appliesTo { principal: User, resource: User }; }"


def settings(root: Path, more: str = "") -> Folder:
    (root / "remit.toml").write_text(SETTINGS + more)
    return Folder(root)


def test_entities_are_part_of_what_decides(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA, [own.entity("App::User", "ann", phone="030-1")])
    first = load_project(settings(tmp_path))[1]
    own.write(tmp_path, SCHEMA, [own.entity("App::User", "ann", phone="030-2")])
    second = load_project(settings(tmp_path))[1]
    assert first.parts["entities"] != second.parts["entities"]
    assert first.digest != second.digest
    assert 'no policy permits `App::Action::"call"`, so it is always denied' in notices(second)


def test_a_project_without_entities_has_no_such_part(tmp_path: Path) -> None:
    assert "entities" not in load_project(settings(tmp_path))[1].parts


def test_a_namespace_that_the_schema_does_not_have_stops_the_start(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA)
    assert load_project(settings(tmp_path, '[authzen]\nnamespace = "App"\n'))[1].policies.general
    with pytest.raises(DocumentError, match=r"\[authzen\] namespace") as caught:
        load_project(settings(tmp_path, '[authzen]\nnamespace = "Apps"\n'))
    assert caught.value.path == "remit.toml"


def test_nobodys_attributes_are_kept_with_the_records_and_these_verify(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA, [own.entity("App::User", "ann", phone="030-12345")])
    folder = settings(tmp_path)

    async def once() -> None:
        await (await open_installation(folder)).close()

    asyncio.run(once())
    with reader_of(folder) as reader:
        kept = b"".join(each if isinstance(each, bytes) else each.encode() for _, each in reader.texts())
    assert b"namespace App" in kept
    assert b"030-12345" not in kept
    assert not verify_folder(folder).failed


def test_the_guides_project_is_in_order_and_holds_its_cases(tmp_path: Path) -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    schema = next(text for kind, text in blocks if kind == "cedarschema")
    data = next(text for kind, text in blocks if kind == "json" and '"uid"' in text)
    policies = next(text for kind, text in blocks if kind == "cedar" and "Library::" in text)
    own.write(tmp_path, schema, json.loads(data), policies)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "guide.yaml").write_text(next(text for kind, text in blocks if kind == "yaml"))
    folder = settings(tmp_path)
    results = asyncio.run(run_cases(folder, load_cases(tmp_path / "tests")))
    assert [result.name for result in results if not result.passed] == []
    assert len(results) == 2
    assert notices(load_project(folder)[1]) == []
