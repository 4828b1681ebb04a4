"""The event schema of a project: Remit's own, the reference's kinds, or one that the project brings.

| file | for | its histories are of |
|---|---|---|
| `policies/events.dwschema` | `policies/` | a session: a task and its children (`task.root`) |
| `policies/workload/events.dwschema` | `policies/workload/` | a workload, over all its tasks (`callerPrincipal`) |

A schema that Remit's events can't fill is refused, and so is one whose pins don't tell one history from another
everywhere: either would make rules mean something else than what they say, without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from remit.policy.dogwood.ast import ContextTerm, Path, ScopeTerm
from remit.policy.dogwood.events.derivation import Pinned, pins_of
from remit.policy.dogwood.events.schema import Declaration, EventSchema, Field, Spread
from remit.policy.dogwood.events.shipped import Scope
from remit.policy.dogwood.events.syntax import mistaken

FILE: Final = "events.dwschema"  # in `policies/` or `policies/workload/`
DECISION: Final = "request"
KINDS: Final = ("request", "permitted", "response", "error")  # that Remit emits

# What else events carry, beside arguments and results.
_STRINGS: Final[frozenset[Path]] = frozenset({("requestId",), ("sessionId",), ("task", "root"), ("task", "id")})
_ENTITIES: Final[Mapping[Path, str]] = {("callerPrincipal",): "principalType", ("callerResource",): "resourceType"}
KEYS: Final[Mapping[Scope, Pinned]] = {  # by which Remit keeps histories
    "task": Pinned(("task", "root"), ContextTerm(("task", "root"))),
    "workload": Pinned(("callerPrincipal",), ScopeTerm("principal")),
}
_WRITTEN: Final[Mapping[Scope, str]] = {
    "task": "task: { pin root: String = context.task.root, id: String }",
    "workload": "pin callerPrincipal: principalType(A) = principal",
}


def check(schema: EventSchema, scope: Scope) -> None:
    """Refuses a schema that Remit's events can't fill, or that mixes histories. Raises `DocumentError`."""
    for declaration in schema.declarations:
        _check_kind(schema, declaration)
        _check_fields(schema, declaration)
    if DECISION not in schema.kinds:
        raise mistaken(
            schema,
            0,
            f"the kind `{DECISION}` is missing: nothing would be decided",
            f"add `decision event <A>::{DECISION}`",
        )
    _check_pins(schema, scope)


def _check_kind(schema: EventSchema, declaration: Declaration) -> None:
    kind = declaration.kind
    if kind not in KINDS:
        raise mistaken(
            schema,
            declaration.at,
            f"Remit emits no `{kind}` events",
            "its kinds are " + ", ".join(f"`{each}`" for each in KINDS),
        )
    if declaration.decision != (kind == DECISION):
        message = f"`{kind}` events are not decided" if declaration.decision else f"`{kind}` events are decided"
        wanted = f"decision event <A>::{kind}" if kind == DECISION else f"event <A>::{kind}"
        raise mistaken(schema, declaration.at, message, f"write `{wanted}`")


def _check_fields(schema: EventSchema, declaration: Declaration) -> None:
    for path, field in _leaves(declaration.fields):
        if isinstance(field, Spread):
            if field.selector == "outputs" and declaration.kind != "response":
                raise mistaken(
                    schema, field.at, f"a `{declaration.kind}` event has no results", "leave `...outputs(…)` out"
                )
            continue
        wanted = _ENTITIES.get(path)
        if field.type in _ENTITIES.values() and wanted in (None, field.type):
            continue  # it is the principal or the resource, under whatever name
        if wanted is not None:
            raise mistaken(schema, field.at, f"`{'.'.join(path)}` is an entity", f"write `{path[0]}: {wanted}(A)`")
        if path not in _STRINGS:
            known = sorted(".".join(each) for each in (*_STRINGS, *_ENTITIES))
            raise mistaken(
                schema,
                field.at,
                f"Remit's events have no field `{'.'.join(path)}`",
                "beside arguments and results they have " + ", ".join(f"`{each}`" for each in known),
            )
        if field.type != ("String",):
            raise mistaken(schema, field.at, f"`{'.'.join(path)}` is a String", f"write `{path[-1]}: String`")


def _leaves(fields: tuple[Spread | Field, ...], prefix: Path = ()) -> Iterator[tuple[Path, Spread | Field]]:
    for each in fields:
        if isinstance(each, Field) and each.members is not None:
            yield from _leaves(each.members, (*prefix, each.name))
        else:
            yield ((*prefix, each.name) if isinstance(each, Field) else prefix), each


def _check_pins(schema: EventSchema, scope: Scope) -> None:
    # SECURITY: a pin that one kind lacks would let events of other histories in, for that kind alone.
    pins = {declaration.kind: tuple(pins_of(declaration.fields)) for declaration in schema.declarations}
    wanted = {pin: None for each in pins.values() for pin in each}
    key = KEYS[scope]
    for declaration in schema.declarations:
        if key not in pins[declaration.kind]:
            raise mistaken(
                schema,
                declaration.at,
                f"`{declaration.kind}` events lack `{key}`, by which histories are told apart",
                f"add `{_WRITTEN[scope]}`",
            )
        for pin in wanted:
            if pin not in pins[declaration.kind]:
                raise mistaken(
                    schema,
                    declaration.at,
                    f"`{declaration.kind}` events lack `{pin}`, which other kinds have",
                    "write it on every kind, or on none",
                )
