"""How single attempts end, in a real worker process."""

import asyncio

import pytest

from tests.worker.conftest import eventually, new_task


async def test_an_answer_is_a_success(store, start_worker, ended):
    start_worker()
    task = new_task("say hello")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.result, record.attempt, record.error) == ("success", "hello", 1, None)


@pytest.mark.parametrize(
    "name",
    ["RuntimeError", "SystemExit", "KeyboardInterrupt", "MemoryError", "RecursionError", "GeneratorExit"],
)
async def test_whatever_an_agent_raises_fails_its_task_and_not_the_worker(store, start_worker, ended, name):
    worker = start_worker()
    task, after = new_task(f"raise {name}"), new_task("say still here")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.error_code) == ("failed", "internal")
    assert "planted" not in (record.error or "")
    assert "planted" in worker.said()
    await store.submit(after)
    assert (await ended(after)).result == "still here"
    assert worker.process.poll() is None


async def test_a_provider_that_fails_in_passing_is_retried_by_the_queue_until_the_budget_ends(
    store, settings, start_worker, ended
):
    start_worker(max_retries=1)
    task = new_task("raise provider_bad_response")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.error_code, record.error) == ("failed", "provider_bad_response", "planted detail")
    assert (record.attempt, record.retries, record.crashes) == (2, 1, 0)
    assert (await store.overview()).dead == 1


async def test_a_provider_that_refuses_for_good_is_not_asked_again(store, start_worker, ended):
    start_worker()
    task = new_task("raise provider_auth")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.error_code, record.attempt) == ("failed", "provider_auth", 1)


async def test_an_attempt_that_runs_too_long_fails_and_keeps_what_it_spent(store, start_worker, ended):
    start_worker(attempt_timeout_seconds=0.3)
    task = new_task("spend")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.error_code, record.partial) == ("failed", "attempt_timeout", "so far")
    assert record.usage is not None
    assert (record.usage.total_tokens, record.cost_usd) == (15, 0.01)
    [row] = await store.usage(by="model", since_days=2)
    assert (row.name, row.total_tokens, row.cost_usd) == ("M", 15, 0.01)


async def test_an_attempt_that_swallows_its_cancellation_is_settled_without_it(store, tmp_path, start_worker, ended):
    worker = start_worker(attempt_timeout_seconds=0.3)
    task, after = new_task(f"swallow {tmp_path}/go"), new_task("say next")
    await store.submit(task)
    assert (await ended(task)).error_code == "attempt_timeout"
    await store.submit(after)
    assert (await ended(after)).status == "success"
    assert "run_will_not_end" in worker.said()
    (tmp_path / "go").touch()


async def test_a_deadline_ends_a_running_task_before_its_attempt_timeout(store, start_worker, ended):
    start_worker()
    task = new_task("spend", deadline_ms=400)
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.error_code) == ("failed", "deadline_exceeded")


async def test_cancel_stops_a_running_task_and_keeps_what_it_spent(store, start_worker, ended, tmp_path):
    start_worker()
    task = new_task(f"spend {tmp_path}/spent")
    await store.submit(task)

    async def spent() -> bool:
        return (tmp_path / "spent").exists()

    await eventually(spent)
    assert await store.cancel(task.task_id) == "running"
    record = await ended(task)
    assert (record.status, record.partial, record.cost_usd) == ("cancelled", "so far", 0.01)


async def test_a_cancel_whose_message_is_lost_comes_with_the_next_renewal(
    store, settings, start_worker, ended, running
):
    start_worker()
    task = new_task("spend")
    await store.submit(task)
    await running(task)
    # the field, as the script writes it, without the message
    await store.redis.hset(store.keys.task(task.task_id), "cancel_at", "1")
    assert (await ended(task)).status == "cancelled"


async def test_text_that_no_encoding_takes_does_not_lose_the_task(store, start_worker, ended):
    start_worker()
    task = new_task("surrogate")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.result) == ("success", "half ? pair")


async def test_an_answer_over_a_megabyte_fails_and_keeps_its_beginning(store, start_worker, ended):
    start_worker()
    task = new_task("large 1048577")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.error_code, record.result) == ("failed", "output_too_large", None)
    assert record.partial == "x" * 65_536


async def test_a_raising_hook_of_arqs_harms_no_task(store, start_worker, ended):
    worker = start_worker("hooks")
    for _ in range(3):
        task = new_task()
        await store.submit(task)
        assert (await ended(task)).status == "success"

    async def all_three_said() -> bool:
        return worker.said().count("hook_failed hook=hook") == 9

    await eventually(all_three_said)
    assert worker.process.poll() is None


async def test_a_task_that_is_claimed_again_while_its_last_attempt_still_ends_can_be_stopped(
    store, tmp_path, start_worker, ended, running
):
    """The hook holds the first attempt's end for longer than the retry's delay of nothing."""
    start_worker("slow-hook")
    task = new_task(f"once {tmp_path}/failed")
    await store.submit(task)
    await running(task, attempt=2)
    await asyncio.sleep(0.7)  # the first attempt's end is over, and has taken nothing of the second with it
    await store.cancel(task.task_id)
    assert (await ended(task)).status == "cancelled"
