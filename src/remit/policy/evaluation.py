"""What the policies say to one request."""

from __future__ import annotations

import msgspec

from remit.core.decisions import Approval, Obligation, PolicyRef, Reason


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What the policies say to one request.

    `reason.code` is `permitted`, the code of the decisive policy, `no_policy_permits` or `policy_error`. With
    `policy_error` nothing may turn the deny into a permit; `errors` are the policies that failed, by id, with
    messages for the log. `facts` are the paths of the context (without
    `context.`) that the deciding policies read.
    """

    permitted: bool
    reason: Reason
    policies: tuple[PolicyRef, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    facts: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    approvals: tuple[Approval, ...] = ()  # of a deny that persons could overcome: whose approvals it needs
