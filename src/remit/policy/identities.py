"""The entities that a governed request is about: actions and intents once, each registration on its first request.

Each is kept for both engines: as values for compiled policies, and as a handle of the reference engine, made when that
is first asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.core.errors import Unavailable
from remit.core.identities import Registration
from remit.policy.compiled.entities import Added, EntityStore
from remit.policy.compiled.operators import Entities
from remit.policy.compiled.values import Entity, Set
from remit.policy.reference import parsed
from remit.policy.schema import NAMESPACE

_log = logging.getLogger("remit.policy")

Forms = list[dict[str, Any]]  # entities in Cedar's JSON form


class Given:
    """The entities of a request, for both engines."""

    __slots__ = ("_forms", "_handle", "_made", "values")

    def __init__(self, values: Entities, handle: Callable[[], Any], forms: Callable[[], Forms]) -> None:
        self.values = values
        self._handle = handle
        self._forms = forms
        self._made: Any = None

    def handle(self) -> Any:
        """The reference engine's handle."""
        if self._made is None:
            self._made = self._handle()
        return self._made

    def forms(self) -> Forms:
        """These entities in Cedar's JSON form, as far as a request can reach them."""
        return self._forms()


class Identities:
    """Actions, intents and registrations. Safe to use from several threads; at most `KEPT` principals are kept."""

    KEPT: Final = 10_000

    def __init__(self, fixed: Sequence[dict[str, Any]]) -> None:
        self._fixed = EntityStore(fixed)
        self._forms = list(fixed)
        self._handle: Any = None
        self._kept: dict[str, tuple[Registration, tuple[Registration, ...], Given, Entity]] = {}

    def with_(self, principal: Registration, related: tuple[Registration, ...]) -> tuple[Given, Entity]:
        """The entities for requests of `principal` whose context names `related`; and the principal itself."""
        kept = self._kept.get(principal.id)
        if kept is not None and (kept[0] is principal or kept[0] == principal) and kept[1] == related:
            return kept[2], kept[3]
        several = {registration.id: registration for registration in (*related, principal)}
        entities = {Entity((type_of(each), each.id)): each for each in several.values()}
        attributes = {entity: _attributes(each) for entity, each in entities.items()}
        above = {
            entity: frozenset((entity, *(Entity((f"{NAMESPACE}::Group", group)) for group in each.groups)))
            for entity, each in entities.items()
        }
        forms = [entity_of(each) for each in several.values()]
        given = Given(
            Added(self._fixed, attributes, above),
            lambda: self._with(forms, principal.id),
            lambda: [*self._forms, *forms],
        )
        if len(self._kept) >= self.KEPT:
            self._kept = {}
        itself = Entity((type_of(principal), principal.id))
        self._kept[principal.id] = (principal, related, given, itself)
        return given, itself

    def _with(self, forms: Forms, id_: str) -> Any:
        if self._handle is None:
            self._handle = parsed(msgspec.json.encode(self._forms))
        try:
            return self._handle.with_added_json_str(msgspec.json.encode(forms).decode())
        except ValueError as error:
            _log.error("the policy engine refused the registration %s: %s", id_, error)
            raise Unavailable("policy_unavailable", "the registration can't be evaluated") from None


def type_of(registration: Registration) -> str:
    """The entity type of an identity, with its namespace."""
    return f"{NAMESPACE}::Person" if registration.kind == "person" else f"{NAMESPACE}::Workload"


def entity_of(registration: Registration) -> dict[str, Any]:
    """An identity as an entity in Cedar's JSON form."""
    return {
        "uid": {"type": type_of(registration), "id": registration.id},
        "attrs": {
            "kind": registration.kind,
            "owner": registration.owner,
            "environment": registration.environment,
            "roles": list(registration.roles),
        },
        "parents": [{"type": f"{NAMESPACE}::Group", "id": group} for group in registration.groups],
    }


def _attributes(registration: Registration) -> Mapping[str, Any]:
    return {
        "kind": registration.kind,
        "owner": registration.owner,
        "environment": registration.environment,
        "roles": Set(registration.roles),
    }
