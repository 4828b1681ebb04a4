from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.canonical import request_digest
from remit.core.decisions import AccessRequest, Approval, Decision, Reason
from remit.core.errors import Conflict, InvalidInput, RemitError
from remit.sdk.arguments import check_arguments
from remit.sdk.permit import HandedOut, Permit, Refused

INPUT = {"amount": "12.00", "to": ["a"]}


def decision(**change: Any) -> Decision:
    fields: dict[str, Any] = {
        "id": "d_1",
        "effect": "permit",
        "reason": Reason(code="permitted", message="permitted by policy"),
        "action": "payments/pay",
        "digest": request_digest("payments/pay", INPUT),
        "at": 1000,
        "expires": 6000,
    }
    return Decision(**{**fields, **change})


class Watch:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_used_once() -> None:
    permit = Permit(decision(), 100.0, Watch())
    permit.use("payments/pay", {"to": ["a"], "amount": "12.00"})
    with pytest.raises(Conflict) as caught:
        permit.use("payments/pay", INPUT)
    assert caught.value.code == "permit_spent"


@pytest.mark.parametrize(
    ("action", "input"),
    [
        ("payments/pay", {**INPUT, "amount": "13.00"}),
        ("payments/pay", {}),
        ("payments/refund", INPUT),
        ("payments/pay", {**INPUT, "extra": None}),
    ],
)
def test_a_permit_used_for_other_arguments(action: str, input: dict[str, Any]) -> None:
    permit = Permit(decision(), 100.0, Watch())
    with pytest.raises(Refused) as caught:
        permit.use(action, input)
    assert caught.value.code == "permit_mismatch"
    with pytest.raises(Conflict):
        permit.use("payments/pay", INPUT)


def test_arguments_changed_after_the_question() -> None:
    input: dict[str, Any] = {"amount": "12.00", "to": ["a"]}
    permit = Permit(decision(), 100.0, Watch())
    input["to"].append("b")
    with pytest.raises(Refused):
        permit.use("payments/pay", input)


@pytest.mark.parametrize(("seconds", "expires", "good"), [(4.9, 6000, True), (5.0, 6000, False), (2.0, 2500, False)])
def test_held_five_seconds_at_most(seconds: float, expires: int, good: bool) -> None:
    watch = Watch()
    permit = Permit(decision(expires=expires), 100.0, watch)
    watch.now += seconds
    if good:
        permit.use("payments/pay", INPUT)
    else:
        with pytest.raises(Refused) as caught:
            permit.use("payments/pay", INPUT)
        assert caught.value.code == "permit_expired"


def test_a_permit_that_says_it_lives_long_lives_five_seconds() -> None:
    watch = Watch()
    permit = Permit(decision(expires=10**15), 100.0, watch)
    watch.now += 5.1
    with pytest.raises(Refused):
        permit.use("payments/pay", INPUT)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"effect": "deny", "reason": Reason(code="not_justified", message="no")}, "not_justified"),
        ({"probe": True}, "not_authorized"),
        ({"id": ""}, "not_authorized"),
    ],
)
def test_what_is_no_recorded_permit_makes_none(change: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        Permit(decision(**change), 100.0)
    assert caught.value.code == code


def test_one_of_many_threads_wins() -> None:
    permit = Permit(decision(), 100.0, Watch())
    won: list[int] = []
    start = threading.Barrier(8)

    def contend(number: int) -> None:
        start.wait()
        try:
            permit.use("payments/pay", INPUT)
        except RemitError:
            return
        won.append(number)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_decision_is_handed_out_once_while_it_could_be_used() -> None:
    watch = Watch()
    handed_out = HandedOut(watch)
    handed_out.permit(decision(), watch.now)
    with pytest.raises(Conflict) as caught:
        handed_out.permit(decision(), watch.now)
    assert caught.value.code == "permit_spent"
    handed_out.permit(decision(id="d_2"), watch.now)
    watch.now += 60
    handed_out.permit(decision(id="d_3"), watch.now)
    assert len(handed_out._until) == 1


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        float("nan"),
        2**64,
        b"x",
        {1: 2},
        (1, 2),
        {1, 2},
        object(),
        "\ud800",
        {"\ud800": 1},
        [0] * 20_001,
    ],
)
def test_arguments_that_json_would_change(value: Any) -> None:
    with pytest.raises(InvalidInput):
        check_arguments({"a": value})


def test_arguments_nested_too_deeply() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(InvalidInput) as caught:
        check_arguments({"a": value})
    assert caught.value.code == "arguments_too_deep"


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
            lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_accepted_arguments_survive_the_wire(value: dict[str, Any]) -> None:
    import msgspec

    try:
        check_arguments(value)
    except InvalidInput:
        return
    assert request_digest("a/b", msgspec.json.decode(msgspec.json.encode(value))) == request_digest("a/b", value)


def test_a_refusal_that_a_person_could_overcome_says_what_to_ask_for() -> None:
    request = AccessRequest(
        subject="spiffe://example.org/workload/a", approvals=(Approval(policy="p"),), selectors=INPUT
    )
    reason = Reason(code="unusual_tool", message="it is unusual")
    with pytest.raises(Refused) as caught:
        Permit(decision(effect="deny", expires=0, reason=reason, requestable=True, request=request), 100.0, Watch())
    assert "what to ask for: `payments/pay` with amount" in caught.value.next_step
    assert caught.value.answer is not None
    assert caught.value.answer.request == request
