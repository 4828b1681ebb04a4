"""Contexts as values: of Cedar's JSON form only what policies read is converted, by a function made for these paths.

SECURITY: of the paths, only their order becomes source; names are `repr` of strings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from remit.policy.compiled.environment import Environment
from remit.policy.compiled.extensions import Datetime, Decimal, Duration, Ip
from remit.policy.compiled.requests import Misfit, compile_check
from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Failed, Unsupported, call, value_of
from remit.policy.entities.declared import EntityType
from remit.policy.reads import Path
from remit.policy.reference import PRESENT, WHOLE, tree_of
from remit.policy.shapes import Shape

Reading = Callable[[Mapping[str, Any]], dict[str, Any]]

_KEPT: Final = 4_096  # decimals and times that were read lately
_ABSENT: Final = object()
_EXTENSIONS: Final[Mapping[str, type]] = {"decimal": Decimal, "datetime": Datetime, "duration": Duration, "ipaddr": Ip}

# What reading a context raises where it is not of Cedar's JSON form.
MALFORMED: Final = (Failed, Unsupported, KeyError, TypeError, AttributeError, ValueError)


def reading(values: Iterable[Path], tests: Iterable[Path]) -> Reading:
    """A function that gives what is read of a context, as values; it raises `MALFORMED`.

    `values` are read; of `tests` only the presence matters, so a value that is never read becomes `true`.
    """
    tree = tree_of(values, tests)
    if tree is None:
        return _whole
    source = "\n".join(["def read(_0):", " r0 = {}", *_lines(tree, 0), " return r0"])
    names: dict[str, Any] = {"ABSENT": _ABSENT, "convert": _converted, "__builtins__": {"type": type}}
    names |= {"str": str, "bool": bool, "dict": dict}
    exec(compile(source, "<context>", "exec"), names)  # noqa: S102 - see SECURITY
    made: Reading = names["read"]
    return made


def _lines(tree: Mapping[str, Any], depth: int) -> Iterator[str]:
    """The lines that copy from the record `_<depth>` to `r<depth>`."""
    at = " " * (depth + 1)
    for name, how in tree.items():
        record, result = f"_{depth}", f"r{depth}[{name!r}]"
        if how == PRESENT:
            yield f"{at}if {name!r} in {record}: {result} = True"
            continue
        yield f"{at}_{depth + 1} = {record}.get({name!r}, ABSENT)"
        if how == WHOLE:
            yield f"{at}t = type(_{depth + 1})"
            yield f"{at}if t is str or t is bool: {result} = _{depth + 1}"
            yield f"{at}elif _{depth + 1} is not ABSENT: {result} = convert(_{depth + 1})"
            continue
        yield f"{at}if type(_{depth + 1}) is dict and '__entity' not in _{depth + 1}:"
        yield f"{at} r{depth + 1} = {result} = {{}}"
        yield from _lines(how, depth + 1)
        yield f"{at}elif _{depth + 1} is not ABSENT: {result} = convert(_{depth + 1})"


def checked_reading(values: Iterable[Path], tests: Iterable[Path], environment: Environment) -> Reading:
    """As `reading`, for typed evaluation: what is read must be what the schema says of it.

    The function raises `Misfit` where it is not; what nobody reads is not looked at. `Unsupported` where the schema
    does not declare what is read, or where all of the context is.
    """
    tree = tree_of(values, tests)
    if tree is None:
        raise Unsupported("the context as a whole")
    names: dict[str, Any] = {"ABSENT": _ABSENT, "Misfit": Misfit, "__builtins__": {"type": type}}
    names |= {"str": str, "bool": bool, "int": int, "dict": dict}
    lines = _Checked(environment.types, names).lines(tree, environment.context, "context", 0)
    source = "\n".join(["def read(_0):", " r0 = {}", *lines, " return r0"])
    exec(compile(source, "<context>", "exec"), names)  # noqa: S102 - see SECURITY
    made: Reading = names["read"]
    return made


class _Checked:
    """Writes the lines of a checked reading; checks of what is no plain value stand in a table."""

    def __init__(self, types: Mapping[str, EntityType], names: dict[str, Any]) -> None:
        self._types = types
        self._names = names

    def lines(self, tree: Mapping[str, Any], shape: Shape, path: str, depth: int, at: str = " ") -> Iterator[str]:
        value = f"_{depth + 1}"
        for name, how in tree.items():
            field = shape.fields.get(name)
            if field is None:
                raise Unsupported(f"`{path}.{name}`, which the schema does not declare")
            refusal = f"raise Misfit({f'`{path}.{name}` is not what the schema says'!r})"
            result = f"r{depth}[{name!r}]"
            if how == PRESENT:
                yield f"{at}if {name!r} in _{depth}: {result} = True"
                if field.required:
                    yield f"{at}else: {refusal}"
                continue
            yield f"{at}{value} = _{depth}.get({name!r}, ABSENT)"
            if field.required:
                yield f"{at}if {value} is ABSENT: {refusal}"
            else:
                yield f"{at}if {value} is not ABSENT:"
            within = at if field.required else at + " "
            if how != WHOLE and field.shape.kind == "record":
                yield f"{within}if type({value}) is not dict: {refusal}"
                yield f"{within}r{depth + 1} = {result} = {{}}"
                yield from self.lines(how, field.shape, f"{path}.{name}", depth + 1, within)
            else:
                yield from (within + line for line in self._leaf(field.shape, value, result, refusal))

    def _leaf(self, shape: Shape, value: str, result: str, refusal: str) -> Iterator[str]:
        if shape.kind in ("string", "bool"):
            yield f"if type({value}) is not {'str' if shape.kind == 'string' else 'bool'}: {refusal}"
            yield f"{result} = {value}"
        elif shape.kind == "long":
            yield f"if type({value}) is not int or not {LONG_MIN} <= {value} <= {LONG_MAX}: {refusal}"
            yield f"{result} = {value}"
        else:
            check = f"c{len(self._names)}"
            extension = _EXTENSIONS.get(shape.kind)
            self._names[check] = (
                _of_extension(extension) if extension is not None else compile_check(shape, "context", self._types)
            )
            yield f"{result} = {check}({value})"


def _of_extension(kind: type) -> Callable[[Any], Any]:
    def check(form: Any) -> Any:
        value = _converted(form)
        if type(value) is not kind:
            raise Misfit("an extension value of another type")
        return value

    return check


def _whole(context: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value_of(value) for name, value in context.items()}


def _converted(form: Any) -> Any:
    kind = type(form)
    if kind is int and LONG_MIN <= form <= LONG_MAX:
        return form
    if kind is dict and len(form) == 1:
        extension = form.get("__extn")
        if extension is not None and len(extension) == 2 and type(argument := extension.get("arg")) is str:
            return _extension(extension["fn"], argument)
        named = form.get("__entity")
        if named is not None:
            return Entity((named["type"], named["id"]))
    return value_of(form)


@lru_cache(maxsize=_KEPT)
def _extension(name: str, argument: str) -> Any:
    return call(name, argument)
