"""Workers and Redis that die, hang, come back and are told to stop."""

import asyncio
import pickle
import signal
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from core_config import ROOT
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.conftest import RedisServer
from tests.worker.conftest import eventually, new_task
from worker.reaper import EVERY_S


async def test_a_killed_workers_task_is_finished_by_another(store, tmp_path, start_worker, ended, running):
    first = start_worker()
    task = new_task(f"hold {tmp_path}/go")
    await store.submit(task)
    await running(task)
    start_worker()
    first.signal(signal.SIGKILL)
    record = await running(task, attempt=2)
    assert (record.crashes, record.fence) == (1, 2)
    (tmp_path / "go").touch()
    assert (await ended(task)).status == "success"


async def test_a_death_that_is_reported_needs_no_waiting(store, tmp_path, start_worker, ended, running):
    worker = start_worker(lease_seconds=60)
    task = new_task(f"hold {tmp_path}/go")
    await store.submit(task)
    await running(task)
    worker.signal(signal.SIGKILL)
    worker.process.wait()
    start_worker(lease_seconds=60)
    await store.sweep(dead=worker.name)
    await running(task, attempt=2)
    (tmp_path / "go").touch()
    assert (await ended(task)).crashes == 1


async def test_a_task_that_takes_its_workers_down_becomes_a_dead_letter(store, start_worker, ended):
    task = new_task("die")
    await store.submit(task)
    for _ in range(2):
        worker = start_worker()
        worker.process.wait(30)
        await store.sweep(dead=worker.name)
    worker = start_worker()
    record = await ended(task)
    assert (record.status, record.error_code, record.crashes) == ("failed", "worker_lost", 3)
    assert (await store.overview()).dead == 1
    assert worker.process.poll() is None


async def test_a_worker_that_wakes_after_its_lease_writes_nothing(store, tmp_path, start_worker, ended, running):
    zombie = start_worker()
    task = new_task(f"hold {tmp_path}/go")
    await store.submit(task)
    await running(task)
    zombie.signal(signal.SIGSTOP)
    start_worker()
    await running(task, attempt=2)
    (tmp_path / "go").touch()
    before = await ended(task)
    zombie.signal(signal.SIGCONT)

    async def refused() -> bool:
        return "cause=lease_lost" in zombie.said()

    await eventually(refused)
    assert await store.get(task.task_id) == before


async def test_a_busy_event_loop_keeps_its_leases(store, start_worker, ended):
    start_worker(lease_seconds=1)
    start_worker(lease_seconds=1)
    task = new_task("block 3")
    await store.submit(task)
    record = await ended(task)
    assert (record.status, record.attempt, record.crashes) == ("success", 1, 0)


async def test_a_busy_event_loop_does_not_hold_up_the_rescue_of_anothers_tasks(store, tmp_path, start_worker, running):
    first = start_worker(worker_concurrency=1)
    task, busy = new_task(f"hold {tmp_path}/go"), new_task("block 30")
    await store.submit(task)
    await running(task)
    start_worker()
    await store.submit(busy)
    await running(busy)
    first.signal(signal.SIGKILL)

    async def rescued() -> bool:
        return (await store.get(task.task_id)).crashes == 1

    await eventually(rescued, within_s=20)
    assert (await store.get(busy.task_id)).status == "running"


async def test_a_stalled_event_loop_loses_them(store, start_worker, ended, running):
    start_worker(loop_stall_seconds=0.5)
    task = new_task("block 6")
    await store.submit(task)
    await running(task)
    start_worker()
    await running(task, attempt=2)
    await store.cancel(task.task_id)
    await ended(task, within_s=20)


async def test_sigterm_lets_tasks_finish(store, tmp_path, start_worker, ended, running):
    worker = start_worker(drain_seconds=20)
    task, queued = new_task(f"hold {tmp_path}/go"), new_task()
    await store.submit(task)
    await running(task)
    worker.signal(signal.SIGTERM)

    async def draining() -> bool:
        return "shutdown on SIGTERM" in worker.said()

    await eventually(draining)
    await store.submit(queued)
    (tmp_path / "go").touch()
    assert (await ended(task)).status == "success"
    assert worker.process.wait(30) == 0
    assert (await store.get(queued.task_id)).status == "pending"


@pytest.mark.parametrize("hurry", [False, True])
async def test_sigterm_releases_the_rest_unspent_at_its_old_place(store, tmp_path, start_worker, ended, running, hurry):
    worker = start_worker(drain_seconds=30 if hurry else 0.3, worker_concurrency=1, lease_seconds=5)
    task, later = new_task(f"hold {tmp_path}/go"), new_task()
    await store.submit(task)
    await running(task)
    await store.submit(later)
    worker.signal(signal.SIGTERM)
    if hurry:

        async def draining() -> bool:
            return "shutdown on SIGTERM" in worker.said()

        await eventually(draining)
        worker.signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    record = await store.get(task.task_id)
    assert (record.status, record.attempt, record.crashes, record.retries) == ("pending", 0, 0, 0)
    assert record.queue_position == 0
    assert await store.audit() == []
    (tmp_path / "go").touch()
    start_worker()
    assert (await ended(task)).attempt == 1
    await ended(later)


