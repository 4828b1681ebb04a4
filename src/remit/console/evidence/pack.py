"""The document of a pack: what a period's records say of each control, as one value that files are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from remit.console.evidence import deciding
from remit.console.evidence.figures import Figure
from remit.console.evidence.frameworks import Control, Framework, Meaning, Source, meanings, mechanisms
from remit.console.evidence.period import shown
from remit.console.screen import printable
from remit.ledger.record import Record
from remit.storage.reader import Stored

State = Literal["evidence", "gap", "not covered"]
_SAID: Final = 200  # characters of what a sample says


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Names are those of `evidence.json`."""


class Sample(_Part, frozen=True, kw_only=True, rename="camel"):
    """One record that stands for a figure, and where its receipt is ("" where there is none, and why)."""

    at: str
    kind: str
    stream: str
    n: int
    leaf: str  # hash, by which it is found again
    id: str
    says: str
    receipt: str = ""
    without: Literal["", "pending", "not published"] = ""


class Shown(_Part, frozen=True, kw_only=True, rename="camel"):
    """One figure with its definition and its samples."""

    id: str
    title: str
    definition: str
    unit: str
    value: int
    of: int | None
    of_what: str
    by: dict[str, int]
    more: int  # of `by`, how many are not listed
    concern: bool  # it should be 0 and is not
    samples: tuple[Sample, ...]


class Enforced(_Part, frozen=True, kw_only=True, rename="camel"):
    """A mechanism that serves a control, and where it is described."""

    mechanism: str
    name: str
    how: str
    says: str
    page: str
    settings: tuple[str, ...]
    records: tuple[str, ...]
    codes: tuple[str, ...]
    commands: tuple[str, ...]


class ControlShown(_Part, frozen=True, kw_only=True, rename="camel"):
    """One control: what it asks, what enforces it, what shows it, and what is not covered."""

    id: str
    part_of: str
    title: str
    asks: str
    source: Source
    state: State
    concerns: tuple[str, ...]  # figures that should be 0 and are not
    enforced: tuple[Enforced, ...]
    figures: tuple[str, ...]
    evidence: tuple[str, ...]  # those of its figures that count as evidence of it
    not_covered: tuple[str, ...]


class FrameworkShown(_Part, frozen=True, kw_only=True, rename="camel"):
    """One framework, with its controls by state."""

    id: str
    name: str
    publisher: str
    document: str
    version: str
    url: str
    mapping: int
    scope: str
    consulted: str
    states: dict[str, int]
    controls: tuple[ControlShown, ...]


class Log(_Part, frozen=True, kw_only=True, rename="camel"):
    """The checkpoint that proofs rest on; `published` is false where the records are in no log."""

    published: bool
    says: str
    name: str = ""
    key: str = ""  # vkey
    size: int = 0
    root: str = ""  # hex
    pending: int = 0  # records of the period that are not below the checkpoint
    witnesses: tuple[str, ...] = ()  # vkeys of those whose cosignature verified


class Sampling(_Part, frozen=True, kw_only=True, rename="camel"):
    """How samples were chosen."""

    seed: str  # hex
    rests_on: str
    challenge: str
    most: int
    rule: str


class Unused(_Part, frozen=True, kw_only=True, rename="camel"):
    """A privilege that was held without use."""

    workload: str
    intent: str
    action: str


class Changed(_Part, frozen=True, kw_only=True, rename="camel"):
    """A change of what decides."""

    at: str
    stream: str
    n: int
    before: str
    config: str
    parts: dict[str, dict[str, list[str]]]
    digests: dict[str, list[str]]


class Records(_Part, frozen=True, kw_only=True, rename="camel"):
    """What was read."""

    read: int
    in_period: int
    unreadable: int


class Pack(_Part, frozen=True, kw_only=True, rename="camel"):
    """All of `evidence.json`."""

    v: Literal[1] = 1
    type: Literal["remit evidence pack"] = "remit evidence pack"
    created: str
    remit: str  # version
    trust_domain: str
    from_: str = msgspec.field(name="from")
    to: str
    over: bool  # whether the period was over when the pack was made
    records: Records
    log: Log
    sampling: Sampling
    concerns: tuple[str, ...]
    frameworks: tuple[FrameworkShown, ...]
    figures: tuple[Shown, ...]
    changes: tuple[Changed, ...]
    unused: tuple[Unused, ...]
    unused_more: int
    privileges_known: bool  # whether the texts that privileges follow from are kept

    @property
    def by_id(self) -> dict[str, Shown]:
        """The figures by id."""
        return {figure.id: figure for figure in self.figures}


def figures_of(frameworks: Iterable[Framework]) -> list[str]:
    """The figures that these frameworks name, in the order of their definitions, with those that every pack has."""
    named = {"decided", "permitted", "denied", "recorded", "unreadable", "published"}
    named.update(figure for framework in frameworks for control in framework.controls for figure in control.figures)
    return [id_ for id_ in meanings() if id_ in named]


