"""Which obligations the caller of a general question can fulfil."""

from __future__ import annotations

from typing import Any

import pytest

from remit.core.decisions import Obligation
from remit.core.errors import InvalidInput
from remit.server.obligations import not_supported, supported_in


def test_what_a_context_says() -> None:
    context = {"supported_obligations": ["custom", "notification"], "remit_obligations": ["redact"], "location": "here"}
    assert supported_in(context) == {"redact", "notify"}
    assert supported_in({"location": "here"}) == frozenset()
    obligations = (Obligation(id="redact", fields=("a",)), Obligation(id="limit", bytes=5))
    assert not_supported(obligations, context) == {"limit"}
    assert not_supported((), {"supported_obligations": "what nobody has to read"}) == frozenset()


@pytest.mark.parametrize("said", ["notification", {"notification": True}, 5, True, [5], [["custom"]]])
def test_what_is_no_list_of_names_is_refused(said: Any) -> None:
    for member in ("supported_obligations", "remit_obligations"):
        with pytest.raises(InvalidInput) as caught:
            supported_in({member: said})
        assert caught.value.code == "supported_obligations_invalid"
