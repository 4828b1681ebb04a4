"""Macros: what a call means, that nothing is captured, and every definition and call that is refused."""

from __future__ import annotations

import pytest

from remit.policy.dogwood import rules
from remit.policy.dogwood.ast import Condition
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.lowering import lower
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.printing import show
from tests.policy.dogwood.fuzz import lowered

SHIPPED = rules.library([(rules.SHIPPED, rules.shipped())])
EVENT = 'A::Action::"T"::request'
SCHEMA = """
namespace A {
  type I = { amount: Long, user: String, tags: Set<String> };
  entity G; entity U;
  action "T" appliesTo { principal: [U], resource: [G], context: { input: I } };
}
"""


def condition(definitions: str, call: str) -> Condition:
    text = f"{definitions}\npermit(principal, action, resource) when temporal {{ {call} }};"
    file = rules.read("policies/a.dw", text, SHIPPED)
    ((leaf,),) = [lower(rule, file.macros).leaves for rule in file.rules]
    return leaf.condition


def cedar(definitions: str, call: str) -> str:
    text = f"{definitions}\npermit(principal, action, resource) when {{ {call} }};"
    file = rules.read("policies/a.dw", text, SHIPPED)
    (rule,) = file.rules
    return lower(rule, file.macros).text


def refused(text: str) -> Mistake:
    with pytest.raises(Mistake) as caught:
        everything(text)
    return caught.value


def everything(text: str) -> list[str]:
    file = rules.read("policies/a.dw", text, SHIPPED)
    return [lower(rule, file.macros).text for rule in file.rules]


@pytest.mark.parametrize(
    ("definitions", "call", "wanted"),
    [
        (
            "def temporal once(?w, ?s) { formerly within ?w ?s };",
            f"once(1h, {EVENT}{{}})",
            f"formerly within 1h {EVENT}{{}}",
        ),
        (
            f"def temporal read(?u) {{ formerly within 2d {EVENT}{{input.user: ?u}} }};",
            "read(context.input.user) && !read(principal.id)",
            f"formerly within 2d {EVENT}{{input.user: context.input.user}} && "
            f"!(formerly within 2d {EVENT}{{input.user: principal.id}})",
        ),
        (
            'def temporal approved(?e) { formerly within 1h ?e{output.status: "yes"}{input.amount: 3} };',
            f"approved({EVENT}{{input.user: _}})",
            f'formerly within 1h {EVENT}{{input.user: _, output.status: "yes", input.amount: 3}}',
        ),
        (
            "def temporal no() { !tp(t) };",
            "exists (t: Timepoint). (tp(t) && no())",
            "exists (t: Timepoint). (tp(t) && !tp(t))",
        ),
        (
            "",
            f"bind(n, count_within(1h, {EVENT}{{}}), n > 2)",
            "exists (n: Long). ((count for (moment_1: Timepoint). where formerly within 1h "
            f"({EVENT}{{}} && tp(moment_1))) == n && n > 2)",
        ),
        (
            "",
            f"(sum_within(a, 1h, {EVENT}{{input.amount: a}})) > 3",
            "(sum a for (a: Long), (moment_1: Timepoint). where formerly within 1h "
            f"({EVENT}{{input.amount: a}} && tp(moment_1))) > 3",
        ),
        (
            "",
            f"3 < count_distinct_within(u, 1h, {EVENT}{{input.user: u}})",
            f"3 < (count for (u: String). where formerly within 1h {EVENT}{{input.user: u}})",
        ),
    ],
)
def test_a_call_means_its_body(definitions: str, call: str, wanted: str) -> None:
    found = condition(definitions, call)
    fresh = {name for name in _names(show(found)) if name.startswith("moment_")}
    written = wanted.replace("moment_1", min(fresh)) if fresh else wanted
    assert parse(show(found)) == parse(written)


def _names(text: str) -> set[str]:
    return set(text.replace("(", " ").replace(":", " ").replace(")", " ").split())


def test_the_callers_variable_is_not_the_macros() -> None:
    """A caller passes its own `t` into a macro that has a `$t`."""
    text = (
        "def temporal counted(?s) { count for ($t: Timepoint). where (formerly within 1h (?s && tp($t))) };\n"
        "permit(principal, action, resource) when temporal {\n"
        f"  exists (t: Long). ({EVENT}{{input.amount: t}} && (counted({EVENT}{{input.amount: t}})) > 1) }};"
    )
    file = rules.read("a.dw", text, SHIPPED)
    shown = show(lower(file.rules[0], file.macros).leaves[0].condition)
    assert "tp(t)" not in shown
    assert shown.count("input.amount: t") == 2
    assert lowered(text, SCHEMA) is not None


def test_two_calls_have_two_variables() -> None:
    found = show(condition("", f"(count_within(1h, {EVENT}{{}})) > (count_within(2h, {EVENT}{{}}))"))
    assert len({name for name in _names(found) if name.startswith("moment_")}) == 2


