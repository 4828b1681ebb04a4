"""Rules of Dogwood as Cedar: the same as the reference's, plain Cedar unchanged, and errors at what was written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cedarpy import _internal as cedar
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import DocumentError
from remit.policy import sources
from remit.policy.dogwood import rules
from remit.policy.dogwood.lowering import Lowered, lower
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.sources import Policy, Source
from tests.policy.dogwood.fuzz import lowered, times
from tests.policy.project import loaded, write

SHIPPED = rules.library([(rules.SHIPPED, rules.shipped())])
EVENT = 'A::Action::"T"::request{}'
SCHEMA = """
namespace A {
  type I = { amount: Long, user: String, tags: Set<String>, score: decimal };
  entity Team; entity G; entity U in [Team] = { id: String };
  action "T" appliesTo { principal: [U], resource: [G], context: { input: I } };
  action "R" appliesTo { principal: [U], resource: [G], context: { input: I } };
}
"""


def low(text: str) -> list[Lowered]:
    file = rules.read("policies/a.dw", text, SHIPPED)
    return [lower(rule, file.macros) for rule in file.rules]


def parse(text: str, path: str = "policies/a.dw") -> list[Policy]:
    return list(sources.parse(Source(path, text, "user"), known=SHIPPED))


RULES = [
    "permit(principal, action, resource);",
    "permit(action, principal);",
    "permit();",
    'forbid(resource == A::G::"x", action in [A::Action::"T", A::Action::"R"],);',
    'permit(principal is A::U in A::Team::"a", resource is A::G, action == A::Action::"T");',
    'permit(principal in A::Team::"a", action in A::Action::"T", resource) when { context.input.amount > 3 };',
    f"permit(principal, action, resource) when temporal {{ formerly within 1h {EVENT} }};",
    f"permit(principal, action, resource) unless temporal {{ formerly within 1h {EVENT} }};",
    f"permit(principal, action, resource) when {{ context.input.amount >= 3 && temporal {{ {EVENT} }} || true }};",
    f"permit(action) when {{ if temporal {{ {EVENT} }} then 1 != 2 else !temporal {{ {EVENT} }} }};",
    "permit(principal, action, resource) when guardrails { context.input.amount + 1 - 2 * 3 < -4 } unless { true };",
    'permit(principal, action, resource) when { context.input.tags.contains("a") } when { principal has id };',
    'permit(principal, action, resource) when { {a: [1, 2], "b c": context} has a };',
    'permit(principal, action, resource) when { "a\\u{e9}" like "a*\\*" && principal is A::U in A::Team::"t" };',
    'permit(principal, action, resource) when { context.input.score.lessThan(decimal("0.5")) && -5 < 3 };',
    'permit(principal, action, resource) when { X::Y(context.input.user, ["a", 1], true, -3, decimal("1.5")).f == 1 };',
    'permit(principal, action, resource) when { X::Y(context.input.user).m1(3).m2()["k"].lessThan(decimal("0.5")) };',
    f"permit(action) when {{ temporal {{ {EVENT} }} && X::Y(principal.id).a && X::Z(resource.id) }};",
    "def cedar small(?n) { ?n < 3 }; permit(principal, action, resource) when { small(context.input.amount) };",
    "def cedar pick(?a, ?b) { if ?a.x == 1 then ?b else ?a has y }; "
    "permit(principal, action, resource) when { pick({x: 1}, pick({x: 2}, false)) };",
    "def cedar low(?n) { ?n < 3 }; permit(principal, action, resource) when { low(X::Y(context.input.user).n) };",
]


def normal(node: Any, names: dict[str, str]) -> Any:
    """An expression of Cedar's JSON form, written as the reference writes it; reads of values are numbered."""
    if isinstance(node, list):
        return [normal(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    access = node.get(".")
    if access is not None:
        record = access["left"].get(".", {})
        mark = re.fullmatch(r"policy_\d+__temporal_\d+|policy_\d+_p_\d+", access["attr"])
        if mark or (record.get("attr") in ("temporal", "providers") and record["left"] == {"Var": "context"}):
            return names.setdefault(record.get("attr", "") + access["attr"], f"value {len(names)}")
    for op, plain in (("!=", "=="), (">", "<="), (">=", "<")):
        if op in node:
            return {"!": {"arg": {plain: normal(node[op], names)}}}
    test = node.get("is")
    if test is not None and "in" in test:
        kind = {"is": {"left": test["left"], "entity_type": test["entity_type"]}}
        return normal({"&&": {"left": kind, "right": {"in": {"left": test["left"], "right": test["in"]}}}}, names)
    if "neg" in node and isinstance(node["neg"]["arg"].get("Value"), int):
        return {"Value": -node["neg"]["arg"]["Value"]}
    return {key: normal(value, names) for key, value in node.items()}


def as_said(text: str) -> list[Any]:
    """Scope and condition of each policy, with its clauses as one."""
    said = []
    parsed = json.loads(cedar.policies_to_json_str(text))["staticPolicies"]
    for _, est in sorted(parsed.items()):
        body: Any = None
        names: dict[str, str] = {}
        for clause in est["conditions"]:
            one = normal(clause["body"], names)
            one = {"!": {"arg": one}} if clause["kind"] == "unless" else one
            body = one if body is None else {"&&": {"left": body, "right": one}}
        scope = [est[name] for name in ("effect", "principal", "resource")]
        action = est["action"]
        if action["op"] == "in" and len(action.get("entities", ())) == 1:
            action = {"op": "in", "entity": action["entities"][0]}
        said.append([*scope, action, {"Value": True} if body is None else body])
    return said


@pytest.mark.parametrize("text", RULES)
def test_lowers_as_the_reference_does(text: str) -> None:
    theirs = lowered(text, SCHEMA)
    assert theirs is not None
    assert as_said("\n".join(each.text for each in low(text))) == as_said(theirs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit(principal, principal, resource);", "stands twice"),
        ("permit(principal, action, resource, context);", "one too many"),
        ("permit(principal, context);", "no variable of the scope"),
        ("permit(principal : A::U, action, resource);", "is not supported"),
        ("permit(principal = A::U::\"a\", action, resource);", "`=` compares nothing"),
        ("permit(principal != A::U::\"a\", action, resource);", "has `==`, `in` or `is`"),
        ("permit(,principal);", "missing before the `,`"),
        ("allow(principal, action, resource);", "`permit` or `forbid`"),
        ("permit principal;", "the scope is missing"),
        ("permit(principal, action, resource) if { true };", "`when`, `unless` or `;`"),
        ("permit(principal, action, resource) when provider { true };", "is expected after `when`"),
        ("permit(principal, action, resource) when temporal;", "is expected after `when`"),
        ("permit(principal, action, resource) when { true }", "not finished"),
        ("permit(principal, action, resource) when { true ;", "not closed"),
        ("permit(principal, action, resource) when { (true } ;", "`)` is missing"),
        ("permit(principal, action, resource) when { context.input.user.size() };", "no method `size`"),
        ("permit(principal, action, resource) when { X::Y(1).f.m() };", "no method `m`"),
        ("permit(principal, action, resource) when { X::Y(1 + 2) };", "constants and fields"),
        ("permit(principal, action, resource) when { X::Y(if true then 1 else 2) };", "constants and fields"),
        ("permit(principal, action, resource) when { X::Y(principal) };", "takes a field of `principal`"),
        ('permit(principal, action, resource) when { X::Y(context.input["a", 1]) };', "can't stand in a provider"),
        ("permit(principal, action, resource) when { X::Y(1,) };", "missing after the `,`"),
        ("@id(\"a\")", "not finished"),
    ],
)  # fmt: skip
def test_wrong_rules_are_refused(text: str, words: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(words)):
        parse(text)


@pytest.mark.parametrize("root", ["context.task.id", "context.session.calls", "context.input", "context"])
def test_providers_see_nothing_that_remit_keeps(root: str) -> None:
    with pytest.raises(DocumentError, match=r"a provider sees fields of `context.input` only"):
        parse(f"permit(principal, action, resource) when {{ X::Y({root}) }};")


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("permit (principal, action, resource)\nwhen { 1 + };", 2, 12, "unexpected token `}`"),
        ("\n\npermit (action, principal)\nwhen { true && };", 4, 16, "unexpected token `}`"),
        (f"permit ()\nwhen temporal {{\n  {EVENT}\n}}\nwhen {{ 1 < }};", 5, 12, "unexpected token `}`"),
        (f"permit ()\nwhen {{ temporal {{ {EVENT} }} && temporal {{ {EVENT} }} + }};", 2, 91, "unexpected token `}`"),
        (f"permit ()\nwhen {{\n  temporal {{\n    {EVENT}\n    && x\n  }}\n}};", 5, 8, "a value is not a condition"),
        ("def cedar one(?n) { ?n + };\npermit ();", 1, 21, "not valid Cedar"),
        ("def cedar one(?n) { ?n + 1 };\npermit ()\nwhen { one(2) < };", 3, 17, "unexpected token `}`"),
        ("permit ()\nwhen { X::Y(context.input.user).a < };", 2, 37, "unexpected token `}`"),
        ("permit ();\npermit () when { ip(3, };", 2, 24, "closes nothing"),
        ('@id("a") @id("b") permit ();', 1, 2, "duplicate annotation"),
    ],
)  # fmt: skip
def test_errors_stand_where_the_rule_was_written(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_each_character_of_plain_cedar_is_found_again() -> None:
    text = (
        f'@id("a") // why\npermit (action, principal)\nwhen {{ temporal {{ {EVENT} }} && X::Y(1) // then\n'
        '&& context has "a b" };'
    )
    (found,) = low(text)
    for word in ('"a"', "why", "permit", "action", "principal", "then", "has", '"a b"'):
        assert text[found.original(found.text.index(word)) :].startswith(word)
    assert text[found.original(found.text.index("context.temporal")) :].startswith("temporal {")
    assert text[found.original(found.text.index("context.providers")) :].startswith("X::Y")


PLAIN = Path("src/remit/policy/shipped")


@pytest.mark.parametrize("file", sorted(PLAIN.glob("*.cedar")), ids=lambda file: file.name)
def test_plain_cedar_means_the_same_in_a_file_of_dogwood(file: Path) -> None:
    text = file.read_text("utf-8")
    as_cedar = parse(text, f"policies/{file.stem}.cedar")
    as_dogwood = parse(text, f"policies/{file.stem}.dw")
    for one, other in zip(as_cedar, as_dogwood, strict=True):
        assert (one.id, one.text, one.json, one.reads) == (other.id, other.text, other.json, other.reads)
        assert (one.start, one.end, one.ref.line) == (other.start, other.end, other.ref.line)


# --- attacks ------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=20))
@settings(max_examples=times(150), deadline=None)
def test_an_id_can_not_end_the_text_that_it_stands_in(id_: str) -> None:
    quoted = json.dumps(id_, ensure_ascii=False)
    rule = f"@id({quoted}) permit(principal, action, resource) when temporal {{ {EVENT} }};"
    for policy in _safely(rule) or ():
        assert policy.leaves[0].name == f"{id_}/0"
        assert policy.reads.values == {("temporal", f"{id_}/0")}


def _safely(text: str) -> list[Policy] | None:
    try:
        return parse(text)
    except DocumentError:
        return None


def test_an_id_with_quotes_and_braces_stays_a_name() -> None:
    (policy,) = parse(
        f'@id("x\\"] || true }}; permit(principal,action,resource); //") permit() when temporal {{ {EVENT} }};'
    )
    assert policy.reads.values == {("temporal", policy.leaves[0].name)}


def test_a_comment_can_not_hide_what_follows_it() -> None:
    (found,) = low("def cedar both(?a) { ?a // one\n && true };\npermit()\nwhen { both(1 == 1 // two\n) && false };")
    assert "//" not in found.text
    assert found.text.endswith("&& false };")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "permit(" + "(" * 100_000,
        "permit() when { " + "f(" * 50_000,
        "permit() when { " + "X::Y([" * 50_000,
        "permit() when { temporal { " * 30_000,
        "permit() when { " + "!" * 100_000 + "true };",
        "permit() when { " + "1 + " * 40_000 + "1 };",
        "@a" * 100_000,
        "def cedar f(?a) { " + "(" * 50_000,
        "def cedar f(" + "?a, " * 50_000,
        "{" * 50_000 + "}" * 50_000 + ";",
        ";" * 20_000,
        "permit() when { a" + "::b" * 60_000 + "(1) };",
        "permit() when { X::Y(context" + ".a" * 60_000 + ") };",
        "permit() when { temporal { tp(t) } && " * 1 + "temporal { tp(t) } && " * 40 + "true };",
    ],
    ids=lambda text: f"{text[:24]}*{len(text)}",
)
def test_no_file_exhausts_the_reader(text: str) -> None:
    with pytest.raises(DocumentError):
        parse(text)


