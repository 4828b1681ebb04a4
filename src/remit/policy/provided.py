"""What lowered policies read of the context that is not a fact: values of temporal conditions and of providers.

The validator sees one name for all temporal conditions, and one for each way through providers, so its schema does not
grow with the policies, and a policy that changes makes no other one invalid.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from remit.policy import shapes
from remit.policy.dogwood.lowering import LEAF
from remit.policy.schema import Vocabulary
from remit.policy.shapes import BOOL, Attribute, Shape
from remit.policy.sources import Policy


def with_given(vocabulary: Vocabulary, policies: Iterable[Policy]) -> Vocabulary:
    """The vocabulary with what these policies read, for the validator."""
    given: dict[str, Attribute] = {}
    if any(policy.leaves for policy in policies):
        given["temporal"] = shapes.always(shapes.record(**{LEAF: BOOL}))
    return msgspec.structs.replace(vocabulary, given=given) if given else vocabulary


def attributes(policies: Iterable[Policy]) -> dict[str, Attribute]:
    """What exactly these policies read: `temporal`, and `providers`, with the names that decisions give."""
    leaves = {leaf.name: shapes.always(BOOL) for policy in policies for leaf in policy.leaves}
    return {"temporal": shapes.always(Shape(kind="record", fields=leaves))} if leaves else {}