def test_a_macros_own_plain_variable_captures_no_argument() -> None:
    """The reference lets the macro's variable take the argument's place; here the call is refused."""
    definition = f"def temporal any(?s) {{ exists (a: Long). ({EVENT}{{input.amount: a}} && ?s) }};"
    call = f"exists (a: Long). ({EVENT}{{input.amount: a}} && any(a > 3))"
    found = refused(f"{definition} permit(principal, action, resource) when temporal {{ {call} }};")
    assert "would capture this one" in found.message
    assert "$a" in found.next_step
    renamed = definition.replace("(a:", "($a:").replace(": a}", ": $a}")
    condition(renamed, call)


def test_a_files_own_macro_comes_before_the_librarys() -> None:
    own = "def temporal count_within(?w, ?s) { formerly within ?w ?s };"
    assert condition(own, f"count_within(1h, {EVENT}{{}})") == parse(f"formerly within 1h {EVENT}{{}}")


def test_a_projects_library_comes_before_the_one_that_is_shipped() -> None:
    own = ("policies/macros.dw", "def temporal bind(?s) { formerly within 1h ?s };")
    known = rules.library([(rules.SHIPPED, rules.shipped()), own, ("policies/other.dw", "def cedar seen() { true };")])
    assert known["bind"].parameters == ("s",)
    assert "count_within" in known
    assert "seen" not in known


def test_two_libraries_can_t_define_one_macro() -> None:
    one = "def cedar small(?n) { ?n < 3 };"
    with pytest.raises(Mistake, match=r"defined in `policies/macros.dw` too") as caught:
        rules.library([("policies/macros.dw", one), ("policies/x/macros.dw", f"\n{one}")])
    assert caught.value.path == "policies/x/macros.dw"