@given(st.text(max_size=80))
@settings(max_examples=times(200), deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    _safely(text)
    _safely(f"permit(principal, action, resource) when {{ {text} }};")


# --- in a project -------------------------------------------------------------------------------------------

TOOLS = 'action in Remit::Action::"tools"'
READ = 'Remit::Action::"payments/read_invoice"::response{}'


def test_a_policy_reads_the_value_of_its_condition(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "order.dw").write_text(
        f'@id("order") forbid (principal, {TOOLS}, resource) unless temporal {{ formerly within 1h {READ} }};'
    )
    (policy,) = [policy for policy in loaded(folder).policies() if policy.origin == "user"]
    assert policy.leaves[0].name == "order/0"
    assert policy.scope_kind == "task"
    assert policy.source.text[policy.start : policy.end].startswith("@id")


def test_a_temporal_policy_of_administration_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "order.dw").write_text(
        f"forbid (principal, action, resource)\nunless temporal {{ formerly within 1h {READ} }};"
    )
    with pytest.raises(DocumentError, match=r"order\.dw:2:\d+: only calls of tools have a past"):
        loaded(folder)


def test_a_value_that_is_not_the_policys_own_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "order.dw").write_text(
        f'@id("order") forbid (principal, {TOOLS}, resource) unless temporal {{ formerly within 1h {READ} }};\n'
        f'forbid (principal, {TOOLS}, resource) when {{ context.temporal["order/0"] }};'
    )
    with pytest.raises(DocumentError, match=r"order\.dw:2:\d+: no action that this policy covers has"):
        loaded(folder)


