"""Mappings can't rot: every row is complete and has its source, and every mechanism that it names exists."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any, get_args

import click
import msgspec
import pytest

import remit.console.evidence
from remit.cli.main import cli
from remit.console.evidence.frameworks import (
    Control,
    Framework,
    aliases,
    chosen,
    explained,
    frameworks,
    meanings,
    mechanisms,
)
from remit.core.errors import InvalidInput, NotFound
from remit.core.settings import Settings
from remit.ledger.record import KINDS
from tests.docs.test_docs import anchors
from tools import reference

ROWS = [(framework, control) for framework in frameworks() for control in framework.controls]
IDS = [f"{framework.id}:{control.id}" for framework, control in ROWS]

NHI = {
    "NHI1": "Improper Offboarding",
    "NHI2": "Secret Leakage",
    "NHI3": "Vulnerable Third-Party NHI",
    "NHI4": "Insecure Authentication",
    "NHI5": "Overprivileged NHI",
    "NHI6": "Insecure Cloud Deployment Configurations",
    "NHI7": "Long-Lived Secrets",
    "NHI8": "Environment Isolation",
    "NHI9": "NHI Reuse",
    "NHI10": "Human Use of NHI",
}
ASI = {
    "ASI01": "Agent Goal Hijack",
    "ASI02": "Tool Misuse and Exploitation",
    "ASI03": "Identity and Privilege Abuse",
    "ASI04": "Agentic Supply Chain Vulnerabilities",
    "ASI05": "Unexpected Code Execution (RCE)",
    "ASI06": "Memory & Context Poisoning",
    "ASI07": "Insecure Inter-Agent Communication",
    "ASI08": "Cascading Failures",
    "ASI09": "Human-Agent Trust Exploitation",
    "ASI10": "Rogue Agents",
}
CATEGORIES = {
    "GV": ("OC", "RM", "RR", "PO", "OV", "SC"),
    "ID": ("AM", "RA", "IM"),
    "PR": ("AA", "AT", "DS", "PS", "IR"),
    "DE": ("CM", "AE"),
    "RS": ("MA", "AN", "CO", "MI"),
    "RC": ("RP", "CO"),
}


def titles(id_: str) -> dict[str, str]:
    (framework,) = chosen([id_])
    return {control.id: control.title for control in framework.controls}


def test_the_lists_are_whole() -> None:
    assert titles("owasp-nhi-2025") == NHI
    assert titles("owasp-agentic-2026") == ASI
    categories = {f"{function}.{name}" for function, names in CATEGORIES.items() for name in names}
    assert titles("nist-csf-2").keys() == CATEGORIES.keys() | categories
    assert list(titles("nist-sp-800-207")) == [f"ZT{n}" for n in range(1, 8)]
    assert list(titles("nist-ai-rmf-1")) == ["GOVERN", "MAP", "MEASURE", "MANAGE"]
    assert list(titles("csa-maestro")) == [f"L{n}" for n in range(1, 8)]


@pytest.mark.parametrize(("framework", "control"), ROWS, ids=IDS)
def test_every_row_says_everything_and_where_it_comes_from(framework: Framework, control: Control) -> None:
    source = framework.source(control)
    assert all(msgspec.structs.astuple(source))
    assert source.url.startswith("https://")
    assert control.asks.endswith(".")
    assert control.not_covered
    # What enforces it can be shown, and what does not enforce it shows nothing.
    assert bool(control.enforced) == bool(control.figures)
    assert set(control.evidence) <= set(control.figures)
    assert len(set(control.figures)) == len(control.figures)
    assert any(meanings()[each].shows != "none" for each in control.evidence or control.figures or ["decided"])
    assert not control.part_of or control.part_of in {each.id for each in framework.controls}
    for enforced in control.enforced:
        assert enforced.by in mechanisms(), enforced.by
    for figure in control.figures:
        assert figure in meanings(), figure


@pytest.mark.parametrize("framework", frameworks(), ids=lambda each: each.id)
def test_sentences_are_whole(framework: Framework) -> None:
    for control in framework.controls:
        for said in (control.asks, *control.not_covered, *(each.how for each in control.enforced)):
            assert said.endswith("."), said
            assert said.count("`") % 2 == 0, said


@pytest.mark.parametrize("name", mechanisms())
def test_every_mechanism_exists(name: str) -> None:
    mechanism = mechanisms()[name]
    page, _, anchor = mechanism.page.partition("#")
    assert (reference.ROOT / page).is_file(), page
    assert not anchor or anchor in anchors(reference.ROOT / page), mechanism.page
    for setting in mechanism.settings:
        assert is_setting(setting), setting
    assert set(mechanism.kinds) <= KINDS
    assert set(mechanism.codes) <= reference.codes()
    for command in mechanism.commands:
        assert is_command(command.split()), command


def is_setting(dotted: str) -> bool:
    """Whether `remit.toml` has this setting, a table's or one of a list of tables."""
    table, _, name = dotted.partition(".")
    types = [field.type for field in msgspec.structs.fields(Settings) if field.encode_name == table]
    return any(name in {field.encode_name for field in msgspec.structs.fields(each)} for each in structs_in(types))


