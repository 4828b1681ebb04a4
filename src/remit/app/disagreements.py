"""Requests on which the two policy engines disagreed: kept in `.remit/disagreements/`, and run again.

Each file holds all that both engines were given, as one JSON document (`remit.policy.compiled.sampling.Case`), so it
has arguments and parameters of a task in it. It is readable to the service's own user alone, and no file is replaced:
the first cases tell most.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.core import canonical
from remit.core.errors import InvalidInput
from remit.policy import sources
from remit.policy.compiled.bundle import LOOKED_UP, SIZES
from remit.policy.compiled.engine import Engine
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.sampling import VERSION, Case, differences
from remit.policy.compiled.values import Entity
from remit.policy.identities import Given
from remit.policy.reference import parsed
from remit.policy.slices import Shelf
from remit.policy.sources import Policy, Source
from remit.policy.verdict import Verdict

FILES: Final = 20
BYTES: Final = 1024 * 1024  # of one file

_decode: Final = msgspec.json.Decoder(Case).decode


class Disagreements:
    """The folder of the cases; it is made with the first one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, case: Case) -> str:
        """Writes the case, and says where; an `OSError` where it can't. The same case is kept once, at most `FILES`."""
        text = msgspec.json.format(msgspec.json.encode(case), indent=1)
        if len(text) > BYTES:
            near = msgspec.structs.replace(case, entities=_near(case), is_cut=True)
            text = msgspec.json.format(msgspec.json.encode(near), indent=1)
        if len(text) > BYTES:
            return "nowhere (it is too large)"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{canonical.sha256(text)[:16]}.json"
        if path.exists():
            return str(path)
        if len(files(self._folder)) >= FILES:
            return f"nowhere ({FILES} cases are there already)"
        partial = path.with_suffix(f".{os.getpid()}.part")
        try:
            # SECURITY: it has arguments and parameters in it.
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(text)
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        return str(path)


def files(folder: Path) -> list[Path]:
    """The cases of a folder; none where there is no folder."""
    return sorted(folder.glob("*.json"))


def run(file: Path) -> list[str]:
    """In what the engines differ on a case now, one sentence each; nothing where they agree.

    `InvalidInput` (`case_invalid`) for a file that is no case.
    """
    case = _read(file)
    try:
        policies = [_policy(each.id, each.text) for each in case.policies]
        forms = [dict(entity) for entity in case.entities]
        handle = parsed(msgspec.json.encode(forms))
        given = Given(EntityStore(forms), lambda: handle, lambda: forms)
        action = _entity(case.request["action"])
        around = given.values.above(action)
        verdicts = [
            Shelf(policies, engine, any_resource=True, sizes=sizes)
            .cut(action, frozenset(around), None, None)
            .decide(
                _entity(case.request["principal"]), _entity(case.request["resource"]), given, case.request["context"]
            )
            for engine, sizes in ((Engine("cedarpy"), SIZES), (Engine(sample=0), SIZES), (Engine(sample=0), LOOKED_UP))
        ]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _invalid(file, str(error)[:200]) from None
    return _differing(*verdicts)


def _differing(reference: Verdict, compiled: Verdict, looked_up: Verdict) -> list[str]:
    found = differences(compiled, reference)
    more = [f"looked up: {each}" for each in differences(looked_up, reference) if each not in found]
    return found + more


def _read(file: Path) -> Case:
    try:
        with file.open("rb") as opened:
            text = opened.read(BYTES + 1)
        if len(text) > BYTES:
            raise _invalid(file, f"it is larger than {BYTES} bytes")
        case = _decode(text)
    except OSError as error:
        raise _invalid(file, str(error.strerror)) from None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _invalid(file, str(error)[:200]) from None
    if case.version != VERSION:
        raise _invalid(file, f"it is of version {case.version}, this reads {VERSION}")
    return case


def _policy(id_: str, text: str) -> Policy:
    (policy,) = sources.parse(Source("case.cedar", text, "user"))
    return msgspec.structs.replace(policy, id=id_)


def _entity(form: Mapping[str, str]) -> Entity:
    return Entity((form["type"], form["id"]))


def _near(case: Case) -> Sequence[Mapping[str, Any]]:
    """The entities that the request names, and what they are in."""
    by_uid = {(form["uid"]["type"], form["uid"]["id"]): form for form in case.entities}
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    stack: list[Any] = [case.request]
    while stack:
        item = stack.pop()
        if isinstance(item, list | tuple):
            stack.extend(item)
        if not isinstance(item, Mapping):
            continue
        stack.extend(item.values())
        uid = (item.get("type"), item.get("id"))
        if uid in by_uid and uid not in found:
            found[uid] = by_uid[uid]
            stack.append(by_uid[uid])
    return list(found.values())


def _invalid(file: Path, why: str) -> InvalidInput:
    return InvalidInput("case_invalid", f"{file} can't be run: {why}", "give a file of `.remit/disagreements/`")
