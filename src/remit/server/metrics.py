"""`GET /metrics`: the Prometheus text format, from the service's counters and the listener's own.

`ServicePort.metrics()` gives a mapping:

- `decisions`: a list of {"kind": "authorize" or "probe", "effect", "code", "count"} since the start;
- `latency`: {"buckets": {upper bound in ms: count within that bucket}, "sum": ms};
- any other name with a number, in snake or camel case: a gauge `remit_<snake_case_name>` (`open_permits`,
  `unknown_outcomes`, `queue_depth`, …).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from remit.server.answer import Answer, text_answer
from remit.server.handshake import refused
from remit.server.serving import Call, Serving

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-z][A-Za-z0-9_]*")
_SOURCES: Final = {
    "age": "remit_issuer_keys_age_seconds",
    "keys": "remit_issuer_keys",
    "failures": "remit_issuer_failures",
    "stale": "remit_issuer_stale",
}
_CAPITAL = re.compile(r"[A-Z]")


async def metrics(serving: Serving, _: Call) -> Answer:
    """All metrics, without labels that name a workload or a task."""
    lines = metric_lines({**serving.service.metrics(), **serving.log_gauges()})
    lines += serving.latency.lines("remit_evaluation_seconds")
    lines += serving.searching.lines("remit_search_seconds")
    lines += source_lines(serving.key_sources())
    lines.append("# TYPE remit_exchanges_total counter")
    lines += [f'remit_exchanges_total{{result="{each}"}} {count}' for each, count in sorted(serving.exchanges.items())]
    lines += ["# TYPE remit_attached gauge", f"remit_attached {serving.attachments.count}"]
    expires = serving.tls.expires // 1000 if serving.tls else 0
    lines += ["# TYPE remit_certificate_expires_seconds gauge", f"remit_certificate_expires_seconds {expires}"]
    lines += ["# TYPE remit_certificates_refused_total counter", f"remit_certificates_refused_total {refused.count}"]
    return text_answer("\n".join(lines) + "\n", _TYPE)


def metric_lines(values: Mapping[str, Any]) -> list[str]:
    """The service's counters as lines."""
    lines = ["# TYPE remit_decisions_total counter"]
    for row in values.get("decisions", ()):
        labels = ",".join(
            f'{label}="{_label(str(row[name]))}"'
            for label, name in (("kind", "kind"), ("effect", "effect"), ("reason", "code"))
        )
        lines.append(f"remit_decisions_total{{{labels}}} {row['count']}")
    if latency := values.get("latency"):
        lines += _latency(latency["buckets"], latency["sum"])
    for name, value in sorted(values.items()):
        if isinstance(value, (int, float)) and _NAME.fullmatch(name):
            gauge = "remit_" + _CAPITAL.sub(lambda match: "_" + match[0].lower(), name)
            lines += [f"# TYPE {gauge} gauge", f"{gauge} {value}"]
    return lines


def source_lines(sources: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How the issuers and trust domains elsewhere stand, one line for each; the types also when there are none."""
    lines = []
    for name, gauge in _SOURCES.items():
        lines.append(f"# TYPE {gauge} gauge")
        lines += [
            f'{gauge}{{source="{_label(source)}"}} {values[name]:g}' for source, values in sorted(sources.items())
        ]
    return lines


def _latency(buckets: Mapping[float, int], sum_ms: float) -> list[str]:
    """The decision times, in seconds, with cumulative buckets as Prometheus wants them."""
    lines = ["# TYPE remit_decision_seconds histogram"]
    total = 0
    for bound in sorted({*buckets, math.inf}):
        total += buckets.get(bound, 0)
        edge = "+Inf" if math.isinf(bound) else f"{bound / 1000:g}"
        lines.append(f'remit_decision_seconds_bucket{{le="{edge}"}} {total}')
    return [*lines, f"remit_decision_seconds_sum {sum_ms / 1000:.6f}", f"remit_decision_seconds_count {total}"]


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
