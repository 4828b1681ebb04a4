"""Information providers: what they are given, that only values of their type count, and that none holds anything up."""

from __future__ import annotations

import asyncio
import os
import py_compile
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import DocumentError
from remit.core.settings import read_settings
from remit.policy import load as load_policies
from remit.policy.dogwood import providers, types
from remit.policy.dogwood.ast import ArrayTerm, Constant, ContextTerm, DecimalTerm, ScopeTerm, Term
from remit.policy.dogwood.invocations import Call, Invocation
from remit.policy.dogwood.providers import Method, Provider, ProviderFailed, Providers
from remit.policy.engine import Policies
from remit.policy.shapes import BOOL, DECIMAL, LONG, STRING, STRINGS, Attribute, Shape
from tests.policy.project import INTENTS, TRUST_DOMAIN, catalogue, registration, write

WHO = registration()
WHERE = ("Server", "payments")
CONTEXT = {
    "input": {
        "text": "abc",
        "tags": ["a", "b"],
        "price": {"__extn": {"fn": "decimal", "arg": "1.5"}},
        "at": {"page": 3},
    }
}
SECONDS = 2_000


def provider(function: Any, result: Shape = STRING, arguments: tuple[Shape, ...] = (), **more: Any) -> Provider:
    return Provider("Ns::Fn", function, arguments, result, more.pop("timeout_ms", SECONDS), more.pop("methods", {}))


def call(*arguments: Term, name: str = "p/0", methods: tuple[Call, ...] = ()) -> Invocation:
    return Invocation(name, "Ns::Fn", arguments, methods)


def given(one: Provider, *invocations: Invocation) -> dict[str, Any]:
    return Providers([one]).evaluate(invocations or [call()], WHO, WHERE, CONTEXT)


def test_arguments_are_values_of_python() -> None:
    seen: list[Any] = []

    def function(*arguments: Any) -> str:
        seen.extend(arguments)
        return ""

    terms: list[Term] = [
        Constant("x"),
        Constant(3),
        Constant(True),
        DecimalTerm("0.50"),
        ContextTerm(("input", "text")),
        ContextTerm(("input", "tags")),
        ContextTerm(("input", "price")),
        ContextTerm(("input", "at")),
        ContextTerm(("input", "absent", "far")),
        ScopeTerm("principal", ("id",)),
        ScopeTerm("principal", ("roles",)),
        ScopeTerm("resource", ("id",)),
        ScopeTerm("resource", ("type",)),
        ArrayTerm((Constant("a"), ContextTerm(("input", "text")))),
    ]
    given(provider(function), call(*terms))
    assert seen == [
        *("x", 3, True, Decimal("0.50"), "abc", frozenset("ab"), Decimal("1.5"), {"page": 3}, None),
        *(WHO.id, frozenset(WHO.roles), "payments", "Remit::Server", frozenset(["a", "abc"])),
    ]
    assert seen[2] is True


RECORD = Shape(
    kind="record",
    fields={"n": Attribute(shape=LONG), "s": Attribute(shape=STRINGS), "d": Attribute(shape=DECIMAL, required=False)},
)


@pytest.mark.parametrize(
    ("value", "shape", "wanted"),
    [
        ("é", STRING, "é"),
        (True, BOOL, True),
        (-3, LONG, -3),
        (Decimal("1.5"), DECIMAL, {"__extn": {"fn": "decimal", "arg": "1.5000"}}),
        (("a", "b"), STRINGS, ["a", "b"]),
        ({"n": 1, "s": set()}, RECORD, {"n": 1, "s": []}),
        ({"n": 1, "s": [], "d": None}, RECORD, {"n": 1, "s": []}),
    ],
)
def test_values_of_their_type_are_given(value: Any, shape: Shape, wanted: Any) -> None:
    assert given(provider(lambda: value, shape)) == {"p/0": wanted}


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (3, STRING),
        (None, STRING),
        ("x" * 70_000, STRING),
        (1, BOOL),
        (True, LONG),
        (1 << 63, LONG),
        (1.5, LONG),
        (1.5, DECIMAL),
        ("1.5", DECIMAL),
        (Decimal("0.00001"), DECIMAL),
        (Decimal("NaN"), DECIMAL),
        (Decimal("Infinity"), DECIMAL),
        (Decimal("1E+999999"), DECIMAL),
        ("ab", STRINGS),
        ([1], STRINGS),
        (["a"] * 2_000, STRINGS),
        ({"n": 1}, RECORD),
        ({"n": 1, "s": [], "more": 1}, RECORD),
        ({"n": 1, "s": [], 3: 1}, RECORD),
        ([("n", 1)], RECORD),
    ],
)
def test_values_of_another_type_fail(value: Any, shape: Shape) -> None:
    with pytest.raises(ProviderFailed, match="gave what is not of its type"):
        given(provider(lambda: value, shape))


