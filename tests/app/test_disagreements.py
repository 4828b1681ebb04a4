"""The two policy engines: which one decides, what is compared, and what a disagreement leaves behind."""

from __future__ import annotations

import logging
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remit.app.disagreements import FILES, Disagreements, files, run
from remit.core.errors import InvalidInput
from remit.policy import Policies
from remit.policy.compiled import bundle
from remit.policy.compiled.compiler import Compiled, compile_policy
from remit.policy.compiled.engine import Engine, Name
from remit.policy.compiled.sampling import Case, Sampling
from remit.policy.compiled.values import Failed, Unsupported
from remit.policy.engine import load
from remit.policy.slices import Shelf
from tests.policy.project import (
    INTENTS,
    PAY,
    PAY_INVOICE,
    SERVER,
    TRUST_DOMAIN,
    WORKLOAD,
    catalogue,
    context,
    pay,
    write,
)

BLOCK = '@id("block") forbid (principal, action in Remit::Action::"tools", resource) when { context.risk == 13 };'


def loaded(folder: Path, rules: str = BLOCK, *, name: Name = "compiled", sample: int = 0) -> Policies:
    return load(
        folder_policies=[write(folder, rules=rules)],
        catalogue=catalogue(),
        intents=INTENTS,
        trust_domain=TRUST_DOMAIN,
        engine=Engine(name, sample, Disagreements(folder / "cases").keep),
    )


@pytest.fixture
def untyped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every policy is compiled by itself, so that one can be changed."""
    monkeypatch.setattr(Shelf, "environment", lambda *_: None)


@pytest.fixture
def wrong(untyped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that gets the policy `block` wrong: it never matches."""

    def mistaken(id_: str, policy: Any, slots: Any = None) -> Compiled:
        made = compile_policy(id_, policy, slots)
        if id_ != "block":
            return made
        return replace(made, matches=lambda *_: False)

    monkeypatch.setattr(bundle, "compile_policy", mistaken)


