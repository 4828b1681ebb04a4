"""Intents against the catalogue and against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.actions import Action, Catalogue, Field, Server
from remit.core.effects import Effect
from remit.core.errors import DocumentError
from remit.tasks.against import argument_types, check_against, justified, problems_against
from remit.tasks.intents import load_intents

PAYMENT = {
    "type": "object",
    "properties": {
        "account": {"type": "string"},
        "amount": {"$ref": "#/$defs/money"},
        "to": {"type": "object", "properties": {"bank": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
    },
    "$defs": {"money": {"type": "number"}},
}


def action(name: str, effect: Effect, schema: dict[str, Any] | None = None, *select: Field) -> Action:
    server, _, tool = name.partition("/")
    return Action(name=name, server=server, tool=tool, effect=effect, pin="", input_schema=schema or {}, select=select)


def catalogue() -> Catalogue:
    actions = [
        action(
            "billing/read_invoice",
            "read",
            {"properties": {"invoice": {"type": "string"}}},
            Field(path="invoice.account"),
            Field(path="amount", type="decimal"),
        ),
        action("payments/pay_invoice", "pay", PAYMENT),
        action("payments/list", "read"),
    ]
    by_name = {item.name: item for item in actions}
    servers = {
        server: Server(name=server, actions={item.tool: item for item in actions if item.server == server})
        for server in ("billing", "payments")
    }
    return Catalogue(servers=servers, actions=by_name, digest="x")


HEAD = "description: test\nstarters: [starter/a]\nworkloads: [workload/b]\n"
GOOD = """\
actions: [billing/read_invoice, payments/pay_invoice]
order:
  - name: read
    before: [payments/pay_invoice]
    done: billing/read_invoice
    where: {input.invoice: "'INV-1'", output.invoice.account: "'x'"}
limits:
  - {name: sum, effects: [pay], sum: input.amount, at_most: 10}
bindings:
  - {action: payments/pay_invoice, argument: input.account, equals: done.read.invoice.account}
  - {action: payments/pay_invoice, argument: input.to.bank, equals: "'B'"}
  - {action: payments/pay_invoice, argument: input.amount, at_most: done.read.amount}
