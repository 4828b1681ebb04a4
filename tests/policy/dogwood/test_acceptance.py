"""Which temporal conditions are accepted: each rule by its cases, and all of them as the reference does."""

from __future__ import annotations

import os

import pytest
from dogwood import native
from hypothesis import HealthCheck, given, settings

from remit.policy.dogwood import acceptance, checking, conditions, events
from remit.policy.dogwood.ast import Condition, Exists, Leaf
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.variables import aggregates, walk
from remit.policy.entities import syntax
from remit.policy.entities.interpretation import interpret
from tests.policy.dogwood import conditions_by_chance as chance
from tests.policy.dogwood.generating import generated, seeds

LOGIN = 'App::Action::"Login"::request'
COUNT = f"(count for (t: Timepoint). where (formerly within 1h ({LOGIN}{{ }} && tp(t))))"

NAMES = events.of_declared(interpret(syntax.parse(chance.SCHEMA), chance.SCHEMA, "schema.cedarschema"))
EVENTS = events.derive(events.parse(chance.EVENTS), NAMES)
SCOPE = {
    "principal": {"op": "All"},
    "action": {"op": "==", "entity": {"type": "App::Action", "id": "Login"}},
    "resource": {"op": "All"},
}
ABOUT = checking.covered(SCOPE, NAMES)

ACCEPTED = {
    "an event, with nothing bound": f"formerly within 1h {LOGIN}{{ input.user: context.input.user }}",
    "a variable bound by a field": f"exists (u: String). formerly within 1h {LOGIN}{{ input.user: u }}",
    "a count that is bound, then compared": f"exists (n: Long). ({COUNT} == n && n < 3)",
    "an aggregate on either side": f"3 > {COUNT}",
    "what is bound before it is filtered": f"exists (n: Long). (formerly within 1h {LOGIN}{{ input.n: n }} && n > 3)",
    "what an outer chain binds, used in an inner one": (
        f"exists (u: String). (formerly within 1h {LOGIN}{{ input.user: u }} && exists (n: Long). "
        f"((count for (t: Timepoint). where (formerly within 1h ({LOGIN}{{ input.user: u }} && tp(t)))) == n "
        "&& n >= 2))"
    ),
    "a negation of what is bound": f"exists (u: String). ({LOGIN}{{ input.user: u }} && !{LOGIN}{{ input.user: u }})",
    "the left side of since, bound by the right": (
        f"exists (u: String). (!{LOGIN}{{ input.user: u }} since within 1h {LOGIN}{{ input.user: u }})"
    ),
    "a variable that an inner exists binds too": (
        f"exists (v: String). exists (g: String). {LOGIN}{{ input.user: v, input.meta.r: g }}"
    ),
}

REFUSED = {
    "a variable that nothing binds": (
        f"formerly within 1h {LOGIN}{{ input.user: u }}",
        "nothing binds the variable `u`",
    ),
    "exists without an event that limits it": ("exists (x: Long). (0 < x && x < 2)", "limits `x` to values"),
    "exists that is limited by a negation alone": (
        f"exists (x: String). !{LOGIN}{{ input.user: x }}",
        "limits `x` to values",
    ),
    "a double negation does not limit": (f"exists (x: String). !(!{LOGIN}{{ input.user: x }})", "limits `x` to values"),
    "a wildcard does not limit": ("exists (x: String). (x == *)", "limits `x` to values"),
    "a filter before what binds it": (
        f"exists (n: Long). (n > 3 && formerly within 1h {LOGIN}{{ input.n: n }})",
        "a comparison uses the variable `n` before",
    ),
    "a negation before what binds it": (
        f"exists (u: String). (!{LOGIN}{{ input.user: u }} && {LOGIN}{{ input.user: u }})",
        "a negation uses the variable `u` before",
    ),
    "an aggregate that reads what is bound behind it": (
        "exists (u: String). exists (n: Long). ((count for (t: Timepoint). where (formerly within 1h "
        f"({LOGIN}{{ input.user: u }} && tp(t)))) == n && n >= 2 && formerly within 1h {LOGIN}{{ input.user: u }})",
        "the aggregate that binds `n` reads `u`",
    ),
    "a left side of since that is bound behind it": (
        f"exists (u: String). (({LOGIN}{{ input.user: u }} since within 1h {LOGIN}{{ }}) "
        f"&& formerly within 1h {LOGIN}{{ input.user: u }})",
        "the left side of `since` uses `u`",
    ),
    "a shadowing for, which inherits nothing": (
        f"exists (u: String). (formerly within 1h {LOGIN}{{ input.user: u }} && "
        f'(count for (u: String). where (u != "x" && {LOGIN}{{ input.user: u }})) > 1)',
        "a comparison uses the variable `u` before",
    ),
    "a sum of what for does not name": (
        f"exists (p: Long). ({LOGIN}{{ input.n: p }} && (sum p for (t: Timepoint). where ({LOGIN}{{ }} && tp(t))) > 3)",
        "`sum p` adds up what its `for` does not name",
    ),
    "a body that uses what nothing binds": (
        f"(count for (t: Timepoint). where ({LOGIN}{{ input.user: p }} && tp(t))) > 3",
        "bound neither by `for` (`t`) nor around it",
    ),
    "a for that its body does not use": (
        f"(count for (x: String), (t: Timepoint). where ({LOGIN}{{ }} && tp(t))) > 3",
        "`x` stands in `for`",
    ),
    "a for that only a negation uses": (
        f"(count for (x: String). where (!(formerly within 1h {LOGIN}{{ input.user: x }}))) > 3",
        "nothing behind `where` limits `x`",
    ),
    "a for that only the left side of since uses": (
        f"(count for (x: String). where ({LOGIN}{{ input.user: x }} since within 1h {LOGIN}{{ }})) > 3",
        "nothing behind `where` limits `x`",
    ),
    "an aggregate as the value of a field": (
        f"{LOGIN}{{ input.n: {COUNT} }}",
        "`count` stands where only a plain value",
    ),
    "a list as the value of a field": (f'{LOGIN}{{ input.user: ["a"] }}', "a field can't be compared with a list"),
    "a reserved word as a variable": (f"exists (resource: String). {LOGIN}{{ }}", "reserved word"),
    "a part that is of the request alone": (
        f"formerly within 1h {LOGIN}{{ }} && context.input.n > 3",
        "this part does not depend on what happened",
    ),
    "a body of formerly that is of the request alone": (
        "formerly within 1h (context.input.n == 3)",
        "what `formerly` looks for does not depend",
    ),
    "a side of since that is of the request alone": (
        f"(context.input.n == 3) since within 1h {LOGIN}{{ }}",
        "the left side of `since` does not depend",
    ),
}

