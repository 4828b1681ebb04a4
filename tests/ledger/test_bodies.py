"""Bodies that do not fit, and any bodies at all."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.ledger.record import KINDS
from tests.ledger.story import (
    AGENT,
    CONFIG,
    PEP,
    ROOT,
    SERVICE,
    SESSION,
    begin,
    found,
    only,
)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (SESSION, "identity"),
        (SESSION, "configuration"),
        ("administration", "task"),
        (f"identity/{AGENT}", "outcome"),
        (f"identity/{AGENT}", "mode"),
    ],
)
def test_record_in_the_wrong_stream(tmp_path: Path, stream: str, kind: str) -> None:
    story = begin()
    story.append(stream, kind, {})
    only(tmp_path, story, "kind", f"a record of kind `{kind}` has no place in `{stream.partition('/')[0]}`")


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("decision", {"digest": "x"}, "expected `str` matching regex '^[0-9a-f]{64}$' - at `$.digest`"),
        ("decision", {"effect": "maybe"}, "invalid enum value 'maybe' - at `$.effect`"),
        ("decision", {"usage": {"a": 1}}, "expected `str`, got `int` - at `$.usage[...]`"),
        ("decision", {"config": None}, "expected `str`, got `null` - at `$.config`"),
        ("outcome", {}, "object missing required field `decision`"),
        ("denials", {"decision": "d", "count": 0}, "expected `int` >= 1 - at `$.count`"),
        ("task", {"task": "", "state": "open"}, "expected `str` of length >= 1 - at `$.task`"),
    ],
)
def test_body_that_does_not_fit(tmp_path: Path, kind: str, change: dict[str, Any], said: str) -> None:
    story = begin()
    body = story.body_of(story.decision("deny")) if kind == "decision" else {}
    story.append(SESSION, kind, {**body, "id": "d_9", **change})
    only(tmp_path, story, "body", said)


def test_fields_of_a_later_program_are_ignored(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny", later={"a": 1})
    story.task("t_1.1", later=True)
    assert found(tmp_path, story) == []


@pytest.mark.parametrize("who", [ROOT, SERVICE])
def test_a_stream_with_another_name(tmp_path: Path, who: str) -> None:
    story = begin()
    story.streams["session/" + who + "/x"] = story.streams.pop(SESSION)
    checks = {check for check, _ in found(tmp_path, story)}
    assert "stream" in checks


WORDS = [
    *("", "t_1", "t_1.1", "d_1", "d_2", "open", "completed", "permit", "deny", "read", "1", "-1", "params.a", AGENT),
    *("0" * 64, CONFIG, "enforce", "observe", "pep", "self", "response", "unknown", "believed", "claimed", PEP),
]
small = st.none() | st.booleans() | st.integers(-2, 2**63) | st.sampled_from(WORDS)
anything = st.recursive(
    small, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text("ab", max_size=1), v, max_size=2)
)
limits = st.lists(
    st.fixed_dictionaries({"name": st.just("a/b")}, optional={"calls": small, "atMost": small, "sum": small}),
    max_size=2,
)
fields = [
    *("action", "caseType", "config", "context", "count", "deadline", "decision", "digest", "effect", "enforcement"),
    *("expires", "id", "idempotencyKey", "intent", "key", "late", "mode", "onBehalfOf", "params", "parent", "pep"),
    *("registration", "result", "root", "serverEffect", "standing", "started", "starter", "state", "subject", "task"),
    *("usage", "value", "workload", "would"),
]
bodies = st.tuples(st.dictionaries(st.sampled_from(fields), anything, max_size=4), limits)
streams = st.sampled_from([SESSION, "administration", f"identity/{AGENT}"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(streams, st.sampled_from(sorted(KINDS)), bodies), max_size=6))
def test_any_bodies_give_a_report(records: list[tuple[str, str, tuple[dict[str, Any], list[Any]]]]) -> None:
    story = begin()
    story.task("t_1.1")
    decision = story.body_of(story.decision("permit"))
    outcome = {"decision": "d_1", "digest": decision["digest"], "result": "response", "standing": "believed", "by": PEP}
    registration = {"registration": {"id": AGENT}}
    for number, (stream, kind, (changes, limited)) in enumerate(records):
        honest: dict[str, Any] = {"decision": {**decision, "id": f"d_{number + 1}"}, "outcome": outcome}.get(kind, {})
        body = {**registration, **honest, "limits": limited, **changes}
        story.append(stream, kind, body)
    with TemporaryDirectory() as folder:
        assert story.verify(Path(folder)).records == 8 + len(records)
