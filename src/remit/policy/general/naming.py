"""Which Cedar type and which action a caller means by a name.

1. A name with `::` is a Cedar name in full: `Todo::User`, `Todo::Action::"read"`.
2. Else it is sought in the default namespace, the one of `[authzen] namespace`, else the only one of the project's
   schema; then among the names that are in no namespace.
3. A type is sought by its name exactly, then with its first letter in upper case: `user` means `User`.
4. An action is sought in the namespace of the resource's type first.
"""

from __future__ import annotations

import re
from typing import Final

from remit.policy.entities.declared import Declared
from remit.policy.reads import Uid

RESERVED: Final = "Remit"
_ACTION = re.compile(r'((?:[A-Za-z_]\w*::)*Action)::"(.*)"', re.DOTALL)


class Names:
    """The names of one project's types and actions."""

    def __init__(self, declared: Declared, namespace: str = "") -> None:
        self._declared = declared
        only = declared.namespaces[0] if len(declared.namespaces) == 1 else ""
        self._places = tuple(dict.fromkeys([namespace or only, ""]))
        self._actions: dict[tuple[str, str], Uid] = {}
        # Later ones win: a name exactly so before one in another case, the default namespace before none.
        self._types: dict[str, str] = {}
        for meant in (_uncapitalised, _same):
            for place in reversed(self._places):
                for name in declared.types:
                    head, _, last = name.rpartition("::")
                    if head == place:
                        self._types[meant(last)] = name
        self._types.update({name: name for name in declared.types if "::" in name})

    def type(self, name: str) -> str:
        """The Cedar type that `name` means; "" for none."""
        return self._types.get(name, "")

    def action(self, name: str, resource_type: str) -> Uid | None:
        """The action that `name` means for resources of this type; None for none."""
        found = self._actions.get((name, resource_type))
        if found is None:
            found = self._find_action(name, resource_type)
            if found is not None:  # so there are no more than the schema has
                self._actions[name, resource_type] = found
        return found

    def _find_action(self, name: str, resource_type: str) -> Uid | None:
        match = _ACTION.fullmatch(name)
        if match is not None and (match[1], match[2]) in self._declared.actions:
            return match[1], match[2]
        for place in (resource_type.rpartition("::")[0], *self._places):
            uid = (f"{place}::Action" if place else "Action", name)
            if uid in self._declared.actions:
                return uid
        return None

    def name_of(self, action: Uid, resource_type: str) -> str:
        """A name by which `action` is found again, the shortest."""
        return action[1] if self.action(action[1], resource_type) == action else f'{action[0]}::"{action[1]}"'


def is_reserved(type_: str) -> bool:
    """Whether the type is Remit's own."""
    return type_.partition("::")[0] == RESERVED


def _uncapitalised(name: str) -> str:
    return name[:1].lower() + name[1:]


def _same(name: str) -> str:
    return name