def test_what_an_exception_says_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    def function() -> str:
        raise ValueError("the password is hunter2")

    with pytest.raises(ProviderFailed) as caught:
        given(provider(function))
    assert str(caught.value) == "the information provider `Ns::Fn` failed with ValueError"
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, RecursionError, MemoryError])
def test_no_exception_ends_a_thread(error: type[BaseException]) -> None:
    def function() -> str:
        raise error

    for _ in range(3):
        with pytest.raises(ProviderFailed):
            given(provider(function))


def test_a_provider_that_takes_too_long_fails_in_its_time() -> None:
    release = threading.Event()
    before = time.monotonic()
    try:
        with pytest.raises(ProviderFailed, match="gave no value within 50 ms"):
            given(provider(lambda: str(release.wait(20)), timeout_ms=50))
        assert time.monotonic() - before < 5
    finally:
        release.set()


def test_calls_that_never_return_end_in_failures_and_not_in_threads() -> None:
    release = threading.Event()
    slow = provider(lambda _: str(release.wait(30)), timeout_ms=20, arguments=(LONG,))
    try:
        for number in range(40):
            with pytest.raises(ProviderFailed):
                given(slow, call(Constant(number)))
        assert sum(thread.name == "remit-provider" for thread in threading.enumerate()) <= providers.THREADS
        with pytest.raises(ProviderFailed, match="within"):
            given(provider(lambda: "x", timeout_ms=50))
    finally:
        release.set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert given(provider(lambda: "x")) == {"p/0": "x"}
            break
        except ProviderFailed:
            continue


def test_calls_that_say_the_same_run_once_and_others_side_by_side() -> None:
    count: list[int] = []
    together = threading.Barrier(2)

    def function(number: int) -> int:
        count.append(number)
        together.wait(10)
        return number

    one = provider(function, LONG, (LONG,))
    found = given(one, call(Constant(1), name="a/0"), call(Constant(1), name="b/0"), call(Constant(2), name="b/1"))
    assert found == {"a/0": 1, "b/0": 1, "b/1": 2}
    assert sorted(count) == [1, 2]


def test_methods_are_applied_one_after_the_other() -> None:
    methods = {
        "plus": Method(lambda value, more: value + more, (LONG,), LONG, LONG),
        "text": Method(lambda value: f"<{value}>", (), LONG, STRING),
        "wrong": Method(lambda value: None, (), LONG, STRING),
    }
    one = provider(lambda: 1, LONG, methods=methods)
    chain = call(methods=(Call("plus", (Constant(2),)), Call("plus", (Constant(3),)), Call("text", ())))
    assert given(one, chain) == {"p/0": "<6>"}
    with pytest.raises(ProviderFailed, match=r"`Ns::Fn\.wrong` gave what is not of its type"):
        given(one, call(methods=(Call("wrong", ()),)))


def test_the_event_loop_goes_on_meanwhile() -> None:
    release = threading.Event()

    async def run() -> dict[str, Any]:
        asked = asyncio.ensure_future(
            Providers([provider(lambda: "yes" if release.wait(10) else "no")]).ask([call()], WHO, WHERE, CONTEXT)
        )
        await asyncio.sleep(0.02)
        assert not asked.done()
        release.set()
        return await asked

    assert asyncio.run(run()) == {"p/0": "yes"}


def test_the_event_loop_waits_no_longer_than_the_timeout() -> None:
    release = threading.Event()

    async def run() -> None:
        await Providers([provider(lambda: str(release.wait(20)), timeout_ms=30)]).ask([call()], WHO, WHERE, CONTEXT)

    try:
        with pytest.raises(ProviderFailed, match="within 30 ms"):
            asyncio.run(run())
    finally:
        release.set()


# --- in a project -------------------------------------------------------------------------------------------

