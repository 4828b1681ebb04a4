"""What rules a request, in a form that can be traced: policies, actions with their groups, intents, identities.

From a loaded configuration, or from the texts that a record names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from remit.core.decisions import PolicyRef
from remit.decide.configuration import Configuration
from remit.policy.schema import NAMESPACE, is_consequential
from remit.policy.sources import Policy
from remit.policy.traced import Request, Trace, request_of, trace

_ACTION: Final = f"{NAMESPACE}::Action"
Forms = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ruling:
    """Policies with the entities that they know beside the identities of a request."""

    policies: Sequence[Policy]
    actions: Mapping[str, Sequence[str]]  # with their groups
    purposes: Mapping[str, Mapping[str, bool]]  # intents with their attributes
    fixed: Forms = field(default=(), init=False, compare=False)

    def __post_init__(self) -> None:
        actions = [
            {"uid": _uid("Action", name), "attrs": {}, "parents": [_uid("Action", group) for group in groups]}
            for name, groups in self.actions.items()
        ]
        intents = [
            {"uid": _uid("Intent", name), "attrs": dict(attributes), "parents": []}
            for name, attributes in self.purposes.items()
        ]
        object.__setattr__(self, "fixed", (*actions, *intents))

    def request(
        self,
        principal: Mapping[str, Any],
        action: str,
        resource: tuple[str, str],
        context: Mapping[str, Any],
        related: Iterable[Mapping[str, Any]] = (),
    ) -> Request:
        """A request; identities have id, kind, owner, environment, roles and groups, as records keep them."""
        identities = [identity_form(each) for each in (*related, principal)]
        uid = identities[-1]["uid"]
        type_ = resource[0].removeprefix(f"{NAMESPACE}::")
        return request_of(
            (uid["type"], uid["id"]),
            (_ACTION, action),
            (f"{NAMESPACE}::{type_}", resource[1]),
            context,
            [*self.fixed, *identities],
        )

    def traces(self, request: Request) -> list[tuple[Policy, Trace]]:
        """Every policy whose scope fits the action, in the order in which they would be named."""
        found = ((policy, trace(policy.id, policy.json, request)) for policy in self.policies)
        # The action is the second part of a scope; principal and resource that do not fit are worth to be shown.
        return [(policy, traced) for policy, traced in found if len(traced.scope) == 3 and traced.scope[1].is_true]


def ruling_of(configuration: Configuration) -> Ruling:
    """What rules under a loaded configuration."""
    policies = configuration.policies
    return Ruling(
        policies.policies(),
        {known.name: known.groups for known in policies.vocabulary.actions.values()},
        {
            intent.name: {
                "consequential": is_consequential(intent, configuration.catalogue),
                "emergency": intent.emergency,
                "selfStart": intent.self_start,
            }
            for intent in configuration.intents.values()
        },
    )


def identity_form(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as an entity in Cedar's JSON form."""
    type_ = "Person" if identity["kind"] == "person" else "Workload"
    return {
        "uid": _uid(type_, identity["id"]),
        "attrs": {name: identity[name] for name in ("kind", "owner", "environment", "roles")},
        "parents": [_uid("Group", group) for group in identity["groups"]],
    }


def place_of(ref: PolicyRef) -> str:
    """A policy with its file and line."""
    return f"{ref.id} ({ref.path}:{ref.line})" if ref.path else ref.id


def _uid(type_: str, id_: str) -> dict[str, str]:
    return {"type": f"{NAMESPACE}::{type_}", "id": id_}