"""


SUM_LINE = "  - {name: sum, effects: [pay], sum: input.amount, at_most: 10}"


def problems(tmp_path: Path, **files: str) -> list[DocumentError]:
    for name, text in files.items():
        (tmp_path / f"{name.replace('_', '-')}.yaml").write_text(HEAD + text)
    return list(problems_against(catalogue(), load_intents(tmp_path)))


def test_a_good_intent_has_no_problems(tmp_path: Path) -> None:
    assert problems(tmp_path, pay=GOOD) == []
    check_against(catalogue(), load_intents(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message", "fix"),
    [
        (
            "[billing/read_invoice,",
            "[billing/read_invoce, billing/read_invoice,",
            "not in the catalogue",
            "did you mean",
        ),
        ("    done: billing/read_invoice", "    done: billing/nothing", "not in the catalogue", ""),
        ("input.invoice:", "input.number:", "no argument `input.number`", "`input.invoice`"),
        ("output.invoice.account:", "output.status:", "`status` is not among the fields", "`invoice.account`"),
        ("sum: input.amount", "sum: input.total", "no argument `input.total`", "`input.amount`"),
        ("sum: input.amount", "sum: input.account", "is not a number", "numeric"),
        ("argument: input.account", "argument: input.iban", "no argument `input.iban`", ""),
        ("argument: input.amount", "argument: input.account", "is not a number", ""),
        ("done.read.invoice.account", "done.read.account", "`account` is not among the fields", "select"),
        ("done.read.amount", "done.read.invoice.account", "not selected as a number", "type: decimal"),
    ],
)
def test_what_the_catalogue_lacks_is_named(tmp_path: Path, old: str, new: str, message: str, fix: str) -> None:
    text = GOOD.replace(old, new)
    found = problems(tmp_path, pay=text)
    assert message in found[0].message
    assert fix in found[0].next_step
    lines = zip((HEAD + GOOD).splitlines(), (HEAD + text).splitlines(), strict=True)
    wanted = next(n for n, (before, after) in enumerate(lines, 1) if before != after)
    assert found[0].line == wanted
    with pytest.raises(DocumentError, match=r"pay\.yaml"):
        check_against(catalogue(), load_intents(tmp_path))


def test_self_started_payment_by_action(tmp_path: Path) -> None:
    found = problems(tmp_path, pay="self_start: true\nactions: [payments/list, payments/pay_invoice]\n")
    assert "`self_start` can't justify `payments/pay_invoice`" in found[0].message
    assert problems(tmp_path, pay="self_start: true\nactions: [payments/list]\n") == []


def test_a_rule_on_an_action_outside_the_effects_is_refused(tmp_path: Path) -> None:
    text = "effects: [read]\nlimits:\n  - {name: x, actions: [payments/pay_invoice], calls: 1}\n"
    assert "does not justify `payments/pay_invoice`" in problems(tmp_path, read=text)[0].message


@pytest.mark.parametrize("personal", ["input.amount", "input.to"])
def test_a_sum_that_tells_a_personal_argument(tmp_path: Path, personal: str) -> None:
    summed = "input.amount" if personal == "input.amount" else "input.to.bank"
    known = catalogue()
    pay = msgspec.structs.replace(known.actions["payments/pay_invoice"], personal=(personal,))
    known = msgspec.structs.replace(known, actions={**known.actions, pay.name: pay})
    (tmp_path / "pay.yaml").write_text(HEAD + GOOD.replace("sum: input.amount", f"sum: {summed}"))
    found = [problem for problem in problems_against(known, load_intents(tmp_path)) if "personal" in problem.message]
    assert [problem.line for problem in found] == [(HEAD + GOOD).splitlines().index(SUM_LINE) + 1]
    assert "limit the number of calls" in found[0].next_step
    with pytest.raises(DocumentError):
        check_against(known, load_intents(tmp_path))


def test_child_wider_than_its_parent(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        answer="actions: [billing/read_invoice]\nchildren: [pay]\n",
        pay="actions: [billing/read_invoice, payments/pay_invoice]\n",
    )
    assert "the child `pay` justifies `payments/pay_invoice`, which `answer` does not" in found[0].message
    found = problems(
        tmp_path,
        answer="actions: [payments/pay_invoice]\nchildren: [pay]\nrisk_at_most: 20\n",
        pay="actions: [payments/pay_invoice]\n",
    )
    assert "bears more risk" in found[0].message


def test_children_exist_and_form_no_circle(tmp_path: Path) -> None:
    found = problems(tmp_path, a="actions: [payments/list]\nchildren: [b-c]\n", b_d="actions: [payments/list]\n")
    assert "there is no intent `b-c`" in found[0].message
    assert "did you mean `b-d`" in found[0].next_step
    found = problems(
        tmp_path,
        a="actions: [payments/list]\nchildren: [b]\n",
        b="actions: [payments/list]\nchildren: [c]\n",
        c="actions: [payments/list]\nchildren: [a]\n",
    )
    assert len([error for error in found if "among its own children" in error.message]) == 3


def test_effects_justify_the_actions_that_have_them(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(HEAD + "effects: [read]\nactions: [payments/pay_invoice]\n")
    intent = load_intents(tmp_path)["r"]
    assert justified(catalogue(), intent) == set(catalogue().actions)


SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.sampled_from(["string", "#/a", "#/$defs/a", "#"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$ref", "type", "properties", "anyOf", "allOf", "a", "$defs"]), inner, max_size=4
        )
    ),
)


@given(SCHEMAS)
def test_any_schema_gives_types_or_none(schema: Any) -> None:
    found = argument_types(schema, ("a", "a"))
    assert found is None or all(isinstance(name, str) for name in found)


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 100}}}
    assert argument_types(schema, ("x",)) is None
