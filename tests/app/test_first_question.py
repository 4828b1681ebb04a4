"""What the start prints of general questions: a command that works, or why a bearer key is of no use yet."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from remit.app.first_question import first_command, first_question, silent_keys
from remit.app.folder import Folder
from remit.app.installation import Installation, open_installation
from remit.app.scaffold import make_project

EXAMPLES = Path(__file__).parents[2] / "examples" / "authzen"
URL = "http://127.0.0.1:8181"
T = TypeVar("T")


def opened(folder: Path, look: Callable[[Installation], T]) -> T:
    async def main() -> T:
        installation = await open_installation(Folder(folder))
        try:
            return look(installation)
        finally:
            await installation.close()

    return asyncio.run(main())


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(EXAMPLES / name, folder / name, ignore=shutil.ignore_patterns(".remit"))
    return folder / name


def command(installation: Installation) -> list[str]:
    return first_command(installation.settings, installation.folder, installation.governor, URL)


@pytest.mark.parametrize("name", ["todo", "api-gateway", "search", "idp", "certification"])
def test_the_first_question_of_an_example_is_permitted(name: str, tmp_path: Path) -> None:
    lines = opened(copied(name, tmp_path), command)
    words = shlex.split("".join(line.rstrip("\\") for line in lines))
    assert words[:3] == ["curl", "-s", f"{URL}/access/v1/evaluation"]
    asked = json.loads(words[-1])
    assert "::" not in asked["subject"]["type"] + asked["resource"]["type"] + asked["action"]["name"]


def test_without_a_policy_the_key_is_of_no_use_and_the_start_says_so(tmp_path: Path) -> None:
    folder = copied("todo", tmp_path)
    (folder / "policies/asking.cedar").unlink()
    [said] = opened(folder, lambda each: silent_keys(each.settings, each.governor))
    assert said.startswith("the bearer key of pep/interop may ask nothing: no policy lets ")
    assert "docs/guides/pdp.md" in said
    assert opened(folder, command) == []


def test_a_key_whose_secret_is_elsewhere_is_left_to_the_reader(tmp_path: Path) -> None:
    folder = copied("search", tmp_path)
    settings = folder / "remit.toml"
    settings.write_text(settings.read_text().replace("[[bearer_keys]]", f'[[bearer_keys]]\nsha256 = "{"a" * 64}"'))
    lines = opened(folder, command)
    assert '"Authorization: Bearer $KEY"' in lines[1]
    assert not list((folder / ".remit/keys").glob("*.bearer"))


def test_a_project_without_entities_of_its_own_has_no_question(tmp_path: Path) -> None:
    make_project(tmp_path / "p")
    assert opened(tmp_path / "p", command) == []
    assert opened(tmp_path / "p", lambda each: first_question(each.configuration.policies.general)) is None
    assert opened(tmp_path / "p", lambda each: silent_keys(each.settings, each.governor)) == []
