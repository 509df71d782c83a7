"""What dies comes back, refuses nobody meanwhile, and its tasks go to others at once."""

import asyncio
import os
import signal
import threading
import uuid

import httpx
import psutil
import pytest
import redis

from core_config import Settings
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import Copy, until


def comes_back(copy: Copy, name: str, dead: int) -> None:
    until(lambda: copy.process(name).pid != dead and psutil.pid_exists(copy.process(name).pid), f"{name} is back")


@pytest.mark.parametrize("name", ["gateway-1", "worker-1", "simulator", "redis"])
def test_a_killed_process_is_back(running_copy: Copy, name: str) -> None:
    dead = running_copy.process(name)
    os.kill(dead.pid, signal.SIGKILL)
    comes_back(running_copy, name, dead.pid)
    found = until(lambda: [running_copy.process(name)], "it is on record")[0]
    assert (found.restarts, found.ended) == (dead.restarts + 1, "signal 9")
    until(lambda: running_copy.get("/ready").status_code == 200, "the gateway answers")
    log = (running_copy.var / "logs" / "supervisor.log").read_text()
    assert f"{name} ended (signal 9)" in log
    # the next tests need a settled copy
    until(lambda: running_copy.manage("status").returncode == 0, "all is well again")


def test_redis_keeps_its_address_and_its_data(running_copy: Copy) -> None:
    state = running_copy.state()
    with redis.Redis.from_url(state.redis_url) as client:
        client.set("kept", "yes")
    dead = running_copy.process("redis").pid
    os.kill(dead, signal.SIGKILL)
    comes_back(running_copy, "redis", dead)

    def kept() -> bool:
        try:
            with redis.Redis.from_url(state.redis_url) as client:
                return client.get("kept") == b"yes"
        except redis.ConnectionError:
            return False

    until(kept, "the data is back at the same address")


def test_no_connection_is_refused_while_the_only_gateway_is_dead(running_copy: Copy) -> None:
    """The socket is the supervisor's: a call that comes in between waits for the next gateway."""
    for _ in range(3):
        dead = running_copy.process("gateway-1").pid
        os.kill(dead, signal.SIGSTOP)  # so that the call below surely meets a gateway that will not answer it
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda got=answers: got.append(running_copy.get("/pid")))
        asking.start()
        os.kill(dead, signal.SIGKILL)
        asking.join()
        assert [answer.status_code for answer in answers] == [200]
        comes_back(running_copy, "gateway-1", dead)


async def test_a_dead_workers_tasks_are_rescued_before_their_lease_ends(copy: Copy) -> None:
    copy.start(LEASE_SECONDS="600")
    settings = Settings(redis_url=copy.state().redis_url, lease_seconds=600)
    async with connect(settings.redis_address) as client:
        store = TaskStore(client, settings)
        task_id = uuid.uuid4().hex
        await store.submit(NewTask(task_id=task_id, caller="local", message="hold this", model="Simulator"))

        async def held_by(not_this: str = "") -> str:
            for _ in range(100):
                record = await store.get(task_id)
                if record.status.value == "running" and record.worker not in {None, not_this}:
                    return str(record.worker)
                await asyncio.sleep(0.1)
            raise AssertionError(f"nobody else holds the task: {record}")

        first = await held_by()
        assert first.startswith("worker-1-")
        os.kill(copy.process("worker-1").pid, signal.SIGKILL)
        second = await held_by(first)
        assert second.startswith("worker-1-")
        assert (await store.get(task_id)).attempt == 2
