"""Loading intents: what a good file gives, and what each bad one is told."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from remit.core.canonical import sha256
from remit.core.errors import DocumentError
from remit.core.intents import Intent
from remit.tasks.intents import digest_of, load_intents, parse_intent, texts_of

PAY = """\
description: Pay one invoice, to its own account, up to its amount, once.
actions: [billing/read_invoice, payments/pay_invoice]
starters: ["group:accounts-applications"]
workloads: [workload/finance-agent]
params:
  invoice: {type: string, pattern: 'INV-\\d{4,8}'}
  amount:
    type: decimal
    maximum: 10000
case_types: [invoice]
order:
  - name: invoice-read
    before: [payments/pay_invoice]
    done: billing/read_invoice
    where: {input.invoice: params.invoice, output.status: "'open'"}
    within: 1h
limits:
  - {name: one-payment, actions: [payments/pay_invoice], calls: 1}
  - {name: up-to-amount, effects: [pay], sum: input.amount, at_most: params.amount}
bindings:
  - {action: payments/pay_invoice, argument: input.account, equals: done.invoice-read.account}
  - {action: payments/pay_invoice, argument: input.amount, at_most: 250.5}
risk_at_most: 40
time_to_live: 30m
"""


def parse(text: str, name: str = "pay-invoice") -> Intent:
    return parse_intent(text, Path(f"intents/{name}.yaml"))


def fails(text: str, name: str = "pay-invoice") -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        parse(text, name)
    return caught.value


def changed(**keys: Any) -> str:
    """The good intent with some keys replaced; a key of None is left out."""
    data = yaml.safe_load(PAY) | keys
    return dump({key: value for key, value in data.items() if value is not None})


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(data: dict[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=1000)


def test_reads_every_key(tmp_path: Path) -> None:
    (tmp_path / "pay-invoice.yaml").write_text(PAY)
    (tmp_path / ".swap.yaml").write_text("{")
    (tmp_path / "README.md").write_text("not an intent")
    intents = load_intents(tmp_path)
    intent = intents["pay-invoice"]
    assert list(intents) == ["pay-invoice"]
    assert intent.name == "pay-invoice"
    assert intent.time_to_live == 1800
    assert intent.order[0].within == 3600
    assert intent.order[0].where == {"input.invoice": "params.invoice", "output.status": "'open'"}
    assert intent.params["amount"].maximum == "10000"
    assert intent.bindings[1].at_most == "250.50"
    assert (intent.path, intent.line) == (str(tmp_path / "pay-invoice.yaml"), 1)


def test_a_missing_folder_has_no_intents(tmp_path: Path) -> None:
    assert load_intents(tmp_path / "intents") == {}


def test_a_file_that_would_be_ignored_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pay.yml").write_text(PAY)
    with pytest.raises(DocumentError, match=r"would be ignored.*\n.*pay\.yaml"):
        load_intents(tmp_path)


def test_the_digest_is_over_what_intents_say(tmp_path: Path) -> None:
    one, other = parse(PAY), parse_intent("# comment\n" + PAY, Path("elsewhere/pay-invoice.yaml"))
    assert digest_of({"pay-invoice": one}) == digest_of({"pay-invoice": other})
    assert digest_of({"pay-invoice": one}) != digest_of({"pay-invoice": parse(changed(risk_at_most=41))})
    texts = texts_of({"pay-invoice": one})
    assert digest_of({"pay-invoice": one}) in texts
    assert all(sha256(text.encode()) == digest for digest, text in texts.items())


@pytest.mark.parametrize(
    ("keys", "message", "at"),
    [
        ({"name": "other"}, "named `other` in a file named `pay-invoice.yaml`", "name"),
        ({"description": " "}, "the description is empty", "description"),
        ({"description": None}, "missing required field `description`", ""),
        ({"starters": None}, "missing required field `starters`", ""),
        ({"starters": []}, "`starters` is empty", "starters"),
        ({"starters": ["*"]}, "`*` names nobody", "starters"),
        ({"workloads": ["finance-agent"]}, "`finance-agent` names nobody", "workloads"),
        ({"actions": ["payments/*"]}, "`payments/*` is not an action", "actions"),
        ({"actions": ["pay"]}, "`pay` is not an action", "actions"),
        ({"actions": ["a/b", "a/b"]}, "`a/b` stands twice in `actions`", "actions"),
        ({"effects": ["steal"]}, "invalid enum value 'steal'", "effects"),
        ({"risk_at_most": 101}, "`risk_at_most` is not between", "risk_at_most"),
        ({"time_to_live": "soon"}, "`time_to_live` is not a duration", "time_to_live"),
        ({"time_to_live": "60d"}, "`time_to_live` is not between", "time_to_live"),
        ({"time_to_live": 0}, "`time_to_live` is not between", "time_to_live"),
        ({"time_to_live": True}, "`time_to_live` is not a duration", "time_to_live"),
        ({"children": ["pay-invoice"]}, "is its own child", "children"),
        ({"children": ["Pay Invoice"]}, "can't be used as a name", "children"),
        ({"path": "x"}, "unknown key `path`", "path"),
        ({"justifies": "x"}, "unknown field `justifies`", "justifies"),
        ({"mode": "off"}, "invalid enum value 'off'", "mode"),
        ({"params": {"in": {"type": "string"}}}, "`in` can't name a parameter", "in"),
        ({"params": {"a-b": {"type": "string"}}}, "`a-b` can't name a parameter", "a-b"),
    ],
)
def test_a_bad_key_is_named_with_its_line(keys: dict[str, Any], message: str, at: str) -> None:
    text = changed(**keys)
    error = fails(text)
    assert message in error.message
    lines = text.splitlines()
    starts = [f"{at}:", f"  {at}:"] if at else ["description:", ""]
    expected = next((n for start in starts for n, line in enumerate(lines, 1) if line.startswith(start)), 1)
    # A sequence's items stand on the lines after their key.
    assert expected <= error.line <= expected + 2


@pytest.mark.parametrize(
    ("parameter", "message", "key"),
    [
        ({"type": "text"}, "invalid enum value 'text'", "type"),
        ({"type": "string", "pattern": "["}, "is not a pattern", "pattern"),
        ({"type": "string", "pattern": "a)|(b"}, "is not a pattern", "pattern"),
        ({"type": "string", "pattern": "(?=a)a"}, "linear time", "pattern"),
        ({"type": "string", "pattern": r"(a)\1"}, "linear time", "pattern"),
        ({"type": "string", "pattern": "((a{999}){999}){999}"}, "is not a pattern", "pattern"),
        ({"type": "string", "pattern": "a" * 257}, "longer than 256", "pattern"),
        ({"type": "integer", "pattern": "1"}, "`pattern` is for strings", "pattern"),
        ({"type": "boolean", "values": ["true"]}, "`values` is for strings", "values"),
        ({"type": "string", "pattern": "a+", "values": ["b"]}, "`b` can never be given", "values"),
        ({"type": "string", "minimum": 1}, "`minimum` is for numbers", "minimum"),
        ({"type": "integer", "minimum": "1.5"}, "`1.5` is not an integer", "minimum"),
        ({"type": "decimal", "maximum": "1.23456"}, "`1.23456` is not a decimal", "maximum"),
        ({"type": "decimal", "maximum": 1.23456}, "more than 4 fractional digits", "maximum"),
        ({"type": "decimal", "minimum": 2, "maximum": 1}, "`minimum` is above `maximum`", "minimum"),
        ({"type": "string", "max_length": 0}, "`max_length` is not between", "max_length"),
        ({"type": "string", "colour": "red"}, "unknown field `colour`", "colour"),
        ({"type": "string", "values": [True]}, "expected `str`, got `bool`", "values"),
    ],
)
def test_a_bad_parameter_is_named_with_its_line(parameter: dict[str, Any], message: str, key: str) -> None:
    text = changed(params={"invoice": {"type": "string"}, "amount": {"type": "decimal"}, "extra": parameter})
    error = fails(text)
    lines = text.splitlines()
    first = lines.index("  extra:") + 1
    assert message in error.message
    expected = next(n for n, line in enumerate(lines, 1) if n > first and line.strip().startswith(f"{key}:"))
    assert expected <= error.line <= expected + 1


def test_a_wrong_type_says_how_to_write_it() -> None:
    assert fails(changed(case_types=[1])).next_step == "put the value in quotes"


ORDER = {"name": "step", "before": ["payments/pay_invoice"], "done": "billing/read_invoice"}
LIMIT = {"name": "limit", "actions": ["payments/pay_invoice"], "calls": 1}
BINDING = {"action": "payments/pay_invoice", "argument": "input.account", "equals": "params.invoice"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"order": [ORDER | {"name": "Step 1"}]}, "can't be used as a name"),
        ({"order": [ORDER | {"before": []}]}, "`before` is empty"),
        ({"order": [ORDER | {"before": ["payments/refund"]}]}, "not among the actions of this intent"),
        ({"order": [ORDER | {"done": "payments/pay_invoice"}]}, "wait for itself"),
        ({"order": [ORDER | {"where": {"invoice": "params.invoice"}}]}, "`invoice` is not a path"),
        (
            {"order": [ORDER | {"where": {"input.invoice": "params.nothing"}}]},
            "a parameter that this intent does not have",
        ),
        ({"order": [ORDER | {"where": {"input.invoice": "done.step.id"}}]}, "can't be compared with"),
        ({"order": [ORDER | {"where": {"input.invoice": "open"}}]}, "neither a reference nor a literal"),
        ({"order": [ORDER | {"where": {"output.paid": "true"}}]}, "can't be compared with"),
        ({"order": [ORDER | {"within": "1 hour"}]}, "`within` is not a duration"),
        ({"order": [ORDER, ORDER]}, "stands twice in `order`"),
        ({"limits": [LIMIT | {"calls": None}]}, "limits nothing"),
        ({"limits": [LIMIT | {"calls": 0}]}, "`calls` is not between"),
        ({"limits": [LIMIT | {"effects": ["pay"]}]}, "on actions or on effects"),
        ({"limits": [{"name": "x", "calls": 1}]}, "on actions or on effects"),
        ({"limits": [LIMIT | {"sum": "input.amount"}]}, "belong together"),
        ({"limits": [LIMIT | {"at_most": "3"}]}, "belong together"),
        ({"limits": [LIMIT | {"sum": "amount", "at_most": "3"}]}, "is not an argument"),
        ({"limits": [LIMIT | {"sum": "output.amount", "at_most": "3"}]}, "is not an argument"),
        ({"limits": [LIMIT | {"sum": "input.amount", "at_most": "params.invoice"}]}, "is not a decimal number"),
        ({"limits": [LIMIT | {"sum": "input.amount", "at_most": "'three'"}]}, "is not an amount"),
        ({"limits": [LIMIT | {"sum": "input.amount", "at_most": -1}]}, "below zero"),
        ({"limits": [LIMIT, LIMIT]}, "stands twice in `limits`"),
        ({"bindings": [BINDING | {"equals": None}]}, "what an argument equals or is at most"),
        ({"bindings": [BINDING | {"at_most": "1"}]}, "what an argument equals or is at most"),
        ({"bindings": [BINDING | {"equals": "params.iban"}]}, "a parameter that this intent does not have"),
        ({"bindings": [BINDING | {"equals": "done.other.iban"}]}, "a step that `order` does not have"),
        ({"bindings": [BINDING | {"equals": "'it''s'"}]}, "neither a reference nor a literal"),
        ({"bindings": [BINDING | {"argument": "account"}]}, "is not an argument"),
        ({"bindings": [BINDING | {"action": "payments/refund"}]}, "not among the actions"),
        ({"bindings": [BINDING, BINDING]}, "stands twice in `bindings`"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(keys: dict[str, Any], message: str) -> None:
    keys = {key: [{k: v for k, v in item.items() if v is not None} for item in items] for key, items in keys.items()}
    text = changed(**({"bindings": None} | keys))
    error = fails(text)
    assert message in error.message
    assert error.line > text.splitlines().index(f"{next(iter(keys))}:")


def test_an_order_in_a_circle_is_refused() -> None:
    steps = [
        {"name": "a", "before": ["payments/pay_invoice"], "done": "billing/read_invoice"},
        {"name": "b", "before": ["billing/read_invoice"], "done": "payments/pay_invoice"},
    ]
    assert "wait for itself" in fails(changed(order=steps, bindings=None)).message


def test_an_open_intent_is_refused_and_says_where_they_come_from() -> None:
    error = fails(changed(actions=None, order=None, limits=None, bindings=None))
    assert error.code == "intent_open"
    assert "open intents come with a pack" in error.message


def test_self_started_payment_by_effect_is_refused() -> None:
    error = fails(
        changed(actions=None, effects=["read", "pay"], self_start=True, order=None, limits=None, bindings=None)
    )
    assert "`self_start` can't justify `pay`" in error.message


def test_aliases_that_expand_without_bound_are_refused() -> None:
    assert "aliases" in fails("a: &a [x, x]\nb: [*a, *a]\n").message


@given(st.text(max_size=200))
def test_any_text_gives_an_intent_or_a_document_error(text: str) -> None:
    with contextlib.suppress(DocumentError):
        assert isinstance(parse(text), Intent)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(
        {"name", "type", "before", "done", "where", "within", "calls", "sum", "at_most", "action", "argument", "equals",
         "pattern", "minimum", "input.x", "invoice"})), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(yaml.safe_load(PAY))), VALUES, min_size=1, max_size=3))
def test_any_value_under_a_known_key_gives_an_intent_or_a_document_error(keys: dict[str, Any]) -> None:
    with contextlib.suppress(DocumentError):
        assert isinstance(parse(dump(yaml.safe_load(PAY) | keys)), Intent)
