"""From the policies that decided to a reason: a code, a sentence and what would help.

Remit's own forbids stand before the user's, and of each the most specific first, so that the first one says most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from remit.core.decisions import PolicyRef, Reason
from remit.policy.sources import Policy

PERMITTED: Final = "permitted"
POLICY_FORBIDS: Final = "policy_forbids"
NO_POLICY_PERMITS: Final = "no_policy_permits"
POLICY_ERROR: Final = "policy_error"
ENGINES_DISAGREE: Final = "engines_disagree"
NOT_JUSTIFIED: Final = "not_justified"

_NAMED_INTENTS: Final = 3

# Among Remit's own forbids: what can't be helped in this task first, then what the next call can mend.
_ORDER: Final = (
    "self_start",
    "not_a_starter",
    "starter_not_listed",
    "workload_not_listed",
    "case_type_not_allowed",
    "enforcement_point_not_registered",
    "not_its_permit",
    "suspended_by_another",
    "self_enforced",
    "not_justified",
    "limit_reached",  # of calls
    "out_of_order",
    "argument_not_bound",
    "sum_reached",  # `limit_reached` again, where a smaller amount may still pass
    "risk_too_high",
)
_RANKS: Final[Mapping[str, int]] = {code: place for place, code in enumerate(_ORDER)}


def rank(policy: Policy) -> tuple[int, int, int, str, int, str]:
    """The place of a policy among those that decide: smaller stands first."""
    own = 0 if policy.origin != "user" else 1
    name = policy.annotations.get("reason", "")
    if name == "limit_reached" and policy.reads.needs_input:
        name = "sum_reached"
    code = _RANKS.get(name, len(_RANKS)) if own == 0 else 0
    actions = policy.scope.actions if policy.scope.action is None else frozenset([policy.scope.action])
    breadth = 10_000 if actions is None else len(actions)
    if actions is not None and any("/" not in id_ or id_.endswith("/*") for _, id_ in actions):
        breadth += 1_000  # a group of actions says less than any list of single ones
    return own, code, breadth, policy.ref.path, policy.ref.line, policy.id


def permitted(permits: Sequence[Policy]) -> Reason:
    """The reason of a permit; `permits` are those that matched."""
    first = permits[0]
    message = first.annotations.get("message") or f"policy `{first.id}` permits this action"
    return Reason(code=PERMITTED, message=message, policies=_refs(permits))


def forbidden(forbids: Sequence[Policy], action: str, justifying: Sequence[str]) -> Reason:
    """The reason of a deny by `forbids` that matched, the decisive one first."""
    first = forbids[0]
    code = first.annotations.get("reason") or POLICY_FORBIDS
    message = first.annotations.get("message") or f"policy `{first.id}` forbids this action"
    next_step = first.annotations.get("next", "")
    if not next_step and code == NOT_JUSTIFIED:
        next_step = _justified_by(action, justifying)
    return Reason(code=code, message=message, next_step=next_step, policies=_refs(forbids))


def unpermitted(action: str, justifying: Sequence[str]) -> Reason:
    """The reason of a deny because no policy permits."""
    message = f"no policy permits `{action}`"
    return Reason(code=NO_POLICY_PERMITS, message=message, next_step=_justified_by(action, justifying))


def undecidable(failed: Sequence[Policy]) -> Reason:
    """The reason of a deny because policies that could apply failed to evaluate."""
    named = f"policy `{failed[0].id}`" if failed else "a policy"
    return Reason(
        code=POLICY_ERROR,
        message=f"{named} could not be evaluated, and a policy that fails refuses",
        next_step="an operator finds the cause in the service's log; correct the policy",
        policies=_refs(failed),
    )


def disputed() -> Reason:
    """The reason of a deny because the policy engines disagree."""
    return Reason(
        code=ENGINES_DISAGREE,
        message="the policy engines disagree on this request, so it is refused",
        next_step="an operator finds the case in the service's log",
    )


def facts(policies: Sequence[Policy]) -> tuple[str, ...]:
    """The paths of the context that the policies read, without those on the way to another."""
    paths = {path for policy in policies for path in policy.reads.paths}
    on_the_way = {path[:length] for path in paths for length in range(len(path))}
    return tuple(sorted(".".join(path) for path in paths - on_the_way))


def _justified_by(action: str, intents: Sequence[str]) -> str:
    if not intents:
        return f"no intent justifies `{action}`; one that does must be written and reviewed"
    named = ", ".join(f"`{name}`" for name in intents[:_NAMED_INTENTS])
    more = f" and {len(intents) - _NAMED_INTENTS} more" if len(intents) > _NAMED_INTENTS else ""
    return f"it is justified by: {named}{more}; ask for a task under one of them"


def _refs(policies: Sequence[Policy]) -> tuple[PolicyRef, ...]:
    return tuple(policy.ref for policy in policies)
