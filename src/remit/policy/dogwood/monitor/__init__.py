"""Incremental monitors: each temporal operator is state that events update and questions look into."""

from remit.policy.dogwood.monitor.layout import Kept
from remit.policy.dogwood.monitor.plan import BOUND, Bounds, Plan, plan

__all__ = ["BOUND", "Bounds", "Kept", "Plan", "plan"]
