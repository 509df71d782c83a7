"""The bare app beside the gateway: it sends Redis what the gateway's store sends, and both are asked by one client."""

import json

import pytest

from core_config import Settings
from loadtest.bench import http_client
from loadtest.bench.bare_app import ID, MESSAGE
from loadtest.bench.http_study import start_app
from loadtest.bench.overheard import arguments_of, overhearing
from loadtest.bench.stage import BenchError
from taskstore.connection import connect
from taskstore.store import TaskStore
from tests.worker.conftest import new_task


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b'+1.5 [0 127.0.0.1:5] "GET" "a b"\r\n', ["GET", "a b"]),
        (b'+1.5 [0 unix:/x] "SET" "k" "{\\"a\\": \\"\\\\n\\", \\n}"\r\n', ["SET", "k", '{"a": "\\n", \n}']),
        (b'+1.5 [0 127.0.0.1:5] "SET" "k" "\\xe4\\xb8\\xad"\r\n', ["SET", "k", "中"]),
        (b'+1.5 [0 127.0.0.1:5] "ECHO" ""\r\n', ["ECHO", ""]),
    ],
)
def test_a_command_is_overheard_as_it_was_sent(line, command):
    assert arguments_of(line) == [command]


def test_what_a_script_calls_is_not_overheard():
    assert arguments_of(b'+1.5 [0 lua] "GET" "a"\r\n') == []
    assert arguments_of(b"+OK\r\n") == []


async def test_the_bare_app_submits_and_reads_with_the_stores_own_scripts(stages):
    async with stages.stage() as stage:
        store = TaskStore(connect(stage.redis_url), Settings(redis_url=stage.redis_url))
        stage.stack.push_async_callback(store.redis.aclose)
        first = new_task("the first one's message", caller="bench")
        async with overhearing(stage.redis_url) as redis:
            await store.submit(first)
            submit = await redis.command(lambda one: first.task_id in one and first.message in one)
            await store.look(first.task_id)
            read = await redis.command(lambda one: first.task_id in one and first.message not in one)
        commands = stage.folder / "commands.json"
        commands.write_text(
            json.dumps({
                "redis": stage.redis_url,
                "submit": [{first.task_id: ID, first.message: MESSAGE}.get(one, one) for one in submit],
                "read": [{first.task_id: ID}.get(one, one) for one in read],
            })
        )  # fmt: skip
        url, _ = await start_app(stage, ["redis", str(commands)])
        client = await http_client.Client.start(stage)
        told = await client.send(url, [http_client.post("/task", {}, {"message": "another"})], 5, 2)
        assert told["seconds"] > 0
        page = await client.send(url, [http_client.get(f"/task/{first.task_id}", {})], 3, 1)
        assert page["p50_ms"] > 0
        assert (await store.overview()).queued == 6
        with pytest.raises(BenchError, match=r"no 200.*500"):
            await client.send(url, [http_client.get("/task/unknown", {})], 1, 1)


async def test_fastapi_with_nothing_in_it_answers_both(stages):
    async with stages.stage() as stage:
        url, pid = await start_app(stage, ["fastapi"])
        assert pid > 0
        client = await http_client.Client.start(stage)
        await client.send(url, [http_client.post("/task", {}, {"message": "x"}), http_client.get("/task/1", {})], 4, 2)
        with pytest.raises(BenchError, match="422"):
            await client.send(url, [http_client.post("/task", {}, {})], 1, 1)
