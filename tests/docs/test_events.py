"""The page on events: its conditions hold where it says so, and its schema is taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from remit.policy.compiled.values import Entity
from remit.policy.dogwood import acceptance, conditions, events
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.history import Event, Request
from remit.policy.dogwood.interpreter import Interpretation
from remit.policy.dogwood.monitor import plan
from remit.policy.dogwood.temporal import Plan

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "events.md"
_PAIR = re.compile(r"```dogwood\n(.*?)```\s+```events\n(.*?)```", re.DOTALL)
_LINE = re.compile(r"(\d+)\s+(\S+)\s+(\w+)(?:\s+(yes|no).*)?")
PAIRS = _PAIR.findall(PAGE.read_text("utf-8"))
FIELDS = {("input", "customer"): "c1", ("task", "root"): "t"}


def test_every_condition_of_the_page_has_its_events() -> None:
    text = PAGE.read_text("utf-8")
    assert len(PAIRS) == text.count("```dogwood") == text.count("```events") == 4


@pytest.mark.parametrize("make_plan", [Interpretation, plan])
@pytest.mark.parametrize(("text", "lines"), PAIRS)
def test_a_condition_of_the_page_holds_where_it_says(text: str, lines: str, make_plan: type[Plan]) -> None:
    condition = conditions.parse(text)
    acceptance.check(condition)
    monitor = make_plan([Leaf("x", condition)]).start()  # type: ignore[call-arg]
    said = []
    for line in lines.strip().splitlines():
        match = _LINE.fullmatch(line)
        assert match is not None, line
        event = Event("Remit::Action", match[2], match[3], int(match[1]) * 1000, FIELDS)
        if match[4]:
            context = {"input": {"customer": "c1"}, "task": {"root": "t"}}
            request = Request(Entity(("Remit::Workload", "w")), Entity(("Remit::Server", "crm")), context)
            found = monitor.evaluate(request, event, frozenset(["x"]))["x"]
            said.append((line, found == (match[4] == "yes")))
        monitor.observe(event)
    assert all(right for _, right in said), said
    assert {match[4] for match in _LINE.finditer(lines) if match[4]} <= {"yes", "no"}


def test_the_schema_of_the_page_is_taken() -> None:
    (text,) = re.findall(r"```dwschema\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    schema = events.parse(text)
    events.check(schema, "task")
    assert str(schema.window) == "90d"


def test_the_page_names_every_kind() -> None:
    text = PAGE.read_text("utf-8")
    for kind in events.shipped("task").kinds:
        assert f"| `{kind}` |" in text
