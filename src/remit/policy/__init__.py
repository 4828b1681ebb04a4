"""Cedar policies: from files, intents and Remit itself to decisions with reasons."""

from remit.policy.engine import Policies, load
from remit.policy.evaluation import Evaluation
from remit.policy.general import General
from remit.policy.questions import Found, Named, Question
from remit.policy.schema import context_example
from remit.policy.typed import entity_ref, typed_decimal, typed_time, typed_value

__all__ = [
    "Evaluation",
    "Found",
    "General",
    "Named",
    "Policies",
    "Question",
    "context_example",
    "entity_ref",
    "load",
    "typed_decimal",
    "typed_time",
    "typed_value",
]
