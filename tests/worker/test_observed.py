"""What of an attempt and of its calls is counted as what, and in which unit: no worker, one call each."""

import uuid

import pytest

from agent.run_context import StepEvent
from monitoring import metrics
from taskstore.claims import Claim, Settled, SettleKind
from taskstore.store import TaskStore
from tests.worker.conftest import new_task
from tests.worker.test_tokens import a_log, model
from tests.worker.test_worker_metrics import of
from worker import observed
from worker.steps import MOST_WAITING


@pytest.fixture
async def claim(store: TaskStore) -> Claim:
    """Of a task that was ready for five seconds, and of a model of its own."""
    name = f"M-{uuid.uuid4().hex}"
    task = new_task(model=name)
    await store.submit(task)
    seconds, micros = await store.redis.time()
    ready_at = seconds * 1000 + micros // 1000 - 5_000
    await store.redis.hset(store.keys.task(task.task_id), "ready_at", ready_at)  # type: ignore[misc]  # redis-py's own
    (claimed,) = (await store.claim("w", 1, room=1, extra=0, models={name: None})).tasks
    return claimed


def summed(metric: metrics.Observed, **labels: str) -> float:
    """Of a histogram."""
    samples = (sample for found in metric.collect() for sample in found.samples if sample.name.endswith("_sum"))
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


async def test_a_wait_is_counted_in_seconds_and_in_its_lane(claim: Claim):
    observed.claimed(claim, in_quarantine=False)
    assert 5 <= summed(metrics.TASK_WAIT, model=claim.model, lane="batch") < 65
    observed.claimed(claim, in_quarantine=True)
    assert 5 <= summed(metrics.TASK_WAIT, model=claim.model, lane="quarantine") < 65
    assert summed(metrics.TASK_WAIT, model=claim.model, lane="batch") < 65


@pytest.mark.parametrize(
    ("asked", "answer", "outcome"),
    [
        ("success", "ok success", "success"),
        ("retry", "ok retrying", "retry"),
        ("retry", "ok failed", "bury"),
        ("bury", "ok failed", "bury"),
        ("fail", "ok failed", "fail"),
        ("fail", "ok pending", "release"),  # another worker has its agent
        ("release", "ok pending", "release"),
        ("success", "ok cancelled 1500", "cancelled"),
    ],
)
async def test_an_attempt_counts_as_what_the_store_made_of_it(
    claim: Claim, asked: SettleKind, answer: str, outcome: str
):
    before = summed(metrics.CANCEL_SECONDS)
    observed.ended(claim, asked, Settled.of(answer), 0.25)
    counted = {labels[2]: count for labels, count in of("TASK_RUN").items() if labels[0] == claim.model}
    assert counted == {outcome: 1}
    assert summed(metrics.TASK_RUN, model=claim.model) == 0.25
    assert summed(metrics.CANCEL_SECONDS) - before == pytest.approx(1.5 if outcome == "cancelled" else 0)


def test_the_first_thing_that_a_streamed_call_says_is_timed_once():
    log = a_log()
    before = of("FIRST_TOKEN").get(("M",), 0)
    log.note(model(1, "start"))
    log.token(1, "reasoning", "hm")
    log.token(1, "text", "so")
    assert of("FIRST_TOKEN")["M",] == before + 1
    log.note(model(1, "end"))
    log.note(model(2, "start"))
    log.note(model(2, "end", error="provider_timeout"))  # it said nothing
    log.token(2, "text", "late")
    assert of("FIRST_TOKEN")["M",] == before + 1


def test_calls_count_although_their_notes_are_dropped_or_their_attempt_is_over():
    log = a_log()
    before = of("MODEL_CALLS").get(("M", ""), 0)
    for number in range(1, MOST_WAITING + 50):
        log.note(model(number, "end", duration_ms=1.0))
    log.close()
    log.note(model(1, "end", duration_ms=1.0))
    assert of("MODEL_CALLS")["M", ""] == before + MOST_WAITING + 50


def test_names_of_tools_are_bounded():
    names = [f"tool-{uuid.uuid4().hex}" for _ in range(observed.MOST_TOOLS + 5)]
    for name in names:
        observed.call(StepEvent(kind="tool", phase="end", number=1, name=name, duration_ms=1.0))
    found = of("TOOL_CALLS")
    assert len(found) <= 2 * (observed.MOST_TOOLS + 1)
    assert found[metrics.UNKNOWN, "ok"] >= 5
