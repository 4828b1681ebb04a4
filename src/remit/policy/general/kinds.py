"""Kinds of questions: for one type of subject, one action and one type of resource, all that can be worked out once.

The slice of policies, the conversion of the context, and what of the entities the policies can reach at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from remit.core.decisions import Reason
from remit.policy import reasons
from remit.policy.entities import forms
from remit.policy.entities.declared import Declared, DeclaredAction
from remit.policy.entities.files import Entities
from remit.policy.entities.forms import Convert
from remit.policy.evaluation import Evaluation
from remit.policy.general.naming import Names
from remit.policy.reads import Uid, applies
from remit.policy.slices import Shelf, Slice
from remit.policy.sources import Policy

_KINDS: Final = 2_000  # kept
_PIECES: Final = 5_000  # entities kept as text, per kind
_READING: Final = frozenset({".", "has", "in", "getTag", "hasTag", "is"})

_encode = msgspec.json.Encoder().encode


class EntityReads(msgspec.Struct, frozen=True):
    """Which attributes of entities conditions mention, by what the entity is in the question."""

    principal: frozenset[str]
    resource: frozenset[str]
    others: frozenset[str]  # of entities that values name
    followed: frozenset[str]  # through which they read on, as through `owner` in `resource.owner.team`

    @property
    def attributes(self) -> frozenset[str]:
        return self.principal | self.resource


class Kind:
    """One kind of questions."""

    def __init__(self, entities: Entities, slice_: Slice, action: DeclaredAction, names: Names) -> None:
        self._entities = entities
        self.action = action.uid
        self.declared = action
        self.slice = slice_
        self.context = {
            name: (field.required, forms.converter(field.shape, names.type))
            for name, field in action.context.fields.items()
        }
        field = action.context.fields.get("action")
        self.has_action_properties = field is not None and field.shape.kind == "record"
        self.reads = read_by(slice_.policies)
        self._literals = frozenset(uid for policy in slice_.policies for uid in policy.reads.entities)
        self.action_piece = _encode(
            {"uid": _uid(action.uid), "attrs": {}, "parents": [_uid(uid) for uid in action.groups - {action.uid}]}
        )
        self._pieces: dict[Uid, tuple[bytes, frozenset[Uid]]] = {}
        self.unpermitted = Evaluation(
            permitted=False,
            reason=Reason(
                code=reasons.NO_POLICY_PERMITS,
                message=f"no policy permits `{action.uid[1]}` here",
                next_step="a policy in `policies/` must permit it",
            ),
        )

    def cut(
        self, request: Mapping[str, Any], said: Mapping[Uid, Mapping[str, Any]], references: Iterable[Uid]
    ) -> dict[Uid, bytes]:
        """The entities that policies can reach from one question, each as text in Cedar's JSON form.

        Only attributes that some policy mentions are in it. What an entity is in stands as its direct parents, so
        those need no entry of their own.
        """
        pieces: dict[Uid, bytes] = {}
        principal, resource = request["principal"], request["resource"]
        stack = [(principal["type"], principal["id"]), (resource["type"], resource["id"])]
        stack.extend(self._literals)
        stack.extend(references)
        while stack:
            uid = stack.pop()
            if uid in pieces:
                continue
            added = said.get(uid)
            if added is not None:
                pieces[uid], named = self._piece(uid, added)  # SECURITY: never kept: it is one caller's word
            else:
                kept = self._pieces.get(uid)
                if kept is None:
                    if len(self._pieces) >= _PIECES:
                        self._pieces = {}
                    kept = self._pieces[uid] = self._piece(uid, {})
                pieces[uid], named = kept
            stack.extend(named)
        pieces.pop(self.action, None)
        return pieces

    def _piece(self, uid: Uid, added: Mapping[str, Any]) -> tuple[bytes, frozenset[Uid]]:
        """One entity as text, and the entities that policies can reach through it."""
        known = self._entities.by_uid.get(uid)
        attrs = {**added, **known.attrs} if known is not None else dict(added)
        attrs = {name: value for name, value in attrs.items() if name in self.reads.attributes}
        tags = known.tags if known is not None else {}
        parents = self._entities.ancestors.get(uid, ())
        text = _encode({"uid": _uid(uid), "attrs": attrs, "parents": [_uid(each) for each in parents], "tags": tags})
        reachable = [value for name, value in attrs.items() if name in self.reads.followed]
        return text, frozenset(references_in([*reachable, *tags.values()]))


class Kinds:
    """All kinds of one project, each made when it is first asked for."""

    def __init__(self, entities: Entities, shelf: Shelf, names: Names) -> None:
        self._entities = entities
        self._declared: Declared = entities.declared
        self._shelf = shelf
        self._names = names
        self._kinds: dict[tuple[str, Uid, str], Kind | None] = {}
        # SECURITY: a closed attribute has no conversion, so a caller can't give it.
        self._attributes = {
            type_.name: {
                name: forms.converter(each.shape, names.type)
                for name, each in type_.attributes.items()
                if name not in type_.closed
            }
            for type_ in self._declared.types.values()
        }
        self._required = {type_.name: type_.required for type_ in self._declared.types.values()}

    def asked(self) -> list[tuple[str, Uid, str]]:
        """The kinds of which there were questions."""
        return list(self._kinds)

    def get(self, subject: str, action: Uid, resource: str) -> Kind | None:
        """The kind; None where the action does not apply to these types."""
        key = (subject, action, resource)
        if key in self._kinds:
            return self._kinds[key]
        declared = self._declared.actions[action]
        kind = None
        if subject in declared.principals and resource in declared.resources:
            chosen = self._shelf.cut(action, declared.groups, None, None, (key, self._fitting(declared, key)))
            kind = Kind(self._entities, chosen, declared, self._names)
        if len(self._kinds) >= _KINDS:
            self._kinds = {}
        self._kinds[key] = kind
        return kind

    def attributes(self, type_: str) -> Mapping[str, Convert]:
        """The conversion of each attribute of a type that a caller may give."""
        return self._attributes[type_]

    def required(self, type_: str) -> frozenset[str]:
        """The attributes that every entity of a type must have."""
        return self._required.get(type_, frozenset())

    def _fitting(self, declared: DeclaredAction, key: tuple[str, Uid, str]) -> Callable[[Policy], bool]:
        subject, action, resource = key
        return lambda policy: (
            applies(policy.scope, action, declared.groups, None, None)
            and self._fits(policy.json["principal"], subject)
            and self._fits(policy.json["resource"], resource)
        )

    def _fits(self, constraint: Mapping[str, Any], type_: str) -> bool:
        """Whether an entity of this type could meet the constraint of a scope."""
        if constraint["op"] == "is":
            inner = constraint.get("in")
            return constraint["entity_type"] == type_ and (inner is None or self._fits({**inner, "op": "in"}, type_))
        if constraint["op"] == "==":
            return bool(constraint["entity"]["type"] == type_)
        if constraint["op"] == "in" and "entity" in constraint:
            above = constraint["entity"]["type"]
            return above == type_ or above in self._declared.types[type_].within
        return True


def references_in(value: Any) -> set[Uid]:
    """The entities in a value of Cedar's JSON form."""
    found: set[Uid] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            named = item.get("__entity")
            if named is not None:
                found.add((named["type"], named["id"]))
            else:
                stack.extend(item.values())
        elif type(item) is list:
            stack.extend(item)
    return found


