"""Frameworks as versioned data: what each control asks, by which mechanism Remit enforces it, and what it does not.

One TOML file a framework, beside this one, in `data/`; each row names its source. Two more say what the mechanisms
and the figures are that rows name, and one what labels mean that are no official ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from remit.core.documents import parse_toml
from remit.core.errors import InvalidInput, NotFound

ALL: Final = "all"
_ALIASES: Final = "aliases.toml"
_MECHANISMS: Final = "mechanisms.toml"
_FIGURES: Final = "figures.toml"
_OTHERS: Final = frozenset({_ALIASES, _MECHANISMS, _FIGURES})
_LABEL_BYTES: Final = 64

_Text = Annotated[str, Meta(min_length=1, max_length=2_000)]
_Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
_Url = Annotated[str, Meta(pattern=r"^https://[^\s]+$", max_length=300)]


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every row of a data file is: complete, or refused."""


class Source(_Row, frozen=True, kw_only=True):
    """Where a row comes from: document, version, section, and an address."""

    document: _Text
    version: _Text
    section: _Text
    url: _Url


class Enforced(_Row, frozen=True, kw_only=True):
    """How one mechanism serves one control."""

    by: _Name  # of `mechanisms.toml`
    how: _Text


class Control(_Row, frozen=True, kw_only=True):
    """One control: what it asks in our words, what enforces it, what shows it, and what is not covered."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.]{0,15}$")]
    title: _Text
    asks: _Text
    section: _Text
    url: _Url
    not_covered: Annotated[tuple[_Text, ...], Meta(min_length=1)]
    enforced: tuple[Enforced, ...] = ()  # none: Remit does not cover it
    figures: tuple[_Name, ...] = ()  # of `figures.toml`: the first ones say most
    evidence: tuple[_Name, ...] = ()  # of its figures, those that count as evidence of it; none: all do
    part_of: str = ""  # the control above it


class Framework(_Row, frozen=True, kw_only=True):
    """One framework as Remit maps it; `mapping` is the version of this mapping."""

    id: _Name
    name: _Text
    publisher: _Text
    document: _Text
    version: _Text
    url: _Url
    mapping: Annotated[int, Meta(ge=1)]
    order: int  # among the others, where all are shown
    scope: _Text  # which part of it is mapped
    consulted: _Text  # which text was read for it
    controls: Annotated[tuple[Control, ...], Meta(min_length=1)]

    def source(self, control: Control) -> Source:
        """Where one of its rows comes from."""
        return Source(document=self.document, version=self.version, section=control.section, url=control.url)


class Mechanism(_Row, frozen=True, kw_only=True):
    """Something that Remit does: where it is described, and by what it is seen."""

    id: _Name
    name: _Text
    says: _Text
    page: Annotated[str, Meta(pattern=r"^docs/[a-z/-]+\.md(#[a-z0-9_-]+)?$")]
    settings: tuple[str, ...] = ()  # of `remit.toml`, dotted
    kinds: tuple[str, ...] = ()  # of records
    codes: tuple[str, ...] = ()  # of reasons and errors
    commands: tuple[str, ...] = ()


class Meaning(_Row, frozen=True, kw_only=True):
    """What a figure is: one sentence, a unit, and whether anything but 0 deserves a look."""

    id: _Name
    title: _Text
    definition: _Text
    unit: _Text
    of: str = ""  # what it is counted among; where nothing was, the figure says nothing
    kinds: tuple[str, ...]  # of records that it is counted from; none: of any
    codes: tuple[str, ...] = ()  # of reasons that it counts
    shows: Literal["value", "base", "none"]  # when a control has evidence by it
    at_end: bool = False  # a state at the end of the period
    wanted: Literal["", "zero"] = ""


class Alias(_Row, frozen=True, kw_only=True):
    """Labels met in the wild, by a pattern; `{n}`, `{nn}` and `{group}` in `means` are what it takes out."""

    pattern: _Text
    example: _Text
    means: tuple[str, ...]  # official ids, the most likely one first
    says: _Text
    elsewhere: str = ""  # the document in which the label is official, where there is one


class Found(NamedTuple):
    """What a label names: a control, and a remark where the label is not its official id."""

    framework: Framework
    control: Control
    remark: str = ""


def frameworks() -> tuple[Framework, ...]:
    """All frameworks, in their order."""
    return tuple(_frameworks().values())


def chosen(names: Iterable[str]) -> tuple[Framework, ...]:
    """The frameworks of these ids, each once, in this order; `all` names every one.

    `NotFound("framework_unknown")` lists those there are.
    """
    known = _frameworks()
    found: dict[str, Framework] = {}
    for name in names:
        if name == ALL:
            found |= known
        elif name in known:
            found.setdefault(name, known[name])
        else:
            raise NotFound(
                "framework_unknown",
                f"there is no framework `{name[:_LABEL_BYTES]}`",
                f"one of {', '.join(known)}, or `{ALL}`; `remit evidence frameworks` lists them",
            )
    return tuple(found.values())


def explained(label: str) -> list[Found]:
    """The controls that a label names, the most likely one first; an official id names its own control.

    `NotFound("control_unknown")` for a label that nobody is known to use, `InvalidInput` for no label at all.
    """
    label = label.strip()
    if not label or len(label.encode()) > _LABEL_BYTES:
        raise InvalidInput("control_invalid", "this is no id of a control", "`remit evidence frameworks` lists them")
    controls = _controls()
    if label.upper() in controls:
        return list(controls[label.upper()])
    found: dict[str, Found] = {}
    for alias in aliases():
        match = re.fullmatch(alias.pattern, label, re.IGNORECASE)
        if match is None:
            continue
        for meant in alias.means:
            for each in controls.get(_numbered(meant, match).upper(), ()):
                found.setdefault(each.control.id, each._replace(remark=_remark(label, alias)))
        if found:
            return list(found.values())
    raise NotFound(
        "control_unknown",
        f"there is no control `{label}`, and no framework is known that calls one so",
        "`remit evidence frameworks` lists frameworks and their controls",
    )


@cache
def mechanisms() -> Mapping[str, Mechanism]:
    """The mechanisms by id."""
    return {each.id: each for each in _read(_MECHANISMS, dict[str, tuple[Mechanism, ...]])["mechanisms"]}


@cache
def meanings() -> Mapping[str, Meaning]:
    """The figures' definitions by id, in the order in which they are shown."""
    return {each.id: each for each in _read(_FIGURES, dict[str, tuple[Meaning, ...]])["figures"]}


