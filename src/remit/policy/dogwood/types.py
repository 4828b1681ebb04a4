"""Types of what information providers take and give: as `remit.toml` writes them, as Cedar's, and of Python values.

String is `str`, Long is `int` of 64 bits, Bool is `bool`, Decimal is `decimal.Decimal` with at most four digits after
the point, a set is a `frozenset` (of sets: a tuple), a record is a `dict`. A field that may be absent is written
`"name?"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from remit.policy import shapes
from remit.policy.shapes import BOOL, DECIMAL, LONG, STRING, Attribute, Shape

MAX_DEPTH: Final = 8
MAX_TEXT: Final = 65_536  # characters of a string
MAX_ITEMS: Final = 1_000  # of a set
_LONG: Final = 1 << 63
_SCALARS: Final[Mapping[str, Shape]] = {
    "String": STRING,
    "Long": LONG,
    "Bool": BOOL,
    "Boolean": BOOL,
    "Decimal": DECIMAL,
    "decimal": DECIMAL,
}
_DIGITS: Final = Decimal("0.0001")


class WrongType(Exception):
    """A value, or what should name a type, is none of the type; the message says where and why."""


def read_type(written: str | Mapping[str, Any], depth: int = 0) -> Shape:
    """The type that `remit.toml` writes. Raises `WrongType`."""
    if depth > MAX_DEPTH:
        raise WrongType(f"types are nested at most {MAX_DEPTH} deep")
    if isinstance(written, str):
        text = written.strip()
        if text in _SCALARS:
            return _SCALARS[text]
        if text.startswith("Set<") and text.endswith(">"):
            return Shape(kind="set", of=read_type(text[4:-1], depth + 1))
        raise WrongType(f"`{text[:40]}` is no type: use String, Long, Bool, Decimal, Set<…> or a table")
    fields: dict[str, Attribute] = {}
    for name, of in written.items():
        plain = name.removesuffix("?")
        if not plain or plain.startswith(shapes.RESERVED_PREFIX) or plain in fields:
            raise WrongType(f"`{name[:40]}` can't be the name of a field")
        if not isinstance(of, str | Mapping):
            raise WrongType(f"the field `{plain[:40]}` has no type")
        fields[plain] = Attribute(shape=read_type(of, depth + 1), required=not name.endswith("?"))
    return Shape(kind="record", fields=fields)


def to_cedar(value: Any, shape: Shape, at: str = "its value") -> Any:
    """The value in Cedar's JSON form. Raises `WrongType` where it is not of the type."""
    if shape.kind == "string" and isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise WrongType(f"{at} has more than {MAX_TEXT} characters")
        return value.encode("utf-8", "replace").decode("utf-8")
    if shape.kind == "bool" and isinstance(value, bool):
        return value
    if shape.kind == "long" and isinstance(value, int) and not isinstance(value, bool):
        if not -_LONG <= value < _LONG:
            raise WrongType(f"{at} is outside of 64 bits")
        return int(value)
    if shape.kind == "decimal" and isinstance(value, Decimal):
        return _decimal(value, at)
    if shape.kind == "set" and shape.of is not None and isinstance(value, Set | list | tuple):
        if len(value) > MAX_ITEMS:
            raise WrongType(f"{at} has more than {MAX_ITEMS} items")
        of = shape.of
        return [to_cedar(item, of, f"an item of {at}") for item in value]
    if shape.kind == "record" and isinstance(value, Mapping):
        return _record(value, shape, at)
    raise WrongType(f"{at} is {type(value).__name__}, not {shapes.name_of(shape)}")


def of_cedar(value: Any) -> Any:
    """A value of Cedar's JSON form as Python has it; None stays None."""
    if isinstance(value, Mapping):
        extension = value.get("__extn")
        if isinstance(extension, Mapping):
            text = str(extension.get("arg", ""))
            return Decimal(text) if extension.get("fn") == "decimal" else text
        return {name: of_cedar(item) for name, item in value.items()}
    if isinstance(value, list):
        items = tuple(of_cedar(item) for item in value)
        return items if any(isinstance(item, dict | tuple | frozenset) for item in items) else frozenset(items)
    return value


def _record(value: Mapping[Any, Any], shape: Shape, at: str) -> dict[str, Any]:
    more = [name for name in value if name not in shape.fields]
    if more:
        raise WrongType(f"{at} has the field `{str(more[0])[:40]}`, which is not declared")
    found: dict[str, Any] = {}
    for name, field in shape.fields.items():
        if name in value and not (value[name] is None and not field.required):
            found[name] = to_cedar(value[name], field.shape, f"`{name}`")
        elif field.required:
            raise WrongType(f"{at} lacks the field `{name}`")
    return found


def _decimal(value: Decimal, at: str) -> dict[str, Any]:
    try:
        exact = value.quantize(_DIGITS)
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or exact != value or abs(exact.scaleb(4)) >= _LONG:
        raise WrongType(f"{at} is no decimal with at most four digits after the point")
    return {"__extn": {"fn": "decimal", "arg": f"{exact:f}"}}
