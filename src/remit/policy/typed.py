"""JSON arguments to Cedar values: checked against the tool's JSON Schema, then converted by its shape.

Numbers become decimals with at most 4 fraction digits and integers of 64 bits
(https://docs.cedarpolicy.com/policies/syntax-datatypes.html): what Cedar can't hold exactly is refused, never
rounded. Arguments that the schema does not declare are not visible to policies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import jsonschema_rs

from remit.core import bounds
from remit.core.actions import Action
from remit.core.errors import InvalidInput
from remit.policy import shapes
from remit.policy.complexity import depth_allowed
from remit.policy.shapes import Shape

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
_WHOLE_LIMIT: Final = 2**63 // 10_000
_DECIMAL_LIMIT: Final = Decimal(2**63) / 10_000
_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,14}\.[0-9]{1,4}")
_BACKTRACKS: Final = 10_000  # of a schema's regular expression, on one value

Convert = Callable[[Any], Any]


class Converter:
    """The conversion of one tool's arguments, compiled once."""

    def __init__(self, action: Action) -> None:
        self.action = action.name
        self.shape = shapes.from_json_schema(action.input_schema, frozenset(action.content))
        self.problem = ""
        self._convert = _record(self.shape, "input")
        self._is_valid: Callable[[Any], bool] = _never
        self._validator: Any = None
        # SECURITY: branches that refer back make work that doubles with each level of the arguments.
        self._depth = depth_allowed(action.input_schema)
        if self._depth == 0:
            self.problem = "it branches too often"
            return
        try:
            # SECURITY: offline: a schema's reference must not make this service fetch an address.
            self._validator = jsonschema_rs.validator_for(
                action.input_schema,
                offline=True,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            )
            self._is_valid = self._validator.is_valid
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
            self.problem = str(error).splitlines()[0]

    def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments in Cedar's JSON form; `InvalidInput` when the schema or Cedar can't hold them."""
        # SECURITY: the validator recurses without a bound of its own; deep input must not reach it.
        check_size(arguments, self._depth or bounds.JSON_DEPTH)
        try:
            is_valid = self._is_valid(arguments)
        except (ValueError, TypeError, OverflowError):
            is_valid = False
        if not is_valid:
            raise self._refusal(arguments)
        converted: dict[str, Any] = self._convert(arguments)
        return converted

    def _refusal(self, arguments: dict[str, Any]) -> InvalidInput:
        if self.problem:
            return _invalid(
                f"the input schema of `{self.action}` can't be used: {self.problem}",
                "have the server declare a schema that stands alone, then import it again",
            )
        try:
            self._validator.validate(arguments)
        except jsonschema_rs.ValidationError as error:
            where = ".".join(["input", *(str(step) for step in error.instance_path)])
            keyword = str(error.schema_path[-1]) if error.schema_path else "schema"
            # The engine's own message quotes the value, which may be personal.
            return _invalid(f"`{where[:200]}` does not fit the input schema of `{self.action}` (`{keyword[:50]}`)")
        except (ValueError, TypeError, OverflowError):
            pass
        return _invalid(f"the arguments do not fit the input schema of `{self.action}`")


def check_size(value: Any, depth: int) -> None:
    """Refuses input that is nested deeper than `depth` or has too many values, without recursion."""
    level, nodes = [value], 0
    for _ in range(depth):
        deeper: list[Any] = []
        for item in level:
            if type(item) is dict:
                deeper.extend(item.values())
            elif type(item) is list:
                deeper.extend(item)
        nodes += len(deeper)
        if nodes > bounds.JSON_NODES:
            break
        level = [item for item in deeper if type(item) is dict or type(item) is list]
        if not level:
            return
    raise _invalid("the arguments are nested too deeply or have too many values")


def typed_value(kind: str, value: Any, name: str = "value") -> Any:
    """A declared value (`string`, `integer`, `decimal`, `boolean`) in Cedar's JSON form.

    Decimals may be text ("12.50"), as in canonical parameters, or numbers. `InvalidInput` when it does not fit.
    """
    return value_converter(kind, name)(value)


def value_converter(kind: str, name: str) -> Convert:
    """The conversion of declared values of one kind, as `typed_value` does it; `name` stands in errors."""
    return _scalar(shapes.DECLARED[kind], name)


def typed_decimal(value: Decimal | int | str) -> dict[str, Any]:
    """A decimal in Cedar's JSON form; `InvalidInput` with more than 4 fraction digits or out of range."""
    typed: dict[str, Any] = _decimal("value")(value)
    return typed


