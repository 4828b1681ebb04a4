"""Cedar's own corpus (cedar-policy/cedar-integration-tests): slices and projection give its answers, in both engines.

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
from remit.policy.compiled.bundle import LOOKED_UP, SIZES
from remit.policy.compiled.engine import Engine
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.values import entity_of
from remit.policy.identities import Given
from remit.policy.reads import Uid
from remit.policy.sources import Source

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


def compare(corpus: Files, case: Mapping[str, Any]) -> int:
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
    given = Given(EntityStore(msgspec.json.decode(str(entities))), lambda: entities, list)
    for request in case["requests"]:
        around = groups(entities, uid(request["action"]))
        for engine, sizes in ((Engine("cedarpy"), SIZES), (Engine(sample=0), SIZES), (Engine(sample=0), LOOKED_UP)):
            # Resources of Remit's own actions are in nothing; these are, so they are looked at like a project's.
            shelf = slices.Shelf(policies, engine, any_resource=True, sizes=sizes)
            compare_one(request, names, given, shelf.cut(uid(request["action"]), around, None, None))
    return len(case["requests"])


def compare_one(request: Mapping[str, Any], names: dict[str, str], given: Given, chosen: slices.Slice) -> None:
    verdict = chosen.decide(entity_of(request["principal"]), entity_of(request["resource"]), given, request["context"])
    failed = {names[policy.id] for policy, _ in verdict.failed}
    matched = {names[policy.id] for policy in verdict.matched}
    assert not verdict.is_broken
    assert failed == set(request["errors"])
    assert matched == set(request["reason"])
    assert verdict.permitted is (request["decision"] == "allow" and not failed)


def test_a_sample_of_the_corpus(corpus: Files) -> None:
    assert sum(compare(corpus, case) for case in cases(corpus, 12)) > 2_000


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_corpus(corpus: Files) -> None:
    assert sum(compare(corpus, case) for case in cases(corpus, 1)) > 40_000
