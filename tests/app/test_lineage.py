"""`remit lineage` over real records: values are joined across tasks, follow erasures, and survive restored records."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from remit.app import lineage
from remit.app.folder import Folder
from remit.app.lineage import Forgetter, catch_up, erased_by, open_lineage
from remit.app.records import reader_of
from remit.console.lineage import Lines, flows, lineage_of
from remit.core.erasing import Erasing
from remit.core.errors import DocumentError
from remit.ledger.record import encode_record
from remit.storage.lineage_values import normal
from tests.console.stories import PROJECT, Written, decision, eventful, opening, outcome
from tests.decide.stage import ADMIN, INVOICE, LOOKUP, PAY, READ, START, Stage
from tests.storage.contract.stages import staged_on


def lines_of(folder: Folder, value: str, *, task: str = "", since: int = 0) -> Lines:
    wanted = normal(value)
    assert wanted is not None
    with reader_of(folder) as reader, open_lineage(folder) as index:
        catch_up(reader, index)
        sightings, total = index.find([wanted], 1_000)
        return lineage_of(reader, sightings, total, task=task, since=since)


def said(lines: Lines) -> list[tuple[str, str, str, str]]:
    return [(use.role, use.what, use.name, use.result) for use in lines.uses]


# --- what is joined -------------------------------------------------------------------------------------------


@staged_on("sqlite", "postgres")
async def test_a_value_is_followed_from_a_result_and_a_parameter_into_a_call(stage: Stage) -> None:
    grant = await stage.start_payment()
    paid = await stage.permit(grant, PAY, {"invoice": "INV-1", "account": "DE89", "amount": 120.5})
    lines = lines_of(stage.folder, "DE89")
    assert said(lines) == [
        ("parameter", "pay-invoice", "account", ""),
        ("result", READ, "account", "response"),
        ("argument", PAY, "account", "permit"),
    ]
    assert lines.uses[-1].held_before == [0, 1]
    assert lines.uses[-1].decision == paid.id
    # A decimal of the tool, a parameter and an argument are one value, however they were written.
    assert [role for role, *_ in said(lines_of(stage.folder, "120.50"))] == ["parameter", "result", "argument"]


@staged_on("sqlite", "postgres")
async def test_a_value_in_two_tasks_is_joined(stage: Stage) -> None:
    first = await stage.start()
    read = await stage.permit(first, READ, INVOICE)
    await stage.report(read, output={"account": "DE89"})
    await stage.end(first)
    stage.clock.pass_(5_000)
    second = await stage.start()
    await stage.permit(second, LOOKUP, {"email": "DE89"})
    lines = lines_of(stage.folder, "DE89")
    assert [use.root for use in lines.uses] == [first.task, second.task]
    assert (lines.uses[1].held_before, lines.uses[1].elsewhere) == ([], [0])
    sources, calls, edges = flows(lines)
    assert (len(sources), len(calls), edges) == (1, 1, {(0, 0): (1, 1)})
    assert said(lines_of(stage.folder, "DE89", task=second.task)) == [("argument", LOOKUP, "email", "permit")]
    assert len(lines_of(stage.folder, "DE89", since=lines.uses[1].at).uses) == 1


@staged_on("sqlite", **PROJECT)
async def test_what_nothing_held_before_is_said_to_be_so(stage: Stage) -> None:
    await eventful(stage)
    lines = lines_of(stage.folder, "evil.test")
    assert said(lines) == [("destination", "web/fetch", "host", "deny")]
    assert flows(lines)[2] == {(-1, 0): (1, 0)}


@staged_on("sqlite", "postgres")
async def test_what_comes_later_is_added_and_nothing_twice(stage: Stage) -> None:
    grant = await stage.start()
    for number in range(1, 4):
        await stage.permit(grant, READ, INVOICE)
        assert len(lines_of(stage.folder, "INV-1").uses) == number
        assert len(lines_of(stage.folder, "INV-1").uses) == number


def test_a_long_value_is_found_by_its_digest(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    text = "é" * 4_000
    written = Written(folder.database)
    written.add("task", opening("t_1"))
    stand = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text.encode())}
    written.add("decision", decision(1, "t_1", context={"input": {"body": stand}}))
    written.close()
    with reader_of(folder) as reader, open_lineage(folder) as index:
        catch_up(reader, index)
        assert index.find([f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"], 5)[1] == 1


def written_project(tmp_path: Path) -> Folder:
    (tmp_path / "remit.toml").write_text('trust_domain = "example.org"\n')
    (tmp_path / ".remit").mkdir(mode=0o700)
    return Folder(tmp_path)


# --- erasing --------------------------------------------------------------------------------------------------


def bytes_of(folder: Folder) -> bytes:
    return b"".join(file.read_bytes() for file in folder.state.glob("lineage.db*"))


def mac_of(folder: Folder, value: str) -> bytes:
    with open_lineage(folder) as index:
        return index.mac(value)


@staged_on("sqlite", "postgres")
async def test_an_erased_value_leaves_no_trace(stage: Stage) -> None:
    grant = await stage.start(prompt="kim@example.org")
    found = await stage.permit(grant, LOOKUP, {"email": "kim@example.org"})
    await stage.report(found, output={"name": "Kim", "team": "red"})
    assert len(lines_of(stage.folder, "kim@example.org").uses) == 2
    macs = [mac_of(stage.folder, value) for value in ("kim@example.org", "Kim")]
    assert all(mac in bytes_of(stage.folder) for mac in macs)
    await erase(stage, grant.task)
    assert lines_of(stage.folder, "kim@example.org").uses == []
    assert lines_of(stage.folder, "Kim").uses == []
    assert [mac for mac in macs if mac in bytes_of(stage.folder)] == []
    assert said(lines_of(stage.folder, "red")) == [("result", LOOKUP, "team", "response")], "what is not personal stays"
    # Not even by making it anew.
    stage.folder.lineage.unlink()
    assert lines_of(stage.folder, "Kim").uses == []
    assert [mac for mac in macs if mac in bytes_of(stage.folder)] == []


@staged_on("sqlite", "postgres")
async def test_a_service_takes_out_what_is_erased_without_being_asked(stage: Stage) -> None:
    patched = pytest.MonkeyPatch()
    patched.setattr(lineage, "EVERY_SECONDS", 0.02)
    patched.setattr(lineage, "RENEWED", 3)
    forgetter = Forgetter(stage.folder)
    forgetter.start()
    try:
        for number in range(4):
            grant = await stage.start(prompt=f"kim{number}@example.org")
            assert len(lines_of(stage.folder, f"kim{number}@example.org").uses) == 1
            mac = mac_of(stage.folder, f"kim{number}@example.org")
            await erase(stage, grant.task)
            await until(lambda mac=mac: mac not in bytes_of(stage.folder))  # type: ignore[misc]  # a default binds it
    finally:
        await asyncio.to_thread(forgetter.stop)
        patched.undo()


@staged_on("sqlite")
async def test_a_service_takes_out_what_was_erased_while_none_ran(stage: Stage) -> None:
    grant = await stage.start(prompt="kim@example.org")
    lines_of(stage.folder, "kim@example.org")
    mac = mac_of(stage.folder, "kim@example.org")
    await erase(stage, grant.task)
    assert mac in bytes_of(stage.folder)
    forgetter = Forgetter(stage.folder)
    forgetter.start()
    try:
        await until(lambda: mac not in bytes_of(stage.folder))
    finally:
        await asyncio.to_thread(forgetter.stop)


@staged_on("sqlite", "postgres")
async def test_what_went_with_a_key_without_being_named_is_taken_out_too(stage: Stage) -> None:
    grant = await stage.start(prompt="kim@example.org")
    lines_of(stage.folder, "kim@example.org")
    with reader_of(stage.folder) as reader, open_lineage(stage.folder) as index:
        await erase(stage, grant.task)
        erasures = [each for each in reader.stream("administration") if b'"kind":"erasure"' in each.data]
        body = erasures[-1].record.body | {"openings": [], "keys": ["0" * 16]}
        unnamed = encode_record("example.org", "administration", 99, "", START, "erasure", body)
        lineage.forget_erased(reader, index, [erasures[-1]._replace(data=unnamed)])
    assert mac_of(stage.folder, "kim@example.org") not in bytes_of(stage.folder)


def test_an_erasure_that_cant_be_read_leaves_nothing_personal(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    written = Written(folder.database)
    written.add("task", opening("t_1", params={"invoice": "INV-1"}))
    assert len(lines_of(folder, "INV-1").uses) == 1
    written.add("erasure", {"openings": "of a later version"}, "administration")
    written.close()
    with reader_of(folder) as reader, open_lineage(folder) as index:
        catch_up(reader, index)
        assert index.size() == (0, 0)
    with pytest.raises(ValueError, match="place"):
        list(erased_by({"openings": [[1, 2, 3]]}))


async def erase(stage: Stage, task: str) -> None:
    """Erases everything personal of a session."""
    stream = f"session/{task}"
    with reader_of(stage.folder) as reader:
        places = [
            (stream, each.n, path) for each in reader.stream(stream) for path, *_ in reader.openings(stream, each.n)
        ]
    await stage.governor.erase(ADMIN, Erasing(what="task", reason="asked for", places=tuple(places)))


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to be")


# --- other records, other keys ----------------------------------------------------------------------------------


def test_records_that_were_restored_from_an_older_copy_are_read_anew(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    written = Written(folder.database)
    written.add("task", opening("t_1", params={"invoice": "INV-1"}))
    written.add("decision", decision(1, "t_1", context={"input": {"invoice": "INV-1"}}))
    assert len(lines_of(folder, "INV-1").uses) == 2
    written.close()
    folder.database.unlink()
    written = Written(folder.database, now=1_795_000_009_000)
    written.add("task", opening("t_1", params={"invoice": "INV-2"}))
    written.add("decision", decision(1, "t_1", context={"input": {"invoice": "INV-2"}}))
    written.close()
    assert len(lines_of(folder, "INV-2").uses) == 2
    assert lines_of(folder, "INV-1").uses == []


def test_an_erasure_after_a_restore_is_followed_too(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    written = Written(folder.database)
    written.add("task", opening("t_1", params={"invoice": "INV-1"}))
    for _ in range(3):
        written.add("erasure", {"openings": []}, "administration")
    assert len(lines_of(folder, "INV-1").uses) == 1
    written.close()
    folder.database.unlink()
    written = Written(folder.database, now=1_795_000_009_000)
    written.add("erasure", {"openings": []}, "administration")
    written.close()
    with reader_of(folder) as reader:
        lineage.forget_now(folder, reader)
    with open_lineage(folder) as index:
        assert index.size() == (0, 0), "nothing of what was there before is left"
        assert index.erased() == 1


def test_a_new_key_makes_the_index_anew_and_an_exposed_one_is_refused(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    written = Written(folder.database)
    written.add("task", opening("t_1", params={"invoice": "INV-1"}))
    written.close()
    assert len(lines_of(folder, "INV-1").uses) == 1
    before = mac_of(folder, "INV-1")
    folder.lineage_key.unlink()
    assert len(lines_of(folder, "INV-1").uses) == 1
    assert before not in bytes_of(folder)
    folder.lineage_key.chmod(0o644)
    with pytest.raises(DocumentError, match="others can read it"):
        open_lineage(folder)


def test_a_forged_record_is_counted_and_the_rest_is_told(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    written = Written(folder.database)
    written.add("task", opening("t_1", params={"invoice": "INV-1"}))
    written.add("decision", {"action": "s/t", "id": 5, "context": {"input": {"i": "INV-1"}}})
    written.add("outcome", outcome(9, selected={"i": "INV-1"}))
    written.close()
    lines = lines_of(folder, "INV-1")
    assert (len(lines.uses), lines.unreadable) == (2, 1)


def test_two_that_follow_at_once_add_everything_once(tmp_path: Path) -> None:
    folder = written_project(tmp_path)
    written = Written(folder.database)
    written.begin()
    for number in range(3_000):
        written.add("decision", decision(number, "t_1", context={"input": {"i": "INV-1", "n": str(number)}}))
    written.close()

    def follow() -> None:
        with reader_of(folder) as reader, open_lineage(folder) as index:
            catch_up(reader, index)

    open_lineage(folder).__exit__()
    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_lineage(folder) as index:
        assert index.find(["INV-1"], 1)[1] == 3_000
        assert index.size()[0] == 6_000
