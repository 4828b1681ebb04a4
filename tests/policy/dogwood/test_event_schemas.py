"""Event schemas: what can be read, what each event has then, and what a project's own schema may say."""

from __future__ import annotations

import contextlib
import os

import pytest
from dogwood import native
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import DocumentError
from remit.policy.dogwood import conditions, events
from remit.policy.dogwood.ast import Argument, ContextTerm, Formerly, Predicate, ScopeTerm, Wildcard, Window
from remit.policy.dogwood.events import Scope
from remit.policy.dogwood.events.syntax import MAX_FIELDS
from remit.policy.entities import syntax
from remit.policy.entities.interpretation import interpret
from remit.policy.shapes import name_of

CEDAR = """
namespace App {
  entity User = { dept: String };
  entity Bot;
  entity Box;
  action "All";
  action "Read" in [Action::"All"] appliesTo { principal: [User, Bot], resource: [Box], context: {
    input: { path: String, meta: { region: String, level: Long } }, output?: { size: Long }, task: { root: String }
  } };
}
"""
NAMES = events.of_declared(interpret(syntax.parse(CEDAR), CEDAR, "schema.cedarschema"))
READ = ("App::Action", "Read")

TASK = "task: { pin root: String = context.task.root, id: String }"
KIND = "event <A>::%s { ...inputs(A), callerPrincipal: principalType(A), " + TASK + " }"
PROJECT = "decision " + (KIND % "request") + "\n" + (KIND % "permitted")

WRONG = {
    "no angle brackets": ("event A::r {}", "expected `<`", 7),
    "no body": ("event <A>::r", "expected `{`, found the end of the file", 13),
    "another action": ("event <A>::r { ...inputs(B) }", "`B` is not this event's action", 26),
    "a window of nothing": ("max_window = 0h\nevent <A>::r {}", "`max_window` is more than zero", 14),
    "a window without a unit": ("max_window = 24\nevent <A>::r {}", "expected a unit", 1),
    "a window longer than a year": ("max_window = 367d\nevent <A>::r {}", "`max_window` is at most 366d", 14),
    "a window behind the events": ("event <A>::r {}\nmax_window = 1h", "stands once, before all events", 1),
    "a pin without a value": ("event <A>::r { pin a: String }", "the pinned field `a` has no value", 16),
    "a value without a pin": ("event <A>::r { a: String = context.b }", "has a value and is not pinned", 16),
    "a pinned group": ("event <A>::r { pin a: { b: String } = context.b }", "is a group of fields and can't be", 16),
    "a pin of nothing": ("event <A>::r { pin a: String = context }", "a pin is `principal`", 32),
    "a type as a group": ("event <A>::r { ...principalType(A) }", "is a type, not a group", 19),
    "a group as a type": ("event <A>::r { a: inputs(A) }", "is a group of fields, not a type", 19),
    "a field like a group": ("event <A>::r { input: String, ...inputs(A) }", "two fields `input`", 31),
    "a field twice": ("event <A>::r { a: { b: String, b: Long } }", "two fields `b`", 32),
    "a kind twice": ("event <A>::r {}\nevent <A>::r {}", "`r` is declared twice", 1),
    "no events": ("// nothing", "declares no events", 1),
    "another character": ("event <A>::r { a: String; }", "expected `,`, found `;`", 25),
}


