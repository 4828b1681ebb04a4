"""Policy files: what is read, what is refused, and where an error is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import DocumentError
from remit.policy import sources
from remit.policy.sources import Policy, Source
from remit.policy.text import MAX_CHAIN, MAX_NESTING, MAX_OPERATORS, quote
from tests.policy.project import loaded, write

TWO = """// Two policies.
@id("first")
permit (principal, action, resource);

forbid (principal, action, resource) // why; not
when { "a;b // c" == "a\\";" };
"""


def parse(text: str, path: str = "policies/rules.cedar") -> list[Policy]:
    return list(sources.parse(Source(path, text, "user")))


def failure(text: str) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    return caught.value


def test_splits_at_semicolons_outside_strings_and_comments() -> None:
    first, second = parse(TWO)
    assert (first.id, first.effect, first.ref.line) == ("first", "permit", 2)
    assert (second.id, second.effect, second.ref.line) == ("rules#1", "forbid", 5)
    assert second.ref.path == "policies/rules.cedar"
    assert first.text == "permit (principal, action, resource);"


def test_an_annotation_may_bear_the_name_of_an_effect() -> None:
    (policy,) = parse('@permit("permit (x)") @id("p") forbid (principal, action, resource);')
    assert policy.text == "forbid (principal, action, resource);"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("permit (principal, action, resource)\nwhen { 1 + };", 2, 12, "unexpected token `}`"),
        ("\n\npermit (principal, action resource);", 3, 27, "unexpected token"),
        ("permit (principal, action, resource);\npermt (principal, action, resource);", 2, 1, "permt"),
        ('permit (principal, action, resource)\nwhen { "open };', 2, 8, "invalid token"),
        ("permit (principal, action, resource)\nwhen {\n  true\n}", 4, 1, "not finished"),
        ("permit (principal, action, resource);;", 1, 38, "unexpected token `;`"),
        ("permit (principal == ?principal, action, resource);", 1, 1, "templates are not supported"),
        ('@id("a")\n@id("b")\npermit (principal, action, resource);', 1, 2, "duplicate annotation"),
        ('@reason("Not A Code") permit (principal, action, resource);', 1, 1, "code"),
        ("permit (principal, action, resource)\nwhen { foo(1) };", 2, 8, "`foo` is not a valid function"),
    ],
)
def test_an_error_names_line_and_column_and_shows_the_line(text: str, line: int, column: int, words: str) -> None:
    error = failure(text)
    assert (error.path, error.line, error.column) == ("policies/rules.cedar", line, column)
    assert words in error.message
    assert error.shown == text.split("\n")[line - 1]


def test_a_file_of_comments_has_no_policies() -> None:
    assert parse("// nothing yet\n\n") == []


def test_ids_must_differ_across_files(tmp_path: Path) -> None:
    rule = '@id("night")\nforbid (principal, action in Remit::Action::"pay", resource);\n'
    folder = write(tmp_path, one=rule, two="// second\n" + rule)
    with pytest.raises(DocumentError, match=r"`night` stands twice: also at policies/one\.cedar:1") as caught:
        loaded(folder)
    assert (caught.value.path, caught.value.line) == ("policies/two.cedar", 2)


@pytest.mark.parametrize("id_", ["intent:pay-invoice/ceiling", "remit:self-start", "intent:other"])
def test_users_cannot_take_the_ids_of_remit(tmp_path: Path, id_: str) -> None:
    folder = write(tmp_path, one=f'@id("{id_}") permit (principal, action, resource);')
    with pytest.raises(DocumentError, match="is reserved"):
        loaded(folder)


def test_reads_folders_below_each_file_once(tmp_path: Path) -> None:
    folder = write(tmp_path, one='forbid (principal, action in Remit::Action::"pay", resource);')
    (folder / "deep").mkdir()
    (folder / "deep" / "two.cedar").write_text('forbid (principal, action in Remit::Action::"send", resource);')
    (folder / "README.md").write_text("about")
    (folder / ".two.cedar.swp").write_text("junk")
    found = sources.read_folder(sorted(folder.rglob("*")))
    assert [source.path for source in found] == ["policies/deep/two.cedar", "policies/one.cedar"]
    assert [source.path for source in sources.read_folder([folder])] == [source.path for source in found]


def test_a_wrong_temporal_condition_is_refused_not_ignored(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "order.dw").write_text("permit (principal, action, resource)\nwhen temporal { true };")
    with pytest.raises(DocumentError, match=r"order.dw:2:17: a value is not a condition"):
        loaded(folder)


def test_policies_across_tasks_are_of_the_workload(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "workload").mkdir()
    (folder / "workload" / "daily.cedar").write_text('forbid (principal, action in Remit::Action::"tools", resource);')
    (policy,) = [policy for policy in loaded(folder).policies() if policy.id == "daily#0"]
    assert policy.scope_kind == "workload"


def test_policies_across_tasks_are_known_by_their_folder_wherever_it_stands() -> None:
    for path, kind in (
        ("workload/a.dw", "workload"),
        ("policies/workload/x/a.dw", "workload"),
        ("workload.dw", "task"),
    ):
        (policy,) = parse("permit (principal, action, resource);", path)
        assert policy.scope_kind == kind


def test_a_misspelt_ending_does_not_switch_a_policy_off(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "guard.ceder").write_text("forbid (principal, action, resource);")
    with pytest.raises(DocumentError, match="not a policy"):
        loaded(folder)


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 20_000 + "true" + ")" * 20_000,
        "[" * 20_000 + "1" + "]" * 20_000,
        "{a:" * 20_000 + "1" + "}" * 20_000,
        "if true then " * 20_000 + "true" + " else true" * 20_000,
        "if true then true else " * 20_000 + "true",
        " && ".join(["true"] * 20_000),
        " + ".join(["1"] * 20_000) + " > 0",
        "context" + ".a" * 20_000,
        'context["a"]' + '["a"]' * 20_000,
        "context has a" + ".a" * 20_000,
        "::".join(["A"] * 20_000) + '::"x" == principal',
        "context" + ".isEmpty()" * 20_000,
        "!" * 20_000 + "true",
        "-" * 20_000 + "1 > 0",
        "true } when { " * 20_000 + "true",
    ],
    ids=lambda text: text[:12],
)
def test_nested_text_does_not_end_the_process(condition: str) -> None:
    failure(f"permit (principal, action, resource) when {{ {condition} }};")


def test_text_within_the_bounds_is_read() -> None:
    nested = "(" * (MAX_NESTING - 1) + "true" + ")" * (MAX_NESTING - 1)
    assert parse(f"permit (principal, action, resource) when {{ {nested} }};")
    chained = " && ".join(["true"] * MAX_OPERATORS)
    assert parse(f"permit (principal, action, resource) when {{ {chained} }};")
    path = ".".join(["a"] * MAX_CHAIN)
    assert parse(f"permit (principal, action, resource) when {{ context has {path} }};")


def read_or_refused(text: str) -> bool:
    try:
        parse(text)
    except DocumentError as error:
        return error.line >= 1 and error.column >= 1
    return True


@given(st.binary(max_size=400))
def test_any_bytes_give_policies_or_an_error(raw: bytes) -> None:
    assert read_or_refused(raw.decode("utf-8", "replace"))


_SOME_TOKENS = """permit forbid ( ) { } [ ] ; , . :: == != < && || ! - when unless principal action resource context has
in is like if then else true "a" "\\q" @id ("x") decimal("1.0") 1 99999999999999999999 // Remit::Action::"pay" """


@given(st.lists(st.sampled_from([*_SOME_TOKENS.split(), "\n"]), max_size=40))
def test_any_tokens_give_policies_or_an_error(words: list[str]) -> None:
    assert read_or_refused(" ".join(words))


@given(st.text(max_size=40))
def test_a_quoted_string_is_read_as_itself(value: str) -> None:
    value = value.encode("utf-8", "replace").decode()
    (policy,) = parse(f"permit (principal, action, resource) when {{ {quote(value)} == {quote(value)} }};")
    assert policy.json["conditions"][0]["body"]["=="]["left"] == {"Value": value}
    assert "\n" not in quote(value)