def typed_time(ms: int) -> dict[str, Any]:
    """Milliseconds since 1970, UTC, as a Cedar datetime in its JSON form."""
    seconds, rest = divmod(ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return {"__extn": {"fn": "datetime", "arg": f"{text}.{rest:03d}Z"}}


def entity_ref(type_: str, id_: str) -> dict[str, Any]:
    """A reference to one of Remit's entities in Cedar's JSON form."""
    return {"__entity": {"type": f"Remit::{type_}", "id": id_}}


def _never(_: Any) -> bool:
    return False


def _invalid(message: str, next_step: str = "") -> InvalidInput:
    return InvalidInput("arguments_invalid", message, next_step)


def _converter(shape: Shape, name: str) -> Convert:
    if shape.kind == "record":
        return _record(shape, name)
    if shape.kind == "set" and shape.of is not None:
        return _set(_scalar(shape.of, f"{name}[]"), name)
    return _scalar(shape, name)


def _scalar(shape: Shape, name: str) -> Convert:
    return {"string": _string, "long": _long, "bool": _bool, "decimal": _decimal}[shape.kind](name)


def _record(shape: Shape, name: str) -> Convert:
    fields = [(key, field.required, _converter(field.shape, f"{name}.{key}")) for key, field in shape.fields.items()]
    known = shape.fields.keys()
    folded = frozenset(key.casefold() for key in known)

    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _invalid(f"`{name}` is not an object")
        # SECURITY: only declared properties are copied, so `__entity` and `__extn` from outside never get through.
        result = {}
        for key, required, inner in fields:
            item = value.get(key)
            if item is not None:
                result[key] = inner(item)
            elif required:
                raise _invalid(f"`{name}.{key}` is missing")
        if len(result) < len(value):
            for key in value.keys() - known:
                # SECURITY: a server that ignores case would take it for the argument that no policy saw.
                if key.casefold() in folded:
                    raise _invalid(f"`{name}` has a name that differs from a declared one only in case")
        return result

    return convert


def _set(inner: Convert, name: str) -> Convert:
    def convert(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _invalid(f"`{name}` is not an array")
        return [inner(item) for item in value]

    return convert


def _string(name: str) -> Convert:
    def convert(value: Any) -> str:
        if type(value) is not str:
            raise _invalid(f"`{name}` is not a string")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _invalid(f"`{name}` is not valid Unicode") from None
        return value

    return convert


def _bool(name: str) -> Convert:
    def convert(value: Any) -> bool:
        if type(value) is not bool:
            raise _invalid(f"`{name}` is not true or false")
        return value

    return convert


def _long(name: str) -> Convert:
    def convert(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)  # 1.0 is an integer in JSON Schema
        # SECURITY: True == 1 in Python; a Bool must not pass as a Long.
        if type(value) is not int:
            raise _invalid(f"`{name}` is not an integer")
        if not LONG_MIN <= value <= LONG_MAX:
            raise _invalid(f"`{name}` does not fit 64 bits")
        return value

    return convert


def _decimal(name: str) -> Convert:
    def convert(value: Any) -> dict[str, Any]:
        kind = type(value)
        if kind is int:
            if not -_WHOLE_LIMIT <= value <= _WHOLE_LIMIT:
                raise _invalid(f"`{name}` is out of range: at most {_WHOLE_LIMIT}")
            return {"__extn": {"fn": "decimal", "arg": f"{value}.0"}}
        if kind is not float and kind is not str and kind is not Decimal:
            raise _invalid(f"`{name}` is not a number")
        text = value if kind is str else str(value)
        if _PLAIN_DECIMAL.fullmatch(text) is None:
            text = _decimal_text(text, name)
        return {"__extn": {"fn": "decimal", "arg": text}}

    return convert


def _decimal_text(text: str, name: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _invalid(f"`{name}` is not a number") from None
    if not number.is_finite() or not -_DECIMAL_LIMIT <= number < _DECIMAL_LIMIT:
        raise _invalid(f"`{name}` is out of range: at most 922337203685477.5807")
    exact = number.quantize(Decimal("0.0001"))
    if exact != number:
        raise _invalid(
            f"`{name}` has more than 4 decimal places",
            "round it; or, where no policy needs it, list the argument under `content` in the catalogue",
        )
    return _shortest(exact)


def _shortest(number: Decimal) -> str:
    text = f"{number:f}".rstrip("0")
    return text + "0" if text.endswith(".") else text
