"""Event schemas: which events happen, what each carries, and which fields tell one history from another.

`parse` reads one, `derive` says what it means for the actions that there are, `inject` puts its pins on a condition.
"""

from remit.policy.dogwood.events.derivation import Events, Leaf, Pinned, Signature, derive
from remit.policy.dogwood.events.names import ActionName, EntityName, Names, of_declared, of_project
from remit.policy.dogwood.events.project import FILE, KEYS, check
from remit.policy.dogwood.events.rewriting import emitted, inject
from remit.policy.dogwood.events.schema import EventSchema
from remit.policy.dogwood.events.shipped import AGENTCORE, Scope, shipped, shipped_text
from remit.policy.dogwood.events.syntax import parse

__all__ = [
    "AGENTCORE",
    "FILE",
    "KEYS",
    "ActionName",
    "EntityName",
    "EventSchema",
    "Events",
    "Leaf",
    "Names",
    "Pinned",
    "Scope",
    "Signature",
    "check",
    "derive",
    "emitted",
    "inject",
    "of_declared",
    "of_project",
    "parse",
    "shipped",
    "shipped_text",
]
