"""Models beside each other: which one fails, which one is slow, what each costs."""

from grafana_foundation_sdk.models.dashboard import Panel

from .board import MODEL, Row, board
from .panels import GREEN, RED, YELLOW, Column, Query, lines, percentiles, side_by_side, states
from .promql import highest, quantile, rate, share, stored, stored_rate

ERROR = 'error_code!=""'
RANGE = "$__range"


def dashboard() -> str:
    return board(
        "longhaul-models",
        "Longhaul / Models",
        "Models side by side: errors, latency, load, money.",
        Row(10, "Side by side, over the chosen time", [_table()]),
        Row(20, "Calls", _calls()),
        Row(30, "Waiting for a model", _load()),
        Row(40, "Tokens and money", _money()),
    )


def _table() -> Panel:
    calls = rate("agent_model_calls_total", MODEL, by="model", window=RANGE)
    errors = rate("agent_model_calls_total", MODEL, ERROR, by="model", window=RANGE)
    seconds = "agent_model_call_seconds"
    return side_by_side(
        11,
        "Side by side",
        "One line a model. Compare within it: the same tasks cost and take different on each.",
        "model",
        Column("Calls", rate("agent_model_calls_total", MODEL, by="model", window=RANGE, of="increase")),
        Column("Error share", share(errors, calls), "percentunit", [(0.05, YELLOW), (0.2, RED)]),
        Column("p50", quantile(0.5, seconds, MODEL, by="model", window=RANGE), "s"),
        Column("p95", quantile(0.95, seconds, MODEL, by="model", window=RANGE), "s", [(10, YELLOW), (30, RED)]),
        Column(
            "First token p95", quantile(0.95, "agent_time_to_first_token_seconds", MODEL, by="model", window=RANGE), "s"
        ),
        Column("Tokens", stored_rate("agent_tokens_total", MODEL, by="model", window=RANGE, of="increase")),
        Column(
            "Cost",
            stored_rate("agent_cost_usd_total", MODEL, by="model", window=RANGE, of="increase"),
            "currencyUSD",
        ),
    )


def _calls() -> list[Panel]:
    calls = rate("agent_model_calls_total", MODEL, by="model")
    errors = rate("agent_model_calls_total", MODEL, ERROR, by="model")
    return [
        lines(21, "Calls by model", "reqps", "Calls that ended, answered or not.", Query(calls, "{{model}}")),
        lines(
            22,
            "Error share by model",
            "percentunit",
            "Calls without an answer, of all. When it is red, Errors by model and cause says which kind; pause the "
            "model (`manage.py pause`) or name a fallback.",
            Query(share(errors, calls), "{{model}}"),
            limits=[(0.05, YELLOW), (0.2, RED)],
            see=(
                "ModelFails",
                "ProviderRefuses",
            ),
        ),
        lines(
            23,
            "Errors by model and cause",
            "reqps",
            "provider_auth: the key is refused. provider_no_balance: the account is empty. provider_rate_limited: set "
            "rpm or max_concurrency. provider_unavailable and provider_timeout: the provider's; wait or fall back.",
            Query(rate("agent_model_calls_total", MODEL, ERROR, by="model, error_code"), "{{model}} {{error_code}}"),
            stacked=True,
            see=("ProviderRefuses",),
        ),
        lines(
            24,
            "Length of a call, p50 p95",
            "s",
            "Answered calls. Slower with the same tokens is the provider's doing; MODEL_TIMEOUT_SECONDS ends a call.",
            *percentiles((0.5, 0.95), "agent_model_call_seconds", MODEL, by="model"),
            see=("ModelSlow",),
        ),
        lines(
            25,
            "Time to first token, p50 p95",
            "s",
            "Streamed calls only: what somebody who watches waits for.",
            *percentiles((0.5, 0.95), "agent_time_to_first_token_seconds", MODEL, by="model"),
        ),
        lines(
            26,
            "Answer to a chat by model, p95",
            "s",
            "POST /chat from its head to its answer: the wait, the model's calls and the tools together.",
            *percentiles((0.95,), "agent_request_duration_seconds", MODEL, 'kind="chat"', by="model"),
        ),
    ]


def _load() -> list[Panel]:
    return [
        lines(
            31,
            "Queue by model",
            "short",
            "Ready tasks. One model's alone: it cools down, is paused, or is at its max_concurrency or rpm.",
            Query(stored("agent_queue_depth", MODEL, by="model"), "{{model}}"),
        ),
        lines(
            32,
            "Oldest task by model",
            "s",
            "How long the head of each queue has been ready.",
            Query(highest("agent_queue_oldest_age_seconds", MODEL, by="model"), "{{model}}"),
            limits=[(60, YELLOW), (600, RED)],
            see=(
                "QueueTooOld",
                "QueueNotMoving",
            ),
        ),
        lines(
            33,
            "Running by model",
            "short",
            "Tasks that run. Flat at a number while others wait is the model's max_concurrency.",
            Query(stored("agent_tasks_running", MODEL, by="model"), "{{model}}"),
        ),
        lines(
            34,
            "Wait before an attempt by model, p95",
            "s",
            "From when a task could have run to an attempt's begin.",
            *percentiles((0.95,), "agent_task_wait_seconds", MODEL, by="model"),
        ),
        states(
            35,
            "Cooling down",
            "Red: no task is started on the model, because it fails. It ends by itself, or with `manage.py resume`.",
            Query(highest("agent_model_cooling", MODEL, by="model"), "{{model}}"),
            zero=("starts tasks", GREEN),
            one=("cools down", RED),
            see=("ModelCooling",),
        ),
        states(
            36,
            "Paused by order",
            "Yellow: somebody said `manage.py pause`. `manage.py resume` starts its tasks again.",
            Query(highest("agent_paused", by="kind, name"), "{{kind}} {{name}}"),
            zero=("starts tasks", GREEN),
            one=("paused", YELLOW),
        ),
    ]


def _money() -> list[Panel]:
    cost = stored_rate("agent_cost_usd_total", MODEL, by="model")
    finished = stored_rate("agent_tasks_finished_total", MODEL, by="model")
    return [
        lines(
            41,
            "Tokens by model and direction",
            "short",
            "A second. prompt grows with sessions and tools, completion with what is written.",
            Query(
                stored_rate("agent_tokens_total", MODEL, by="model, direction"),
                "{{model}} {{direction}}",
            ),
            stacked=True,
        ),
        lines(
            42,
            "Cost per hour by model",
            "currencyUSD",
            "At the pace of now.",
            Query(f"3600 * {cost}", "{{model}}"),
            stacked=True,
            see=("SpendDoubled",),
        ),
        lines(
            43,
            "Cost of a finished task by model",
            "currencyUSD",
            "All that was paid, also for failed attempts, over all tasks that ended.",
            Query(f"{cost} / ({finished} > 0)", "{{model}}"),
            width=4,
        ),
        lines(
            44,
            "Answers without a price",
            "ops",
            "Attempts whose price nobody knows, so that the cost is too low. Set price_in and price_out of the model.",
            Query(stored_rate("agent_unpriced_answers_total", MODEL, by="model"), "{{model}}"),
            width=4,
            see=("AnswersUnpriced",),
        ),
    ]
