"""Contexts as values: of Cedar's JSON form only what policies read is converted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from remit.policy.compiled.values import Entity, Failed, Unsupported, call, value_of
from remit.policy.reads import Path
from remit.policy.reference import Project, projector

_KEPT: Final = 4_096  # decimals and times that were read lately

# What reading a context raises where it is not of Cedar's JSON form.
MALFORMED: Final = (Failed, Unsupported, KeyError, TypeError, AttributeError, ValueError)


def reading(values: Iterable[Path], tests: Iterable[Path]) -> Project:
    """A function that gives what is read of a context, as values; it raises `MALFORMED`."""
    return projector(values, tests, _whole, _converted)


def _whole(context: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value_of(value) for name, value in context.items()}


def _converted(form: Any) -> Any:
    if type(form) is dict and len(form) == 1:
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