@pytest.mark.usefixtures("wrong")
def test_a_disagreement_denies_whoever_is_right(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policies = loaded(tmp_path, sample=1)
    assert pay(policies, risk=0).permitted
    with caplog.at_level(logging.CRITICAL):
        answer = pay(policies, risk=13)
    assert (answer.permitted, answer.reason.code, answer.policies) == (False, "engines_disagree", ())
    assert "ALARM the policy engines disagree on payments/pay_invoice" in caplog.text
    assert "`block` matches only for cedarpy" in caplog.text
    assert policies.engine.metrics() == {
        "policy_fallbacks": 0, "policy_comparisons": 2, "policy_disagreements": 1,
    }  # fmt: skip


@pytest.mark.usefixtures("wrong")
def test_nothing_is_compared_without_a_sample(tmp_path: Path) -> None:
    policies = loaded(tmp_path)
    assert pay(policies, risk=13).permitted  # the mistake is not seen
    assert policies.engine.metrics()["policy_comparisons"] == 0


@pytest.mark.usefixtures("wrong")
def test_the_case_is_kept_for_its_owner_alone_and_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = loaded(tmp_path, sample=1)
    pay(policies, risk=13)
    pay(policies, risk=13)
    (file,) = files(tmp_path / "cases")  # the same case once
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert run(file)[0].startswith("compiled permits, cedarpy denies")
    monkeypatch.undo()
    assert run(file) == []  # once the compiler is right


@pytest.mark.usefixtures("wrong")
def test_cases_are_bounded_in_number(tmp_path: Path) -> None:
    policies = loaded(tmp_path, sample=1)
    for calls in range(FILES + 5):
        session = {"labels": [], "untrusted": False, "calls": calls, "destinations": []}
        assert not pay(policies, risk=13, session=session).permitted
    assert len(files(tmp_path / "cases")) == FILES


def test_a_case_that_is_too_large_is_cut_or_left(tmp_path: Path) -> None:
    kept = Disagreements(tmp_path / "cases")
    entities = [{"uid": {"type": "T", "id": str(number)}, "attrs": {}, "parents": []} for number in range(60_000)]
    named = {name: {"type": "T", "id": str(place)} for place, name in enumerate(("principal", "action", "resource"))}
    said = {"permitted": True, "matched": [], "failed": []}
    form = {
        "policies": [],
        "entities": entities,
        "request": {**named, "context": {}},
        "compiled": said,
        "reference": said,
    }
    case = msgspec.convert(form, Case)
    file = Path(kept.keep(case))
    assert len(msgspec.json.decode(file.read_bytes(), type=Case).entities) == 3
    huge = msgspec.structs.replace(case, request={**case.request, "context": {"text": "x" * 2_000_000}})
    assert kept.keep(huge).startswith("nowhere")


def test_files_that_are_no_cases_are_refused(tmp_path: Path) -> None:
    for text in (b"", b"{}", b"[" * 5_000, b'{"version": 2}', b"x" * (1024 * 1024 + 1)):
        (tmp_path / "case.json").write_bytes(text)
        with pytest.raises(InvalidInput) as caught:
            run(tmp_path / "case.json")
        assert caught.value.code == "case_invalid"
    with pytest.raises(InvalidInput):
        run(tmp_path / "gone.json")


def test_the_reference_engine_alone_decides_if_it_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Compiled:
        raise AssertionError("nothing is compiled")

    monkeypatch.setattr(bundle, "compile_policy", refuse)
    policies = loaded(tmp_path, name="cedarpy", sample=1)
    assert pay(policies).permitted
    assert pay(policies, risk=13).reason.policies[0].id == "block"
    assert policies.could_permit(WORKLOAD, PAY, SERVER, {}, PAY_INVOICE.name)
    assert policies.engine.metrics()["policy_comparisons"] == 0


@pytest.mark.usefixtures("untyped")
def test_what_is_not_compiled_goes_to_the_reference_engine_and_is_counted_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(id_: str, policy: Any, slots: Any = None) -> Compiled:
        if id_ == "block":
            raise Unsupported("`when` on Tuesdays")
        return compile_policy(id_, policy, slots)

    monkeypatch.setattr(bundle, "compile_policy", lacking)
    policies = loaded(tmp_path)
    assert pay(policies).permitted
    assert pay(policies, risk=13).reason.policies[0].id == "block"
    assert policies.engine.metrics()["policy_fallbacks"] == 2
    assert policies.engine.uncompiled == {"block": "`when` on Tuesdays"}
    assert any("`block` is not compiled (`when` on Tuesdays)" in each for each in policies.notices())


@pytest.mark.usefixtures("untyped")
def test_a_failure_only_one_engine_sees_is_a_disagreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(id_: str, policy: Any, slots: Any = None) -> Compiled:
        made = compile_policy(id_, policy, slots)

        def fails(*_: Any) -> bool:
            raise Failed("wrongly")

        return replace(made, matches=fails) if id_ == "block" else made

    monkeypatch.setattr(bundle, "compile_policy", failing)
    assert pay(loaded(tmp_path, sample=1)).reason.code == "engines_disagree"


def test_a_malformed_context_is_refused_by_both_alike(tmp_path: Path) -> None:
    policies = loaded(tmp_path, sample=1)
    for risk in (None, 1.5, 2**63, {"__extn": {"fn": "decimal", "arg": "x"}}, {"__extn": 1}, {"__entity": 1}):
        assert pay(policies, risk=risk).reason.code == "policy_error"
    assert policies.engine.metrics()["policy_disagreements"] == 0


def test_one_decision_of_so_many_is_compared() -> None:
    drawn = iter([0.0, 0.0009, 0.001, 0.5])
    sampling = Sampling(1_000, lambda: next(drawn))
    assert [sampling.is_due() for _ in range(4)] == [True, True, False, False]
    assert not Sampling(0, lambda: 0.0).is_due()
    assert Sampling(1, lambda: 0.999).is_due()


def test_all_decisions_of_the_example_agree(tmp_path: Path) -> None:
    policies = loaded(tmp_path, sample=1)
    for risk in range(0, 100, 7):
        policies.evaluate(WORKLOAD, PAY, SERVER, context(risk=risk), PAY_INVOICE.name)
    assert policies.engine.metrics()["policy_disagreements"] == 0
    assert policies.engine.metrics()["policy_comparisons"] == 15