@pytest.mark.parametrize(
    ("definitions", "call", "wanted"),
    [
        ("def cedar small(?n) { ?n < 100 };", "small(context.input.a + 1)", "((context . input . a + 1) < 100 )"),
        ("def cedar eq(?a, ?b) { // why\n ?a == ?b };", "!eq(1, eq(2, 3))", "!((1) == (((2) == (3) )) )"),
        ("def cedar yes() { true };", "yes() && yes()", "(true ) && (true )"),
        ('def cedar f(?s) { ?s like "F*" };', "f(context.input.s)", '((context . input . s) like "F*" )'),
        ("def cedar semver(?m) { { major: ?m } };", "semver(2).major == 2", "({ major : (2) } ).major == 2"),
    ],
)
def test_a_call_of_cedar_means_its_body(definitions: str, call: str, wanted: str) -> None:
    assert cedar(definitions, call) == f"permit(principal, action, resource) when {{ {wanted} }};"


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("def cedar f(?a) { ?b };", "?b", "no parameter of this macro"),
        ("def cedar f(?a) { $a };", "$a", "no meaning in Cedar"),
        ("def cedar f(?a) { g(?a) };", "g(", "a macro's body can't call macros"),
        ("def cedar f(?a) { X::G(?a).x };", "G(", "a macro's body can't call providers"),
        ("def cedar f(?a) { temporal { tp(t) } };", "temporal", "can't hold `temporal { … }`"),
        ("def cedar f(?a) { ?a && };", "?a &&", "not valid Cedar"),
        ("def cedar f(?a) { context.?a };", "?a }", "can't be a name here"),
        ("def cedar f(?a) { context has ?a };", "?a }", "can't be a name here"),
        ("def cedar f(?a) { {?a: 1} == 3 };", "?a:", "can't be a name here"),
        ("def cedar f(?a) { ) };", ") }", "closes nothing"),
        ("def cedar f(?principal) { ?principal };", "?principal)", "slot of templates"),
        ("def temporal f(?a) { ?b };", "?b", "no parameter of this macro"),
        ("def temporal f(?a) { tp(?b) };", "?b", "no parameter of this macro"),
        ("def temporal f(?a) { formerly within ?b tp(t) };", "?b", "no parameter of this macro"),
        ("def temporal f(?a) { g(?a) };", "g(", "a macro's body can't call macros"),
        ("def temporal f(?a) { ?a && ?a == 3 };", "?a &&", "is used as"),
        ("def temporal f(?a) { formerly within ?a ?a };", "formerly", "is used as"),
        ("def temporal f() { $t };", "$t", "a value is not a condition"),
        ("def temporal f() { };", "{", "the body of the macro is empty"),
        ("def temporal f() { tp(t) }", "}", "not finished"),
        ("def temporal f() { tp(t) } x;", "x;", "`;` is expected"),
        ("def temporal f(a) { tp(t) };", "a)", "no parameter"),
        ("def temporal f(?a ?b) { tp(t) };", "?b", "`,` or `)` is expected"),
        ("def temporal f(?a, ?a) { tp(t) };", "?a)", "stands twice"),
        ("def temporal f { tp(t) };", "{", "the parameters are missing"),
        ("def temporal (?a) { tp(t) };", "(", "the name of the macro is missing"),
        ("def wrong f(?a) { tp(t) };", "wrong", "`cedar` or `temporal`"),
        ("def temporal count(?a) { tp(t) };", "count", "a word of the language"),
        ("def cedar ip(?a) { true };", "ip", "a word of the language"),
        ("def cedar f() { true }; def cedar f() { false };", "f() { false", "defined twice"),
        ("def", "def", "not finished"),
        ("def;", ";", "`cedar` or `temporal`"),
    ],
)
def test_wrong_definitions_are_refused(text: str, at: str, words: str) -> None:
    found = refused(text)
    assert words in found.message
    assert text[found.at :].startswith(at) or found.at == text.index(at)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("when temporal { once(1h) }", "takes 2 arguments, not 1"),
        (f"when temporal {{ once(1h, {EVENT}{{}}, 3) }}", "takes 2 arguments, not 3"),
        (f"when temporal {{ once(3, {EVENT}{{}}) }}", "takes a window"),
        (f"when temporal {{ once(within 1h, {EVENT}{{}}) }}", "without `within`"),
        ("when temporal { once(1h, 3) }", "takes a temporal condition, not a value"),
        ("when temporal { once(1h, 2h) }", "takes a temporal condition, not a window"),
        (f"when temporal {{ total({EVENT}{{}}, 1h, {EVENT}{{}}) > 3 }}", "takes the name of a variable"),
        (f"when temporal {{ total(3, 1h, {EVENT}{{}}) > 3 }}", "takes the name of a variable"),
        (f"when temporal {{ total(a, 1h, {EVENT}{{}}) }}", "a count or a sum is not a condition"),
        (f"when temporal {{ once(1h, {EVENT}{{}}) > 3 }}", "can't be compared"),
        ("when temporal { user(tp(t)) }", "takes a value, not a condition"),
        ("when temporal { small(3) }", "is a macro of Cedar"),
        ("when temporal { refined(tp(t)) }", "refines single events only"),
        ("when temporal { nothing(3) }", "there is no macro `nothing`"),
        ("when { once(1h) }", "a macro of temporal conditions"),
        ("when { nothing(1) }", "there is no function or macro `nothing`"),
        ("when { small(1, 2) }", "takes 1 arguments, not 2"),
        ("when { small() }", "takes 1 arguments, not 0"),
        ("when { ?n == 3 }", "stands outside of a macro"),
        ("when { $n == 3 }", "stands outside of a macro"),
        ("when temporal { 0 < count for ($t: Timepoint). where tp($t) }", "stands outside of a macro"),
    ],
)
def test_wrong_calls_are_refused_as_the_reference_refuses_them(call: str, words: str) -> None:
    definitions = (
        "def temporal once(?w, ?s) { formerly within ?w ?s };"
        "def temporal total(?a, ?w, ?s) { sum ?a for (?a: Long), ($t: Timepoint). where "
        "(formerly within ?w (?s && tp($t))) };"
        f"def temporal user(?u) {{ {EVENT}{{input.user: ?u}} }};"
        "def temporal refined(?e) { formerly within 1h ?e{input.user: _} };"
        "def cedar small(?n) { ?n < 3 };"
    )
    text = f'{definitions} permit(principal, action == A::Action::"T", resource) {call};'
    assert words in refused(text).message
    assert lowered(text, SCHEMA) is None


def test_an_argument_that_the_body_does_not_use_is_looked_at_too() -> None:
    definition = "def cedar first(?a, ?b) { ?a };"
    assert "not valid Cedar" in refused(f"{definition} permit() when {{ first(true, 1 +) }};").message
    assert cedar(definition, "first(true, 1 + 1)").endswith("when { ((true) ) };")


def test_a_parameter_of_no_macro_is_refused_in_tp_too() -> None:
    """The reference reads it as a variable that nothing binds."""
    text = 'permit(principal, action == A::Action::"T", resource) when temporal { tp(?t) };'
    assert "stands outside of a macro" in refused(text).message
    assert lowered(text, SCHEMA) is not None


@pytest.mark.parametrize(
    "call",
    [
        "twice(" * 14 + f"{EVENT}{{}}" + ")" * 14,
        "twice(" * 200 + f"{EVENT}{{}}" + ")" * 200,
        " && ".join([f"twice({EVENT}{{}})"] * 200),
    ],
    ids=["nested", "nested-far", "many"],
)
def test_macros_do_not_explode(call: str) -> None:
    twice = "def temporal twice(?s) { formerly within 1h (?s && ?s) };"
    with pytest.raises(Mistake):
        condition(twice, call)


def test_macros_of_cedar_do_not_explode() -> None:
    with pytest.raises(Mistake, match=r"beyond \d+ tokens|nested more than"):
        cedar("def cedar twice(?s) { ?s && ?s };", "twice(" * 25 + "true" + ")" * 25)
