"""What is remembered of policies is what reading them again would say, and nobody else can put words in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cedarpy import _internal as cedar
from hypothesis import given
from hypothesis import strategies as st

from remit.app.folder import Folder
from remit.app.installation import make_state
from remit.app.policy_cache import FILE, policy_cache
from remit.app.project import load_project
from remit.core.errors import DocumentError
from remit.policy import cache as caching
from remit.policy import sources, text
from remit.policy.cache import Cache
from remit.policy.sources import Policy, Source

SCOPE = 'principal, action == Remit::Action::"identity.change", resource'
GOOD = f'@id("a")\nforbid ({SCOPE}) when {{ context.state == "90" }};\n'
WRONG = f'@id("b")\nforbid ({SCOPE}) when {{ context.state == 90 }};\n'
KEY = b"k" * 32


class Counted:
    """Counts what the engine is asked to parse and to validate."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parsed: list[str] = []
        self.validated: list[str] = []
        parse, validate = cedar.policies_to_json_str, cedar.validate_policies

        def parsing(text: str) -> str:
            self.parsed.append(text)
            return str(parse(text))

        def validating(text: str, schema: Any, **more: Any) -> str:
            self.validated.append(text)
            return str(validate(text, schema, **more))

        monkeypatch.setattr(cedar, "policies_to_json_str", parsing)
        monkeypatch.setattr(cedar, "validate_policies", validating)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "remit.toml").write_text('trust_domain = "cache.internal"\n', "utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "rules.cedar").write_text(GOOD, "utf-8")
    found = Folder(tmp_path)
    make_state(found)
    return found


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process would know: nothing but the file."""
    monkeypatch.setattr("remit.app.policy_cache._caches", type(policy_cache.__globals__["_caches"])())


def test_another_process_neither_parses_nor_validates_what_is_unchanged(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = load_project(folder)
    forget(monkeypatch)
    counted = Counted(monkeypatch)
    _, second = load_project(folder)
    assert (counted.parsed, counted.validated) == ([], [])
    assert second.digest == first.digest
    assert second.policies.policies() == first.policies.policies()


def test_only_the_changed_policy_is_read_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    load_project(folder)
    forget(monkeypatch)
    counted = Counted(monkeypatch)
    changed = GOOD.replace('"a"', '"c"').replace("90", "91")
    (folder.root / "policies" / "rules.cedar").write_text(f"// a line more\n{GOOD}{changed}", "utf-8")
    _, configuration = load_project(folder)
    assert counted.parsed == [changed.strip()]
    assert len(counted.validated) == 1
    assert configuration.policies.refs["a"].line == 2
    assert configuration.policies.refs["c"].line == 4


def test_what_became_invalid_by_another_catalogue_or_intent_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents = folder.root / "intents"
    intents.mkdir()
    (intents / "answer.yaml").write_text(
        "description: a\neffects: [read]\nstarters: [group:staff]\nworkloads: [group:agents]\n", "utf-8"
    )
    rule = GOOD.replace("identity.change", "task.start").replace(
        'context.state == "90"', 'resource == Remit::Intent::"answer"'
    )
    (folder.root / "policies" / "rules.cedar").write_text(rule, "utf-8")
    load_project(folder)
    (intents / "answer.yaml").rename(intents / "reply.yaml")
    for _ in range(2):
        with pytest.raises(DocumentError, match="there is no intent `answer`"):
            load_project(folder)
        forget(monkeypatch)


def test_a_wrong_policy_is_never_remembered_as_right(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.root / "policies" / "rules.cedar").write_text(GOOD + WRONG, "utf-8")
    for _ in range(3):
        with pytest.raises(DocumentError):
            load_project(folder)
        forget(monkeypatch)


def test_a_file_with_one_changed_bit_is_ignored_wherever_it_is(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    load_project(folder)
    file = folder.cache / FILE
    whole = file.read_bytes()
    for place in (0, 20, 60, 90, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert caching._open(file, folder.cache_key.read_bytes()) is None
    for length in (0, 5, 48, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert caching._open(file, folder.cache_key.read_bytes()) is None
    forget(monkeypatch)
    counted = Counted(monkeypatch)
    load_project(folder)
    assert counted.validated
    assert file.read_bytes() == whole


def test_who_can_write_the_folder_of_the_cache_but_has_no_key_makes_no_policy_valid(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that says of the wrong policy that it is right, made by the same code under another key."""
    forged = Cache(tmp_path_factory.mktemp("elsewhere") / FILE, b"another key of thirty-two bytes!")
    monkeypatch.setattr("remit.app.project.policy_cache", lambda _: forged)
    answer = '{"validation_passed": true, "errors": []}'
    with monkeypatch.context() as patched:
        patched.setattr(cedar, "validate_policies", lambda *_, **__: answer)
        (folder.root / "policies" / "rules.cedar").write_text(WRONG, "utf-8")
        load_project(folder)
    monkeypatch.setattr("remit.app.project.policy_cache", policy_cache)
    folder.cache.mkdir(mode=0o700)
    assert forged._file is not None
    shutil.copy(forged._file, folder.cache / FILE)
    with pytest.raises(DocumentError, match="not compatible"):
        load_project(folder)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_could_write_is_ignored(folder: Folder, mode: int) -> None:
    load_project(folder)
    file = folder.cache / FILE
    assert caching._open(file, folder.cache_key.read_bytes()) is not None
    file.chmod(mode)
    assert caching._open(file, folder.cache_key.read_bytes()) is None


def test_a_link_is_not_followed(folder: Folder) -> None:
    load_project(folder)
    file = folder.cache / FILE
    file.rename(folder.cache / "elsewhere")
    file.symlink_to(folder.cache / "elsewhere")
    assert caching._open(file, folder.cache_key.read_bytes()) is None


def test_another_version_of_the_code_reads_nothing_of_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    load_project(folder)
    key = folder.cache_key.read_bytes()
    assert caching._open(folder.cache / FILE, key) is not None
    monkeypatch.setattr(caching, "stamp", lambda: b"another")
    assert caching._open(folder.cache / FILE, key) is None


def test_an_exposed_key_vouches_for_nothing_and_nothing_is_written(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.cache_key.write_bytes(KEY)
    folder.cache_key.chmod(0o644)
    forget(monkeypatch)
    load_project(folder)
    assert not folder.cache.exists()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_state_folder_that_others_reach_has_no_cache(folder: Folder, mode: int) -> None:
    folder.state.chmod(mode)
    assert policy_cache(folder) is None
    load_project(folder)
    assert not folder.cache.exists()


def test_a_folder_that_cannot_be_written_costs_time_alone(folder: Folder) -> None:
    folder.cache.write_text("in the way", "utf-8")
    load_project(folder)
    load_project(folder)


def test_too_much_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MOST_ENTRIES", 3)
    cache = Cache(tmp_path / "cache" / FILE, KEY)
    for round_ in range(4):
        with cache.loading():
            list(
                sources.parse(
                    Source("p.cedar", "".join(GOOD.replace("90", str(round_)) for _ in range(9)), "user"), cache
                )
            )
        assert len(cache._parsed) <= 3


def read(source: Source, cache: Cache | None) -> list[Policy]:
    return list(sources.parse(source, cache))


@given(st.lists(st.sampled_from([GOOD, "// a ; b\n", " \n", GOOD.replace("90", "; // "), "\t"]), max_size=8))
def test_a_remembered_policy_is_the_policy(parts: list[str]) -> None:
    source = Source("policies/p.cedar", "".join(parts), "user")
    cache = Cache()
    with cache.loading():
        first = read(source, cache)
        assert first == read(source, cache) == read(source, None)


@given(st.text(alphabet=';"/\\\n\r \t{a\u2028é', max_size=40))
def test_policies_begin_and_end_where_their_tokens_do(given_text: str) -> None:
    slow = [(piece[0].start, piece[-1].end) for piece in text.pieces(given_text)]
    assert list(text.spans(given_text)) == slow