def test_macros_stand_in_any_file_and_in_the_library(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "deep").mkdir()
    (folder / "deep" / "macros.dw").write_text("def temporal seen(?e) { formerly within 1h ?e };")
    (folder / "order.dw").write_text(
        "def cedar big(?n) { ?n > 3 };\n"
        f'@id("order") forbid (principal, {TOOLS}, resource) when {{ big(context.session.calls) }}\n'
        f"unless temporal {{ seen({READ}) }} unless temporal {{ 2 > count_within(1h, {READ}) }};"
    )
    policies = loaded(folder)
    (order,) = [policy for policy in policies.policies() if policy.id == "order"]
    assert len(order.leaves) == 2
    assert {path for path, _ in policies.sources()} >= {"shipped/macros.dw", "policies/deep/macros.dw"}


def test_a_macro_of_another_file_is_not_known(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "one.dw").write_text("def cedar big(?n) { ?n > 3 };")
    (folder / "two.dw").write_text(f"forbid (principal, {TOOLS}, resource) when {{ big(context.session.calls) }};")
    with pytest.raises(DocumentError, match="there is no function or macro `big`"):
        loaded(folder)


def test_projects_without_dogwood_have_no_more_texts(tmp_path: Path) -> None:
    assert not any(path.endswith(".dw") for path, _ in loaded(write(tmp_path)).sources())


def test_a_mistake_of_the_library_is_at_the_library(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "macros.dw").write_text("\ndef temporal seen(?e) { formerly within 1h ?f };")
    with pytest.raises(DocumentError, match=r"policies/macros\.dw:2:44: `\?f` is no parameter"):
        loaded(folder)


def test_mistakes_have_a_sentence() -> None:
    assert str(Mistake(3, "it is wrong")) == "it is wrong"
