"""What policies name of the project's own entities: checked when they are loaded, and noticed where it looks odd."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from remit.policy.entities import Entities
from remit.policy.reads import Uid, applies
from remit.policy.sources import Policy
from remit.policy.text import quote


def check_named(policies: Iterable[Policy], entities: Entities) -> None:
    """A `DocumentError` where a policy reads an attribute of an entity that is in no file, and must have some.

    SECURITY: `has` of an attribute that the schema promises counts as true in validation and would be false here,
    so a forbid that asks for it would be silent.
    """
    types = entities.declared.types
    for policy in policies:
        if not any(uid[0] in types for uid in policy.reads.entities):
            continue
        for uid in sorted(_read_directly(policy)):
            type_ = entities.declared.types.get(uid[0])
            if type_ is not None and type_.required and uid not in entities.by_uid:
                raise policy.error(
                    f"`{uid[0]}::{quote(uid[1])}` is in no file of `entities/`, but its attributes are read",
                    f"add it, or make `{min(type_.required)}` optional in the schema",
                    word=uid[1],
                )


def notices(policies: Sequence[Policy], entities: Entities) -> list[str]:
    """What works but deserves a look: entities that policies name and no file has, actions that nothing permits."""
    found = []
    for policy in policies:
        for type_, id_ in sorted(policy.reads.entities):
            known = entities.by_type.get(type_)
            if known and (type_, id_) not in entities.by_uid:
                close = difflib.get_close_matches(id_, known, n=1)
                meant = f" (did you mean `{close[0]}`?)" if close else ""
                found.append(
                    f"{policy.ref.path}:{policy.ref.line}: policy `{policy.id}` names `{type_}::{quote(id_)}`, "
                    f"which is in no file of `entities/`{meant}"
                )
    for uid, action in entities.declared.actions.items():
        if not action.principals:
            continue
        covering = [each for each in policies if applies(each.scope, uid, action.groups, None, None)]
        if not any(each.effect == "permit" for each in covering):
            found.append(f"no policy permits `{uid[0]}::{quote(uid[1])}`, so it is always denied")
    return found


def _read_directly(policy: Policy) -> set[Uid]:
    """The entities that stand in the policy and whose attributes it reads or tests."""
    found: set[Uid] = set()
    stack = [(condition["body"], False) for condition in policy.json.get("conditions", ())]
    while stack:
        node, is_read = stack.pop()
        if isinstance(node, list):
            stack.extend((item, is_read) for item in node)
        if not isinstance(node, dict):
            continue
        for op, args in node.items():
            if op == "Value":
                named = args.get("__entity") if isinstance(args, dict) else None
                if is_read and named is not None:
                    found.add((named["type"], named["id"]))
            elif op in (".", "has"):
                stack.append((args["left"], True))
            else:
                stack.extend((part, is_read) for part in (args.values() if isinstance(args, dict) else [args]))
    return found
