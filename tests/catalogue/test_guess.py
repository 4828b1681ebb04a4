from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from remit.catalogue.definitions import read_definition, read_listing
from remit.catalogue.effect import effect_of
from remit.catalogue.guess import guess
from remit.catalogue.verbs import OBJECTS, RANK, SENTENCES, VERBS
from remit.core.effects import EFFECTS
from remit.core.errors import RemitError
from tests.catalogue.test_definitions import TOOLS
from tests.catalogue.tools import PAY, tool


def _effect(name: str, description: str = "", *arguments: str, **rest: Any) -> str:
    return effect_of(read_definition(tool(name, description, *arguments, **rest))).effect


def test_every_effect_has_a_rank_and_every_rule_a_reason() -> None:
    assert sorted(RANK) == sorted(EFFECTS)
    assert {rule.effect for rule in VERBS} == set(EFFECTS)
    reasons = [rule.because for rule in VERBS] + [rule.because for rule in OBJECTS]
    assert all(reason[0].islower() for reason in reasons + [rule.because for rule in SENTENCES])


def test_no_verb_stands_in_two_rules() -> None:
    seen: dict[str, str] = {}
    for rule in VERBS:
        for word in rule.verbs | rule.nouns:
            assert word not in seen, f"{word} is in {seen.get(word)} and {rule.effect}"
            seen[word] = rule.effect


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("list_files", "read"),
        ("searchDocuments", "read"),
        ("get-deploy-keys", "read"),
        ("email_search", "read"),
        ("create_page", "write"),
        ("find_and_replace", "write"),
        ("list_or_delete_users", "delete"),
        ("create_issue", "send"),
        ("add_issue_comment", "send"),
        ("create_pull_request", "send"),
        ("create_draft_email", "write"),
        ("post_message", "send"),
        ("slack_reply_to_thread", "send"),
        ("add_collaborator", "share"),
        ("update_file_permissions", "share"),
        ("publish_article", "share"),
        ("delete_branch", "delete"),
        ("drop_table", "delete"),
        ("run_command", "execute"),
        ("browser_click", "execute"),
        ("set_webhook", "configure"),
        ("update_user", "configure"),
        ("deploy_service", "deploy"),
        ("merge_pull_request", "deploy"),
        ("create_release", "deploy"),
        ("export_customers", "export"),
        ("transfer_funds", "pay"),
        ("create_payment_link", "pay"),
        ("confirm_order", "pay"),
        ("place_order", "pay"),
        ("return_order", "pay"),
        ("update_scheduled_transaction", "pay"),
        ("frobnicate", "execute"),
    ],
)
def test_effect_by_name(name: str, effect: str) -> None:
    assert _effect(name) == effect


def test_description_raises_what_the_name_plays_down() -> None:
    assert _effect("get_ready", "Deletes all files of the project.") == "delete"
    assert _effect("view_report", "Shows the report. It will also email the members of the team.") == "send"
    assert _effect("refresh", "Get the list. This can't be undone.") == "delete"


def test_description_does_not_lower_what_the_name_says() -> None:
    assert _effect("delete_account", "Only reads the account, nothing is changed.") == "delete"
    assert _effect("send_money", "Returns the balance.") == "pay"


def test_arguments_raise_the_effect() -> None:
    assert _effect("get_output", "Gets the output.", "command") == "execute"
    assert _effect("fetch", "Fetches a page.", "url", "method", "body") == "send"
    assert _effect("update_entry", "", "amount:number", "recipient") == "pay"
    assert _effect("query", "Queries the database.", "sql") == "execute"


@pytest.mark.parametrize("hints", [{"readOnlyHint": True}, {"destructiveHint": False}, {"openWorldHint": False}])
@pytest.mark.parametrize("name", ["delete_account", "send_money", "write_file", "frobnicate", "get_page"])
def test_hint_of_a_stranger_never_lowers_the_risk(name: str, hints: dict[str, bool]) -> None:
    plain, hinted = (guess(read_definition(tool(name, "", "url", annotations=each))) for each in ({}, hints))
    assert RANK.index(hinted.effect) >= RANK.index(plain.effect)
    assert hinted.trusted <= plain.trusted
    assert set(hinted.selectors) >= set(plain.selectors)


