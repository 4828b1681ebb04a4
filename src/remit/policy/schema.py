"""The Cedar schema of this installation: from catalogue, intents and the facts that Remit itself supplies.

Policies are validated strictly against it, so a policy that loads can't read what is never there, nor compare
what can't be compared. `CONTEXTS` and `tool_context` say exactly which attributes are required and which optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from remit.core.actions import Action, Catalogue
from remit.core.effects import CONSEQUENTIAL, EFFECTS, Effect
from remit.core.errors import DocumentError
from remit.core.intents import Intent
from remit.policy import shapes
from remit.policy.entities.declared import EMPTY, Declared
from remit.policy.shapes import BOOL, DATETIME, DECIMAL, LONG, STRING, STRINGS, Attribute, Shape, always, optional

NAMESPACE: Final = "Remit"
TOOLS: Final = "tools"  # the group of all tool actions
ADMINISTRATION: Final = "administration"  # the group of all administrative actions

_WORKLOAD: Final = shapes.entity_shape("Workload")
_PERSON: Final = shapes.entity_shape("Person")

PRINCIPAL: Final = shapes.record(
    kind=always(STRING, "agent, service, pipeline, bot or person"),
    owner=always(STRING, "the person who answers for it"),
    environment=always(STRING, '"" when none is registered'),
    roles=always(STRINGS, "workload, starter, pep, approver, administrator"),
)
INTENT: Final = shapes.record(
    selfStart=always(BOOL, "whether a workload may start its own task under it"),
    consequential=always(BOOL, "whether it justifies an effect that leaves the system or can't be taken back"),
    emergency=always(BOOL),
)

_NOVELTY: Final = shapes.record(
    tool=always(LONG, "0 habitual, 100 never completed"),
    step=always(LONG, "likewise, of this action after the one that the workload completed last in this session"),
    destination=optional(LONG, "likewise, for actions that have one"),
    toolAge=optional(LONG, "days since the tool was first learned"),
    stepAge=optional(LONG, "likewise, of the step"),
    destinationAge=optional(LONG, "likewise, of the destination"),
    days=always(LONG, "on how many days the workload learned anything, of those that are remembered"),
    isLearning=always(BOOL, "whether these are too few for its habits to be known"),
)
_IDENTITY: Final = shapes.record(target=STRING, isSelf=BOOL)
_CHANGE: Final = shapes.record(target=STRING, isSelf=BOOL, state=always(STRING, "the state to move to"))
CONTEXTS: Final[Mapping[str, tuple[str, Shape]]] = {  # administrative action: (type of resource, context)
    "task.start": (
        "Intent",
        shapes.record(
            workload=always(_WORKLOAD, "who will act"),
            caseType=optional(STRING),
            parent=optional(STRING, "the parent's task id"),
            hasPrompt=BOOL,
        ),
    ),
    "task.end": (
        "Installation",
        shapes.record(
            workload=_WORKLOAD,
            starter=STRING,
            isStarter=BOOL,
            isSuspender=always(BOOL, "false where somebody else has suspended it"),
            state=always(STRING, "the state to move to"),
        ),
    ),
    "outcome.report": (
        "Server",
        shapes.record(workload=_WORKLOAD, isPep=always(BOOL, "the enforcement point that was given the permit")),
    ),
    "identity.register": ("Installation", _IDENTITY),
    "identity.change": ("Installation", _CHANGE),
    "record.read": ("Installation", shapes.EMPTY),
    "record.erase": ("Installation", shapes.EMPTY),
    "permit.resolve": ("Installation", shapes.EMPTY),
    "configuration.reload": ("Installation", shapes.EMPTY),
    "risk.set": ("Installation", shapes.record(target=STRING)),
    "habits.forget": ("Installation", shapes.record(target=STRING)),
    "question.ask": (
        "Installation",
        shapes.record(
            possession=always(STRING, 'how the caller proved its key: "dpop", "mtls", or "none" with a bearer key'),
            isSearch=always(BOOL, "whether it asks who may, or what, rather than whether"),
        ),
    ),
}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One action as policies know it."""

    name: str
    groups: tuple[str, ...]  # the actions that it is a member of
    principals: tuple[str, ...]
    resource: str  # its type
    context: Shape
    is_tool: bool
    server: str = ""


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """All that policies can name: actions with their contexts, action groups, intents and servers."""

    actions: Mapping[str, Known]
    groups: tuple[str, ...]
    intents: frozenset[str]
    servers: frozenset[str]
    trust_domain: str
    declared: Declared = EMPTY  # what the project's own schema adds, outside of this namespace
    given: Mapping[str, Attribute] = {}  # what the contexts of tools have for lowered policies, as validators see it

    def cedar_json(self) -> dict[str, Any]:
        """The schema in Cedar's JSON format."""
        person_or_workload = {"memberOfTypes": ["Group"], "shape": shapes.to_cedar_json(PRINCIPAL)}
        entities: dict[str, Any] = {
            "Workload": person_or_workload,
            "Person": person_or_workload,
            "Group": {"memberOfTypes": ["Group"]},
            "Intent": {"shape": shapes.to_cedar_json(INTENT)},
            "Server": {},
            "Installation": {},
        }
        task = next((known.context.fields["task"] for known in self.actions.values() if known.is_tool), None)
        common = {"Task": shapes.to_cedar_json(task.shape)} if task is not None else {}
        common.update((name.capitalize(), shapes.to_cedar_json(field.shape)) for name, field in self.given.items())
        given = {name: {"type": name.capitalize(), "required": True} for name in self.given}
        actions: dict[str, Any] = {group: {} for group in self.groups}
        for known in self.actions.values():
            context = shapes.to_cedar_json(known.context)
            if known.is_tool:
                context["attributes"]["task"] = {"type": "Task", "required": True}
                context["attributes"].update(given)
            actions[known.name] = {
                "memberOf": [{"id": group} for group in known.groups],
                "appliesTo": {
                    "principalTypes": list(known.principals),
                    "resourceTypes": [known.resource],
                    "context": context,
                },
            }
        own = {NAMESPACE: {"commonTypes": common, "entityTypes": entities, "actions": actions}}
        return {**self.declared.json, **own}


