"""Asks, as an enforcement point, what would be decided under a running task; nothing is recorded or consumed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.app.folder import Folder
from remit.app.operator import as_operator
from remit.app.project import load_project
from remit.catalogue.document import load_catalogue
from remit.core import bounds
from remit.core.decisions import Decision
from remit.core.errors import InvalidInput, NotFound
from remit.enforce.arguments import read_arguments
from remit.policy.sources import Policy
from remit.sdk.api import Remit
from remit.sdk.grant import load_grant

_TASK: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


async def probe(folder: Folder, task: str, action: str, arguments: dict[str, Any], point: str) -> Decision:
    """What would be decided under `task` (an id, or the end of one), whose grant is kept in `.remit/run`."""
    grant = load_grant(grant_file(folder, task))

    async def work(remit: Remit) -> Decision:
        return await remit.probe(grant, action, arguments)

    return await as_operator(folder, work, identity=point)


def grant_file(folder: Folder, task: str) -> Path:
    """The file of a running task's grant; `NotFound` where this folder has none."""
    # SECURITY: the name of a task becomes the name of a file; nothing else may.
    if _TASK.fullmatch(task):
        found = (
            sorted(path for path in folder.run.glob("*.json") if path.stem.endswith(task))
            if folder.run.is_dir()
            else []
        )
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            known = ", ".join(path.stem for path in found[:5])
            raise InvalidInput("id_ambiguous", f"`{task}` is the end of several tasks", f"one of {known}")
    raise NotFound(
        "grant_missing",
        f"there is no grant of a task `{task[:64]}` in `.remit/run`",
        "its holder has it; to ask without a task, give `--intent`",
    )


def arguments_of(folder: Folder, action: str, params: tuple[str, ...], text: str) -> dict[str, Any]:
    """The arguments that a command line gives: `name=value`, typed by the action's schema, over JSON (or `@file`)."""
    base: Any = {}
    if text:
        base = _json(_content(Path(text[1:])) if text.startswith("@") else text.encode("utf-8", "surrogateescape"))
    known = load_catalogue(folder.root / "catalogue").actions.get(action)
    given = read_arguments(params, known.input_schema if known is not None else {})
    return {**base, **given}


def policies_of_project(folder: Folder) -> dict[str, Policy]:
    """The policies that decide now, by id."""
    _, configuration = load_project(folder)
    return {policy.id: policy for policy in configuration.policies.policies()}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bounds.REQUEST_BYTES + 1)
    except OSError as error:
        raise InvalidInput("input_unreadable", f"can't read `{path}`: {error.strerror}") from None
    if len(data) > bounds.REQUEST_BYTES:
        raise InvalidInput("input_too_large", f"`{path}` is larger than {bounds.REQUEST_BYTES} bytes")
    return data


def _json(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput(
            "input_invalid", f"the arguments are not a JSON object: {error}", """write `--input '{"name": "value"}'`"""
        ) from None
