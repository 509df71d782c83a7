"""Is it up, is it slow, who asks, what does it cost: the first page at night."""

from grafana_foundation_sdk.models.dashboard import Panel

from .board import Row, board
from .panels import GREEN, RED, YELLOW, Query, figure, lines, percentiles
from .promql import highest, lowest, quantile, rate, share, stored, stored_rate, total

ASKED = 'kind!="probe"'
FAILED = 'status=~"5.."'
AT_ONCE = 'kind=~"submit|poll|act|other"'  # a wait or a stream is as long as it is asked for


def dashboard() -> str:
    return board(
        "longhaul-overview",
        "Longhaul / Overview",
        "Is it up, is it slow and where, what does it cost.",
        Row(10, "Now", _now()),
        Row(20, "Requests", _requests()),
        Row(30, "Queue, workers, money", _work()),
    )


def _now() -> list[Panel]:
    return [
        figure(
            11,
            "Gateways up",
            "short",
            "Gateways that Prometheus reaches. At 0 nobody can submit or read a task: look at the gateway's log.",
            'sum(up{job="gateway"})',
            limits=[(1, GREEN)],
            below=RED,
            see=(
                "NoGateway",
                "GatewayDown",
            ),
        ),
        figure(
            12,
            "Workers alive",
            "short",
            "Workers that Redis heard of in the last seconds. At 0 tasks are accepted and none runs: start workers, "
            "then look at their log for why they ended.",
            highest("agent_workers", 'kind="ordinary"'),
            limits=[(1, GREEN)],
            below=RED,
            see=(
                "NoWorker",
                "FewerWorkers",
            ),
        ),
        figure(
            13,
            "Redis answers",
            "bool_yes_no",
            "Whether Redis answered every gateway's last scrape. If not, nothing is accepted, and nothing is lost.",
            lowest("agent_redis_up"),
            limits=[(1, GREEN)],
            below=RED,
            see=("RedisDown",),
        ),
        figure(
            14,
            "5xx share",
            "percentunit",
            "Requests that were answered with a 5xx, of all but probes. When it is red, Problems by code says which, "
            "5xx share by endpoint where. A chat whose task failed is in it, but raises no RequestErrors.",
            share(rate("agent_requests_total", ASKED, FAILED), rate("agent_requests_total", ASKED)),
            limits=[(0.01, YELLOW), (0.05, RED)],
            nothing="no requests",
            see=("RequestErrors",),
        ),
        figure(
            15,
            "Oldest task waits",
            "s",
            "How long the head of the slowest lane has been ready. Red with free slots: a model cools down or is "
            "paused. Red without: add workers.",
            highest("agent_queue_oldest_age_seconds"),
            limits=[(60, YELLOW), (600, RED)],
            see=(
                "QueueTooOld",
                "QueueNotMoving",
            ),
        ),
        figure(
            17,
            "Dead letters kept",
            "short",
            "Tasks that wait for a person: `manage.py dead list` says which and why. Tasks and queue has the causes.",
            highest("agent_dead_letters"),
            limits=[(1, YELLOW), (100, RED)],
            see=("DeadLettersGrow",),
        ),
        figure(
            18,
            "Alerts that fire",
            "short",
            "Prometheus's alert page names them, each with its place in the runbook.",
            'sum(ALERTS{alertstate="firing"}) or vector(0)',
            limits=[(1, RED)],
        ),
        figure(
            16,
            "Cost of the last 24 hours",
            "currencyUSD",
            "What model calls cost; answers without a known price are not in it (Models shows them).",
            stored_rate("agent_cost_usd_total", window="24h", of="increase"),
        ),
    ]


