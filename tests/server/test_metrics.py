from __future__ import annotations

from pathlib import Path

from remit.server.latency import Histogram
from remit.server.metrics import metric_lines

from .stage import Stage, ask, run, running
from .test_evaluation import question


def test_the_service_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            await ask(stage, "POST", "/access/v1/evaluation", question(stage), holder=stage.holder())
            answer = await ask(stage, "GET", "/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = answer.body.decode()
            lines = text.splitlines()
            assert 'remit_decisions_total{kind="authorize",effect="permit",reason="permitted"} 3' in lines
            assert "remit_open_permits 1" in lines
            assert "remit_unknown_outcomes 0" in lines
            assert "remit_queue_depth 0" in lines
            assert "remit_attached 0" in lines
            assert 'remit_evaluation_seconds_bucket{le="+Inf"} 1' in lines
            assert 'remit_decision_seconds_bucket{le="0.001"} 2' in lines
            assert 'remit_decision_seconds_bucket{le="+Inf"} 3' in lines
            assert all(line.startswith("#") or len(line.rpartition(" ")[2]) for line in lines)
            assert "spiffe://" not in text

    run(main())


def test_labels_are_escaped() -> None:
    lines = metric_lines({"decisions": [{"kind": "probe", "effect": "deny", "code": 'a"\n\\', "count": 1}]})
    assert lines[1] == 'remit_decisions_total{kind="probe",effect="deny",reason="a\\"\\n\\\\"} 1'


def test_a_histogram_is_cumulative() -> None:
    histogram = Histogram()
    for seconds in (0.0001, 0.0002, 0.003, 9):
        histogram.observe(seconds)
    lines = histogram.lines("x")
    assert lines[1] == 'x_bucket{le="0.0002"} 2'
    assert lines[-3:] == ['x_bucket{le="+Inf"} 4', "x_sum 9.003300", "x_count 4"]


def test_metrics_that_fail_are_a_problem(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            _break(stage)
            answer = await ask(stage, "GET", "/metrics")
            assert (answer.status, answer.json["code"]) == (500, "internal_error")

    run(main())


def _break(stage: Stage) -> None:
    def metrics() -> dict[str, int]:
        raise RuntimeError

    stage.service.metrics = metrics  # type: ignore[method-assign]
