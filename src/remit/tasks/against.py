"""Intents against the catalogue and against each other: what one file alone can't show."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from remit.core.actions import Action, Catalogue
from remit.core.documents import read_yaml
from remit.core.effects import CONSEQUENTIAL
from remit.core.errors import DocumentError
from remit.core.intents import Binding, Intent, Limit, Prerequisite
from remit.tasks.references import path_of, reference_of

At = tuple[str | int, ...]
Fault = Callable[[str, At, str], DocumentError]

_NODES: Final = 256  # how many parts of one schema are looked at on the way to one argument


def check_against(catalogue: Catalogue, intents: Mapping[str, Intent]) -> None:
    """Raises the first of `problems_against`, a `DocumentError` with file, line and fix."""
    for problem in problems_against(catalogue, intents):
        raise problem


def problems_against(catalogue: Catalogue, intents: Mapping[str, Intent]) -> Iterator[DocumentError]:
    """Everything in `intents` that names an action, argument, result field or child intent that is not there.

    Also: a `self_start` intent whose actions are consequential, a child that justifies more than its parent, and a
    limit that sums a personal argument.
    """
    for intent in intents.values():
        yield from _scope_problems(catalogue, intent)
        yield from _order_problems(catalogue, intent)
        yield from _limit_problems(catalogue, intent)
        yield from _binding_problems(catalogue, intent)
        yield from _child_problems(catalogue, intents, intent)


def justified(catalogue: Catalogue, intent: Intent) -> frozenset[str]:
    """The actions of the catalogue that an intent justifies, by name or by effect."""
    by_effect = {name for name, action in catalogue.actions.items() if action.effect in intent.effects}
    return frozenset(by_effect | (set(intent.actions) & catalogue.actions.keys()))


def _scope_problems(catalogue: Catalogue, intent: Intent) -> Iterator[DocumentError]:
    fault = _fault(intent)
    yield from _unknown_actions(catalogue, intent.actions, fault, ("actions",))
    if not intent.self_start:
        return
    for i, name in enumerate(intent.actions):
        action = catalogue.actions.get(name)
        if action is not None and action.effect in CONSEQUENTIAL:
            # SECURITY: a workload that could start its own task would justify its own payment.
            yield fault(
                f"an intent with `self_start` can't justify `{name}`, whose effect is `{action.effect}`",
                ("actions", i),
                "remove the action, or have a starter other than the workload start it",
            )


def _order_problems(catalogue: Catalogue, intent: Intent) -> Iterator[DocumentError]:
    fault = _fault(intent)
    for i, item in enumerate(intent.order):
        at: At = ("order", i)
        yield from _unknown_actions(catalogue, item.before, fault, (*at, "before"))
        yield from _unjustified(catalogue, intent, item.before, fault, (*at, "before"))
        done = catalogue.actions.get(item.done)
        if done is None:
            yield _unknown_action(catalogue, item.done, fault, (*at, "done"))
            continue
        for path in item.where:
            side, _, name = path.partition(".")
            if side == "input":
                yield from _unknown_argument(done, path, fault, (*at, "where", path))
            elif name not in _selected(done):
                yield _unselected(done, name, fault, (*at, "where", path))


def _limit_problems(catalogue: Catalogue, intent: Intent) -> Iterator[DocumentError]:
    fault = _fault(intent)
    for i, limit in enumerate(intent.limits):
        at: At = ("limits", i)
        yield from _unknown_actions(catalogue, limit.actions, fault, (*at, "actions"))
        yield from _unjustified(catalogue, intent, limit.actions, fault, (*at, "actions"))
        if limit.sum:
            for action in _limited(catalogue, intent, limit):
                yield from _unknown_argument(action, limit.sum, fault, (*at, "sum"), numeric=True)
                if any(limit.sum == path or limit.sum.startswith(path + ".") for path in action.personal):
                    # SECURITY: the sum stands in every record of a permit, so the value could be read from it.
                    yield fault(
                        f"`{limit.sum}` of `{action.name}` is personal, and a sum of it would tell it",
                        (*at, "sum"),
                        "limit the number of calls, or take it out of `personal` in the catalogue",
                    )


def _binding_problems(catalogue: Catalogue, intent: Intent) -> Iterator[DocumentError]:
    fault = _fault(intent)
    steps: dict[str, Prerequisite] = {item.name: item for item in intent.order}
    for i, binding in enumerate(intent.bindings):
        at: At = ("bindings", i)
        action = catalogue.actions.get(binding.action)
        if action is None:
            yield _unknown_action(catalogue, binding.action, fault, (*at, "action"))
            continue
        yield from _unjustified(catalogue, intent, (binding.action,), fault, (*at, "action"))
        numeric = bool(binding.at_most)
        yield from _unknown_argument(action, binding.argument, fault, (*at, "argument"), numeric=numeric)
        yield from _unknown_step_field(catalogue, binding, steps, fault, at)


def _unknown_step_field(
    catalogue: Catalogue, binding: Binding, steps: Mapping[str, Prerequisite], fault: Fault, at: At
) -> Iterator[DocumentError]:
    key = "equals" if binding.equals else "at_most"
    reference = reference_of(binding.equals or binding.at_most)
    if reference is None or reference.kind != "done" or reference.name not in steps:
        return
    done = catalogue.actions.get(steps[reference.name].done)
    if done is None:
        return  # reported where `order` names it
    if reference.field not in (fields := _selected(done)):
        yield _unselected(done, reference.field, fault, (*at, key))
    elif key == "at_most" and fields[reference.field] not in ("integer", "decimal"):
        yield fault(
            f"`{reference.field}` of `{done.name}` is not selected as a number",
            (*at, key),
            "give it `type: decimal` under `select` in the catalogue",
        )


def _child_problems(catalogue: Catalogue, intents: Mapping[str, Intent], intent: Intent) -> Iterator[DocumentError]:
    fault = _fault(intent)
    scope = justified(catalogue, intent)
    for i, name in enumerate(intent.children):
        at: At = ("children", i)
        child = intents.get(name)
        if child is None:
            yield fault(f"there is no intent `{name}`", at, _nearest(name, intents))
            continue
        if _reaches(intents, name, intent.name):
            yield fault(f"`{name}` has `{intent.name}` among its own children", at, "break the circle")
        # SECURITY: a child task only narrows; a wider child intent would be a way around its parent's ceiling.
        wider = sorted(justified(catalogue, child) - scope)
        if wider:
            yield fault(
                f"the child `{name}` justifies `{wider[0]}`, which `{intent.name}` does not",
                at,
                "take it out of the child, or let a starter start that task on its own",
            )
        if child.risk_at_most > intent.risk_at_most:
            yield fault(f"the child `{name}` bears more risk than `{intent.name}`", at, "lower its `risk_at_most`")


def _reaches(intents: Mapping[str, Intent], start: str, goal: str) -> bool:
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen and name in intents:
            seen.add(name)
            todo.extend(intents[name].children)
    return False


def _unknown_actions(catalogue: Catalogue, names: Iterable[str], fault: Fault, at: At) -> Iterator[DocumentError]:
    for i, name in enumerate(names):
        if name not in catalogue.actions:
            yield _unknown_action(catalogue, name, fault, (*at, i))


def _unknown_action(catalogue: Catalogue, name: str, fault: Fault, at: At) -> DocumentError:
    fix = _nearest(name, catalogue.actions) or "import its server with `remit catalogue import`"
    return fault(f"`{name}` is not in the catalogue", at, fix)


def _unjustified(
    catalogue: Catalogue, intent: Intent, names: Iterable[str], fault: Fault, at: At
) -> Iterator[DocumentError]:
    scope = justified(catalogue, intent)
    for i, name in enumerate(names):
        if name in catalogue.actions and name not in scope:
            where = at if at[-1] == "action" else (*at, i)
            yield fault(f"this intent does not justify `{name}`", where, "add it to `actions`, or remove it here")


def _limited(catalogue: Catalogue, intent: Intent, limit: Limit) -> Iterator[Action]:
    for name in sorted(justified(catalogue, intent)):
        action = catalogue.actions[name]
        if name in limit.actions or action.effect in limit.effects:
            yield action


def _unknown_argument(
    action: Action, path: str, fault: Fault, at: At, *, numeric: bool = False
) -> Iterator[DocumentError]:
    parsed = path_of(path)
    if parsed is None:
        return  # reported when the file was loaded
    types = argument_types(action.input_schema, parsed[1])
    if types is None:
        properties = action.input_schema.get("properties")
        names = [f"`input.{name}`" for name in properties][:20] if isinstance(properties, dict) else []
        yield fault(f"`{action.name}` has no argument `{path}`", at, f"it has {', '.join(names) or 'none'}")
    elif numeric and not types & {"integer", "number"}:
        yield fault(f"`{path}` of `{action.name}` is not a number", at, "name a numeric argument")


def argument_types(schema: Any, steps: tuple[str, ...]) -> frozenset[str] | None:
    """The JSON types that a tool's input schema allows at a path; None where the schema knows no such argument.

    Follows `properties`, `anyOf`, `oneOf`, `allOf` and local `$ref`s, and gives up after `_NODES` schemas.
    """
    types: set[str] = set()
    found = False
    todo: list[tuple[Any, tuple[str, ...]]] = [(schema, steps)]
    for _ in range(_NODES):
        if not todo:
            break
        node, rest = todo.pop()
        if not isinstance(node, dict):
            continue
        if isinstance(target := node.get("$ref"), str):
            todo.append((_resolved(schema, target), rest))
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(branches := node.get(key), list):
                todo.extend((branch, rest) for branch in branches[:_NODES])
        if not rest:
            found = True
            named = node.get("type")
            types.update(name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str))
        elif isinstance(properties := node.get("properties"), dict) and rest[0] in properties:
            todo.append((properties[rest[0]], rest[1:]))
    return frozenset(types) if found else None


def _resolved(root: Any, target: str) -> Any:
    if not target.startswith("#/"):
        return None
    node = root
    for part in target[2:].split("/"):
        node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node


def _selected(action: Action) -> dict[str, str]:
    return {field.path: field.type for field in action.select}


def _unselected(action: Action, name: str, fault: Fault, at: At) -> DocumentError:
    fields = ", ".join(f"`{path}`" for path in _selected(action)) or "none"
    return fault(
        f"`{name}` is not among the fields that the catalogue keeps of `{action.name}`",
        at,
        f"add it under `select` in the catalogue; kept now: {fields}",
    )


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:200], list(names), n=1)
    return f"did you mean `{close[0]}`?" if close else ""


def _fault(intent: Intent) -> Fault:
    """Makes errors at lines of the intent's file, which is read again only when there is an error to show."""

    def fault(message: str, at: At, next_step: str) -> DocumentError:
        line, column = intent.line or 1, 1
        with contextlib.suppress(DocumentError):  # the file may be gone; then the first line has to do
            line, column = read_yaml(Path(intent.path)).position(at)
        return DocumentError(message, path=intent.path, line=line, column=column, next_step=next_step)

    return fault