def read_by(policies: Iterable[Policy]) -> EntityReads:
    """What the conditions of these policies read of entities; where this is unsure, it says more."""
    principal: set[str] = set()
    resource: set[str] = set()
    others: set[str] = set()
    followed: set[str] = set()
    read = {"principal": principal, "resource": resource, "context": set[str]()}
    stack = [(condition["body"], False) for policy in policies for condition in policy.json.get("conditions", ())]
    while stack:
        node, is_read = stack.pop()
        if isinstance(node, list):
            stack.extend((item, is_read) for item in node)
        if not isinstance(node, dict):
            continue
        for op, args in node.items():
            if op == "Value":
                continue
            if op in (".", "has"):
                read.get(args["left"].get("Var", ""), others).add(args["attr"])
                if is_read and op == ".":
                    followed.add(args["attr"])
            if op in _READING and isinstance(args, dict):
                parts = [(part, is_read or side == "left") for side, part in args.items() if side != "attr"]
            else:
                parts = [(part, is_read) for part in (args.values() if isinstance(args, dict) else [args])]
            stack.extend(parts)
    return EntityReads(
        frozenset(principal | others), frozenset(resource | others), frozenset(others), frozenset(followed)
    )


def _uid(uid: Uid) -> dict[str, str]:
    return {"type": uid[0], "id": uid[1]}
