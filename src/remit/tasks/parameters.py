"""The values that a starter supplies, checked against what the intent declares, in one spelling each."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from remit.core.errors import Forbidden, InvalidInput
from remit.core.intents import Intent, Parameter
from remit.tasks.amounts import canonical_decimal, canonical_integer
from remit.tasks.patterns import matches

_Number = TypeVar("_Number", int, str)


def check_params(intent: Intent, params: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical values of `params`: `str`, 64-bit `int`, `bool`, and decimals as strings such as `1250.00`.

    Numbers and booleans may come as strings, as from a command line. Raises `InvalidInput` (`parameter_unknown`,
    `parameter_missing`, `parameter_invalid`) naming the parameter and what is wanted; it never repeats the value.
    """
    for name in params:
        if name not in intent.params:
            raise InvalidInput(
                "parameter_unknown",
                f"the intent `{intent.name}` has no parameter `{_shown(name)}`",
                f"its parameters: {', '.join(f'`{known}`' for known in intent.params) or 'none'}",
            )
    values: dict[str, Any] = {}
    for name, parameter in intent.params.items():
        if name in params:
            values[name] = _check_value(name, parameter, params[name])
        elif parameter.required:
            raise InvalidInput(
                "parameter_missing",
                f"the intent `{intent.name}` needs the parameter `{name}`",
                f"give {_wanted(parameter)}" + (f": {parameter.description}" if parameter.description else ""),
            )
    return values


def check_narrows(
    parent: Intent, parent_params: Mapping[str, Any], child: Intent, child_params: Mapping[str, Any]
) -> None:
    """Refuses a child task that would be wider than its parent; both sets of values are canonical.

    The child's intent is listed in the parent's `children`, and a parameter that both intents declare has the
    parent's value. Raises `Forbidden` (`child_not_listed`, `child_wider`).
    """
    if child.name not in parent.children:
        raise Forbidden(
            "child_not_listed",
            f"a task under `{parent.name}` can't have a child under `{child.name}`",
            f"add `{child.name}` to `children` of `{parent.name}`, if that is meant",
        )
    for name in child.params:
        # SECURITY: leaving out a value that binds the parent would leave the child unbound.
        if name in parent_params and (name not in child_params or not _same(parent_params[name], child_params[name])):
            raise Forbidden(
                "child_wider",
                f"the parameter `{name}` of a child must be its parent's",
                "give the same value as the parent task",
            )


def _check_value(name: str, parameter: Parameter, value: Any) -> Any:
    match parameter.type:
        case "string":
            checked: Any = _string(parameter, value)
        case "integer":
            checked = _in_range(parameter, canonical_integer(value))
        case "decimal":
            checked = _in_range(parameter, canonical_decimal(value))
        case "boolean":
            checked = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
            checked = checked if isinstance(checked, bool) else None
    if checked is None:
        raise InvalidInput(
            "parameter_invalid", f"the parameter `{name}` is not {_wanted(parameter)}", parameter.description
        )
    return checked


def _string(parameter: Parameter, value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > parameter.max_length:
        return None
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        return None  # control characters and lone surrogates have no place in a parameter
    if parameter.values and value not in parameter.values:
        return None
    if parameter.pattern and not matches(parameter.pattern, value):
        return None
    return value


def _in_range(parameter: Parameter, value: _Number | None) -> _Number | None:
    if value is None:
        return None
    if parameter.minimum and Decimal(value) < Decimal(parameter.minimum):
        return None
    if parameter.maximum and Decimal(value) > Decimal(parameter.maximum):
        return None
    return value


def _wanted(parameter: Parameter) -> str:
    if parameter.type == "boolean":
        return "`true` or `false`"
    if parameter.type == "string":
        if parameter.values:
            return f"one of {', '.join(f'`{value}`' for value in parameter.values[:20])}"
        form = f" that matches `{parameter.pattern}`" if parameter.pattern else ""
        return f"a text of at most {parameter.max_length} characters{form}"
    what = "a whole number" if parameter.type == "integer" else "a number with at most 4 fractional digits"
    if parameter.minimum and parameter.maximum:
        return f"{what} from {parameter.minimum} to {parameter.maximum}"
    if parameter.minimum:
        return f"{what} of at least {parameter.minimum}"
    return f"{what} of at most {parameter.maximum}" if parameter.maximum else what


def _same(one: Any, other: Any) -> bool:
    """Equal, and of one type: `True` is not 1."""
    return type(one) is type(other) and bool(one == other)


def _shown(name: object) -> str:
    text = str(name)[:64]
    return "".join(character if character.isprintable() else "?" for character in text)
