"""Replays of temporal policies, of published logs and archives, and of more sessions than are kept in memory."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from remit.app import replaying
from remit.app.embedded import Embedded
from remit.app.folder import Folder
from remit.app.installation import open_installation
from remit.app.project import load_project
from remit.app.recordings import Installed, recordings_of
from remit.app.records import reader_of
from remit.app.replaying import Wanted, configuration_for, replay
from remit.console.replay import Replayed
from remit.core.decisions import Outcome
from remit.core.errors import RemitError
from remit.core.tasks import TaskRequest
from remit.decide import world
from remit.identity.keys import generate_key, private_jwk, thumbprint
from remit.sdk.grant import TaskGrant
from tests.app.test_archiving import LOG, publish, runner
from tests.decide.stage import Stage, staged

SUPPORT = Path(__file__).parents[2] / "examples" / "support"
EXPORT = "support/export_customer"
STEPS = (
    ("open_case", {}, {"case": "CASE-1"}),
    ("verify_customer", {"code": "1111"}, {"verified": True}),
    ("obtain_consent", {}, {"granted": True}),
)


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("replayed") / "support"
    shutil.copytree(SUPPORT, root, ignore=shutil.ignore_patterns(".remit", "__pycache__"))
    folder = Folder(root)
    asyncio.run(_record(folder))
    return folder


async def _record(folder: Folder) -> None:
    """Two tasks: in the first the steps and two exports, in the second the steps and one; a minute between calls."""
    now = 1_793_700_000_000

    def clock() -> int:
        nonlocal now
        now += 1
        return now

    installation = await open_installation(folder, clock)
    try:
        gateway, tickets = (Embedded(installation, path, owns=False) for path in ("pep/gateway", "starter/tickets"))
        for exports in (2, 1):
            key = generate_key()
            workload = "spiffe://support.example/workload/support-bot"
            request = TaskRequest(
                intent="handle-case", workload=workload, key=thumbprint(key), case_type="access-request"
            )
            started = await tickets.start_task(request)
            document = await Embedded(installation, "workload/support-bot", owns=False).svid(thumbprint(key))
            grant = TaskGrant(
                task=started.task.id, token=started.token, svid=document, key=private_jwk(key), workload=workload,
                intent="handle-case", expires=started.task.expires,
            )  # fmt: skip
            for tool, more, output in (*STEPS, *[("export_customer", {}, {})] * exports):
                now += 20_000
                decision = await gateway.authorize(grant, f"support/{tool}", {"customer": "C-1", **more})
                assert decision.permitted, decision.reason
                report = Outcome(
                    decision=decision.id, digest=decision.digest, result="response",
                    output={name: value for name, value in output.items() if tool != "open_case"},
                )  # fmt: skip
                await gateway.report(report)
    finally:
        await installation.close()


def replayed(folder: Folder, policies: Path | None = None, *, cascade: bool = False) -> Replayed:
    parts = {"policies": policies} if policies is not None else {}
    with reader_of(folder) as reader:
        return replay(Installed(reader), configuration_for(folder, None, parts), cascade=cascade)


def proposed(support: Folder, to: Path, file: str, old: str, new: str) -> Path:
    shutil.copytree(support.root / "policies", to / "policies")
    text = (to / "policies" / file).read_text()
    assert old in text
    (to / "policies" / file).write_text(text.replace(old, new))
    return to / "policies"


def test_clauses_of_the_policies_that_decided_change_nothing(support: Folder) -> None:
    found = replayed(support)
    assert (found.unchanged, found.changes) == (11, ())


def test_a_shorter_window_is_evaluated_on_the_recorded_events(support: Folder, tmp_path: Path) -> None:
    policies = proposed(support, tmp_path, "export.dw", "consented(30m,", "consented(30s,")
    found = replayed(support, policies)
    # The first export of each task came 20 s after the consent, the second one 40 s after it.
    assert [(change.category, change.after and change.after.reason) for change in found.changes] == [
        ("newly denied", "steps_missing")
    ]


def test_a_lower_limit_over_all_tasks_is_evaluated_on_what_the_workload_did(support: Folder, tmp_path: Path) -> None:
    policies = proposed(support, tmp_path, "workload/exports.dw", "n < 3", "n < 2")
    (change,) = replayed(support, policies).changes
    assert (change.category, change.after and change.after.reason) == ("newly denied", "too_many_exports")
    policies = proposed(support, tmp_path / "lower", "workload/exports.dw", "n < 3", "n < 1")
    assert replayed(support, policies).counts["newly denied"] == 2
    assert replayed(support, policies, cascade=True).counts["newly denied"] == 2


def test_with_cascade_a_step_that_would_have_been_denied_was_not_done(support: Folder, tmp_path: Path) -> None:
    forbid = '@id("no-cases")\nforbid (principal, action == Remit::Action::"support/open_case", resource);\n'
    policies = proposed(support, tmp_path, "case-types.cedar", "// What the ticket", f"{forbid}// What the ticket")
    assert replayed(support, policies).counts["newly denied"] == 2
    assert replayed(support, policies, cascade=True).counts["newly denied"] == 2 + 3


@staged()
async def test_a_published_log_is_replayed_with_its_archive_and_the_archive_alone(stage: Stage) -> None:
    folder = await publish(stage, 36)
    log, archive = folder.root / LOG, folder.root / "archive"
    _, configuration = load_project(folder)
    whole = replay(recordings_of(log), configuration)
    assert (whole.decisions, whole.unchanged) == (36 * 9, 36 * 9)
    assert runner(folder)("log", "archive", "--before", "0s", str(archive)).exit_code == 0
    together = replay(recordings_of(log, [archive]), configuration)
    assert (together.decisions, together.unchanged) == (whole.decisions, whole.unchanged)
    alone = replay(recordings_of(archive), configuration)
    assert 0 < alone.decisions == alone.unchanged < whole.decisions
    with pytest.raises(RemitError, match="does not follow from those before it"):
        replay(recordings_of(log), configuration)


def test_sessions_that_are_not_in_memory_any_more_are_not_comparable(
    support: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "SESSIONS_IN_MEMORY", 1)
    recorded = list(Installed(reader_of(support)).records())
    late = [each for each in recorded if each.kind == "decision"][-4]
    first = next(each for each in recorded if each.stream.startswith("session/"))
    again = late._replace(stream=first.stream, t=recorded[-1].t, body={**late.body, "id": "d_late", "task": ""})

    class Late:
        count = len(recorded) + 1

        def records(self):  # type: ignore[no-untyped-def]
            return iter([*recorded, again])

    found = replay(Late(), configuration_for(support, None, {}), Wanted())
    assert [change.why for change in found.changes] == [replaying._TOO_MANY]


def traced(*events: str) -> str:
    """Lines of a trace: `<seconds> <tool> <kind> <output>`, of one task."""
    lines = []
    for event in events:
        at, tool, kind, *output = event.split(" ", 3)
        own = 'task: { root: "t_1", id: "t_1" }, callerPrincipal: Remit::Workload::"bot", requestId: "' + at + '"'
        context = 'input: { customer: "C-1" }, task: { root: "t_1", id: "t_1", caseType: "access-request" }'
        asked = 'scope(principal: Remit::Workload::"bot", resource: Remit::Server::"support") '
        asked += f"request_context({context}) "
        fields = ", ".join(['input: { customer: "C-1" }', *output, own])
        lines.append(f'@{at} {asked if kind == "request" else ""}Remit::Action::"support/{tool}"::{kind}({fields})')
    return "\n".join(lines) + "\n"


def test_a_trace_is_put_to_both_configurations(support: Folder, tmp_path: Path) -> None:
    file = tmp_path / "trace.log"
    file.write_text(
        traced(
            "0 open_case response",
            "10 verify_customer response output: { verified: true }",
            "20 export_customer request",
            "30 obtain_consent response output: { granted: true }",
            "60 export_customer request",
            "60 export_customer permitted",
            "120 export_customer request",
        )
    )
    run = runner(support)
    same = json.loads(run("replay", "--trace", str(file), "--json").stdout)
    assert (same["decisions"], same["unchanged"]) == (3, 3)
    policies = proposed(support, tmp_path, "export.dw", "consented(30m,", "consented(1m,")
    found = json.loads(run("replay", "--trace", str(file), "--policies", str(policies), "--json").stdout)
    assert [(change["category"], change["id"]) for change in found["changes"]] == [("newly denied", "120")]
    file.write_text(traced("0 open_case response") + "@1 nonsense\n")
    wrong = run("replay", "--trace", str(file))
    assert wrong.exit_code == 1
    assert f"{file}:2:" in wrong.output
    assert "no such file" in run("replay", "--trace", str(tmp_path / "none")).output
