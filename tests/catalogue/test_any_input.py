"""Whatever a server lists, a file holds or a child writes: a value or one of our errors, and the file always loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.catalogue import child
from remit.catalogue.document import parse_server
from remit.catalogue.merge import import_tools
from remit.catalogue.review import diff, mark_reviewed, unreviewed
from remit.core.errors import RemitError
from tests.catalogue.test_definitions import JSON, KEYS, TOOLS
from tests.catalogue.test_document import PIECES

PATH = Path("s.yaml")
FIELDS = st.tuples(st.text(max_size=2), st.sampled_from(["secret", "email", "password"]), st.text(max_size=2)).map(
    "".join
)
NAMES = st.sampled_from(["a", "get_a", "on", "null", "1e3", "0x1", "-", "...", "pay.it", "A"])
SOUND = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "inputSchema": st.fixed_dictionaries(
                {"properties": st.dictionaries(st.text(), st.just({"type": "string"}) | st.dictionaries(KEYS, JSON))}
            ),
        },
        optional={
            "title": st.text(),
            "description": st.text(),
            "annotations": st.dictionaries(st.text(), JSON),
            "outputSchema": st.fixed_dictionaries(
                {"properties": st.dictionaries(st.text() | FIELDS, st.just({"type": "string"}))}
            ),
        },
    ),
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(TOOLS | SOUND, TOOLS | SOUND)
def test_any_listing_gives_a_file_that_loads_and_so_does_the_next_one(first: Any, second: Any) -> None:
    try:
        before = import_tools("s", first).text
        old = parse_server(before, PATH)
    except RemitError as error:
        assert error.code in ("listing_invalid", "listing_too_large")  # noqa: PT017
        return
    assert import_tools("s", first, previous=before).text == before
    try:
        imported = import_tools("s", second, previous=before)
    except RemitError:
        return
    new = parse_server(imported.text, PATH)
    assert all(entry.reviewed is False for entry in new.entries.values())
    assert (diff(old, new) == "") == (dict(old.entries) == dict(new.entries))


@settings(max_examples=40, deadline=None)
@given(SOUND)
def test_any_entry_can_be_reviewed(tmp_path_factory: pytest.TempPathFactory, tools: list[dict[str, Any]]) -> None:
    text = import_tools("s", tools).text
    names = tuple(parse_server(text, PATH).entries)
    path = tmp_path_factory.mktemp("catalogue") / "s.yaml"
    path.write_text(text, encoding="utf-8")
    assert unreviewed(mark_reviewed(path, names, "person/ana", 0)) == ()


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=20), st.text(min_size=1, max_size=20))
def test_any_file_is_reviewed_as_meant_or_left_alone(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], by: str
) -> None:
    path = tmp_path_factory.mktemp("catalogue") / "deploy.yaml"
    text = "\n".join(pieces)
    path.write_text(text, encoding="utf-8")
    try:
        document = mark_reviewed(path, ["release"], by, 0)
    except RemitError:
        assert path.read_text(encoding="utf-8") == text
        return
    assert document.entries["release"].reviewed is not False


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_of_a_child_is_a_message_or_nothing(line: bytes) -> None:
    message = child._message(line)
    assert message is None or message["jsonrpc"] == "2.0"


@given(JSON)
def test_any_error_of_a_child_has_a_code_and_a_message(error: Any) -> None:
    raised = child._rpc_error(error)
    assert isinstance(raised.code, int)
    assert len(raised.message) <= 200
