"""Contexts as values: of Cedar's JSON form only what policies read is converted, by a function made for these paths.

SECURITY: of the paths, only their order becomes source; names are `repr` of strings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Failed, Unsupported, call, value_of
from remit.policy.reads import Path
from remit.policy.reference import PRESENT, WHOLE, tree_of

Reading = Callable[[Mapping[str, Any]], dict[str, Any]]

_KEPT: Final = 4_096  # decimals and times that were read lately
_ABSENT: Final = object()

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