def vocabulary(
    catalogue: Catalogue,
    intents: Mapping[str, Intent],
    inputs: Mapping[str, Shape],
    trust_domain: str,
    declared: Declared = EMPTY,
) -> Vocabulary:
    """What policies of this installation can name; `inputs` has the shape of each tool's arguments."""
    task = task_shape(intents, catalogue)
    actions = {
        name: Known(
            name=name,
            groups=(TOOLS, f"{action.server}/*", action.effect),
            principals=("Workload",),
            resource="Server",
            context=tool_context(inputs[name], task),
            is_tool=True,
            server=action.server,
        )
        for name, action in catalogue.actions.items()
    }
    for name, (resource, context) in CONTEXTS.items():
        actions[name] = Known(
            name=name,
            groups=(ADMINISTRATION,),
            principals=("Workload", "Person"),
            resource=resource,
            context=context,
            is_tool=False,
        )
    servers = frozenset(catalogue.servers) | {action.server for action in catalogue.actions.values()}
    return Vocabulary(
        actions=actions,
        groups=(TOOLS, ADMINISTRATION, *EFFECTS, *(f"{server}/*" for server in sorted(servers))),
        intents=frozenset(intents),
        servers=servers,
        trust_domain=trust_domain,
        declared=declared,
    )


def tool_context(input_: Shape, task: Shape) -> Shape:
    """The context of a tool action."""
    return shapes.record(
        input=always(input_, "the arguments, as the tool's JSON Schema declares them"),
        system=shapes.record(now=DATETIME, windows=always(STRINGS, "names of the change windows open now")),
        task=task,
        session=shapes.record(
            labels=always(STRINGS, "what results seen in this task tree carried"),
            untrusted=always(BOOL, "whether content that can't be trusted was read"),
            calls=LONG,
            destinations=STRINGS,
        ),
        destination=optional(
            shapes.record(host=STRING, port=LONG, internal=BOOL), "where the call goes, for actions that have one"
        ),
        caller=shapes.record(
            id=STRING,
            isSubject=always(BOOL, "whether the workload itself asks"),
            registered=always(BOOL, "whether it is registered for this server, or may enforce for itself"),
        ),
        novelty=always(_NOVELTY, "how unusual this is for the workload"),
        risk=always(LONG, "the highest live risk signal, 0 to 100"),
    )