# The reference lets these pass, and they never hold: docs/design/dogwood.md.
STRICTER = {
    "a field of the event itself, of another type": (
        f"{LOGIN}{{ requestId: 1 }}",
        "`requestId` of `Login` is `String`",
    ),
    "an entity of a type that never asks": (
        f'{LOGIN}{{ callerPrincipal: App::Box::"b" }}',
        "`callerPrincipal` of `Login` is `App::User`",
    ),
    "a variable of a type that does not exist": (
        f"exists (a: Strng). {LOGIN}{{ callerPrincipal: a }}",
        "there is no type `Strng` (did you mean `String`?)",
    ),
    "a time where a string is": (f"{LOGIN}{{ input.user: context.system.now }}", "`String`, not `datetime`"),
}


@pytest.mark.parametrize(("text", "message"), STRICTER.values(), ids=STRICTER)
def test_what_never_holds_is_refused_where_the_reference_lets_it_pass(text: str, message: str) -> None:
    assert message in _own(text)
    assert _reference(text) == ""


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_what_can_be_monitored_is_accepted(text: str) -> None:
    acceptance.check(conditions.parse(text))
    assert _reference(text) == ""


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_monitored_is_refused_at_its_place(text: str, message: str) -> None:
    with pytest.raises(Mistake) as refused:
        acceptance.check(conditions.parse(text))
    assert message in refused.value.message
    assert 0 <= refused.value.at < len(text)
    assert refused.value.next_step
    assert _reference(text)


@settings(
    max_examples=300 * int(os.environ.get("REMIT_FUZZ", "1")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(chance.conditions())
def test_the_reference_accepts_just_what_is_accepted_here(text: str) -> None:
    own, theirs = _own(text), _reference(text)
    if own == "" and theirs and _of_two_types(conditions.parse(text)):
        return  # below
    assert (own == "") == (theirs == ""), (own, theirs)


def test_the_reference_refuses_one_name_of_two_types_and_accepts_the_rest() -> None:
    # It knows one type of a name in a whole condition; here each variable has that of its own binder.
    compared = other = 0
    for seed in seeds(12, first=70_000):
        case = generated(seed)
        schema = case.schema()
        names = events.of_declared(interpret(syntax.parse(schema), schema, "schema.cedarschema"))
        derived = events.derive(events.parse(case.kinds.text()), names)
        scope = {**SCOPE, "action": {"op": "==", "entity": {"type": "R::Action", "id": "A"}}}
        about = checking.covered(scope, names)
        for condition in case.conditions:
            mistakes = _mistakes(condition, about, derived)
            theirs = _validated(case.policy(condition), schema, case.kinds.text())
            if mistakes or not theirs:
                assert bool(mistakes) == bool(theirs), (mistakes, theirs, case.policy(condition))
            else:
                assert _of_two_types(condition), (theirs, case.policy(condition))
                other += 1
            compared += 1
    assert compared > 60
    assert other < compared // 5


def _mistakes(condition: Condition, about: list[checking.Covered], known: events.Events) -> list[Mistake]:
    try:
        acceptance.check(condition)
    except Mistake as mistake:
        return [mistake]
    return checking.check(Leaf("x", events.inject(condition, known)), about, known)


def _of_two_types(condition: Condition) -> bool:
    """Whether two binders of one name have other types."""
    binders = [each.binder for each in walk(condition) if isinstance(each, Exists)]
    binders += [binder for each in walk(condition) for aggregate in aggregates(each) for binder in aggregate.binders]
    names = {binder.name for binder in binders}
    return len(names) < len({(binder.name, binder.type) for binder in binders})


def _own(text: str) -> str:
    try:
        condition = conditions.parse(text)
        acceptance.check(condition)
    except Mistake as mistake:
        return mistake.message
    return "; ".join(mistake.message for mistake in checking.check(Leaf("x", condition), ABOUT, EVENTS))


def _reference(text: str) -> str:
    policy = f'permit(principal, action == App::Action::"Login", resource) when temporal {{ {text} }};'
    return _validated(policy, chance.SCHEMA, chance.EVENTS)


def _validated(policy: str, schema: str, kinds: str) -> str:
    try:
        found = native.validate_policy(policy, schema, kinds)
    except RuntimeError as error:
        return str(error)
    return "; ".join(found["errors"])
