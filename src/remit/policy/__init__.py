"""Cedar policies: from files, intents and Remit itself to decisions with reasons."""

from remit.policy.engine import Evaluation, Policies, load
from remit.policy.schema import context_example
from remit.policy.typed import entity_ref, typed_decimal, typed_time, typed_value

__all__ = [
    "Evaluation",
    "Policies",
    "context_example",
    "entity_ref",
    "load",
    "typed_decimal",
    "typed_time",
    "typed_value",
]