def task_shape(intents: Mapping[str, Intent], catalogue: Catalogue) -> Shape:
    """`context.task`: its parameters, usage and done steps are the union over all intents, each optional."""
    params: dict[str, Attribute] = {}
    owners: dict[str, str] = {}
    usage: dict[str, Attribute] = {}
    done: dict[str, Attribute] = {}
    for intent in intents.values():
        for name, parameter in intent.params.items():
            shape = shapes.DECLARED[parameter.type]
            if name in params and params[name].shape != shape:
                raise DocumentError(
                    f"parameter `{name}` is {parameter.type} here and another type in intent `{owners[name]}`",
                    path=intent.path or f"intents/{intent.name}.yaml",
                    line=intent.line or 1,
                    next_step="give one of them another name",
                )
            params[name] = optional(shape, parameter.description)
            owners.setdefault(name, intent.name)
        for limit in intent.limits:
            usage[f"{intent.name}/{limit.name}"] = optional(
                shapes.record(
                    calls=always(LONG, "permits so far, those in flight included, this one not"),
                    total=optional(DECIMAL, "the sum, this call included"),
                )
            )
        for step in intent.order:
            done[f"{intent.name}/{step.name}"] = optional(_selected(catalogue.actions.get(step.done)))
    return shapes.record(
        id=STRING,
        root=STRING,
        intent=STRING,
        params=Shape(kind="record", fields=params),
        caseType=optional(STRING),
        onBehalfOf=optional(_PERSON, "the person whose verified token started the task"),
        ageSeconds=LONG,
        depth=always(LONG, "0 for a root task"),
        starter=always(STRING, "the SPIFFE ID of who started the task"),
        emergency=BOOL,
        usage=always(Shape(kind="record", fields=usage), "by `<intent>/<limit>`"),
        done=always(Shape(kind="record", fields=done), "by `<intent>/<prerequisite>`: believed steps, their fields"),
    )


def context_example(vocabulary_: Vocabulary, action: str, *, optional_too: bool = True) -> dict[str, Any]:
    """A context of `action` in Cedar's JSON form, with or without what is optional."""
    known = vocabulary_.actions[action]
    example: dict[str, Any] = shapes.example(known.context, optional_too=optional_too)
    return example


def describe(shape: Shape, base: str = "context") -> Iterator[tuple[str, str, bool, str]]:
    """Each attribute below `base`: its path, its type, whether it is required, and what it says."""
    for name, field in shape.fields.items():
        path = f"{base}.{name}"
        yield path, shapes.name_of(field.shape), field.required, field.note
        if field.shape.kind == "record":
            yield from describe(field.shape, path)


def justified_effects(intent: Intent, catalogue: Catalogue) -> frozenset[Effect]:
    """The effects that an intent justifies, directly or by naming actions."""
    named = {action.effect for action in catalogue.actions.values() if action.name in intent.actions}
    return frozenset(named) | frozenset(intent.effects)


def justifies(intent: Intent, action: Action) -> bool:
    """Whether the intent justifies the action."""
    return action.name in intent.actions or action.effect in intent.effects


def is_consequential(intent: Intent, catalogue: Catalogue) -> bool:
    """Whether the intent justifies an effect that leaves the system or can't be taken back."""
    return not justified_effects(intent, catalogue).isdisjoint(CONSEQUENTIAL)


def _selected(action: Action | None) -> Shape:
    fields = {field.path: optional(shapes.DECLARED[field.type]) for field in action.select} if action else {}
    return Shape(kind="record", fields=fields)
