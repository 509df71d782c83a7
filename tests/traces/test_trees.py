"""The whole trace of a task as a backend gets it, from real workers: who hangs under whom, and what it says."""

import json
import signal
import time
from typing import Any

from core_config import SIMULATOR
from taskstore.store import TaskStore
from tests.simulator.server import Server
from tests.worker.conftest import eventually

from .conftest import PUBLIC, SECRET, StartWorker, Submit, tree_of
from .sink import Sink, Span, Tree, basic

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def models_of(tree: Tree, above: Span) -> list[Span]:
    return sorted((one for one in tree.below(above) if one.type == "generation"), key=lambda span: span.start_ns)


def tools_of(tree: Tree, above: Span) -> list[Span]:
    return sorted((one for one in tree.below(above) if one.type == "tool"), key=lambda span: span.name)


def usage_of(span: Span) -> dict[str, int]:
    usage: dict[str, int] = json.loads(span["langfuse.observation.usage_details"])
    return usage


async def held(simulator: Server, message: str) -> bool:
    """Whether the simulator has a call that it does not answer."""
    return any(call["outcome"] == "running" for call in simulator.journal(match=message)["calls"])


async def test_a_task_with_two_tools(start: StartWorker, submit: Submit, ended: Any, langfuse: Sink) -> None:
    submitted_ns = time.time_ns()
    task_id = await submit("Compute 6 * 7. What time is it?", session_id="s1", user_id="u1", agent="default")
    worker = start()
    record = await ended(task_id)
    assert record.status == "success"
    tree = tree_of(langfuse, task_id)

    root, (queue, attempt) = tree.root, tree.under(tree.root)
    assert (root.name, root.parent_id, root.failed) == ("default", "", False)
    assert (root["langfuse.observation.input"], root["langfuse.observation.output"]) == (record.message, record.result)
    assert (root["longhaul.status"], root["longhaul.caller"]) == ("success", "alice")
    assert (queue.name, attempt.name) == ("queue", "attempt 1")
    assert (attempt["longhaul.attempt"], attempt["longhaul.worker"]) == (1, worker.name)
    assert (attempt["longhaul.outcome"], attempt["longhaul.simulated"]) == ("success", True)
    assert attempt["longhaul.cost_usd"] == 0.0
    assert record.usage
    assert attempt["longhaul.tokens"] == record.usage.total_tokens

    # the wait began with the submit and ended with the attempt's begin; one machine, so one clock
    assert abs(root.start_ns - submitted_ns) < 20e9
    assert round((queue.end_ns - queue.start_ns) / 1e6) == record.queued_ms
    assert root.start_ns == queue.start_ns < queue.end_ns == attempt.start_ns < attempt.end_ns <= root.end_ns

    (run,) = tree.under(attempt)
    assert (run.name, run["langfuse.observation.type"]) == ("default", "chain")
    first, second = models_of(tree, run)
    assert [tool.name for tool in tools_of(tree, run)] == ["calculator", "get_time"]
    assert '"42"' in json.dumps(tools_of(tree, run)[0]["langfuse.observation.output"]).replace("\\", "")
    assert usage_of(first)["input"] + usage_of(second)["input"] <= record.usage.prompt_tokens
    assert usage_of(first)["total"] + usage_of(second)["total"] == record.usage.total_tokens
    for generation in (first, second):
        assert generation["longhaul.model"] == SIMULATOR
        assert generation["langfuse.observation.model.name"].endswith("simulator")
        assert json.loads(generation["langfuse.observation.cost_details"]) == {"total": 0.0}

    for span in tree.spans.values():  # what Langfuse finds them by
        assert (span["session.id"], span["user.id"], span["langfuse.trace.name"]) == ("s1", "u1", "default"), span.name
        assert sorted(span["langfuse.trace.tags"]) == sorted(["default", SIMULATOR, "alice"]), span.name
        assert span.resource["service.instance.id"] == worker.name
    assert [span for span in tree.spans.values() if span["langfuse.internal.is_app_root"]] == [root]
    assert {request.headers["authorization"] for request in langfuse.requests} == {basic(PUBLIC, SECRET)}
    assert {request.path for request in langfuse.requests} == {"/api/public/otel/v1/traces"}
    assert {request.headers["content-encoding"] for request in langfuse.requests} == {"gzip"}


