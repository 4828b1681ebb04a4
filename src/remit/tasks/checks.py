"""What one intent's file must say to make sense, each rule with the line it concerns and the fix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from remit.core.documents import Document
from remit.core.effects import CONSEQUENTIAL
from remit.core.intents import Binding, Intent, Limit, Parameter, Prerequisite
from remit.tasks.amounts import canonical_decimal, canonical_integer
from remit.tasks.patterns import matches, pattern_problem
from remit.tasks.references import Reference, path_of, reference_of

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
PARAMETER_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.IGNORECASE | re.ASCII)
ACTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[A-Za-z0-9._:@/-]{1,128}")
WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
WHO: Final = re.compile(
    r"group:[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
    r"|(?:spiffe://[a-z0-9._-]{1,255}/)?(?:workload|starter|person|pep)/[A-Za-z0-9._-]{1,128}"
)
RESERVED: Final = frozenset({"true", "false", "if", "then", "else", "in", "like", "has", "is"})  # Cedar's own words
STRING_LENGTH: Final = 4_096
LONGEST: Final = 31 * 86_400  # seconds
ITEMS: Final = 256

At = tuple[str | int, ...]


def check_intent(intent: Intent, document: Document) -> None:
    """Raises `DocumentError` at the first thing that does not make sense within this one file."""
    _check_head(intent, document)
    _check_scope(intent, document)
    _check_who(intent, document)
    for name, parameter in intent.params.items():
        _check_parameter(name, parameter, document)
    for i, prerequisite in enumerate(intent.order):
        _check_prerequisite(intent, prerequisite, document, ("order", i))
    _check_order_ends(intent, document)
    for i, limit in enumerate(intent.limits):
        _check_limit(intent, limit, document, ("limits", i))
    for i, binding in enumerate(intent.bindings):
        _check_binding(intent, binding, document, ("bindings", i))
    _check_unique([item.name for item in intent.order], document, "order", ("name",))
    _check_unique([item.name for item in intent.limits], document, "limits", ("name",))
    _check_unique([(b.action, b.argument, bool(b.equals)) for b in intent.bindings], document, "bindings", ())


def _check_head(intent: Intent, document: Document) -> None:
    if intent.name != document.path.stem:
        raise document.error(
            f"the intent is named `{intent.name}` in a file named `{document.path.name}`",
            ("name",),
            f"rename the file to `{intent.name}.yaml`, or leave the key out",
        )
    _check_word(intent.name, NAME, document, ("name",), "lower-case letters, digits and `-`, at most 64")
    if not intent.description.strip() or len(intent.description) > STRING_LENGTH:
        raise document.error(
            "the description is empty or too long", ("description",), "say in a sentence what it is for"
        )
    if not 0 <= intent.risk_at_most <= 100:
        raise document.error("`risk_at_most` is not between 0 and 100", ("risk_at_most",))
    if not 1 <= intent.time_to_live <= LONGEST:
        raise document.error("`time_to_live` is not between 1 second and 31 days", ("time_to_live",))
    for key in ("case_types", "children", "credentials"):
        form = NAME if key == "children" else WORD
        values: tuple[str, ...] = getattr(intent, key)
        for i, value in enumerate(values):
            _check_word(value, form, document, (key, i), "letters, digits and `.`, `_`, `-`")
        _check_unique(values, document, key, ())
    if intent.name in intent.children:
        at = ("children", intent.children.index(intent.name))
        raise document.error(f"`{intent.name}` is its own child", at, "remove it: children form no cycle")


def _check_scope(intent: Intent, document: Document) -> None:
    if not intent.actions and not intent.effects:
        raise document.error(
            "an intent without actions and effects is an open intent, and open intents come with a pack",
            (),
            "name the actions or effects that it justifies",
            code="intent_open",
        )
    _check_actions(intent.actions, document, ("actions",))
    _check_unique(intent.effects, document, "effects", ())
    if intent.self_start:
        for i, effect in enumerate(intent.effects):
            if effect in CONSEQUENTIAL:
                # SECURITY: a workload that could start its own task would justify its own payment.
                raise document.error(
                    f"an intent with `self_start` can't justify `{effect}`",
                    ("effects", i),
                    "remove the effect, or have a starter other than the workload start it",
                )


def _check_who(intent: Intent, document: Document) -> None:
    for key, values in (("starters", intent.starters), ("workloads", intent.workloads)):
        # An empty list of starters is a statement only where the workload starts its own tasks.
        if not values and not (key == "starters" and intent.self_start):
            raise document.error(
                f"`{key}` is empty", (key,), "name at least one, as `group:<name>` or `starter/<name>`"
            )
        for i, value in enumerate(values):
            if not WHO.fullmatch(value):
                raise document.error(
                    f"`{value}` names nobody",
                    (key, i),
                    "write `group:<name>`, `workload/<name>`, `starter/<name>`, `person/<name>` or a SPIFFE ID",
                )
        _check_unique(values, document, key, ())


def _check_parameter(name: str, parameter: Parameter, document: Document) -> None:
    at: At = ("params", name)
    if not PARAMETER_NAME.fullmatch(name) or name in RESERVED:
        raise document.error(
            f"`{name}` can't name a parameter", at, "use letters, digits and `_`, not one of Cedar's words"
        )
    if not 1 <= parameter.max_length <= STRING_LENGTH:
        raise document.error(f"`max_length` is not between 1 and {STRING_LENGTH}", (*at, "max_length"))
    if parameter.type != "string":
        for key in ("pattern", "values"):
            if getattr(parameter, key):
                raise document.error(f"`{key}` is for strings, `{name}` is {parameter.type}", (*at, key), "remove it")
    if parameter.pattern and (problem := pattern_problem(parameter.pattern)):
        fix = "correct it; look-around and back references are not supported"
        raise document.error(problem, (*at, "pattern"), fix)
    for i, value in enumerate(parameter.values):
        if len(value) > parameter.max_length or (parameter.pattern and not matches(parameter.pattern, value)):
            raise document.error(
                f"`{value}` can never be given: it breaks `pattern` or `max_length`", (*at, "values", i)
            )
    _check_range(name, parameter, document, at)


def _check_range(name: str, parameter: Parameter, document: Document, at: At) -> None:
    ends: list[Decimal] = []
    for key in ("minimum", "maximum"):
        text: str = getattr(parameter, key)
        if not text:
            continue
        if parameter.type not in ("integer", "decimal"):
            raise document.error(f"`{key}` is for numbers, `{name}` is {parameter.type}", (*at, key), "remove it")
        number = canonical_decimal(text) if parameter.type == "decimal" else canonical_integer(text)
        if number is None:
            raise document.error(f"`{text}` is not {_article(parameter.type)} {parameter.type}", (*at, key))
        ends.append(Decimal(number))
    if len(ends) == 2 and ends[0] > ends[1]:
        raise document.error("`minimum` is above `maximum`", (*at, "minimum"))


def _check_prerequisite(intent: Intent, item: Prerequisite, document: Document, at: At) -> None:
    _check_word(item.name, NAME, document, (*at, "name"), "lower-case letters, digits and `-`, at most 64")
    if not item.before:
        raise document.error("`before` is empty", (*at, "before"), "name the actions that must wait")
    _check_actions(item.before, document, (*at, "before"))
    _check_justified(intent, item.before, document, (*at, "before"))
    _check_actions((item.done,), document, (*at, "done"))
    if not 0 <= item.within <= LONGEST:
        raise document.error("`within` is longer than 31 days", (*at, "within"))
    for path, text in item.where.items():
        where = (*at, "where", path)
        if path_of(path) is None:
            raise document.error(f"`{path}` is not a path", where, "write `input.<argument>` or `output.<field>`")
        reference = _reference(intent, text, document, where)
        if reference.kind not in ("param", "text"):
            raise document.error(f"a step can't be compared with `{text}`", where, "use `params.<name>` or `'text'`")


def _check_order_ends(intent: Intent, document: Document) -> None:
    """Refuses an order that nothing can satisfy: an action that waits, through others, for itself."""
    waits: dict[str, set[str]] = {}
    for item in intent.order:
        for action in item.before:
            waits.setdefault(action, set()).add(item.done)
    for i, item in enumerate(intent.order):
        seen: set[str] = set()
        todo = [item.done]
        while todo:
            action = todo.pop()
            if action in item.before:
                raise document.error(f"`{action}` would have to wait for itself", ("order", i), "break the circle")
            if action not in seen:
                seen.add(action)
                todo.extend(waits.get(action, ()))


def _check_limit(intent: Intent, limit: Limit, document: Document, at: At) -> None:
    _check_word(limit.name, NAME, document, (*at, "name"), "lower-case letters, digits and `-`, at most 64")
    if bool(limit.actions) == bool(limit.effects):
        raise document.error("a limit is on actions or on effects", at, "give one of `actions` and `effects`")
    _check_actions(limit.actions, document, (*at, "actions"))
    _check_justified(intent, limit.actions, document, (*at, "actions"))
    _check_unique(limit.effects, document, "effects", (), at)
    if limit.calls is None and not limit.sum:
        raise document.error(f"the limit `{limit.name}` limits nothing", at, "add `calls`, or `sum` with `at_most`")
    if limit.calls is not None and not 1 <= limit.calls <= 1_000_000:
        raise document.error("`calls` is not between 1 and 1000000", (*at, "calls"))
    if bool(limit.sum) != bool(limit.at_most):
        raise document.error("`sum` and `at_most` belong together", at, "give both, or neither")
    if limit.sum:
        _check_input_path(limit.sum, document, (*at, "sum"))
        _check_amount(intent, limit.at_most, document, (*at, "at_most"), ("param", "number"), ("decimal",))


def _check_binding(intent: Intent, binding: Binding, document: Document, at: At) -> None:
    _check_actions((binding.action,), document, (*at, "action"))
    _check_justified(intent, (binding.action,), document, (*at, "action"))
    _check_input_path(binding.argument, document, (*at, "argument"))
    if bool(binding.equals) == bool(binding.at_most):
        raise document.error(
            "a binding says what an argument equals or is at most", at, "give one of `equals` and `at_most`"
        )
    if binding.equals:
        _reference(intent, binding.equals, document, (*at, "equals"))
    else:
        _check_amount(intent, binding.at_most, document, (*at, "at_most"), ("param", "number", "done"))


def _check_amount(
    intent: Intent,
    text: str,
    document: Document,
    at: At,
    kinds: Sequence[str],
    types: Sequence[str] = ("integer", "decimal"),
) -> None:
    reference = _reference(intent, text, document, at)
    if reference.kind not in kinds:
        raise document.error(f"`{text}` is not an amount", at, "write a number, or a reference to one")
    if reference.kind == "param" and intent.params[reference.name].type not in types:
        raise document.error(
            f"the parameter `{reference.name}` is not a {types[-1]} number", at, "make it `type: decimal`"
        )
    if reference.kind == "number" and Decimal(reference.name) < 0:
        raise document.error("the amount is below zero", at)


def _reference(intent: Intent, text: str, document: Document, at: At) -> Reference:
    reference = reference_of(text)
    if reference is None:
        raise document.error(
            f"`{text}` is neither a reference nor a literal",
            at,
            "write `params.<name>`, `done.<prerequisite>.<field>`, `'text'`, a number, `true` or `false`",
        )
    if reference.kind == "param" and reference.name not in intent.params:
        raise document.error(
            f"`{text}` refers to a parameter that this intent does not have", at, _known("parameters", intent.params)
        )
    if reference.kind == "done" and reference.name not in (names := [item.name for item in intent.order]):
        raise document.error(f"`{text}` refers to a step that `order` does not have", at, _known("steps", names))
    return reference


def _check_input_path(path: str, document: Document, at: At) -> None:
    parsed = path_of(path)
    if parsed is None or parsed[0] != "input":
        raise document.error(f"`{path}` is not an argument", at, "write `input.<argument>`")


def _check_actions(actions: Sequence[str], document: Document, at: At) -> None:
    for i, action in enumerate(actions):
        where = (*at, i)
        if not ACTION.fullmatch(action):
            fix = "name each action, wildcards are not allowed" if "*" in action else "write `<server>/<tool>`"
            raise document.error(f"`{action}` is not an action", where, fix)
    _check_unique(actions, document, str(at[-1]), (), at[:-1])


def _check_justified(intent: Intent, actions: Iterable[str], document: Document, at: At) -> None:
    """Without effects, what an intent justifies is known from its file alone; `against` checks the rest."""
    if intent.effects:
        return
    for action in actions:
        if action not in intent.actions:
            raise document.error(
                f"`{action}` is not among the actions of this intent", at, "add it to `actions`, or remove it here"
            )


def _check_word(value: str, form: re.Pattern[str], document: Document, at: At, wanted: str) -> None:
    if not form.fullmatch(value):
        raise document.error(f"`{value}` can't be used as a name here", at, f"use {wanted}")


def _check_unique(values: Sequence[Any], document: Document, key: str, inner: At, at: At = ()) -> None:
    if len(values) > ITEMS:
        raise document.error(f"`{key}` has more than {ITEMS} entries", (*at, key))
    counts = Counter(values)
    for i, value in enumerate(values):
        if counts[value] > 1 and value in values[:i]:
            shown = value[0] if isinstance(value, tuple) else value
            raise document.error(f"`{shown}` stands twice in `{key}`", (*at, key, i, *inner), "keep one of them")


def _known(what: str, names: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(names))
    return f"{what} here: {listed}" if listed else f"it has no {what}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
