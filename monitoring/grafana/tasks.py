"""What tasks wait for, how they end, who sends them; sessions and tools."""

from grafana_foundation_sdk.models.dashboard import Panel

from . import attempts
from .attempts import WHO
from .board import CALLER, MODEL, Row, board
from .panels import RED, YELLOW, Query, lines, percentiles
from .promql import highest, stored, stored_rate


def dashboard() -> str:
    return board(
        "longhaul-tasks",
        "Longhaul / Tasks and queue",
        "What tasks wait for, how they end, who sends them; sessions and tools.",
        Row(10, "Who", _who()),
        Row(20, "Queue", _queue()),
        Row(30, "Attempts", attempts.attempts()),
        Row(40, "Ends", attempts.ends()),
        Row(50, "Sessions", _sessions()),
        Row(60, "Tools", attempts.tools()),
    )


def _who() -> list[Panel]:
    submitted, cost = "agent_tasks_submitted_total", "agent_cost_usd_total"
    return [
        lines(
            11,
            "Submitted by caller",
            "ops",
            "One far above the others: it delays its own tasks, not theirs, but costs and fills the queue.",
            Query(stored_rate(submitted, *WHO, by="caller"), "{{caller}}"),
            stacked=True,
            see=("CallerHoldsQueue",),
        ),
        lines(
            12,
            "Submitted by agent",
            "ops",
            "What the tasks are for.",
            Query(stored_rate(submitted, *WHO, by="agent"), "{{agent}}"),
            stacked=True,
        ),
        lines(
            13,
            "Tokens by caller",
            "short",
            "A second. A caller whose tokens rise faster than its tasks has longer sessions or agents that loop.",
            Query(stored_rate("agent_tokens_total", *WHO, by="caller"), "{{caller}}"),
            stacked=True,
        ),
        lines(
            14,
            "Cost per hour by caller",
            "currencyUSD",
            "At the pace of now. `manage.py cost --by caller` has the days.",
            Query(f"3600 * {stored_rate(cost, *WHO, by='caller')}", "{{caller}}"),
            width=12,
            stacked=True,
            see=("SpendDoubled",),
        ),
        lines(
            15,
            "Cost per hour by agent",
            "currencyUSD",
            "At the pace of now. `manage.py cost --by agent` has the days.",
            Query(f"3600 * {stored_rate(cost, *WHO, by='agent')}", "{{agent}}"),
            width=12,
            stacked=True,
            see=("SpendDoubled",),
        ),
    ]


def _queue() -> list[Panel]:
    age = "agent_queue_oldest_age_seconds"
    return [
        lines(
            21,
            "Tasks by state",
            "short",
            "Where the live tasks are. ready: nobody took it yet. scheduled: run_at or a retry's backoff. blocked: "
            "behind another task of the session. waiting: for a person.",
            Query(stored("agent_queue_depth", MODEL), "ready"),
            Query(stored("agent_tasks_running", MODEL), "running"),
            Query(stored("agent_tasks_scheduled"), "scheduled"),
            Query(stored("agent_tasks_blocked", CALLER), "blocked"),
            Query(stored("agent_tasks_waiting"), "waiting"),
            width=12,
        ),
        lines(
            24,
            "Queue by lane",
            "short",
            "Tasks that are ready and not yet taken. quarantine: tasks that two workers died with, one at a time.",
            Query(stored("agent_queue_depth", MODEL, by="lane"), "{{lane}}"),
            width=12,
            stacked=True,
            see=("QueueTooOld",),
        ),
        lines(
            22,
            "Oldest task by lane",
            "s",
            "How long the head of a lane has been ready. Of interactive 30 s are too long already.",
            Query(highest(age, MODEL, by="lane"), "{{lane}}"),
            limits=[(30, YELLOW), (600, RED)],
            width=12,
            see=(
                "QueueTooOld",
                "ChatsWait",
            ),
        ),
        lines(
            23,
            "Wait before an attempt by lane, p95",
            "s",
            "From when a task could have run to an attempt's begin. `manage.py why ID` says what one waited for.",
            *percentiles((0.95,), "agent_task_wait_seconds", MODEL, by="lane"),
            limits=[(60, RED)],
            width=12,
        ),
    ]


def _sessions() -> list[Panel]:
    return [
        lines(
            51,
            "Blocked behind their session, by caller",
            "short",
            "Tasks of a session run one at a time. Growing and not falling: one task of the session hangs; "
            "`manage.py tasks --status running`, then `why`, then cancel it.",
            Query(stored("agent_tasks_blocked", CALLER, by="caller"), "{{caller}}"),
            width=12,
            stacked=True,
            see=("SessionStuck",),
        ),
        lines(
            52,
            "Sessions",
            "short",
            "Conversations that are remembered; active ones have a live task.",
            Query(stored("agent_sessions", by="state"), "{{state}}"),
            width=12,
        ),
    ]