async def test_a_streamed_task_has_its_tokens(start: StartWorker, submit: Submit, ended: Any, langfuse: Sink) -> None:
    start()
    task_id = await submit("Compute 6 * 7", stream=True)
    record = await ended(task_id)
    tree = tree_of(langfuse, task_id)
    generations = models_of(tree, tree.named("attempt 1"))
    assert record.usage
    assert sum(usage_of(one)["total"] for one in generations) == record.usage.total_tokens > 0
    for one in generations:
        assert one["langfuse.observation.completion_start_time"], "when its first token came"
    assert "session.id" not in tree.root.attributes, "a task of no session names none"


async def test_a_retried_task_goes_on_in_its_trace(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink, simulator: Server
) -> None:
    start()
    task_id = await submit(f"Compute 6 * 7 [[times=1 status=500]] {time.time_ns()}")
    record = await ended(task_id)
    assert (record.status, record.attempt) == ("success", 2)
    tree = tree_of(langfuse, task_id)
    waits = tree.under(tree.root)
    assert [span.name for span in waits] == ["queue", "attempt 1", "queue", "attempt 2"]
    _, failed, again, worked = waits
    assert (failed["longhaul.outcome"], failed["longhaul.error_code"]) == ("retry", "provider_unavailable")
    assert (failed["langfuse.observation.level"], failed.failed) == ("WARNING", True)
    assert [one["longhaul.error_code"] for one in models_of(tree, failed)] == ["provider_unavailable"]
    assert again.start_ns >= failed.end_ns - 1e9, "its second wait is not its first one's"
    assert (worked["longhaul.outcome"], worked.failed, tree.root.failed) == ("success", False, False)
    assert tree.root["longhaul.status"] == "success"


async def test_an_attempt_whose_worker_is_killed_is_told_of_by_the_next_one(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink, simulator: Server, store: TaskStore
) -> None:
    message = f"Compute 6 * 7 {time.time_ns()}"
    rules = {"rules": [{"match": message, "do": "step=2 hang"}]}
    assert simulator.http.put(f"{simulator.root}/control", json=rules).status_code == 200
    dying = start()
    task_id = await submit(message)
    await eventually(lambda: held(simulator, message), 180)
    langfuse.until(lambda spans: any(one.name == "tools" for one in spans))
    dying.signal(signal.SIGKILL)
    simulator.http.delete(f"{simulator.root}/control")
    await store.sweep(dead=dying.name)  # as the supervisor says it
    other = start()
    record = await ended(task_id)
    assert (record.status, record.attempt, record.crashes) == ("success", 2, 1)
    tree = tree_of(langfuse, task_id)
    names = [span.name for span in tree.under(tree.root)]
    assert names.count("attempt 1") == names.count("attempt 2") == 1
    lost, worked = tree.named("attempt 1"), tree.named("attempt 2")
    assert (lost["longhaul.outcome"], lost["longhaul.worker"], lost.failed) == ("worker_lost", dying.name, True)
    assert (worked["longhaul.outcome"], worked["longhaul.worker"]) == ("success", other.name)
    assert tree.root.start_ns <= lost.start_ns < lost.end_ns <= worked.start_ns
    assert len(models_of(tree, lost)) == 1, "the call that it finished"
    assert len(models_of(tree, worked)) == 1, "and the one that goes on from there"


async def test_a_cancelled_task(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink, simulator: Server, store: TaskStore
) -> None:
    start()
    message = f"Hello [[hang]] {time.time_ns()}"
    task_id = await submit(message)
    await eventually(lambda: held(simulator, message), 180)
    await store.cancel(task_id)
    assert (await ended(task_id)).status == "cancelled"
    tree = tree_of(langfuse, task_id)
    attempt = tree.named("attempt 1")
    assert (attempt["longhaul.outcome"], attempt.failed) == ("cancelled", False)
    assert (tree.root["longhaul.status"], tree.root.failed) == ("cancelled", False)
    (call,) = models_of(tree, attempt)
    assert call["langfuse.observation.level"] == "ERROR", "what was under way is ended, and says so"


async def test_a_task_that_fails_once_too_often_ends_its_trace(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink
) -> None:
    start(max_retries=0)
    task_id = await submit("Hello [[status=500]]")
    assert (await ended(task_id)).status == "failed"
    tree = tree_of(langfuse, task_id)
    assert (tree.root["longhaul.status"], tree.root.failed) == ("failed", True)
    assert tree.root["langfuse.observation.level"] == "ERROR"
    assert tree.named("attempt 1")["longhaul.outcome"] == "retry", "which the store had no room for"