@cache
def aliases() -> tuple[Alias, ...]:
    """The labels that are no official ids here; the first pattern that fits counts."""
    return tuple(_read(_ALIASES, dict[str, tuple[Alias, ...]])["aliases"])


@cache
def _frameworks() -> Mapping[str, Framework]:
    names = sorted(file.name for file in _data().iterdir() if file.name.endswith(".toml"))
    found: list[Framework] = [_read(name, Framework) for name in names if name not in _OTHERS]
    return {each.id: each for each in sorted(found, key=lambda each: each.order)}


@cache
def _controls() -> Mapping[str, tuple[Found, ...]]:
    found: dict[str, tuple[Found, ...]] = {}
    for framework in frameworks():
        for control in framework.controls:
            for name in {control.id.upper(), f"{framework.id}:{control.id}".upper()}:
                found[name] = (*found.get(name, ()), Found(framework, control))
    return found


def _numbered(meant: str, match: re.Match[str]) -> str:
    taken = match[1] if match.groups() else ""
    number = int(taken) if taken.isascii() and taken.isdigit() else 0
    return meant.replace("{nn}", f"{number:02d}").replace("{n}", str(number)).replace("{group}", taken)


def _remark(label: str, alias: Alias) -> str:
    where = f"it is an id of {alias.elsewhere}" if alias.elsewhere else "it is not an official id"
    return f"`{label}`: {where}. {alias.says}"


def _data() -> Traversable:
    return files(__package__) / "data"


def _read(name: str, type_: Any) -> Any:
    file = _data() / name
    return parse_toml(file.read_text("utf-8"), file).convert(type_)  # type: ignore[arg-type]  # a path in errors only