CODE = """
import re
from decimal import Decimal
from . import lists

def matches(text, pattern):
    return {"matched": text is not None and re.fullmatch(pattern, text) is not None}

def risk(text):
    return Decimal("0.9") if text in lists.EVIL else Decimal("0.1")

def above(value, threshold):
    return value > threshold
"""
TOML = """
trust_domain = "example.org"

[[providers]]
name = "Strings::Matches"
call = "strings:matches"
arguments = ["String", "String"]
result = { matched = "Bool" }

[[providers]]
name = "Content::Risk"
call = "strings:risk"
arguments = ["String"]
result = "Decimal"
timeout_ms = 500

[providers.methods.above]
call = "strings:above"
arguments = ["Decimal"]
result = "Bool"
"""
NOTE = 'action == Remit::Action::"payments/add_note"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "strings.py").write_text(CODE)
    (tmp_path / "providers" / "lists.py").write_text('EVIL = {"evil"}\n')
    (tmp_path / "remit.toml").write_text(TOML)
    return tmp_path


def loaded(root: Path) -> Providers:
    return providers.load(read_settings(root).providers, root)


def policies(root: Path, rule: str) -> Policies:
    folder = write(root)
    (folder / "rules.dw").write_text(rule)
    return load_policies(
        folder_policies=[folder],
        catalogue=catalogue(),
        intents=INTENTS,
        trust_domain=TRUST_DOMAIN,
        providers=loaded(root),
    )


def test_code_of_the_project_is_found_and_belongs_to_the_configuration(project: Path) -> None:
    one = loaded(project)
    assert one.declared["Content::Risk"].timeout_ms == 500
    assert one.code[0] == "strings:matches of providers/strings.py"
    assert set(one.texts.values()) >= {CODE, 'EVIL = {"evil"}\n'}
    found = one.evaluate(
        [
            Invocation("a/0", "Strings::Matches", (Constant("abc"), Constant("[a-z]+"))),
            Invocation("a/1", "Content::Risk", (Constant("evil"),), (Call("above", (DecimalTerm("0.5"),)),)),
        ],
        WHO,
        WHERE,
        CONTEXT,
    )
    assert found == {"a/0": {"matched": True}, "a/1": True}


def test_a_reload_takes_up_what_changed(project: Path) -> None:
    before = loaded(project)
    (project / "providers" / "lists.py").write_text('EVIL = {"other"}\n')
    after = loaded(project)
    ask = [Invocation("a/0", "Content::Risk", (Constant("other"),))]
    assert before.evaluate(ask, WHO, WHERE, CONTEXT) != after.evaluate(ask, WHO, WHERE, CONTEXT)
    assert before.digest != after.digest


def test_what_runs_is_what_the_digest_is_of(project: Path) -> None:
    """Bytecode of another text stands beside the module, of the same size and time."""
    lists = project / "providers" / "lists.py"
    lists.write_text('EVIL = {"other"}\n')
    bytecode = py_compile.compile(str(lists))
    before = lists.stat()
    lists.write_text('EVIL = {"otter"}\n')
    os.utime(lists, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bytecode is not None
    one = loaded(project)
    ask = [Invocation("a/0", "Content::Risk", (Constant("otter"),), (Call("above", (DecimalTerm("0.5"),)),))]
    assert one.evaluate(ask, WHO, WHERE, CONTEXT) == {"a/0": True}


def test_modules_import_each_other_also_from_folders(project: Path) -> None:
    deep = project / "providers" / "deep" / "er"
    deep.mkdir(parents=True)
    (deep / "score.py").write_text("from ...strings import risk\nfrom ... import lists\n")
    (project / "remit.toml").write_text(TOML.replace("strings:risk", "deep.er.score:risk"))
    assert "deep.er.score:risk of providers/deep/er/score.py" in loaded(project).code


def test_many_reloads_leave_few_modules(project: Path) -> None:
    for _ in range(30):
        loaded(project)
    assert sum(name.startswith("_remit_providers_") for name in sys.modules) < 60


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("strings:matches", "missing:matches", "there is no module `missing`"),
        ("strings:matches", "strings:nothing", "has no function `nothing`"),
        ("strings:matches", "strings:re", "has no function `re`"),
        ('result = "Decimal"', 'result = "Float"', "`Float` is no type"),
        ('result = { matched = "Bool" }', "result = { matched = 3 }", "has no type"),
        ('result = { matched = "Bool" }', 'result = { __extn = "Bool" }', "can't be the name of a field"),
        ("methods.above", "methods.lessThan", "can't be a method"),
        ('name = "Content::Risk"', 'name = "Strings::Matches"', "declared twice"),
        ('name = "Content::Risk"', 'name = "Risk"', "pattern|Risk"),
        ("timeout_ms = 500", "timeout_ms = 0", "timeout_ms"),
        ("timeout_ms = 500", "timeout_ms = 99999999", "timeout_ms"),
        ('call = "strings:risk"', 'call = "strings"', "call"),
    ],
)
def test_wrong_declarations_are_refused(project: Path, old: str, new: str, words: str) -> None:
    (project / "remit.toml").write_text(TOML.replace(old, new))
    with pytest.raises(DocumentError, match=words):
        loaded(project)


