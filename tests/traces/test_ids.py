"""What a trace is called, and what a caller may say of it."""

import secrets
from typing import Any

import pytest

from core_config import Settings
from monitoring.traces.ids import ParentSpan, is_sampled, parent_of, span_id_of, trace_id_of, trace_url_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TASK = "1f496ac277d080b89d9b54a4c4209b35"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-03", True),
        (f"00-{TRACE}-{PARENT}-02", False),
        (f"01-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-a-later-version-adds", True),
    ],
)
def test_a_valid_traceparent_names_trace_and_parent(header: str, sampled: bool) -> None:
    assert parent_of(header) == ParentSpan(TRACE, PARENT, sampled)
    assert trace_id_of(TASK, header) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        TRACE,
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01 ",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}g-{PARENT}-01",
        f"00-{TRACE}0-{PARENT[1:]}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"01-{TRACE}-{PARENT}-01more",
        "00-" + "٠" * 32 + f"-{PARENT}-01",
    ],
)
def test_any_other_is_passed_over(header: str | None) -> None:
    assert parent_of(header) is None
    assert trace_id_of(TASK, header) == TASK


def test_without_a_caller_s_trace_the_task_s_is_called_as_the_task_is() -> None:
    assert trace_id_of(TASK) == TASK
    for odd in ("task-1", "0" * 32, TASK.upper(), TASK + "0"):
        made = trace_id_of(odd)
        assert (len(made), int(made, 16) > 0, made == trace_id_of(odd)) == (32, True, True)
        assert made != odd
    assert trace_id_of("task-1") != trace_id_of("task-2")


def test_spans_of_a_task_have_each_an_id_that_everybody_finds() -> None:
    ids = {span_id_of(task, what) for task in (TASK, "task-1") for what in ("root 0", "queue 1", "attempt 1")}
    assert len(ids) == 6
    assert all(0 < one < 2**64 for one in ids)
    assert span_id_of(TASK, "root 0") in ids


def test_a_share_of_the_traces_is_sampled_and_always_the_same() -> None:
    traces = [secrets.token_hex(16) for _ in range(4000)]
    assert all(is_sampled(trace, 1.0) and not is_sampled(trace, 0.0) for trace in (*traces, "f" * 32))
    quarter = {trace for trace in traces if is_sampled(trace, 0.25)}
    assert 800 < len(quarter) < 1200
    assert quarter < {trace for trace in traces if is_sampled(trace, 0.5)}, "a larger share holds the smaller one"


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


LANGFUSE = {"langfuse_public_key": "pk", "langfuse_secret_key": "sk", "LANGFUSE_HOST": "https://lf.example.com/"}


def test_the_address_of_a_trace() -> None:
    header = f"00-{TRACE}-{PARENT}-01"
    assert trace_url_of(settings(), TASK, None) is None, "tracing is off"
    assert trace_url_of(settings(**LANGFUSE), TASK, None) == f"https://lf.example.com/trace/{TASK}"
    assert trace_url_of(settings(**LANGFUSE), TASK, header) == f"https://lf.example.com/trace/{TRACE}"
    page = "https://grafana.example.com/t?id={trace_id}&x=1"
    assert trace_url_of(settings(**LANGFUSE, trace_url=page), TASK, header) == page.format(trace_id=TRACE)
    otlp = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:4318"}
    assert trace_url_of(settings(**otlp), TASK, None) is None, "nobody knows where such a trace is seen"
    assert trace_url_of(settings(**otlp, trace_url=page), TASK, None) == page.format(trace_id=TASK)
    assert trace_url_of(settings(trace_url=page), TASK, None) is None
    assert trace_url_of(settings(**LANGFUSE, langfuse_sample_rate=0), TASK, None) is None, "it is not sent"