def _requests() -> list[Panel]:
    return [
        lines(
            21,
            "Requests by endpoint",
            "reqps",
            "All but probes, by route.",
            Query(rate("agent_requests_total", ASKED, by="endpoint"), "{{endpoint}}"),
            stacked=True,
        ),
        lines(
            22,
            "Latency of submits, p50 p90 p99",
            "s",
            "POST /task, from the request's head to its answer. It is one round trip to Redis: when it rises, look at "
            "Redis round trips and the event loop's lag on Workers and Redis.",
            *percentiles((0.5, 0.9, 0.99), "agent_request_duration_seconds", 'kind="submit"'),
            limits=[(0.5, RED)],
            see=("RequestsSlow",),
        ),
        lines(
            23,
            "5xx share by endpoint",
            "percentunit",
            "5xx answers of all, summed before they are divided. 500, 502 and 504 of /chat are failed tasks; 503 is "
            "Redis, or an agent that no worker can run.",
            Query(
                share(
                    rate("agent_requests_total", ASKED, FAILED, by="endpoint"),
                    rate("agent_requests_total", ASKED, by="endpoint"),
                ),
                "{{endpoint}}",
            ),
            limits=[(0.01, YELLOW), (0.05, RED)],
            see=("RequestErrors",),
        ),
        lines(
            24,
            "Requests by kind",
            "reqps",
            "Also probes. Many polls: clients that ask in a loop; ?wait=20 or the events cost less.",
            Query(rate("agent_requests_total", by="kind"), "{{kind}}"),
            stacked=True,
        ),
        lines(
            25,
            "Latency by endpoint, p99",
            "s",
            "Only requests that are answered at once, without waits, chats, streams and probes.",
            Query(quantile(0.99, "agent_request_duration_seconds", AT_ONCE, by="endpoint"), "{{endpoint}}"),
            limits=[(1, RED)],
        ),
        lines(
            26,
            "Problems by code",
            "reqps",
            "Requests that were refused or failed, by the problem's code (docs/problems.md). queue_full, "
            "store_unavailable and storage_full are ours to mend, most others the caller's.",
            Query(rate("agent_problems_total", by="code"), "{{code}}"),
            stacked=True,
        ),
    ]


def _work() -> list[Panel]:
    return [
        lines(
            31,
            "Tasks enqueued and finished",
            "ops",
            "Enqueued above finished for long: the queue grows. Failed above nothing: Tasks and queue says why.",
            Query(rate("agent_tasks_enqueued_total"), "enqueued"),
            Query(stored_rate("agent_tasks_finished_total", by="status"), "{{status}}"),
            see=(
                "MostTasksFail",
                "TasksFail",
            ),
        ),
        lines(
            32,
            "Queue by lane",
            "short",
            "Tasks that are ready and not yet taken. Long while the oldest one is young: workers keep up.",
            Query(stored("agent_queue_depth", by="lane"), "{{lane}}"),
            stacked=True,
        ),
        lines(
            33,
            "Wait before an attempt, p50 p90 p99",
            "s",
            "From when a task could have run to an attempt's begin. High with free slots: a model's limits, cooldown "
            "or pause. High without: add workers.",
            *percentiles((0.5, 0.9, 0.99), "agent_task_wait_seconds"),
            limits=[(60, RED)],
            see=(
                "QueueTooOld",
                "ChatsWait",
            ),
        ),
        lines(
            34,
            "Slots",
            "short",
            "Slots of the workers. None free and a queue: more WORKER_PROCESSES.",
            Query(total("agent_worker_slots", by="state"), "{{state}}"),
            stacked=True,
            see=("FewerWorkers",),
        ),
        lines(
            35,
            "Cost per hour by model",
            "currencyUSD",
            "At the pace of now. When it jumps, Tasks and queue shows the caller and the agent.",
            Query(f"3600 * {stored_rate('agent_cost_usd_total', by='model')}", "{{model}}"),
            stacked=True,
            see=("SpendDoubled",),
        ),
        lines(
            36,
            "Event streams",
            "short",
            "Streams that are open, and how many end a second, by reason. Many stalled ones: clients that take "
            "nothing, or a proxy that buffers.",
            Query(total("agent_event_streams"), "open"),
            Query(rate("agent_event_streams_ended_total", by="reason"), "ended a second: {{reason}}"),
        ),
    ]
