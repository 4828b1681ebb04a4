"""Values as JSON, for what monitors store: the same value gives the same text, and comes back equal.

Strings, integers and booleans stand as they are, everything else as a list that begins with what it is.
"""

from __future__ import annotations

import json
from typing import Any, Final

from remit.policy.compiled.extensions import Datetime, Decimal, Duration, Extension, Ip
from remit.policy.compiled.values import Entity, Set, Unsupported

_EXTENSIONS: Final[dict[str, Any]] = {"decimal": Decimal, "datetime": Datetime, "duration": Duration, "ipaddr": Ip}


def text(form: Any) -> str:
    """The one JSON text of a form."""
    return json.dumps(form, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def form_of(value: Any) -> Any:
    """The JSON form of a value; `Unsupported` for what is no value of Cedar."""
    kind = type(value)
    if kind is str or kind is int or kind is bool:
        return value
    if kind is Entity:
        return ["entity", value[0], value[1]]
    if kind is Set:
        # Equal elements of another order or number are the same set.
        return ["set", [json.loads(each) for each in sorted({text(form_of(item)) for item in value.items})]]
    if kind is dict:
        return ["record", {name: form_of(each) for name, each in value.items()}]
    if isinstance(value, Extension):
        return list(value)  # type: ignore[call-overload]  # each is a tuple that begins with its name
    raise Unsupported(kind.__name__)


def value_of(form: Any) -> Any:
    """The value of a JSON form that `form_of` made; `ValueError` for any other."""
    kind = type(form)
    if kind is str or kind is int or kind is bool:
        return form
    match form:
        case ["entity", str(of), str(name)]:
            return Entity((of, name))
        case ["set", list(items)]:
            return Set(map(value_of, items))
        case ["record", dict(fields)]:
            return {name: value_of(each) for name, each in fields.items()}
        case [str(name), *parts] if name in _EXTENSIONS and all(type(each) is int for each in parts):
            made = _EXTENSIONS[name]
            if len(parts) + 1 == len(made._fields):
                return made(name, *parts)
    raise ValueError("this is not a stored value")