def structs_in(types: list[Any]) -> list[type[msgspec.Struct]]:
    """The structs among these types, and among what they are made of."""
    found = [each for each in types if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    return found + [each for type_ in types for each in structs_in(list(get_args(type_)))]


def is_command(words: list[str]) -> bool:
    command: click.Command | None = cli
    for word in words:
        if not isinstance(command, click.Group):
            return False
        command = command.get_command(click.Context(command), word)
    return command is not None


def test_the_checks_of_mechanisms_find_what_is_not_there() -> None:
    assert is_setting("ledger.folder")
    assert is_setting("issuers.issuer")
    assert not is_setting("ledger.foldr")
    assert is_command(["workload", "retire"])
    assert not is_command(["workload", "retir"])
    assert not is_command(["verify", "x"])


@pytest.mark.parametrize("name", meanings())
def test_every_figure_is_counted_from_what_exists(name: str) -> None:
    meaning = meanings()[name]
    assert meaning.definition.endswith(".")
    assert set(meaning.kinds) <= KINDS
    assert set(meaning.codes) <= reference.codes()
    assert meaning.of or meaning.shows != "base"
    assert any(name in control.figures for _, control in ROWS), "no control names it"


def test_every_mechanism_is_named_by_a_control() -> None:
    assert {each.by for _, control in ROWS for each in control.enforced} == mechanisms().keys()


def test_every_framework_has_a_place_of_its_own() -> None:
    assert len({framework.order for framework in frameworks()}) == len(frameworks())


# --- labels --------------------------------------------------------------------------------------------------


def ids(label: str) -> list[str]:
    return [each.control.id for each in explained(label)]


def test_official_ids_name_their_own_control_without_a_remark() -> None:
    for framework, control in ROWS:
        for label in (control.id, control.id.lower(), f"{framework.id}:{control.id}"):
            assert [(each.control, each.remark) for each in explained(label)] == [(control, "")]


def test_every_alias_means_something_and_says_so() -> None:
    for alias in aliases():
        assert re.fullmatch(alias.pattern, alias.example, re.IGNORECASE), alias.example
        found = explained(alias.example)
        assert found, alias.example
        assert all(alias.says in each.remark for each in found)
        assert all(("not an official id" in each.remark) == (not alias.elsewhere) for each in found)


def test_labels_that_are_met_in_the_wild() -> None:
    assert ids("NHI-06") == ["NHI5", "NHI6"]  # used for over-privilege
    assert ids("NHI-05") == ids("nhi5:2025") == ["NHI5"]
    assert ids("AGENT-04")[0] == "ASI03"
    assert ids("M1") == ["L1", "NHI5"]
    assert ids("ASI-3") == ["ASI03"]
    assert ids("T3") == ["ASI03", "NHI5"]
    assert ids("PR.AA-05") == ["PR.AA"]
    assert ids("govern 1.2") == ["GOVERN"]


@pytest.mark.parametrize("label", ["NHI11", "ASI00", "XYZ-1", "é", "NHI５", "M8"])
def test_unknown_labels(label: str) -> None:
    with pytest.raises(NotFound) as raised:
        explained(label)
    assert "remit evidence frameworks" in raised.value.next_step


@pytest.mark.parametrize("label", ["", " ", "N" * 65])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(InvalidInput):
        explained(label)


def test_frameworks_are_chosen_once_and_in_order() -> None:
    assert [each.id for each in chosen(["csa-maestro", "owasp-nhi-2025", "csa-maestro"])] == [
        "csa-maestro",
        "owasp-nhi-2025",
    ]
    assert chosen(["all"]) == frameworks()
    with pytest.raises(NotFound, match="soc2"):
        chosen(["soc2"])


def test_data_files_are_in_the_package() -> None:
    folder = files(remit.console.evidence.__name__) / "data"
    assert len([file for file in folder.iterdir() if file.name.endswith(".toml")]) == len(frameworks()) + 3
