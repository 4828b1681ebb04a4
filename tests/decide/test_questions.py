"""General questions at the governor: rate, registration, policy, answer; and that nothing of them is kept."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remit.core.errors import Forbidden, InvalidInput, RemitError, Unavailable
from remit.core.identities import Identity, Possession
from remit.decide import questions as questions_
from remit.decide.questions import Until, is_permit
from remit.policy.evaluation import Evaluation
from remit.policy.general import Found, Named, Question, What
from tests.decide.stage import ADMIN, APP, FINANCE, GATEWAY, START, Stage, identity, play

SCHEMA = """
namespace Records {
  entity User = { age: Long };
  entity Record = { owner: User, age?: Long };
  action view, edit appliesTo { principal: User, resource: Record };
}
"""
ENTITIES: list[dict[str, Any]] = [
    *({"uid": {"type": "Records::User", "id": name}, "attrs": {"age": 40}, "parents": []} for name in ("kim", "alex")),
    *(
        {
            "uid": {"type": "Records::Record", "id": str(number)},
            "attrs": {"owner": {"__entity": {"type": "Records::User", "id": "kim" if number % 2 else "alex"}}},
            "parents": [],
        }
        for number in range(40)
    ),
]
POLICIES = """
@id("owners")
permit (principal, action == Records::Action::"view", resource) when { resource.owner == principal };
@id("overflows")
forbid (principal, action == Records::Action::"edit", resource) when { principal.age * 9223372036854775807 > 1 };
@id("editors")
permit (principal, action == Records::Action::"edit", resource);
"""
BEARER_ASKS = """
@id("bearer")
permit (
  principal == Remit::Workload::"spiffe://example.org/pep/gateway",
  action == Remit::Action::"question.ask",
  resource
) when { context.possession == "none" && !context.isSearch };
"""
BEARER = msgspec.structs.replace(GATEWAY, key="", possession="none")
MINE = Question(subject=Named("user", "kim"), action="view", resource=Named("record", "1"))
OTHERS = Question(subject=Named("user", "kim"), action="view", resource=Named("record", "2"))
FAILS = Question(subject=Named("user", "kim"), action="edit", resource=Named("record", "2"))
MISFIT = Question(subject=Named("user", "kim"), action="view", resource=Named("record", "9", {"age": "old"}))
RESERVED = Question(subject=Named("Remit::Workload", "x"), action="view", resource=Named("record", "1"))

Story = Callable[[Stage], Awaitable[None]]


def tell(root: Path, story: Story, policies: str = "", settings: str = "") -> None:
    """Runs a story on a stage that has records and users; nothing but its start may have been recorded."""
    (root / "entities").mkdir()
    (root / "entities" / "schema.cedarschema").write_text(SCHEMA)
    (root / "entities" / "all.json").write_text(json.dumps(ENTITIES))
    play(root, story, policies=POLICIES + policies, settings=settings)


async def ask(stage: Stage, *asked: Question, caller: Identity = GATEWAY, until: Until = "") -> list[bool]:
    answers = await stage.governor.question(caller, asked, stage.clock.now, until)
    return [is_permit(answer) for answer in answers]


async def refusal(stage: Stage, caller: Identity, *, search: bool = False) -> RemitError:
    asked = (
        stage.governor.search(caller, "resource", MINE, stage.clock.now, limit=10)
        if search
        else ask(stage, MINE, caller=caller)
    )
    with pytest.raises(RemitError) as caught:
        await asked
    return caught.value


def test_answers_in_order_and_nothing_recorded(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        before, bytes_ = stage.state(), stage.bytes_()
        assert await ask(stage, MINE, OTHERS, MISFIT, FAILS, RESERVED, MINE) == [True, False, False, False, False, True]
        answers = await stage.governor.question(GATEWAY, (FAILS, MISFIT, RESERVED), stage.clock.now)
        failed, misfit, reserved = answers
        assert isinstance(failed, Evaluation)
        assert (failed.reason.code, [policy for policy, _ in failed.errors]) == ("policy_error", ["overflows"])
        assert isinstance(misfit, InvalidInput)
        assert misfit.code == "property_invalid"
        assert isinstance(reserved, InvalidInput)
        found = await stage.governor.search(GATEWAY, "resource", MINE, stage.clock.now, limit=3)
        assert [each.id for each in found.results if isinstance(each, Named)] == ["1", "11", "13"]
        assert (stage.state(), stage.bytes_()) == (before, bytes_)

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("until", "asked", "wanted"),
    [
        ("deny", [MINE, MINE, OTHERS, MINE], [True, True, False]),
        ("deny", [MISFIT, MINE], [False]),
        ("deny", [MINE] * 40, [True] * 40),
        ("permit", [OTHERS, FAILS, MISFIT, MINE, OTHERS], [False, False, False, True]),
        ("permit", [OTHERS], [False]),
        ("", [OTHERS, MINE] * 20, [False, True] * 20),
        ("", [], []),
    ],
)
def test_until(tmp_path: Path, until: Until, asked: list[Question], wanted: list[bool]) -> None:
    async def story(stage: Stage) -> None:
        assert await ask(stage, *asked, until=until) == wanted

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (GATEWAY, ""),
        (APP, ""),
        (ADMIN, ""),
        (msgspec.structs.replace(GATEWAY, possession="mtls"), ""),
        (FINANCE, "no_policy_permits"),
        (identity("person/carol"), "no_policy_permits"),
        (BEARER, "no_policy_permits"),
        (msgspec.structs.replace(ADMIN, possession="none"), "no_policy_permits"),
        (identity("pep/nobody"), "identity_unknown"),
        (identity("pep/gateway", expires=START), "identity_expired"),
    ],
)
def test_who_may_ask(tmp_path: Path, caller: Identity, code: str) -> None:
    async def story(stage: Stage) -> None:
        if not code:
            assert await ask(stage, MINE, caller=caller) == [True]
            assert (await stage.governor.search(caller, "resource", MINE, stage.clock.now, limit=1)).results
            return
        before = stage.bytes_()
        for search in (False, True):
            error = await refusal(stage, caller, search=search)
            assert isinstance(error, Forbidden)
            assert (error.code, error.decision) == (code, "")
        assert stage.bytes_() == before

    tell(tmp_path, story)


def test_a_bearer_key_asks_where_a_policy_says_so_and_what_it_says(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        assert await ask(stage, MINE, OTHERS, caller=BEARER) == [True, False]
        error = await refusal(stage, BEARER, search=True)
        assert error.code == "no_policy_permits"
        assert "search with a bearer key" in error.message
        other = msgspec.structs.replace(identity("pep/elsewhere"), possession="none")
        assert (await refusal(stage, other)).code == "no_policy_permits"

    tell(tmp_path, story, BEARER_ASKS)


def test_a_bearer_key_does_nothing_else_at_the_governor_either(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        none: Possession = "none"
        grant = await stage.start()
        asked = msgspec.structs.replace(stage.ask(grant), caller=BEARER)
        for decision in (await stage.governor.authorize(asked), await stage.governor.probe(asked)):
            assert (decision.effect, decision.reason.code) == ("deny", "bearer_refused")
        listed = await stage.governor.listing(asked, "billing", {"read_invoice": ""})
        assert listed["read_invoice"] is not None
        assert listed["read_invoice"].code == "bearer_refused"
        with pytest.raises(Forbidden, match="bearer"):
            await stage.start(starter=msgspec.structs.replace(APP, possession=none))
        with pytest.raises(Forbidden, match="bearer"):
            await stage.end(grant, by=msgspec.structs.replace(APP, possession=none))
        with pytest.raises(Forbidden, match="bearer"):
            await stage.change("workload/helper", "quarantined", by=msgspec.structs.replace(ADMIN, possession=none))
        with pytest.raises(Forbidden, match="bearer"):
            await stage.governor.identities(msgspec.structs.replace(ADMIN, possession=none))

    tell(tmp_path, story, BEARER_ASKS)


@pytest.mark.parametrize("caller", [GATEWAY, BEARER])
def test_quarantine_ends_it_at_once_and_its_end_lets_it_go_on(tmp_path: Path, caller: Identity) -> None:
    async def story(stage: Stage) -> None:
        assert await ask(stage, MINE, caller=caller) == [True]
        await stage.change("pep/gateway", "quarantined")
        assert (await refusal(stage, caller)).code == "identity_quarantined"
        assert (await refusal(stage, caller, search=True)).code == "identity_quarantined"
        await stage.change("pep/gateway", "active")
        assert await ask(stage, MINE, caller=caller) == [True]

    tell(tmp_path, story, BEARER_ASKS)


def test_a_registration_that_loses_its_role_is_asked_about_anew(tmp_path: Path) -> None:
    """What is remembered of who may ask never outlives the registration that it was said of."""

    async def story(stage: Stage) -> None:
        assert await ask(stage, MINE) == [True]
        registration = stage.governor.registration(GATEWAY.id)
        assert registration is not None
        changed = msgspec.structs.replace(registration, roles=("workload",), servers=())
        await stage.governor.register(ADMIN, changed)
        assert (await refusal(stage, GATEWAY)).code == "no_policy_permits"
        await stage.governor.register(ADMIN, registration)
        assert await ask(stage, MINE) == [True]

    tell(tmp_path, story)


def test_a_forbid_of_the_project_says_why(tmp_path: Path) -> None:
    policy = """
    @id("closed") @reason("closed_for_now") @message("questions are answered again tomorrow") @next("wait")
    forbid (principal, action == Remit::Action::"question.ask", resource);
    """

    async def story(stage: Stage) -> None:
        error = await refusal(stage, GATEWAY)
        assert (error.code, error.message, error.next_step) == (
            "closed_for_now",
            "questions are answered again tomorrow",
            "wait",
        )

    tell(tmp_path, story, policy)


def test_the_rate_counts_before_anything_is_looked_at(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        rates = stage.governor._rates
        rates._burst, rates._per_second, rates._buckets = 10.0, 1e-9, type(rates._buckets)()
        assert len(await ask(stage, *[MINE] * 50)) == 50  # five of ten
        assert len(await ask(stage, *[MINE] * 3)) == 3  # one
        assert (await refusal(stage, GATEWAY, search=True)).code == "rate_limited"
        for _ in range(4):
            await ask(stage, MINE)
        error = await refusal(stage, GATEWAY)
        assert isinstance(error, Unavailable)
        assert error.code == "rate_limited"
        assert await ask(stage, MINE, caller=ADMIN) == [True]
        for _ in range(10):
            assert (await refusal(stage, identity("pep/nobody"))).code == "identity_unknown"
        assert (await refusal(stage, identity("pep/nobody"))).code == "rate_limited"

    tell(tmp_path, story)


def test_searches_that_take_long_hold_up_neither_questions_nor_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stage: Stage) -> None:
        go, at_work = threading.Event(), threading.Semaphore(0)
        running: list[int] = []

        def slow(what: What, question: Question, *, after: str, limit: int) -> Found:
            running.append(1)
            at_work.release()
            go.wait(20)
            return Found(results=())

        monkeypatch.setattr(stage.governor.configuration.policies.general, "search", slow)
        monkeypatch.setattr(questions_, "SEARCHES_WAITING", 5)
        searches = [
            asyncio.create_task(stage.governor.search(GATEWAY, "resource", MINE, stage.clock.now, limit=1))
            for _ in range(5)
        ]
        for _ in range(questions_.SEARCHES):
            await asyncio.to_thread(at_work.acquire)
        try:
            assert (await refusal(stage, GATEWAY, search=True)).code == "busy"
            assert await ask(stage, MINE) == [True]
            assert len(running) == questions_.SEARCHES
        finally:
            go.set()
        assert [found.results for found in await asyncio.gather(*searches)] == [()] * 5
        monkeypatch.setattr(questions_, "SEARCHES_WAITING", 1)
        assert (await stage.governor.search(GATEWAY, "resource", MINE, stage.clock.now, limit=1)).results == ()

    tell(tmp_path, story)


def test_questions_are_counted_without_names(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await ask(stage, MINE, OTHERS, OTHERS, MISFIT)
        counted = {
            (row["kind"], row["effect"], row["code"]): row["count"] for row in stage.governor.metrics()["decisions"]
        }
        assert counted == {
            ("question", "permit", "permitted"): 1,
            ("question", "deny", "no_policy_permits"): 2,
            ("question", "deny", "property_invalid"): 1,
        }

    tell(tmp_path, story)


def test_callers_are_remembered_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions_, "REMEMBERED", 2)

    async def story(stage: Stage) -> None:
        for caller in (GATEWAY, APP, ADMIN, GATEWAY, APP):
            assert await ask(stage, MINE, caller=caller) == [True]
            assert len(stage.governor._questions._allowed) <= 2

    tell(tmp_path, story)
