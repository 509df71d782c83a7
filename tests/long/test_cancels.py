"""Cancel of a running task, two hundred times: how soon it has ended, and that the provider's connection is closed."""

import statistics
import time

import httpx

from tests.long.deployment import Deployment
from tests.long.running import Running, until

CANCELS, AT_ONCE = 200, 40


def test_a_cancel_stops_a_running_task(tmp_path, report):
    """The real agent: a model call that is paid for, a tool, and a second model call that hangs."""
    took: list[float] = []
    wrong: list[object] = []
    with Deployment(tmp_path / "cancels") as deployment:
        seen = deployment.seen
        deployment.start_simulator()
        deployment.start_gateway()
        deployment.at_work(deployment.start_worker())
        for batch in range(CANCELS // AT_ONCE):
            messages = [f"Compute {batch} * {number} + 7 [[step=2 hang]]" for number in range(1, AT_ONCE + 1)]
            tasks = [seen.post({"message": message}) for message in messages]
            until(lambda: outcomes(deployment, "running") == AT_ONCE, "all hang in their second call")
            for task in tasks:
                seconds, record = cancel(seen, task)
                took.append(seconds)
                if not as_it_should_be(record):
                    wrong.append(record)
        until(lambda: outcomes(deployment, "running") == 0, "the simulator has seen all of them leave", within_s=20)
        closed = outcomes(deployment, "disconnected")
        assert seen.audit() == []
    p99 = statistics.quantiles(took, n=100, method="inclusive")[98]
    report(
        f"{CANCELS} cancels of a running task: seconds from the request to the final record",
        "p99 under 1",
        f"p50 {statistics.median(took):.3f}, p99 {p99:.3f}, most {max(took):.3f}",
        met=p99 < 1,
    )
    report("of these, connections that the simulator saw closed", str(CANCELS), str(closed), met=closed == CANCELS)
    report("of these, not cancelled with what was spent, said and done so far", "0", str(len(wrong)), met=not wrong)
    assert closed == CANCELS
    assert wrong == []


def cancel(seen: Running, task: str) -> tuple[float, dict[str, object]]:
    began = time.monotonic()
    answer = seen.http.post(f"/task/{task}/cancel")
    assert answer.status_code == 200, answer.text
    record = seen.http.get(f"/task/{task}", params={"wait": 20}).json()
    return time.monotonic() - began, record


def as_it_should_be(record: dict[str, object]) -> bool:
    steps, usage = record["steps"], record["token_usage"]
    assert isinstance(steps, list)
    assert isinstance(usage, dict)
    done = [(step["kind"], step["state"]) for step in steps]
    kept = done[:2] == [("model", "done"), ("tool", "done")] and usage["total_tokens"] > 0
    return record["status"] == "cancelled" and kept


def outcomes(deployment: Deployment, outcome: str) -> int:
    journal = httpx.get(f"{deployment.simulator_url}/journal", params={"limit": 1}, trust_env=False).json()
    found: int = journal["counters"]["running" if outcome == "running" else "outcomes"]
    return found if outcome == "running" else journal["counters"]["outcomes"].get(outcome, 0)
