"""Rows of Tasks and queue: how attempts go, how tasks end, what tools do."""

from grafana_foundation_sdk.models.dashboard import Panel

from .board import AGENT, CALLER, MODEL
from .panels import RED, YELLOW, Query, figure, lines, percentiles
from .promql import highest, rate, share, stored_rate

WHO = (CALLER, AGENT, MODEL)
FINISHED = "agent_tasks_finished_total"


def attempts() -> list[Panel]:
    attempts = stored_rate("agent_attempts_total", AGENT, MODEL)
    return [
        lines(
            31,
            "Length of an attempt, p50 p95 p99",
            "s",
            "From an attempt's begin to its end, however it ended. ATTEMPT_TIMEOUT_SECONDS ends it at the latest.",
            *percentiles((0.5, 0.95, 0.99), "agent_task_run_seconds", AGENT, MODEL),
        ),
        lines(
            32,
            "Length of an attempt by agent, p95",
            "s",
            "Which agent is slow. Models says whether its model is.",
            *percentiles((0.95,), "agent_task_run_seconds", AGENT, MODEL, by="agent"),
        ),
        lines(
            33,
            "Attempts by outcome",
            "ops",
            "As the workers saw them end. lost: the lease was gone, so the task went to another worker.",
            Query(rate("agent_task_run_seconds_count", AGENT, MODEL, by="outcome"), "{{outcome}}"),
            stacked=True,
        ),
        lines(
            34,
            "Retries by cause",
            "ops",
            "Attempts that failed in passing. Many of one provider_… code: Models says which model; pause it, or the "
            "retries are paid for.",
            Query(stored_rate("agent_retries_total", AGENT, MODEL, by="error_code"), "{{error_code}}"),
            stacked=True,
            see=("RetryStorm",),
        ),
        lines(
            35,
            "Attempts per finished task",
            "short",
            "1 when every first attempt settles its task. Above 1.5 for long: a storm of retries, or workers that die.",
            Query(f"{attempts} / ({stored_rate(FINISHED, AGENT, MODEL)} > 0)", "attempts"),
            limits=[(1.5, YELLOW), (3, RED)],
            see=("RetryStorm",),
        ),
        lines(
            36,
            "Rescues and releases by cause",
            "ops",
            "worker_lost: a worker died, look at its log. Releases cost nothing: a drain, a deploy. Replays: somebody "
            "gave failed tasks new attempts.",
            Query(stored_rate("agent_rescues_total", by="cause"), "rescued: {{cause}}"),
            Query(stored_rate("agent_releases_total", by="cause"), "released: {{cause}}"),
            Query(stored_rate("agent_replays_total", AGENT, MODEL), "replayed by order"),
            see=("WorkersLost",),
        ),
    ]


def ends() -> list[Panel]:
    finished = stored_rate(FINISHED, *WHO, by="agent")
    stopped = stored_rate(FINISHED, *WHO, 'error_code="max_iterations"', by="agent")
    return [
        lines(
            41,
            "Finished by status",
            "ops",
            "Tasks that reached their end.",
            Query(stored_rate(FINISHED, *WHO, by="status"), "{{status}}"),
            stacked=True,
        ),
        lines(
            42,
            "Failures by agent and cause",
            "ops",
            "docs/error-codes.md says what each code means and whether it was retried.",
            Query(
                stored_rate(FINISHED, *WHO, 'status="failed"', by="agent, error_code"),
                "{{agent}} {{error_code}}",
            ),
            stacked=True,
            see=(
                "TasksFail",
                "TasksLate",
            ),
        ),
        lines(
            43,
            "Stopped by the iteration limit",
            "percentunit",
            "Share of tasks that made as many model calls as they may and had no answer. Above 1 %: the agent's prompt "
            "or a tool that answers nothing useful.",
            Query(share(stopped, finished), "{{agent}}"),
            limits=[(0.01, RED)],
            see=("LoopsNotContained",),
        ),
        lines(
            44,
            "Dead letters by agent and cause",
            "short",
            "Buried in the last hour: attempts used up, or a tool whose outcome nobody knows. `manage.py dead list`; "
            "mend the cause, then `manage.py dead replay`.",
            Query(
                stored_rate(
                    "agent_dead_letters_total", AGENT, MODEL, by="agent, error_code", window="1h", of="increase"
                ),
                "{{agent}} {{error_code}}",
            ),
            stacked=True,
            see=("DeadLettersGrow",),
        ),
        figure(
            45,
            "Dead letters kept",
            "short",
            "They wait for a person until DEAD_TTL_SECONDS.",
            highest("agent_dead_letters"),
            limits=[(1, YELLOW), (100, RED)],
            width=8,
        ),
        lines(
            46,
            "Time to cancel, p50 p95",
            "s",
            "From the request to cancel a running task to its end. Seconds: code of an agent that does not yield.",
            *percentiles((0.5, 0.95), "agent_cancel_seconds"),
            limits=[(5, RED)],
        ),
    ]


def tools() -> list[Panel]:
    calls = rate("agent_tool_calls_total", by="tool")
    errors = rate("agent_tool_calls_total", 'outcome="error"', by="tool")
    return [
        lines(
            61,
            "Tool calls by tool",
            "ops",
            "unknown: a tool that a model made up.",
            Query(calls, "{{tool}}"),
            stacked=True,
        ),
        lines(
            62,
            "Tool error share by tool",
            "percentunit",
            "Calls that ended in an error, of all. The model is told and goes on, so tasks may succeed all the "
            "same. Red above 3 %: look at the worker's log for the tool's name.",
            Query(share(errors, calls), "{{tool}}"),
            limits=[(0.03, RED)],
            see=("ToolFails",),
        ),
        lines(
            63,
            "Length of a tool call, p50 p95",
            "s",
            "TOOL_TIMEOUT_SECONDS ends one at the latest.",
            *percentiles((0.5, 0.95), "agent_tool_call_seconds", by="tool"),
        ),
    ]