def test_a_module_that_can_t_be_imported_stops_the_start(project: Path) -> None:
    (project / "providers" / "strings.py").write_text("1 / 0")
    with pytest.raises(DocumentError, match="can't be imported: ZeroDivisionError"):
        loaded(project)


def test_code_that_everybody_may_write_stops_the_start(project: Path) -> None:
    (project / "providers" / "strings.py").chmod(0o666)
    with pytest.raises(DocumentError, match=r"everybody may write `providers/strings\.py`"):
        loaded(project)


@pytest.mark.parametrize(
    "condition",
    [
        'Strings::Matches(context.input.text, "[a-z]+").matched',
        'Content::Risk(principal.id).lessThan(decimal("0.5"))',
        'Content::Risk(context.input.text).above(decimal("0.5")) == true',
        '!(Strings::Matches("a", resource.id)["matched"] && context.input has text)',
    ],
)
def test_policies_use_what_providers_give(project: Path, condition: str) -> None:
    found = policies(project, f"forbid (principal, {NOTE}, resource)\nwhen {{ {condition} }};")
    (policy,) = [policy for policy in found.policies() if policy.origin == "user"]
    assert len(policy.providers) == 1


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ('Strings::Match("a", "b").matched', r"\(did you mean `Strings::Matches`"),
        ('Strings::Matches("a").matched', "takes 2 arguments, not 1"),
        ('Strings::Matches("a", 3).matched', "argument 2 of `Strings::Matches` is String, not Long"),
        ('Strings::Matches("a", ["b"]).matched', "is String, not a set"),
        ('Strings::Matches("a", context.input.count).matched', "is String, not Long for `payments/add_note`"),
        ('Strings::Matches("a", context.input.missing).matched', "has no `context.input.missing`"),
        ('Strings::Matches("a", principal.dept).matched', "can't be given `principal.dept`"),
        ('Strings::Matches("a", principal.roles).matched', r"is String, not Set<String>"),
        ('Strings::Matches("a", "b").found', "found"),
        ('Strings::Matches("a", "b").matched == 3', "Bool|types"),
        ('Strings::Matches("a", "b").above(3)', "has no method `above`"),
        ('Content::Risk("a").above(decimal("0.1")).above(decimal("0.1"))', "is applied to decimal, not to Bool"),
        ('Content::Risk("a").above(3)', "is decimal, not Long"),
        ('Content::Risk("a") < 3', "Long"),
    ],
)
def test_wrong_calls_are_refused_where_they_stand(project: Path, condition: str, words: str) -> None:
    with pytest.raises(DocumentError, match=words) as caught:
        policies(project, f"forbid (principal, {NOTE}, resource)\nwhen {{ {condition} }};")
    assert str(caught.value.path) == "policies/rules.dw"
    assert caught.value.line == (1 if words in ("Bool|types", "Long") else 2)  # of types, no word is named


def test_a_field_must_be_there_for_every_action_of_the_policy(project: Path) -> None:
    with pytest.raises(DocumentError, match=r"has no `context.input.text`"):
        policies(
            project,
            'forbid (principal, action in Remit::Action::"tools", resource) when { '
            'Content::Risk(context.input.text).lessThan(decimal("0.5")) };',
        )


def test_types_are_read_and_nested_within_bounds() -> None:
    assert types.read_type("Set<Set<Long>>") == Shape(kind="set", of=Shape(kind="set", of=LONG))
    with pytest.raises(types.WrongType, match="nested at most"):
        types.read_type("Set<" * 20 + "Long" + ">" * 20)
