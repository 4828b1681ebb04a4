"""A service reads its folder again while it decides: nothing is dropped, nothing is answered by a part of each.

Every story ends in the verifier (`staged`), which works each decision out again from the texts of its configuration.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from remit.app import reloading, rereading
from remit.app.reloading import Progress, needs_restart
from remit.core.decisions import Decision
from remit.core.errors import Conflict, DocumentError, Forbidden, Unavailable
from remit.core.reloading import Reloaded
from remit.core.settings import read_settings
from remit.decide.configuration import Configuration
from tests.decide.stage import ADMIN, APP, GATEWAY, READ, START, Stage, spiffe, staged, write_project

NOBODY = spiffe("workload/new")


def rule(version: int) -> str:
    """A guardrail that says by its reason which version of the folder decided."""
    return (
        f'@id("version-{version}")\n@reason("version_{version}")\n'
        f'forbid (principal, action == Remit::Action::"{READ}", resource)\n'
        f'when {{ context.input.invoice != "version-{version}" }};\n'
    )


def write(stage: Stage, text: str, name: str = "own.cedar") -> None:
    (stage.folder.root / "policies" / name).write_text(text, "utf-8")


@staged(policies=rule(0))
async def test_requests_go_on_during_reloads_and_each_is_answered_by_the_configuration_that_it_names(
    stage: Stage,
) -> None:
    grant = await stage.start()
    versions = {stage.installation.configuration.digest: 0}
    decided: list[Decision] = []
    done = asyncio.Event()

    async def stream() -> None:
        number = 0
        while not done.is_set():
            number += 1
            decided.append(await stage.authorize(grant, input={"invoice": f"I-{len(decided)}-{number}"}))
            await asyncio.sleep(0)

    streams = [asyncio.create_task(stream()) for _ in range(4)]
    for version in (1, 2, 3):
        write(stage, rule(version))
        reloaded = await stage.governor.reload(ADMIN)
        assert (reloaded.changed, reloaded.restart) == (("policies",), ())
        versions[reloaded.config] = version
        assert stage.installation.configuration.digest == reloaded.config != reloaded.before
        assert (await stage.authorize(grant)).reason.code == f"version_{version}"
    done.set()
    await asyncio.gather(*streams)
    assert {each.reason.code for each in decided} == {f"version_{version}" for version in range(4)}
    order = []
    for record in stage.records("decision"):
        # The record names what decided it, and that is what gave the reason.
        assert record.body["reason"]["code"] == f"version_{versions[record.body['config']]}"
        order.append(versions[record.body["config"]])
    assert order == sorted(order)
    # Every configuration stands in the record before the first decision that it made, with its texts.
    kinds = [(r.kind, r.body.get("config")) for r in stage.records() if r.kind in ("configuration", "decision")]
    for config in versions:
        assert kinds.index(("configuration", config)) < kinds.index(("decision", config))


@staged(policies=rule(0))
async def test_a_mistake_changes_nothing_and_sounds_an_alarm(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    grant = await stage.start()
    before = stage.installation.configuration
    write(stage, rule(1) + f'forbid (principal, action == Remit::Action::"{READ}", resource) when {{ context.rsk }};\n')
    with caplog.at_level(logging.CRITICAL), pytest.raises(DocumentError) as told:
        await stage.governor.reload(ADMIN)
    assert (told.value.path, told.value.line) == ("policies/own.cedar", 5)
    assert "ALARM the folder was not reloaded" in caplog.text
    assert "policies/own.cedar:5" in caplog.text
    assert stage.installation.configuration is before
    assert (await stage.authorize(grant)).reason.code == "version_0"
    assert stage.installation.reloader.gauges() == {"reloads": 0, "reload_failures": 1, "reload_failing": 1}
    write(stage, rule(1))
    await stage.governor.reload(ADMIN)
    assert stage.installation.reloader.gauges() == {"reloads": 1, "reload_failures": 1, "reload_failing": 0}


@staged(policies=rule(0))
async def test_what_can_not_be_recorded_does_not_decide(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = await stage.start()
    before = stage.installation.configuration
    write(stage, rule(1))

    def full(_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(stage.store, "_commit", full)
        with pytest.raises(Unavailable):
            await stage.installation.reloader.reload()
    assert stage.installation.configuration is before
    assert (await stage.authorize(grant)).reason.code == "version_0"
    await stage.governor.reload(ADMIN)
    assert (await stage.authorize(grant)).reason.code == "version_1"


@staged(policies=rule(0))
async def test_only_who_administers_reloads(stage: Stage) -> None:
    write(stage, rule(1))
    for who in (APP, GATEWAY):
        with pytest.raises(Forbidden, match=r"no policy permits `configuration\.reload`"):
            await stage.governor.reload(who)
    assert [r.body["action"] for r in stage.records("decision")] == ["configuration.reload"] * 2
    assert (await stage.governor.reload(ADMIN)).changed == ("policies",)


@staged(policies=rule(0))
async def test_what_comes_from_no_folder_is_not_reloaded(stage: Stage) -> None:
    stage.governor.on_reload = None
    with pytest.raises(Conflict, match="does not come from a folder"):
        await stage.governor.reload(ADMIN)


@staged(policies=rule(0))
async def test_nothing_changed_is_no_new_configuration(stage: Stage) -> None:
    before = stage.installation.configuration
    reloaded = await stage.governor.reload(ADMIN)
    assert (reloaded.config, reloaded.before, reloaded.changed) == (before.digest, before.digest, ())
    assert stage.installation.configuration is before
    assert len(stage.records("configuration")) == 1


@staged(policies=rule(0))
async def test_intents_limits_and_modes_take_effect_at_once(stage: Stage) -> None:
    root = stage.folder.root
    settings = (root / "remit.toml").read_text("utf-8").replace("[limits]", "[limits]\noutcome_seconds = 7")
    (root / "remit.toml").write_text(settings, "utf-8")
    (root / "intents" / "another.yaml").write_text((root / "intents" / "answer.yaml").read_text("utf-8"), "utf-8")
    write(stage, "")
    reloaded = await stage.governor.reload(ADMIN)
    assert (reloaded.changed, reloaded.restart) == (("intents", "policies", "settings"), ())
    permitted = await stage.permit(await stage.start("another"))
    assert stage.record_of(permitted)["deadline"] == START + 7_000


@staged(policies=rule(0))
async def test_tasks_of_an_intent_that_is_gone_are_refused_and_go_on_when_it_is_back(stage: Stage) -> None:
    write(stage, "")
    await stage.governor.reload(ADMIN)
    grant = await stage.start()
    file = stage.folder.root / "intents" / "answer.yaml"
    text = file.read_text("utf-8")
    file.unlink()
    await stage.governor.reload(ADMIN)
    assert await stage.refusal(grant) == "intent_unknown"
    file.write_text(text, "utf-8")
    await stage.governor.reload(ADMIN)
    await stage.permit(grant)


@staged(policies=rule(0))
async def test_identities_that_the_file_names_anew_are_registered_and_quarantined_ones_stay_so(stage: Stage) -> None:
    await stage.change("workload/helper", "quarantined")
    file = stage.folder.root / "remit.toml"
    seed = '[[workloads]]\nname = "new"\nkind = "agent"\nowner = "ada"\ngroups = ["agents"]\nkey = "k-new"\n'
    file.write_text(file.read_text("utf-8") + seed, "utf-8")
    assert stage.governor.registration(NOBODY) is None
    await stage.governor.reload(ADMIN)
    assert stage.governor.registration(NOBODY) is not None
    helper = stage.governor.registration(spiffe("workload/helper"))
    assert helper is not None
    assert helper.state == "quarantined"


@staged(policies=rule(0))
async def test_what_needs_a_restart_is_named_and_the_rest_taken(stage: Stage) -> None:
    file = stage.folder.root / "remit.toml"
    text = file.read_text("utf-8").replace('listen = ""', 'listen = "127.0.0.1:8999"')
    file.write_text(text + "[identity]\nsvid_seconds = 120\n", "utf-8")
    write(stage, rule(1))
    reloaded = await stage.governor.reload(ADMIN)
    assert (reloaded.changed, reloaded.restart) == (("policies", "settings"), ("service", "identity"))


@staged(policies=rule(0))
async def test_the_engine_is_changed_at_once_and_who_watches_is_not(stage: Stage) -> None:
    file = stage.folder.root / "remit.toml"
    text = file.read_text("utf-8")
    file.write_text(text + '[policy]\nengine = "cedarpy"\n', "utf-8")
    assert (await stage.governor.reload(ADMIN)).restart == ()
    assert (await stage.authorize(await stage.start())).reason.code == "version_0"
    file.write_text(text + "[policy]\nwatch = true\n", "utf-8")
    assert (await stage.governor.reload(ADMIN)).restart == ("policy",)


@staged(policies=rule(0))
async def test_another_trust_domain_is_refused_whole(stage: Stage) -> None:
    before = stage.installation.configuration
    file = stage.folder.root / "remit.toml"
    text = file.read_text("utf-8")
    file.write_text(text.replace('"example.org"', '"example.net"'), "utf-8")
    with pytest.raises(DocumentError, match="as long as the service runs") as told:
        await stage.governor.reload(ADMIN)
    assert told.value.code == "restart_needed"
    assert stage.installation.configuration is before
    file.write_text(text, "utf-8")


def test_every_setting_is_live_or_needs_a_restart(tmp_path: Path) -> None:
    write_project(tmp_path)
    settings = read_settings(tmp_path)
    assert set(settings.__struct_fields__) >= reloading.LIVE
    assert needs_restart(settings, settings) == ()


@staged(policies=rule(0))
async def test_what_must_be_prepared_is_ready_before_the_first_decision(stage: Stage) -> None:
    grant = await stage.start()
    seen: list[str] = []

    async def prepare(configuration: Configuration, progress: Progress) -> None:
        progress(0.5, "half of it")
        assert configuration is not stage.installation.configuration
        seen.append((await stage.authorize(grant)).reason.code)

    stage.installation.reloader.prepare = prepare
    write(stage, rule(1))
    await stage.governor.reload(ADMIN)
    assert seen == ["version_0"]

    async def failing(_: Configuration, __: Progress) -> None:
        raise Unavailable("histories_unreadable", "the histories can't be read")

    stage.installation.reloader.prepare = failing
    write(stage, rule(2))
    with pytest.raises(Unavailable, match="histories"):
        await stage.governor.reload(ADMIN)
    assert (await stage.authorize(grant)).reason.code == "version_1"


@staged(policies=rule(0))
async def test_reloads_at_the_same_time_come_one_after_the_other(stage: Stage) -> None:
    write(stage, rule(1))
    found: list[Reloaded] = await asyncio.gather(*(stage.governor.reload(ADMIN) for _ in range(3)))
    assert [each.changed for each in found] == [("policies",), (), ()]


@staged(policies=rule(0))
async def test_who_may_ask_general_questions_is_worked_out_again(stage: Stage) -> None:
    assert stage.governor.may_ask(GATEWAY.id, "dpop") is None
    write(stage, '@id("quiet")\nforbid (principal, action == Remit::Action::"question.ask", resource);\n')
    await stage.governor.reload(ADMIN)
    refusal = stage.governor.may_ask(GATEWAY.id, "dpop")
    assert refusal is not None
    assert refusal.policies[0].id == "quiet"


@staged(policies=rule(0))
async def test_a_service_that_can_start_no_process_reads_the_folder_itself(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent")
    write(stage, rule(1))
    assert (await stage.governor.reload(ADMIN)).changed == ("policies",)


@staged(policies=rule(0))
async def test_a_changed_file_is_seen_once_it_stands_still(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "LOOK_SECONDS", 0.02)
    asked = asyncio.Event()
    watcher = asyncio.create_task(rereading._watch(stage.folder, asked))
    await asyncio.sleep(0.1)
    assert not asked.is_set()
    write(stage, rule(1))
    async with asyncio.timeout(5):
        await asked.wait()
    asked.clear()
    (stage.folder.root / "policies" / "own.cedar").unlink()
    async with asyncio.timeout(5):
        await asked.wait()
    watcher.cancel()
