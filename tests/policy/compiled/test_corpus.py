"""Cedar's own corpus, all of it: both evaluators give its decisions, reasons and erroring policies.

Typed evaluation applies where the request and the entities fit the schema, and every policy could be compiled: the test
holds that this is every request of the corpus.

Read from the outside vectors, which a plain checkout lacks; then these tests are skipped.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cedarpy
import msgspec
import pytest

from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.index import Index
from remit.policy.compiled.typed_index import answer as answer_of
from remit.policy.compiled.values import entity_of, value_of
from tests.policy.compiled.sets import entries_of, typed_index

VECTORS = Path(os.environ.get("REMIT_VECTORS", Path(__file__).parents[3].parent / "shared" / "vectors"))
CORPUS = VECTORS / "cedar" / "corpus-tests.tar.gz"
CASES = 7_809  # of eight requests each
PARTS = 8
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def corpus() -> Files:
    if not CORPUS.exists():
        pytest.skip("the outside vectors are not here")
    with tarfile.open(CORPUS) as archive:
        return {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}


def cases(corpus: Files, part: int) -> Iterator[Mapping[str, Any]]:
    names = sorted(name for name in corpus if name.endswith(".json") and not name.endswith("entities.json"))
    assert len(names) == CASES
    for name in names[part::PARTS]:
        yield msgspec.json.decode(corpus[name])


def entities_of(corpus: Files, case: Mapping[str, Any]) -> EntityStore:
    text = corpus[case["entities"]].decode()
    # With the schema, attributes that stand in a shorter form become what they are, and actions have parents; entities
    # that do not fit it are refused.
    return EntityStore(msgspec.json.decode(str(cedarpy.Entities.from_json_str(text, corpus[case["schema"]].decode()))))


@pytest.mark.parametrize("part", range(PARTS))
def test_every_case_of_the_corpus_gives_the_same_answer(corpus: Files, part: int) -> None:
    requests = typed = 0
    for case in cases(corpus, part):
        entries = entries_of(corpus[case["policies"]].decode())
        index, typed_ = Index(entries), typed_index(entries, corpus[case["schema"]].decode())
        entities = entities_of(corpus, case)
        for request in case["requests"]:
            principal, action, resource = (entity_of(request[name]) for name in ("principal", "action", "resource"))
            answer = index.decide(principal, action, resource, value_of(request["context"]), entities)
            wanted = (request["decision"] == "allow", set(request["reason"]), set(request["errors"]))
            assert answer == wanted, (case["policies"], request["description"])
            requests += 1
            outcome = typed_.decide(principal, action, resource, request["context"], entities)
            assert outcome is not None
            assert answer_of(outcome) == wanted, (case["policies"], request["description"], "typed")
            kind = typed_.kind(principal, action, resource)
            typed += kind is not None and not kind.untyped
    assert typed == requests == 8 * len(range(part, CASES, PARTS))
