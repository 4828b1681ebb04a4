"""The table of methods, beside the maps of the installed MCP SDK."""

from __future__ import annotations

from mcp_types import methods as sdk

from remit.enforce.methods import (
    CLIENT_NOTIFICATIONS,
    CLIENT_REQUESTS,
    CONTINUED,
    SERVER_NOTIFICATIONS,
    SERVER_REQUESTS,
    method_input,
)


def test_every_method_of_the_protocol_has_a_rule() -> None:
    assert {method for method, _ in sdk.CLIENT_REQUESTS} == set(CLIENT_REQUESTS)
    assert {method for method, _ in sdk.SERVER_REQUESTS} == set(SERVER_REQUESTS)
    assert {method for method, _ in sdk.CLIENT_NOTIFICATIONS} == set(CLIENT_NOTIFICATIONS)
    assert {method for method, _ in sdk.SERVER_NOTIFICATIONS} == set(SERVER_NOTIFICATIONS)


def test_methods_that_may_ask_for_input_are_the_protocols() -> None:
    assert set(sdk.INPUT_REQUIRED_METHODS) == set(CONTINUED)


def test_methods_that_carry_content_are_never_passed_undecided() -> None:
    for method in ("tools/call", "resources/read", "prompts/get", "completion/complete", "resources/subscribe"):
        assert CLIENT_REQUESTS[method] != "pass"
    for method in ("sampling/createMessage", "elicitation/create"):
        assert SERVER_REQUESTS[method] == "ask"


def test_a_method_is_decided_without_the_protocols_own_metadata() -> None:
    params = {"uri": "file:///a", "_meta": {"progressToken": 1}, "inputResponses": {}, "requestState": "s"}
    assert method_input(params) == {"uri": "file:///a"}
