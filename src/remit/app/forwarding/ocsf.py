"""Events as OCSF 1.7.0 (schema.ocsf.io): decisions and outcomes are API Activity, all else Entity Management."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from remit.app.forwarding.events import Event

VERSION: Final = "1.7.0"
API_ACTIVITY: Final = 6003
ENTITY_MANAGEMENT: Final = 3004

_SEVERITY: Final = {"info": 1, "warning": 3, "error": 4}
_OTHER: Final = 99
_ACTIVITY: Final = {"write": 3, "read": 2, "delete": 4, "configure": 3, "deploy": 3, "pay": 1, "send": 1, "share": 3}
_DECIDED: Final = frozenset({"decision", "denials", "outcome", "resolution"})
_CHANGES: Final = {"open": 1, "active": 3, "completed": 3, "cancelled": 3, "expired": 3, "suspended": 3, "retired": 4}
_PRODUCT: Final = {"name": "Remit", "vendor_name": "Remit", "version": version("remit")}


def event_of(event: Event) -> dict[str, Any]:
    """One event as an OCSF object."""
    found = _api_activity(event) if event.kind in _DECIDED and event.action else _entity_management(event)
    metadata: dict[str, Any] = {
        "version": VERSION,
        "product": _PRODUCT,
        "profiles": ["security_control"],
        "uid": event.uid,
        "event_code": event.kind,
        "log_name": event.stored.stream,
        "sequence": event.stored.n,
        "original_time": str(event.at),
        "tenant_uid": event.td,
    }
    if event.task:
        metadata["correlation_uid"] = event.task
    found |= {
        "metadata": metadata,
        "time": event.at,
        "message": event.text,
        "severity_id": _SEVERITY[event.level],
        "category_uid": found["class_uid"] // 1000,
        "type_uid": found["class_uid"] * 100 + found["activity_id"],
        "unmapped": {
            name: value
            for name, value in {
                "intent": event.intent, "mode": event.mode, "result": event.result, "root_task": event.root,
                "traceparent": event.trace, **event.extra,
            }.items()
            if value
        },
    }  # fmt: skip
    if event.count > 1:
        found["count"] = event.count
    return found


def _api_activity(event: Event) -> dict[str, Any]:
    denied = event.effect != "permit"
    failed = denied or event.result in ("error", "unknown")
    found: dict[str, Any] = {
        "class_uid": API_ACTIVITY,
        "activity_id": _ACTIVITY.get(event.server_effect, _OTHER),
        "actor": _actor(event),
        "api": {
            "operation": event.action.rpartition("/")[2],
            "service": {"name": event.action.rpartition("/")[0] or "remit"},
            "request": {"uid": event.decision},
        },
        "src_endpoint": {"svc_name": event.pep or event.subject or "remit"},
        "action_id": 2 if denied else 1,
        "disposition_id": 2 if denied else 1,
        "status_id": 2 if failed else 1,
        "status_code": event.result or event.code,
        "is_alert": False,
    }
    if event.policies:
        found["policy"] = {"uid": event.policies[0], "is_applied": True}
        found["authorizations"] = [
            {"decision": event.effect, "policy": {"uid": policy, "is_applied": True}} for policy in event.policies
        ]
    return found


def _entity_management(event: Event) -> dict[str, Any]:
    uid = event.task if event.kind == "task" else event.subject or event.td or "remit"
    return {
        "class_uid": ENTITY_MANAGEMENT,
        "activity_id": _CHANGES.get(event.state, 3 if event.by else _OTHER),
        "actor": _actor(event),
        "entity": {"uid": uid, "type": event.kind},
        "status_id": 1,
    }


def _actor(event: Event) -> dict[str, Any]:
    who = (event.by or event.subject) if event.kind in ("task", "identity", "risk") else (event.subject or event.by)
    actor: dict[str, Any] = {"user": {"uid": who or f"spiffe://{event.td}/remit", "type_id": 3}}
    if event.task:
        actor["session"] = {"uid": event.task}
    return actor