async def test_a_task_hangs_under_its_caller_s_span(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink
) -> None:
    start()
    sampled = await submit("Hello", traceparent=f"00-{TRACE}-{PARENT}-01")
    await ended(sampled)
    tree = tree_of(langfuse, TRACE, above=PARENT)
    assert tree.root["longhaul.task_id"] == sampled
    unsampled = await submit("Hello", traceparent=f"00-{TRACE[::-1]}-{PARENT}-00")
    await ended(unsampled)
    assert tree_of(langfuse, TRACE[::-1]).root["longhaul.task_id"] == unsampled, "nobody sends that parent"


async def test_a_share_of_the_tasks_is_traced(start: StartWorker, submit: Submit, ended: Any, langfuse: Sink) -> None:
    start(langfuse_sample_rate=0.5)
    out = await submit("Hello", task_id="0" * 16 + "f" * 16)
    await ended(out)
    inside = await submit("Hello", task_id="f" * 16 + "0" * 15 + "1")
    await ended(inside)
    tree_of(langfuse, inside)
    assert langfuse.trace(out) == []


async def test_a_function_s_steps_are_spans(start: StartWorker, submit: Submit, ended: Any, langfuse: Sink) -> None:
    start()
    task_id = await submit("apple", agent="stepping")
    record = await ended(task_id)
    assert record.result == "42"
    tree = tree_of(langfuse, task_id)
    (run,) = tree.under(tree.named("attempt 1"))
    read, compute, noted = (one for one in tree.under(run) if one.type == "span")
    assert [one.name for one in (read, compute, noted)] == ["read", "compute", "noted"]
    assert json.loads(read["langfuse.observation.input"]) == {"given": "apple"}
    assert "[simulated]" in read["langfuse.observation.output"]
    assert noted["langfuse.observation.output"] == "note 42"
    assert len(models_of(tree, run)) == 1
    assert [one.name for one in tools_of(tree, run)] == ["calculator"]


async def test_a_failed_step_is_told_without_its_text(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink
) -> None:
    start(tavily_api_key="canary.planted.5e1f7a")  # which is how the worker knows for a secret what the agent raises
    task_id = await submit("fail", agent="stepping")
    assert (await ended(task_id)).status == "failed"
    tree = tree_of(langfuse, task_id)
    broken = tree.named("broken")
    assert (broken["langfuse.observation.level"], broken.failed) == ("ERROR", True)
    assert tree.root.failed
    assert not langfuse.holds("canary.planted")
    assert "no access with [redacted]" in str([span.said for span in tree.spans.values()])


async def test_without_contents_the_structure_is_all_there(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink
) -> None:
    start(trace_content="off")
    task_id = await submit("Compute 6 * 7 for apples", metadata={"note": "pears"}, session_id="s1", user_id="u1")
    record = await ended(task_id)
    failed = await submit("fail", agent="stepping", metadata={"note": "pears"})
    assert (await ended(failed)).status == "failed"
    tree, other = tree_of(langfuse, task_id), tree_of(langfuse, failed)
    for text in ("apples", "pears", "6 * 7", "simulated]", "no access", str(record.result)):
        assert not langfuse.holds(text), text
    assert (tree.root["session.id"], tree.root["user.id"]) == ("s1", "u1")
    generations = models_of(tree, tree.root)
    assert record.usage
    assert sum(usage_of(one)["total"] for one in generations) == record.usage.total_tokens
    assert [one.name for one in tools_of(tree, tree.root)] == ["calculator"]
    assert tree.named("attempt 1")["longhaul.outcome"] == "success"
    assert other.named("attempt 1")["longhaul.error_code"] == "agent_failed"
    assert other.named("broken").failed
    assert all(not span.said and not span.events for span in langfuse.spans())


async def test_a_backend_that_hangs_costs_no_task_anything(
    start: StartWorker, submit: Submit, ended: Any, langfuse: Sink
) -> None:
    langfuse.hangs.set()
    worker = start()
    tasks = [await submit(f"Compute 6 * {number}") for number in range(20)]
    for task_id in tasks:
        assert (await ended(task_id)).status == "success"
    assert langfuse.requests, "it was asked"
    assert langfuse.hangs.is_set(), "and has answered nothing"
    worker.signal(signal.SIGTERM)

    async def gone() -> bool:
        return worker.is_dead

    await eventually(gone, 180)
    assert "tracing_unsent" in worker.said()
