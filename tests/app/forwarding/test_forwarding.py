"""Records on their way to other systems: at least once, in order, and nothing personal with them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from remit.app.folder import Folder
from remit.app.forwarding import ocsf, otlp, syslog
from remit.app.forwarding.cursor import CursorFile
from remit.app.forwarding.events import Event, Events
from remit.app.forwarding.forwarder import BATCH, Forwarder, Forwarding, chosen, cursor_of, rewind
from remit.app.forwarding.senders import FileSender
from remit.app.installation import open_installation
from remit.app.records import reader_of
from remit.core.errors import Conflict, DocumentError, InvalidInput, NotFound, Unavailable
from remit.core.settings import read_settings
from remit.storage.reader import Stored
from tests.app.forwarding.ocsf_schema import mistakes
from tests.app.forwarding.stage import SECRET, TRACE, act, make, receiving
from tests.app.publisher import LocalAuthority


def forward(name: str, format_: str, to: str, **more: str) -> str:
    rows = "".join(f'{key} = "{value}"\n' for key, value in more.items())
    return f'[[forward]]\nname = "{name}"\nformat = "{format_}"\nto = "{to}"\n{rows}'


def send(folder: Folder, name: str = "siem") -> int:
    forwarding = Forwarding(folder, chosen(read_settings(folder.root), name))
    try:
        with reader_of(folder) as reader:
            return forwarding.send(reader)
    finally:
        forwarding.close()


def stored(folder: Folder) -> list[Stored]:
    with reader_of(folder) as reader:
        return list(reader.records())


def events(folder: Folder) -> list[Event]:
    with reader_of(folder) as reader:
        made = Events(reader)
        return [made.of(each) for each in reader.records()]


# --- OpenTelemetry --------------------------------------------------------------------------------------------------


def test_logs_and_spans_are_joined_to_the_agents_own_trace(tmp_path: Path) -> None:
    with receiving() as receiver:
        folder = make(tmp_path / "p", forward("siem", "otlp", receiver.url))
        permit, denial = asyncio.run(act(folder))
        assert send(folder) == len(stored(folder))
        [logs] = [ExportLogsServiceRequest.FromString(body) for body in receiver.bodies("/v1/logs")]
        [traces] = [ExportTraceServiceRequest.FromString(body) for body in receiver.bodies("/v1/traces")]
    [resource] = logs.resource_logs
    records = resource.scope_logs[0].log_records
    assert len(records) == len(stored(folder))
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {
        "service.name": "remit",
        "service.namespace": "bench.internal",
    }
    spans: dict[str, Span] = {span.name: span for span in traces.resource_spans[0].scope_spans[0].spans}
    assert set(spans) == {"orders/get_order", "orders/no_such_tool", "task answer"}
    task, permitted, denied = spans["task answer"], spans["orders/get_order"], spans["orders/no_such_tool"]
    # The permit belongs to the agent's span, and points to its task; without a trace, a decision is the task's child.
    assert permitted.trace_id.hex() == TRACE[3:35]
    assert permitted.parent_span_id.hex() == TRACE[36:52]
    assert [(link.trace_id, link.span_id) for link in permitted.links] == [(task.trace_id, task.span_id)]
    assert (denied.trace_id, denied.parent_span_id) == (task.trace_id, task.span_id)
    assert permitted.end_time_unix_nano >= permitted.start_time_unix_nano == permit.at * 1_000_000
    assert denied.status.message == denial.reason.code
    assert task.start_time_unix_nano <= permitted.start_time_unix_nano <= task.end_time_unix_nano
    named = [record for record in records if record.span_id == permitted.span_id]
    assert [record.event_name for record in named] == ["remit.decision", "remit.outcome"]


# --- OCSF -----------------------------------------------------------------------------------------------------------


def test_every_event_fits_the_schema_of_ocsf(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", forward("siem", "ocsf", "file:out.jsonl"))
    permit, _ = asyncio.run(act(folder))
    assert send(folder) == len(stored(folder))
    lines = [json.loads(line) for line in (folder.root / "out.jsonl").read_text().splitlines()]
    assert [mistakes(line) for line in lines if mistakes(line)] == []
    assert [line["metadata"]["sequence"] for line in lines] == [each.n for each in stored(folder)]
    decided = [line for line in lines if line["metadata"]["event_code"] == "decision"]
    assert [line["action_id"] for line in decided if line["class_uid"] == 6003] == [1, 2]
    assert decided[-2]["api"]["request"]["uid"] == permit.id
    assert decided[-2]["authorizations"]


def test_a_schema_check_that_can_fail() -> None:
    assert mistakes({"class_uid": 6003, "category_uid": 6, "type_uid": 600302, "activity_id": 2, "what": 1})


# --- nothing personal -----------------------------------------------------------------------------------------------


def test_what_is_personal_is_never_forwarded(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    asyncio.run(act(folder))
    found = events(folder)
    sent = [json.dumps(ocsf.event_of(event)) for event in found]
    sent += [syslog.message_of(event, "host").decode() for event in found]
    sent += [otlp.logs_of(found, 1).decode("latin-1"), otlp.spans_of(found).decode("latin-1")]
    assert not any(SECRET in each for each in sent)


# --- at least once, in order ----------------------------------------------------------------------------------------


def test_what_was_refused_is_sent_again_and_nothing_is_left_out(tmp_path: Path) -> None:
    with receiving() as receiver:
        folder = make(tmp_path / "p", forward("siem", "ocsf", receiver.url + "/events?source=remit"))
        asyncio.run(act(folder, permits=BATCH))
        receiver.answers = [503]
        with pytest.raises(Unavailable, match="answers 503"):
            send(folder)
        assert cursor_of(folder, "siem").read().place == 0
        receiver.answers = [200, 500]  # the second batch is refused
        with pytest.raises(Unavailable):
            send(folder)
        assert cursor_of(folder, "siem").read().place == BATCH
        send(folder)
        accepted = [body for number, (_, _, body) in enumerate(receiver.requests) if number not in (0, 2)]
        got = [json.loads(line)["metadata"]["uid"] for body in accepted for line in body.splitlines()]
        assert got == [event.uid for event in events(folder)]
        assert send(folder) == 0


def test_a_redirect_is_no_receipt(tmp_path: Path) -> None:
    with receiving() as receiver:
        folder = make(tmp_path / "p", forward("siem", "ocsf", receiver.url))
        asyncio.run(act(folder))
        receiver.answers = [307]
        with pytest.raises(Unavailable, match="answers 307"):
            send(folder)
        assert [path for path, _, _ in receiver.requests] == ["/"]


def test_a_line_that_a_crash_cut_off_stays_one_line(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", forward("siem", "ocsf", "file:out.jsonl"))
    asyncio.run(act(folder))
    (folder.root / "out.jsonl").write_text('{"cut": "of')
    send(folder)
    first, *rest = (folder.root / "out.jsonl").read_text().splitlines()
    assert first == '{"cut": "of'
    assert all(json.loads(line) for line in rest)


def test_a_cursor_of_other_records_is_refused(tmp_path: Path) -> None:
    """After a restore, going on by number would leave records out without anybody noticing."""
    folder = make(tmp_path / "p", forward("siem", "ocsf", "file:out.jsonl"))
    asyncio.run(act(folder))
    send(folder)
    other = make(tmp_path / "other", forward("siem", "ocsf", "file:out.jsonl"))
    asyncio.run(act(other))
    cursor_of(other, "siem").write(cursor_of(folder, "siem").read())
    with pytest.raises(Conflict, match="not in these records"):
        send(other)
    with reader_of(other) as reader:
        assert rewind(other, "siem", "start", reader).place == 0
        assert send(other) == len(stored(other))
        assert rewind(other, "siem", "now", reader).place == len(stored(other))
    assert send(other) == 0


@pytest.mark.parametrize("text", ["", "{}x", "[]", '{"place": -1}', '{"place": 1, "what": 2}'])
def test_a_cursor_that_is_something_else(tmp_path: Path, text: str) -> None:
    file = CursorFile(tmp_path / "forward/siem.json")
    assert file.read().place == 0
    file.write(msgspec.structs.replace(file.read(), place=3))
    assert file.read().place == 3
    (tmp_path / "forward/siem.json").write_text(text)
    with pytest.raises(InvalidInput, match="no cursor"):
        file.read()


def test_one_process_sends_to_a_receiver(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", forward("siem", "ocsf", "file:out.jsonl"))
    with (
        cursor_of(folder, "siem").alone(),
        pytest.raises(Conflict, match="another process"),
        cursor_of(folder, "siem").alone(),
    ):
        pass
    with pytest.raises(NotFound, match="no `\\[\\[forward\\]\\]` named"):
        chosen(read_settings(folder.root), "other")


def test_a_full_disk_moves_no_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "p", forward("siem", "ocsf", "file:out.jsonl"))
    asyncio.run(act(folder))

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("remit.app.forwarding.senders.os.write", full)
    with pytest.raises(Unavailable, match="no space left"):
        send(folder)
    assert cursor_of(folder, "siem").read().place == 0


# --- TLS and headers ------------------------------------------------------------------------------------------------


def test_a_receiver_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    authority = LocalAuthority()
    context = authority.server(tmp_path, x509.DNSName("localhost"))
    authority.pem(tmp_path / "ca.pem")
    token = tmp_path / "headers"
    token.write_text("Authorization: Bearer secret\n")
    token.chmod(0o600)
    with receiving(context) as receiver:
        to = receiver.url.replace("127.0.0.1", "localhost")
        trusted = forward("siem", "ocsf", to, ca_file="../ca.pem", headers_file="../headers")
        folder = make(tmp_path / "p", trusted + forward("other", "ocsf", to))
        asyncio.run(act(folder))
        with pytest.raises(Unavailable, match="not trusted"):
            send(folder, "other")
        assert receiver.requests == []
        send(folder)
        assert receiver.requests[0][1]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("text", ["hunter2 secret", "A\x01: b", "Bad name: x", ": x"])
def test_a_header_file_that_is_none_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "headers").write_text(text)
    (tmp_path / "headers").chmod(0o600)
    folder = make(tmp_path / "p", forward("siem", "otlp", "https://x.example.org", headers_file="../headers"))
    with pytest.raises(DocumentError) as raised:
        Forwarder(folder, chosen(read_settings(folder.root), "siem"))
    assert text not in str(raised.value)


@pytest.mark.parametrize(
    ("format_", "to", "says"),
    [
        ("otlp", "http://collector.example.org:4318", "not encrypted"),
        ("syslog", "tcp://logs.example.org:514", "not encrypted"),
        ("syslog", "udp://127.0.0.1:514", "no receiver of syslog"),
        ("syslog", "tls://logs.example.org", "not host and port"),
        ("otlp", "file:x", "no receiver of otlp"),
        ("ocsf", "file:", "names no file"),
        ("ocsf", "https://user:word@siem.example.org", "no receiver"),
        ("ocsf", "https://siem.example.org:x", "no receiver"),
    ],
)
def test_a_receiver_that_can_not_be_reached_safely_stops_the_start(
    tmp_path: Path, format_: str, to: str, says: str
) -> None:
    folder = make(tmp_path / "p", forward("siem", format_, to))
    with pytest.raises(DocumentError, match=says):
        read_settings(folder.root)


# --- syslog ---------------------------------------------------------------------------------------------------------


def _event(**given: Any) -> Event:
    return Event(stored=Stored(1, "administration", 1, b""), td="x", kind="decision", at=0, **given)


@given(st.text(), st.text())
def test_no_name_can_end_a_message_or_its_structured_data(name: str, text: str) -> None:
    message = syslog.message_of(_event(action=name, text="".join(c for c in text if c.isprintable())), "host")
    assert len(message) <= syslog.MESSAGE_BYTES
    whole = message.decode()
    assert "\n" not in whole
    data = whole[whole.index("[remit@") :]
    place, quoted = 1, False
    while data[place] != "]" or quoted:
        if data[place] == "\\" and quoted:
            place += 1
        elif data[place] == '"':
            quoted = not quoted
        place += 1
    assert data[place + 1 : place + 3] == " \ufeff"


# --- beside decisions -----------------------------------------------------------------------------------------------


def test_the_service_forwards_while_it_decides_and_goes_on_after_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("remit.app.forwarding.forwarder.AGAIN_SECONDS", (0.02,))
    monkeypatch.setattr("remit.app.forwarding.forwarder.EVERY_SECONDS", 0.02)

    async def story() -> None:
        with receiving() as receiver:
            receiver.answers = [503, 503]
            folder = make(tmp_path / "p", forward("siem", "ocsf", receiver.url))
            opened = await open_installation(folder)
            forwarder = Forwarder(folder, chosen(opened.settings, "siem"))
            forwarder.start()
            try:
                for _ in range(3):
                    await act(folder, opened=opened)
                async with asyncio.timeout(20):
                    while cursor_of(folder, "siem").read().place < len(stored(folder)):
                        await asyncio.sleep(0.02)
            finally:
                await asyncio.to_thread(forwarder.stop)
                await opened.close()
            assert any("ALARM nothing is forwarded" in record.message for record in caplog.records)
            assert any("again" in record.message for record in caplog.records)
            assert forwarder.failing == ""

    asyncio.run(story())


def test_a_record_that_can_not_be_read_is_an_event_too(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    asyncio.run(act(folder))
    with sqlite3.connect(folder.database) as db:
        db.execute("UPDATE records SET bytes = x'7b7d' WHERE seq = 3")
    db.close()
    found = events(folder)
    assert found[2].kind == "unreadable"
    assert mistakes(ocsf.event_of(found[2])) == []
    syslog.message_of(found[2], "host")
    otlp.logs_of(found, 1)


def test_a_file_is_private_and_can_be_rotated(tmp_path: Path) -> None:
    sender = FileSender(tmp_path / "out.jsonl")
    sender.send([_event(text="one")], 0)
    os.replace(tmp_path / "out.jsonl", tmp_path / "out.1.jsonl")
    sender.send([_event(text="two")], 0)
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert "two" in (tmp_path / "out.jsonl").read_text()