def test_hint_of_a_stranger_may_raise_the_risk() -> None:
    assert _effect("get_page", annotations={"readOnlyHint": False}) == "write"
    assert _effect("get_page", annotations={"destructiveHint": True}) == "delete"
    assert _effect("reset_index", annotations={"readOnlyHint": False, "destructiveHint": True}) == "delete"
    balance = guess(read_definition(tool("get_balance", "Gets the balance.", annotations={"openWorldHint": True})))
    assert not balance.trusted


def test_hint_of_a_wrong_type_is_nothing() -> None:
    assert _effect("get_page", annotations={"readOnlyHint": "false", "destructiveHint": 1}) == "read"


def test_one_time_code_completes_a_payment() -> None:
    assert _effect("verify_transaction", "Verify your transaction.", "otp") == "pay"
    assert _effect("verify_account", "Verify your account.", "otp") == "configure"
    assert _effect("verify_signature", "Verify a signature.", "signature") == "read"


def test_whole_guess_of_a_payment() -> None:
    entry = guess(read_definition(PAY))
    assert entry.effect == "pay"
    assert entry.selectors == ("invoice", "amount", "account")
    assert entry.content == ("note",)
    assert entry.personal == ("input.account", "output.payment.iban", "output.token_secret")
    assert entry.redact == ("token_secret",)
    assert not entry.trusted
    assert entry.reviewed is False
    assert entry.destination == ""


def test_every_guess_has_a_reason_of_one_sentence() -> None:
    entry = guess(read_definition(PAY))
    wanted = {"effect", "trusted", *(f"selectors.{name}" for name in entry.selectors)}
    wanted |= {f"content.{name}" for name in entry.content} | {f"personal.{path}" for path in entry.personal}
    wanted |= {f"labels.{label}" for label in entry.labels} | {f"redact.{path}" for path in entry.redact}
    assert wanted == entry.why.keys()
    assert all(reason and "\n" not in reason and not reason.endswith(".") for reason in entry.why.values())


@pytest.mark.parametrize(
    ("argument", "role", "personal"),
    [
        ("comment_body", "content", False),
        ("recipient_message", "content", False),
        ("message_recipient", "selectors", True),
        ("email_id", "selectors", False),
        ("password", "selectors", True),
        ("max_tokens:integer", "selectors", False),
        ("channel", "selectors", False),
        ("force:boolean", "selectors", False),
        ("whatsit", "selectors", False),
        ("first_name", "selectors", True),
    ],
)
def test_role_of_an_argument(argument: str, role: str, personal: bool) -> None:
    entry = guess(read_definition(tool("update_thing", "", argument)))
    name = argument.partition(":")[0]
    assert name in getattr(entry, role)
    assert (f"input.{name}" in entry.personal) is personal


@pytest.mark.parametrize(
    ("arguments", "destination"),
    [
        (("url",), "input.url"),
        (("callback_url", "body"), "input.callback_url"),
        (("path",), ""),
        (("port:integer",), ""),
        (("host", "port:integer"), "input.host"),
        (("urls:array",), ""),
    ],
)
def test_destination(arguments: tuple[str, ...], destination: str) -> None:
    assert guess(read_definition(tool("fetch_page", "", *arguments))).destination == destination


def test_destination_that_only_the_schema_tells() -> None:
    schema = {"type": "object", "properties": {"page": {"type": "string", "format": "uri"}}}
    assert guess(read_definition({"name": "open_page", "inputSchema": schema})).destination == "input.page"


@pytest.mark.parametrize(
    ("definition", "trusted", "labels"),
    [
        (tool("get_balance", "Get the balance of the account."), True, ("financial",)),
        (tool("get_current_time", "Returns the time.", "timezone"), True, ()),
        (tool("get_inbox", "Returns all emails."), False, ("personal", "untrusted")),
        (tool("read_secret", "Reads a secret of the vault.", "name"), False, ("secret", "untrusted")),
        (tool("get_time_of_message", "", "message_id"), False, ("untrusted",)),
        (tool("write_file", "", "path"), False, ()),
    ],
)
def test_what_results_carry(definition: dict[str, Any], trusted: bool, labels: tuple[str, ...]) -> None:
    entry = guess(read_definition(definition))
    assert (entry.trusted, entry.labels) == (trusted, labels)


@settings(max_examples=300, deadline=None)
@given(TOOLS)
def test_any_tools_give_guesses_or_our_error(tools: Any) -> None:
    try:
        listing = read_listing(tools)
    except RemitError:
        return
    for definition in listing.tools:
        assert guess(definition).effect in EFFECTS
