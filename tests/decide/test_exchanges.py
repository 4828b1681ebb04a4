"""Exchanges of outside tokens, as they are decided and recorded; also with two processes on one database."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from remit.core import bounds
from remit.core.errors import RemitError
from remit.core.identities import Registration
from remit.core.issuers import FirstSight
from remit.identity.arrival import Arrival

from .stage import ADMIN, Clock, Stage, spiffe, staged

MINUTE = 60_000


def arrival(path: str = "starter/app", *, token: str = "a", life: int = 5 * MINUTE, now: int, **more: Any) -> Arrival:
    return Arrival(
        **{
            "id": spiffe(path),
            "source": "issuers/hub",
            "issuer": "https://hub.example",
            "subject": "repo:octo/x",
            "rule": 1,
            "chosen": False,
            "token": token.rjust(64, "0"),
            "key": "",
            "expires": now + life,
            "service": False,
            **more,
        }
    )


async def exchange(stage: Stage, came: Arrival, key: str = "k1") -> Registration:
    return (await stage.governor.exchange(came, lambda: key))[0]


async def refused(stage: Stage, came: Arrival, key: str = "k1") -> str:
    with pytest.raises(RemitError) as caught:
        await exchange(stage, came, key)
    return caught.value.code


@staged()
async def test_a_token_has_one_key_until_it_is_forgotten(stage: Stage) -> None:
    came = arrival(now=stage.clock.now)
    await exchange(stage, came)
    assert await refused(stage, came, "k2") == "token_replayed"
    await stage.restart()
    assert await refused(stage, came, "k2") == "token_replayed"
    await exchange(stage, came)  # the first one goes on, and no second record is made
    await stage.pass_(5 * MINUTE + 59_000)
    assert await refused(stage, came, "k2") == "token_replayed"  # a minute longer than the token: for clocks
    await stage.pass_(2_000)
    # by then no verifier takes the token; the memory of it is over
    await exchange(stage, came, "k2")


@staged()
async def test_what_is_forgotten_makes_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TOKENS_PER_IDENTITY", 3)
    for token in "abc":
        await exchange(stage, arrival(token=token, now=stage.clock.now))
    assert await refused(stage, arrival(token="d", now=stage.clock.now)) == "token_memory_full"
    await exchange(stage, arrival("starter/other", token="d", now=stage.clock.now))  # others are not held up
    await stage.pass_(6 * MINUTE + 1)
    await exchange(stage, arrival(token="d", now=stage.clock.now))


@staged()
async def test_first_sight_and_what_an_operator_said_since(stage: Stage) -> None:
    def came(groups: tuple[str, ...], **more: Any) -> Arrival:
        first = FirstSight(owner="ada", groups=("pipelines",), environment="ci")
        return arrival("workload/new", register=first, groups=groups, chosen=True, now=stage.clock.now, **more)

    made = await exchange(stage, came(("web",)))
    assert (made.kind, made.roles, made.owner, made.key) == ("pipeline", ("workload",), "ada", "")
    assert made.groups == ("pipelines", "web")
    assert (await exchange(stage, came(("web", "db"), token="b"))).groups == ("pipelines", "web", "db")
    # another rule does not take over what this one made
    assert (await exchange(stage, came(("other",), token="c", rule=2))).groups == ("pipelines", "web", "db")
    kept = Registration(**{name: getattr(made, name) for name in made.__struct_fields__} | {"groups": ("mine",)})
    await stage.governor.register(ADMIN, kept)
    assert (await exchange(stage, came(("web",), token="d"))).groups == ("mine",)
    await stage.governor.change(ADMIN, made.id, "retired", "over")
    assert await refused(stage, came((), token="e")) == "identity_retired"


@staged()
async def test_a_person_at_first_sight_may_start_tasks_and_nothing_more(stage: Stage) -> None:
    first = FirstSight(owner="ada", kind="agent")
    made = await exchange(stage, arrival("person/grace", register=first, chosen=True, now=stage.clock.now))
    assert (made.kind, made.roles) == ("person", ("starter",))


@staged()
async def test_too_many_at_first_sight(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FirstSight(owner="ada")
    monkeypatch.setattr(bounds, "IDENTITIES_AT_FIRST_SIGHT", 11)
    codes = [
        await _code(exchange(stage, arrival(f"workload/new-{each}", register=first, now=stage.clock.now)))
        for each in range(5)
    ]
    assert codes[0] == ""
    assert codes[-1] == "identities_full"
    await exchange(stage, arrival(now=stage.clock.now))  # those who are known come all the same


@staged()
async def test_claims_do_not_name_who_is_trusted(stage: Stage) -> None:
    for path in ("person/admin", "person/carol", "pep/gateway"):
        assert await refused(stage, arrival(path, chosen=True, now=stage.clock.now)) == "identity_chosen"
        await exchange(stage, arrival(path, now=stage.clock.now))  # a rule may, outright
    await exchange(stage, arrival("person/eve", chosen=True, now=stage.clock.now))


@staged()
async def test_keys_of_others(stage: Stage) -> None:
    assert await refused(stage, arrival(now=stage.clock.now), "k-gateway") == "key_taken"
    await exchange(stage, arrival(now=stage.clock.now), "k-app")  # its own


@staged()
async def test_what_an_issuer_calls_a_person_is_not_in_the_record(stage: Stage) -> None:
    await exchange(stage, arrival("person/eve", subject="eve@example.org", now=stage.clock.now))
    await exchange(stage, arrival(subject="repo:octo/x", now=stage.clock.now))
    recorded = [each.body["subject"] for each in stage.records("exchange")]
    assert list(recorded[0]) == ["commitment"]
    assert recorded[1] == "repo:octo/x"


async def _code(work: Any) -> str:
    try:
        await work
    except RemitError as error:
        return error.code
    return ""


def test_two_processes_on_one_database(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A token that was shown to one process is bound at the other, also when it is shown to both at once."""
    from tests.storage.contract.stages import PostgresStage

    from .stage import write_project

    server = request.getfixturevalue("postgres")
    place = server.place()

    async def main() -> None:
        both = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            write_project(tmp_path / name)
            both.append(PostgresStage(tmp_path / name, Clock(), *place))
        await both[0].open()
        shutil.copytree(tmp_path / "one/.remit/trust", tmp_path / "two/.remit/trust")  # as processes share it
        await both[1].open()
        one, two = both
        try:
            came = arrival(now=one.clock.now)
            await exchange(one, came)
            assert await refused(two, came, "k2") == "token_replayed"
            await exchange(two, came)
            for number in range(20):
                came = arrival(token=f"b{number}", now=one.clock.now)
                tried = await asyncio.gather(_code(exchange(one, came, "k1")), _code(exchange(two, came, "k2")))
                assert sorted(tried) == ["", "token_replayed"]
        finally:
            for stage in both:
                await stage.close()

    asyncio.run(main())