@pytest.mark.parametrize(("text", "message", "column"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_at_its_place(text: str, message: str, column: int) -> None:
    with pytest.raises(DocumentError) as refused:
        events.parse(text, "policies/events.dwschema")
    assert message in str(refused.value)
    line = 2 if "\n" in text and "`max_window` is" not in message and "a unit" not in message else 1
    line = 2 if message == "expected a unit" else line
    assert f"policies/events.dwschema:{line}:{column}" in str(refused.value)


def test_fields_nest_and_have_the_types_of_the_action() -> None:
    schema = events.parse(
        "max_window = 7d // a week\n"
        "decision event <X>::asked { ...inputs(X), meta: { ...inputs(X), deep: { of: Bool } }, "
        "who: principalType(X) }\n"
        "event <X>::done { ...outputs(X), pin: String, what: App::Box, }"
    )
    derived = events.derive(schema, NAMES)
    assert (derived.max_window, derived.kinds, derived.decisions) == (Window(7, "d"), ("asked", "done"), {"asked"})
    assert ("App::Action", "All") not in {uid for uid, _ in derived.signatures}, "a group has no events"
    asked, done = (derived.signature(*READ, kind) for kind in derived.kinds)
    assert asked is not None
    assert done is not None
    types = {".".join(path): [name_of(type_) for type_ in leaf.types] for path, leaf in asked.leaves.items()}
    assert types == {
        "input.path": ["String"],
        "input.meta.region": ["String"],
        "input.meta.level": ["Long"],
        "meta.input.path": ["String"],
        "meta.input.meta.region": ["String"],
        "meta.input.meta.level": ["Long"],
        "meta.deep.of": ["Bool"],
        "who": ["App::Bot", "App::User"],
    }
    assert ("input", "meta") in asked.groups
    assert asked.leaves["meta", "input", "path"].source == ("input", "path")
    assert asked.leaves["who",].source == ("callerPrincipal",)
    assert {".".join(path) for path in done.leaves} == {"output.size", "pin", "what"}


def test_a_type_that_does_not_exist_is_refused() -> None:
    schema = events.parse("event <A>::r { a: Strng }", "policies/events.dwschema")
    with pytest.raises(DocumentError, match="there is no type `Strng`"):
        events.derive(schema, NAMES)


def test_a_schema_of_too_many_fields_is_refused() -> None:
    text = ", ".join(f"f{number}: String" for number in range(MAX_FIELDS + 1))
    with pytest.raises(DocumentError, match=f"at most {MAX_FIELDS} fields"):
        events.parse(f"event <A>::r {{ {text} }}")


def test_groups_that_nest_too_deeply_are_refused_before_they_exhaust_anything() -> None:
    with pytest.raises(DocumentError, match="nest at most"):
        events.parse("event <A>::r { " + "a: { " * 100_00)


# --- pins ---------------------------------------------------------------------------------------------------


def test_a_pin_is_put_on_every_event_and_can_not_be_written_away() -> None:
    derived = events.derive(events.parse(PROJECT), NAMES)
    text = 'formerly within 1h App::Action::"Read"::request{ task.root: *, input.path: context.input.path }'
    pinned = events.inject(conditions.parse(text), derived)
    assert isinstance(pinned, Formerly)
    assert isinstance(pinned.body, Predicate)
    assert pinned.body.arguments == (
        Argument(("task", "root"), Wildcard()),
        Argument(("input", "path"), ContextTerm(("input", "path"))),
        Argument(("task", "root"), ContextTerm(("task", "root"))),
    )


def test_a_pin_stands_within_aggregates_negations_and_both_sides_of_since() -> None:
    derived = events.derive(events.parse(PROJECT), NAMES)
    event = 'App::Action::"Read"::request{ }'
    text = (
        f"!{event} since within 1h ({event} && previous within 1h {event})"
        f" && exists (n: Long). ((count for (t: Timepoint). where ({event} && tp(t))) == n && n > 1)"
    )
    assert str(events.inject(conditions.parse(text), derived)).count("Argument") == 4


def test_only_pins_on_every_kind_that_are_symmetric_are_the_key() -> None:
    everywhere = "pin callerPrincipal: principalType(A) = principal, pin a: String = context.b"
    text = f"decision event <A>::request {{ {everywhere}, {TASK} }}\nevent <A>::done {{ {everywhere} }}"
    derived = events.derive(events.parse(text), NAMES)
    assert [str(pin) for pin in derived.key] == ["pin callerPrincipal = principal"]
    assert derived.key[0].value == ScopeTerm("principal")


def test_fields_of_other_names_are_those_of_the_events_that_remit_emits() -> None:
    schema = events.parse(
        f"decision event <A>::request {{ given: {{ ...inputs(A) }}, actor: principalType(A), {TASK} }}"
    )
    derived = events.derive(schema, NAMES)
    text = 'formerly within 1h App::Action::"Read"::request{ given.input.path: "x", actor: principal }'
    found = events.emitted(conditions.parse(text), derived)
    assert isinstance(found, Formerly)
    assert isinstance(found.body, Predicate)
    assert [argument.path for argument in found.body.arguments] == [("input", "path"), ("callerPrincipal",)]


# --- projects -----------------------------------------------------------------------------------------------

REFUSED = {
    "a kind that is never emitted": (
        PROJECT + "\n" + (KIND % "audit"),
        "Remit emits no `audit` events",
    ),
    "no decision": (KIND % "permitted", "the kind `request` is missing"),
    "a request that is not decided": (KIND % "request", "`request` events are decided"),
    "another kind that is decided": (
        PROJECT + "\ndecision " + (KIND % "response"),
        "`response` events are not decided",
    ),
    "a key that one kind lacks": (
        "decision " + (KIND % "request") + "\nevent <A>::error { ...inputs(A) }",
        "`error` events lack `pin task.root = context.task.root`",
    ),
    "a key that no kind has": (
        "decision event <A>::request { ...inputs(A) }",
        "lack `pin task.root = context.task.root`, by which histories are told apart",
    ),
    "another pin that one kind lacks": (
        PROJECT.replace("callerPrincipal: ", "pin callerPrincipal: ", 1).replace(
            "principalType(A)", "principalType(A) = principal", 1
        ),
        "`permitted` events lack `pin callerPrincipal = principal`, which other kinds have",
    ),
    "a field that events do not have": (
        PROJECT.replace("...inputs(A),", "...inputs(A), tenant: String,"),
        "Remit's events have no field `tenant`",
    ),
    "a field of another type": (
        PROJECT.replace("...inputs(A),", "...inputs(A), requestId: Long,"),
        "`requestId` is a String",
    ),
    "a caller that is a string": (
        PROJECT.replace("principalType(A)", "String"),
        "`callerPrincipal` is an entity",
    ),
    "results before there are any": (
        PROJECT.replace("...inputs(A),", "...inputs(A), ...outputs(A),"),
        "a `request` event has no results",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_schema_that_would_mix_histories_or_stay_empty_is_refused(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        events.check(events.parse(text, "policies/events.dwschema"), "task")
    assert message in str(refused.value)


def test_a_schema_with_the_key_on_each_kind_is_taken() -> None:
    events.check(events.parse(PROJECT), "task")


def test_the_key_of_a_workload_is_its_principal() -> None:
    with pytest.raises(DocumentError, match="lack `pin callerPrincipal = principal`"):
        events.check(events.parse(PROJECT), "workload")


@pytest.mark.parametrize("chosen", ["", "agentcore"])
@pytest.mark.parametrize("scope", ["task", "workload"])
def test_the_schemas_that_come_with_remit_hold_what_is_asked_of_others(scope: Scope, chosen: str) -> None:
    schema = events.shipped(scope, chosen)
    events.check(schema, scope)
    derived = events.derive(schema, NAMES)
    assert events.KEYS[scope] in derived.key
    assert ("permitted" in derived.kinds) == (not chosen)


@pytest.mark.parametrize("chosen", ["", "agentcore"])
@pytest.mark.parametrize("scope", ["task", "workload"])
def test_the_reference_takes_the_schemas_that_come_with_remit(scope: Scope, chosen: str) -> None:
    _, text = events.shipped_text(scope, chosen)
    policy = (
        'permit(principal, action == App::Action::"Read", resource) when temporal { '
        'formerly within 30d App::Action::"Read"::response{ output.size: 1, requestId: "r", task.id: "t" } };'
    )
    assert native.validate_policy(policy, CEDAR, text)["passed"]


_TEXT = (
    "max_window = 7 d decision event < A > :: request { ... inputs ( A ) , pin a : String = context . b . c , "
    "who : principalType ( A ) , m : { pin d : App :: Box = resource . e , ... outputs ( A ) } , } "
    "event < A > :: done { pin : Bool , }"
)
_VALID = _TEXT.split()
_WORDS = [*_VALID, "permitted", "3", "h", "principal", "pin", "event", "decision", "max_window", ";", "="]


@st.composite
def _texts(draw: st.DrawFn) -> str:
    """A schema with a few words changed, left out, put in or swapped."""
    words = list(_VALID)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(words) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                words[place] = draw(st.sampled_from(_WORDS))
            case 1:
                del words[place]
            case 2:
                words.insert(place, draw(st.sampled_from(_WORDS)))
            case _:
                other = draw(st.integers(0, len(words) - 1))
                words[place], words[other] = words[other], words[place]
    return " ".join(words)


@settings(max_examples=400 * int(os.environ.get("REMIT_FUZZ", "1")), deadline=None)
@given(_texts())
def test_a_text_is_a_schema_here_just_where_it_is_one_for_the_reference(text: str) -> None:
    try:
        schema = events.parse(text)
        derived = events.derive(schema, NAMES)
        kinds = set(derived.kinds)
    except DocumentError as error:
        if any(own in str(error) for own in ("declared twice", "there is no type", "declares no events", "at most")):
            return
        kinds = set()
    assert bool(kinds) == _is_schema(text), text


def _is_schema(text: str) -> bool:
    try:
        native.validate_policy('permit(principal, action == App::Action::"Read", resource);', CEDAR, text)
    except RuntimeError:
        return False
    return True


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DocumentError):
        events.parse(text)


# --- the same as the reference ------------------------------------------------------------------------------

_OWN = ("a window longer than a year", "a kind twice", "no events")  # rules of Remit's
_SAME = {name: text for name, (text, _, _) in WRONG.items() if name not in _OWN}


@pytest.mark.parametrize("text", _SAME.values(), ids=_SAME)
def test_what_is_refused_here_the_reference_refuses(text: str) -> None:
    policy = 'permit(principal, action == App::Action::"Read", resource);'
    with pytest.raises(RuntimeError):
        native.validate_policy(policy, CEDAR, text)


def test_the_reference_takes_a_kind_twice_and_knows_the_first_alone() -> None:
    text = "event <A>::r { a: String }\nevent <A>::r { b: String }"
    policy = (
        'permit(principal, action == App::Action::"Read", resource) when temporal { '
        'formerly within 1h App::Action::"Read"::r{ %s: "x" } };'
    )
    assert native.validate_policy(policy % "a", CEDAR, text)["passed"]
    assert not native.validate_policy(policy % "b", CEDAR, text)["passed"]


@pytest.mark.parametrize(("who", "wanted"), [("a", "true"), ("b", "false")])
def test_the_default_schema_of_the_reference_pins_the_principal(who: str, wanted: str) -> None:
    # Its guide says that it has no pins; `events = "agentcore"` does as it does.
    policy = (
        'permit(principal, action == App::Action::"Read", resource) when temporal { '
        "exists (n: Long). ((count for (t: Timepoint). where (formerly within 1h "
        '(App::Action::"Read"::request{ } && tp(t)))) == n && n == 2) };'
    )
    given = 'input: { path: "p", meta: { region: "r", level: 1 } }'
    lines = [
        f'@{at} scope(principal: App::User::"{user}", resource: App::Box::"x") '
        f'request_context({given}, task: {{ root: "t" }}) App::Action::"Read"::request({given}, '
        f'callerPrincipal: App::User::"{user}", callerResource: App::Box::"x", requestId: "{at}")'
        for at, user in ((0, "a"), (1, who))
    ]
    said = native.replay(policy, CEDAR, "\n".join(lines) + "\n", None)
    assert said.splitlines()[1].endswith(wanted)
    assert ("callerPrincipal",) in [pin.path for pin in events.derive(events.shipped("task", "agentcore"), NAMES).key]
