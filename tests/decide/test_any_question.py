"""Any question, outcome or request gives an answer or one of our errors: no fault, no alarm, nothing wrong recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core.decisions import Ask, Outcome, TaskHandle
from remit.core.errors import RemitError
from remit.core.identities import Identity, Registration
from remit.core.obligations import KNOWN
from remit.core.tasks import RiskSignal, TaskRequest
from tests.decide.stage import (
    ADMIN,
    APP,
    CATALOGUE,
    FAR,
    FINANCE,
    GATEWAY,
    HELPER,
    START,
    Clock,
    Stage,
    identity,
    spiffe,
    write_project,
)

ACTIONS = [f"{server}/{tool}" for server in CATALOGUE for tool in ("read_invoice", "lookup", "fetch", "look", "x")]
text = st.text(max_size=40) | st.sampled_from(["", "x" * 70_000, "é" * 600, "\x00", "__extn", "commitment"])
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(
    st.sampled_from(["invoice", "email", "url", "note", "pages", "words", "amount"]) | text, json, max_size=5
)
ids = st.sampled_from([GATEWAY.id, FINANCE.id, HELPER.id, APP.id, ADMIN.id, spiffe("workload/ghost")]) | text
keys = st.sampled_from(["k-finance", "task-key-0"]) | text
times = st.sampled_from([0, START - 1, START, START + 1, FAR]) | st.integers(-(2**63), 2**63)
identities = st.builds(Identity, id=ids, key=keys, expires=times)

bounded = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def played(tmp_path: Path) -> Any:
    """A stage that stays open for all examples; in the end it must verify."""
    write_project(tmp_path)
    with asyncio.Runner() as runner:
        stage = Stage(tmp_path, Clock())
        runner.run(stage.open())
        yield stage, runner.run
        runner.run(stage.close())
    stage.verify()


def answer(run: Any, asked: Any) -> Any:
    """The answer, or the error's code; any other exception fails the test."""
    try:
        return run(asked)
    except RemitError as error:
        return error.code


@bounded
@given(data=st.data())
def test_any_question(played: Any, caplog: Any, data: st.DataObject) -> None:
    stage, run = played
    caplog.clear()
    grant = run(stage.start(key="task-key-0"))
    task = st.sampled_from([grant.task, grant.task + ".1", "t_0"]) | text
    handle = st.builds(TaskHandle, task=task, workload=ids, key=keys, expires=times)
    own = Identity(id=grant.workload, key=grant.key, expires=FAR)
    ask = Ask(
        caller=data.draw(st.sampled_from([GATEWAY, GATEWAY, own]) | identities),
        subject=data.draw(st.sampled_from([FINANCE.id, FINANCE.id]) | ids),
        proof=data.draw(st.sampled_from([own, own, own]) | identities),
        task=data.draw(st.sampled_from([grant.handle, grant.handle, grant.handle]) | handle),
        action=data.draw(st.sampled_from(ACTIONS) | text),
        input=data.draw(arguments),
        definition=data.draw(st.sampled_from(["", ""]) | text),
        idempotency_key=data.draw(st.sampled_from(["", "a", "b"]) | text),
        request_id=data.draw(text),
        supports=data.draw(st.frozensets(st.sampled_from(sorted(KNOWN))) | st.just(KNOWN)),
    )
    for asked in (stage.governor.probe, stage.governor.authorize, stage.governor.authorize):
        decision = answer(run, asked(ask))
        if decision == "idempotency_conflict":
            continue
        assert decision.effect == "deny" or ask.subject == FINANCE.id
        assert decision.reason.code not in ("internal_fault", "storage_unavailable", "policy_error")
    assert "ALARM" not in caplog.text


@bounded
@given(
    st.builds(
        Outcome,
        decision=text,
        digest=text,
        result=st.sampled_from(["response", "error"]) | text,
        started=times,
        output=st.dictionaries(st.sampled_from(["account", "amount", "status", "lines", "paid"]) | text, json),
        bytes=st.integers(-(2**70), 2**70),
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_outcome(played: Any, caplog: Any, outcome: Outcome, fits: bool, durable: bool) -> None:
    stage, run = played
    caplog.clear()
    grant = run(stage.start())
    permit = run(stage.permit(grant))
    if fits:
        fields = {name: getattr(outcome, name) for name in outcome.__struct_fields__}
        outcome = Outcome(**fields | {"decision": permit.id, "digest": permit.digest, "started": START})
    code = answer(run, stage.governor.report(GATEWAY, outcome, durable=durable))
    assert code not in ("internal_fault", "storage_unavailable")
    assert "ALARM" not in caplog.text


@bounded
@given(
    intent=st.sampled_from(["answer", "pay-invoice"]) | text,
    params=st.dictionaries(st.sampled_from(["invoice", "account", "amount"]) | text, json, max_size=4),
    words=st.tuples(text, text, text, text),
    who=st.sampled_from([APP, ADMIN]) | identities,
)
def test_any_task(played: Any, caplog: Any, intent: str, params: Any, words: tuple[str, ...], who: Any) -> None:
    stage, run = played
    caplog.clear()
    prompt, case_type, parent, key = words
    request = TaskRequest(
        intent=intent, workload=FINANCE.id, key=key, params=params, prompt=prompt, case_type=case_type, parent=parent
    )
    assert answer(run, stage.governor.start_task(who, request, None)) not in ("internal_fault", "storage_unavailable")
    for state in ("completed", prompt):
        ended = answer(run, stage.governor.end_task(who, parent, state, case_type))
        assert ended not in ("internal_fault", "storage_unavailable")
    assert "ALARM" not in caplog.text


@bounded
@given(
    st.builds(
        Registration,
        id=ids | st.builds(lambda name: spiffe("workload/" + name), st.from_regex(r"[a-z0-9.]{1,20}", fullmatch=True)),
        kind=st.sampled_from(["agent", "person"]),
        roles=st.sampled_from([(), ("workload",), ("pep", "starter")]),
        owner=text,
        key=text,
        groups=st.lists(text, max_size=3).map(tuple),
        environment=text,
        servers=st.lists(text, max_size=3).map(tuple),
    ),
    text,
)
def test_any_registration(played: Any, caplog: Any, registration: Registration, words: str) -> None:
    stage, run = played
    caplog.clear()
    if registration.id in (ADMIN.id, APP.id, FINANCE.id, GATEWAY.id):
        return
    governor = stage.governor
    signal = RiskSignal(id=registration.id, signal=words, value=7, source=words, expires=START)
    for doing in (
        governor.register(ADMIN, registration),
        governor.set_risk(ADMIN, signal),
        governor.change(ADMIN, registration.id, "quarantined", words),
        governor.resolve(ADMIN, words, "response", words),
        governor.task(identity("person/carol"), words),
    ):
        assert answer(run, doing) not in ("internal_fault", "storage_unavailable")
    assert "ALARM" not in caplog.text
