"""Cedar's own corpus (cedar-policy/cedar-integration-tests): slices, rewriting and projection give its answers.

Read from the outside vectors, which a plain checkout lacks; then these tests are skipped.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cedarpy import _internal as cedar

from remit.core.errors import DocumentError
from remit.policy import slices, sources
from remit.policy.reads import Uid, applies
from remit.policy.sources import Policy, Source

VECTORS = Path(os.environ.get("REMIT_VECTORS", Path(__file__).parents[2].parent / "shared" / "vectors"))
CORPUS = VECTORS / "cedar" / "corpus-tests.tar.gz"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def corpus() -> Files:
    if not CORPUS.exists():
        pytest.skip("the outside vectors are not here")
    with tarfile.open(CORPUS) as archive:
        return {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}


def cases(corpus: Files, step: int) -> Iterator[Mapping[str, Any]]:
    names = sorted(name for name in corpus if name.endswith(".json") and not name.endswith("entities.json"))
    for name in names[::step]:
        yield msgspec.json.decode(corpus[name])


def groups(entities: Any, action: Uid) -> frozenset[Uid]:
    """The action and all that it is a member of, as the entities say."""
    parents = {
        (one["uid"]["type"], one["uid"]["id"]): [(up["type"], up["id"]) for up in one["parents"]]
        for one in msgspec.json.decode(str(entities))
    }
    found, stack = {action}, [action]
    while stack:
        for up in parents.get(stack.pop(), ()):
            if up not in found:
                found.add(up)
                stack.append(up)
    return frozenset(found)


def uid(entity: Mapping[str, str]) -> Uid:
    return entity["type"], entity["id"]


def compare(corpus: Files, case: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Compares every request of one case; the number of requests compared."""
    try:
        policies = list(sources.parse(Source("corpus.cedar", corpus[case["policies"]].decode(), "user")))
    except DocumentError as error:
        # Templates are not supported, and some of the corpus is nested deeper than we read.
        assert any(words in error.message for words in ("templates", "nested", "chain", "operators"))  # noqa: PT017
        return 0
    schema = cedar.Schema.from_str(corpus[case["schema"]].decode())
    try:
        entities = cedar.Entities.from_json_str(corpus[case["entities"]].decode(), schema)
    except ValueError:
        entities = cedar.Entities.from_json_str(corpus[case["entities"]].decode())
    names = {policy.id: f"policy{place}" for place, policy in enumerate(policies)}
    for request in case["requests"]:
        with monkeypatch.context() as patch:
            if not (case["shouldValidate"] and request["validateRequest"]):
                patch.setattr(slices, "_rewritten", lambda *_: None)  # rewriting is for validated policies only
            compare_one(request, policies, names, entities)
    return len(case["requests"])


def compare_one(request: Mapping[str, Any], policies: list[Policy], names: dict[str, str], entities: Any) -> None:
    action, resource = uid(request["action"]), uid(request["resource"])
    around = groups(entities, action)
    chosen = [policy for policy in policies if applies(policy.scope, action, around, resource, None)]
    asked = {part: request[part] for part in ("principal", "action", "resource")}
    verdict = slices.Slice(chosen, around, ("Any", "Other"), "").decide(asked, entities, request["context"])
    failed = {names[policy.id] for policy, _ in verdict.failed}
    matched = {names[policy.id] for policy in verdict.matched}
    assert not verdict.is_broken
    assert failed == set(request["errors"])
    assert matched == set(request["reason"])
    assert verdict.permitted is (request["decision"] == "allow" and not failed)


def test_a_sample_of_the_corpus(corpus: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(compare(corpus, case, monkeypatch) for case in cases(corpus, 12)) > 2_000


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_corpus(corpus: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(compare(corpus, case, monkeypatch) for case in cases(corpus, 1)) > 40_000
