"""JSON values, from callers and from files, as Cedar values of a declared type.

| type | in JSON |
|---|---|
| String, Bool, Long | a text, true or false, an integer of 64 bits |
| decimal | a number or a text, at most 4 decimal places |
| datetime | a text: RFC 3339, or a date |
| duration | a text such as `1h30m`, as Cedar writes it |
| ipaddr | a text: an address, or a range with its prefix length |
| Set, record | an array, an object; members that are not declared are left out |
| an entity | its id, or `{"type": …, "id": …}` |

`null` is absent. A value that Cedar can't hold exactly is a `Misfit`, never rounded and never left out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from remit.core.errors import InvalidInput
from remit.policy.reads import Uid
from remit.policy.shapes import Attribute, Shape
from remit.policy.typed import typed_time, value_converter

ID_BYTES: Final = 1_024

_DATETIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):?(\d{2})))?"
)
_DURATION = re.compile(r"-?(?=\d)(?:(\d{1,9})d)?(?:(\d{1,11})h)?(?:(\d{1,13})m)?(?:(\d{1,15})s)?(?:(\d{1,18})ms)?")
_NETWORK = re.compile(r"[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Misfit(ValueError):
    """A value that does not fit its type: `path` is where in it, `problem` completes "`path` …"."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path

    def below(self, name: str) -> Misfit:
        """The same, seen from one level up."""
        return type(self)(self.problem, f"{name}.{self.path}" if self.path else name)


class Missing(Misfit):
    """A required member of a record that is not there."""


References = set[Uid]
Convert = Callable[[Any, References], Any]  # adds the entities that the value names
EntityNames = Callable[[str], str]  # from the name of a type to the type; "" for none


def record_of(fields: Mapping[str, Attribute], names: EntityNames, *, in_file: bool = False) -> Convert:
    """The conversion of a record; with `in_file`, Cedar's own escapes are read and undeclared members refused."""
    inner = {
        name: (attribute.required, converter(attribute.shape, names, in_file)) for name, attribute in fields.items()
    }

    def convert(value: Any, references: References) -> dict[str, Any]:
        if type(value) is not dict:
            raise Misfit("is not an object")
        result: dict[str, Any] = {}
        # SECURITY: only declared members are copied, so `__entity` and `__extn` of a caller never get through.
        for name, (required, of) in inner.items():
            item = value.get(name)
            if item is not None:
                try:
                    result[name] = of(item, references)
                except Misfit as error:
                    raise error.below(name) from None
            elif required:
                raise Missing("is missing", name)
        if in_file and len(result) < len(value):
            raise Misfit("is not declared in the schema", next(name for name in value if name not in result))
        return result

    return convert


def converter(shape: Shape, names: EntityNames, in_file: bool = False) -> Convert:
    """The conversion of values of one type."""
    if shape.kind == "record":
        return record_of(shape.fields, names, in_file=in_file)
    if shape.kind == "set" and shape.of is not None:
        return _set(converter(shape.of, names, in_file))
    if shape.kind == "entity":
        return _entity(shape.entity, names, in_file)
    plain = _EXTENSIONS.get(shape.kind)
    if plain is not None:
        return _extension(shape.kind, plain, in_file)
    scalar = value_converter({"string": "string", "long": "integer", "bool": "boolean"}[shape.kind], "value")

    def convert(value: Any, references: References) -> Any:
        try:
            return scalar(value)
        except InvalidInput as error:
            raise Misfit(error.message.removeprefix("`value` ")) from None

    return convert


def uid_of(value: Any) -> Uid | None:
    """The entity that `{"type": …, "id": …}` names; None for anything else."""
    if type(value) is dict and len(value) == 2:
        type_, id_ = value.get("type"), value.get("id")
        if type(type_) is str and type(id_) is str:
            return type_, id_
    return None


def check_id(id_: str) -> None:
    """Refuses an id that is empty, too long or not text."""
    if not id_:
        raise Misfit("is empty")
    try:
        size = len(id_.encode())
    except UnicodeEncodeError:
        raise Misfit("is not valid Unicode") from None
    if size > ID_BYTES:
        raise Misfit(f"is longer than {ID_BYTES} bytes")


def _set(of: Convert) -> Convert:
    def convert(value: Any, references: References) -> list[Any]:
        if type(value) is not list:
            raise Misfit("is not an array")
        try:
            return [of(item, references) for item in value]
        except Misfit as error:
            raise error.below("[]") from None

    return convert


def _entity(type_: str, names: EntityNames, in_file: bool) -> Convert:
    def convert(value: Any, references: References) -> Any:
        if type(value) is str:
            uid = (type_, value)
        else:
            escaped = value.get("__entity") if in_file and type(value) is dict and len(value) == 1 else None
            named = uid_of(value if escaped is None else escaped)
            if named is None:
                raise Misfit(f'is not an entity: write its id, or {{"type": "{type_}", "id": …}}')
            if names(named[0]) != type_:
                raise Misfit(f"is not of type `{type_}`")
            uid = (type_, named[1])
        check_id(uid[1])
        references.add(uid)
        return {"__entity": {"type": uid[0], "id": uid[1]}}

    return convert


def _extension(kind: str, plain: Callable[[Any], Any], in_file: bool) -> Convert:
    function = "ip" if kind == "ipaddr" else kind

    def convert(value: Any, references: References) -> Any:
        if in_file and type(value) is dict and len(value) == 1:
            call = value.get("__extn")
            if type(call) is dict and len(call) == 2 and call.get("fn") == function and type(call.get("arg")) is str:
                value = call["arg"]
        return plain(value)

    return convert


def _decimal(value: Any) -> Any:
    try:
        return _to_decimal(value)
    except InvalidInput as error:
        raise Misfit(error.message.removeprefix("`value` ")) from None


_to_decimal: Final = value_converter("decimal", "value")


def _datetime(value: Any) -> Any:
    match = _DATETIME.fullmatch(value) if type(value) is str and value.isascii() else None
    if match is None:
        raise Misfit("is not a time such as `2026-01-31T09:00:00Z`")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    if fraction is not None and fraction[3:].strip("0"):
        raise Misfit("is more exact than a millisecond")
    zone = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        at = datetime(
            *(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)),
            int((fraction or "0")[:3].ljust(3, "0")) * 1000,
            tzinfo=timezone(zone),
        )
        return typed_time((at - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        raise Misfit("is not a time that there is") from None


def _duration(value: Any) -> Any:
    if type(value) is not str or len(value) > 32 or not value.isascii() or _DURATION.fullmatch(value) is None:
        raise Misfit("is not a duration such as `1h30m`")
    return {"__extn": {"fn": "duration", "arg": value}}


def _address(value: Any) -> Any:
    if type(value) is not str or _NETWORK.fullmatch(value) is None or (":" in value and "." in value):
        raise Misfit("is not an address such as `192.0.2.1` or `192.0.2.0/24`")
    try:
        ipaddress.ip_interface(value)
    except ValueError:
        raise Misfit("is not an address such as `192.0.2.1` or `192.0.2.0/24`") from None
    return {"__extn": {"fn": "ip", "arg": value}}


_EXTENSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "decimal": _decimal,
    "datetime": _datetime,
    "duration": _duration,
    "ipaddr": _address,
}