def state_of(control: Control, figures: Mapping[str, Figure]) -> State:
    """Whether the period's records show anything of a control."""
    if not control.enforced:
        return "not covered"
    is_lived = figures["recorded"].value > 0
    for id_ in control.evidence or control.figures:
        if figures[id_].is_evidence and (is_lived or not meanings()[id_].at_end):
            return "evidence"
    return "gap"


def framework_shown(framework: Framework, figures: Mapping[str, Figure]) -> FrameworkShown:
    """A framework with the states of its controls."""
    controls = tuple(_control(framework, control, figures) for control in framework.controls)
    states = {
        state: sum(control.state == state for control in controls) for state in ("evidence", "gap", "not covered")
    }
    return FrameworkShown(
        id=framework.id,
        name=framework.name,
        publisher=framework.publisher,
        document=framework.document,
        version=framework.version,
        url=framework.url,
        mapping=framework.mapping,
        scope=framework.scope,
        consulted=framework.consulted,
        states=states,
        controls=controls,
    )


def _control(framework: Framework, control: Control, figures: Mapping[str, Figure]) -> ControlShown:
    return ControlShown(
        id=control.id,
        part_of=control.part_of,
        title=control.title,
        asks=control.asks,
        source=framework.source(control),
        state=state_of(control, figures),
        concerns=tuple(id_ for id_ in control.figures if figures[id_].is_concern),
        enforced=tuple(_enforced(each.by, each.how) for each in control.enforced),
        figures=control.figures,
        evidence=control.evidence or control.figures,
        not_covered=control.not_covered,
    )


def _enforced(by: str, how: str) -> Enforced:
    mechanism = mechanisms()[by]
    return Enforced(
        mechanism=by,
        name=mechanism.name,
        how=how,
        says=mechanism.says,
        page=mechanism.page,
        settings=mechanism.settings,
        records=mechanism.kinds,
        codes=mechanism.codes,
        commands=mechanism.commands,
    )


def figure_shown(figure: Figure, samples: Sequence[Sample]) -> Shown:
    """A figure with its definition."""
    meaning: Meaning = meanings()[figure.id]
    return Shown(
        id=figure.id,
        title=meaning.title,
        definition=meaning.definition,
        unit=meaning.unit,
        value=figure.value,
        of=figure.of,
        of_what=meaning.of,
        by={printable(name): value for name, value in figure.by.items()},
        more=figure.more,
        concern=figure.is_concern,
        samples=tuple(samples),
    )


def sample_of(
    stored: Stored, leaf: bytes, receipt: str = "", without: Literal["", "pending", "not published"] = ""
) -> Sample:
    """A record as a sample, in printable characters."""
    record = stored.record
    return Sample(
        at=shown(record.t),
        kind=record.kind,
        stream=printable(stored.stream),
        n=stored.n,
        leaf=leaf.hex(),
        id=printable(str(record.body.get("id") or record.body.get("task") or record.body.get("decision") or "")),
        says=printable(says(record))[:_SAID],
        receipt=receipt,
        without=without,
    )


def says(record: Record) -> str:
    """What a record says, in a line."""
    body: Mapping[str, Any] = record.body
    if record.kind == "decision":
        code = body["reason"]["code"]
        return f"{body['effect']} {body['action']} to {_name(body['subject'])}: {code}"
    if record.kind == "denials":
        return f"{body['count']} further denials identical to {body['decision']}"
    if record.kind == "outcome":
        return f"{body['result']} ({body['standing']}) of {body['decision']}, by {_name(body['by'])}"
    if record.kind == "resolution":
        return f"{body['decision']} resolved as {body['result']} by {_name(body['by'])}"
    if record.kind == "task":
        what = (
            f"under {body['intent']} for {_name(body['workload'])}" if "intent" in body else "by " + _name(body["by"])
        )
        return f"task {body['state']} {what}"
    if record.kind == "identity":
        registration = body["registration"]
        return f"{_name(registration['id'])} {registration.get('state', 'active')}, by {_name(body.get('by', ''))}"
    if record.kind == "configuration":
        return f"configuration {body['config'][:16]} began to decide"
    named = [f"{name} {body[name]}" for name in ("signal", "value", "source", "mode", "day") if name in body]
    return ", ".join(named) or record.kind


def unused_shown(privilege: deciding.Privilege) -> Unused:
    """A privilege without use, in printable characters."""
    return Unused(
        workload=printable(privilege.workload),
        intent=printable(privilege.intent),
        action=printable(privilege.action),
    )


def change_shown(change: deciding.Change) -> Changed:
    """A change of what decides, in printable characters."""
    return Changed(
        at=shown(change.at),
        stream=change.stream,
        n=change.n,
        before=change.before,
        config=change.config,
        parts={
            part: {how: [printable(name) for name in names] for how, names in found.items()}
            for part, found in change.parts.items()
        },
        digests=change.digests,
    )


def _name(spiffe_id: object) -> str:
    return str(spiffe_id).rsplit("/", 1)[-1] or str(spiffe_id)