async def test_workers_outlive_cut_connections(store, start_worker, ended):
    worker = start_worker()
    for _ in range(5):
        task = new_task()
        await store.submit(task)
        await store.redis.client_kill_filter(_type="normal", skipme=True)
        assert (await ended(task)).status == "success"
    assert worker.process.poll() is None


@pytest.fixture
def own_redis(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()


async def test_workers_outlive_a_redis_that_dies_and_one_that_hangs(own_redis, settings, tmp_path, start_worker):
    settings = settings.model_copy(update={"redis_url": own_redis.url})
    worker = start_worker(redis_url=own_redis.url, lease_seconds=1)
    client = connect(own_redis.url)
    store = TaskStore(client, settings)
    held, quick = new_task(f"hold {tmp_path}/go"), new_task()

    async def ready() -> bool:
        return bool((await store.overview()).workers)

    await eventually(ready)
    await store.submit(held)

    async def runs() -> bool:
        return (await store.get(held.task_id)).status == "running"

    await eventually(runs)
    own_redis.kill()
    own_redis.start()
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(4)  # the fault itself: longer than the commands' time-out and than the lease
    own_redis.process.send_signal(signal.SIGCONT)
    await store.submit(quick)
    (tmp_path / "go").touch()

    async def both() -> bool:
        records = [await store.get(task.task_id) for task in (held, quick)]
        return all(record.is_final for record in records)

    await eventually(both)
    record = await store.get(held.task_id)
    assert (record.status, record.crashes, record.retries) == ("success", 0, 0)
    assert worker.process.poll() is None
    assert await store.audit() == []
    await client.aclose()


async def test_a_worker_that_cannot_renew_ends_its_runs_by_itself(own_redis, settings, tmp_path, start_worker):
    """Cut off from Redis for longer than a lease, it cannot know whether another worker has the task by now."""
    start_worker(redis_url=own_redis.url, lease_seconds=1)
    client = connect(own_redis.url)
    store = TaskStore(client, settings.model_copy(update={"redis_url": own_redis.url}))
    beats = tmp_path / "beats"
    await store.submit(new_task(f"beat {beats}"))

    async def began() -> bool:
        return beats.exists()

    await eventually(began)
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)

    async def silent() -> bool:
        before = beats.stat().st_size
        await asyncio.sleep(1)  # fifty beats of a run that goes on
        return beats.stat().st_size == before

    await eventually(silent)
    own_redis.process.send_signal(signal.SIGCONT)
    await client.aclose()


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


async def test_a_planted_pickle_runs_nothing(store, tmp_path, start_worker, ended):
    proof = tmp_path / "ran"
    planted = pickle.dumps({"t": 1, "f": "attempt", "a": Planted(proof), "k": {}, "et": 1})
    for name in ("arq:job:x", "arq:result:x", "arq:retry:x"):
        await store.redis.set(name, planted)
    await store.redis.zadd("arq:queue", {"x": 0})
    await store.redis.set(store.keys.task("planted"), planted)
    await store.redis.zadd(store.keys.ready("M:b"), {"planted": 0})
    worker = start_worker()
    task = new_task()
    await store.submit(task)
    await store.redis.delete(store.keys.task("planted"))
    await ended(task)
    assert not proof.exists()
    assert await store.redis.get("arq:job:x") is not None
    assert worker.process.poll() is None
    await store.redis.delete("arq:job:x", "arq:result:x", "arq:retry:x", "arq:queue")
    await store.redis.zrem(store.keys.ready("M:b"), "planted")


def test_stock_arq_says_which_command_to_use():
    arq = subprocess.run(
        [sys.executable, "-m", "arq", "worker.WorkerSettings"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert arq.returncode != 0
    assert "python -m worker" in arq.stderr


async def test_a_crowd_of_expired_tasks_is_swept_in_one_go(store, start_worker):
    """More than one sweep takes; at a hundred each half second the last would be gone only after two."""
    for _ in range(450):
        await store.submit(new_task(model="Nobody's", deadline_ms=1))
    worker = start_worker()

    def sweeps() -> list[str]:
        return [line.split()[0] for line in worker.said().splitlines() if "swept expired=" in line]

    async def gone() -> bool:
        return len(sweeps()) == 5

    await eventually(gone)
    swept = sweeps()
    first, last = (datetime.fromisoformat(swept[at]) for at in (0, -1))
    assert last - first < timedelta(seconds=4 * EVERY_S)  # they did not wait for each other's turn
