"""Redis away, paused, full or read-only: the verb says so, nothing is half written, and nothing is sent twice."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from core_config import Settings
from taskstore.connection import COMMAND_TIMEOUT_S, Client, connect, connection_options, connection_pool
from taskstore.errors import StorageFull, StoreUnavailable
from taskstore.records import NewTask
from taskstore.scripts import code_of
from taskstore.store import TaskStore
from tests.conftest import RedisServer, free_port

from .edges import Case, claim, sweep
from .state import Contents, State, ZSet, changed
from .test_edges import CASES
from .worlds import success
from .worlds import swept as half_a_second_ago

TASK = NewTask(task_id="t1", caller="alice", message="x", model="M")


async def test_no_redis_is_unavailable(settings: Settings) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with connect(url) as client:
        store = TaskStore(client, settings.model_copy(update={"redis_url": url}))
        with pytest.raises(StoreUnavailable):
            await store.submit(TASK)


async def test_a_redis_that_dies_is_unavailable_and_serves_again_when_it_is_back(
    private_server: RedisServer, private_store: TaskStore
) -> None:
    await private_store.submit(TASK)
    private_server.kill()
    with pytest.raises(StoreUnavailable):
        await private_store.get("t1")
    private_server.start()
    assert (await private_store.get("t1")).task_id == "t1"


def test_every_command_has_a_time_out_and_a_command_is_never_sent_again() -> None:
    options = connection_options()
    assert options["socket_timeout"] == options["socket_connect_timeout"] == COMMAND_TIMEOUT_S
    # what waits for others' pushes has none, but connecting still does
    blocking = connection_options(blocking=True)
    assert (blocking["socket_timeout"], blocking["socket_connect_timeout"]) == (None, COMMAND_TIMEOUT_S)
    assert "retry_on_error" not in options
    assert "retry_on_timeout" not in options


async def test_a_verb_that_times_out_is_sent_once_and_may_be_repeated(
    private_server: RedisServer, private_settings: Settings, private_store: TaskStore
) -> None:
    """The first copy still runs when the server wakes; a second would have taken another worker's tasks."""
    for number in range(5):
        await private_store.submit(NewTask(task_id=f"t{number}", caller="alice", message="x", model="M"))
    await private_store.claim("w0", 1, room=0, extra=0, models={"M": None})
    before = (await private_store.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    # the same options but a shorter wait, to keep the test quick
    pool = connection_pool(private_settings.redis_address)
    pool.connection_kwargs["socket_timeout"] = 1.0
    impatient = TaskStore(Client.from_pool(pool), private_settings)
    await impatient.redis.ping()
    assert private_server.process
    private_server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            await impatient.claim("w1", 1, room=5, extra=0, models={"M": None})
    finally:
        private_server.process.send_signal(signal.SIGCONT)
    await private_store.redis.ping()
    after = (await private_store.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before == 1

    again = await private_store.claim("w1", 1, room=5, extra=0, models={"M": None})
    assert [task.task_id for task in again.tasks] == [f"t{number}" for number in range(5)]
    assert {task.fence for task in again.tasks} == {1}
    await impatient.redis.aclose()


async def test_a_connection_that_redis_closed_unseen_is_not_the_callers_business(
    private_server: RedisServer, private_store: TaskStore
) -> None:
    """Redis restarted before this process's loop turned: every pooled connection is dead and looks alive."""
    await asyncio.gather(*(private_store.overview() for _ in range(5)))
    await private_store.submit(TASK)
    private_server.kill()
    private_server.start()
    claimed = await private_store.claim("w1", 1, room=5, extra=0, models={"M": None})
    assert [(task.task_id, task.fence) for task in claimed.tasks] == [("t1", 1)]


@pytest.fixture(scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("full")
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def full(full_server: RedisServer, settings: Settings) -> AsyncIterator[TaskStore]:
    """A store on a Redis that `maxmemory 1` fills at once; it is given room again for the comparison."""
    there = settings.model_copy(update={"redis_url": full_server.url})
    async with connect(full_server.url) as client:
        yield TaskStore(client, there)
        await client.config_set("maxmemory", 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_full_redis_takes_the_whole_verb_or_nothing_of_it(case: Case, full: TaskStore) -> None:
    contents = Contents(full.redis, full.keys.prefix)
    now = await contents.clock()
    before = case.before(now)
    adds = case.verb in {"submit", "claim"} or case.act is claim
    await contents.seed(before)
    await contents.client.config_set("maxmemory", 1)
    try:
        answer: Any = await case.act(full)
    except StorageFull:
        assert adds, "a verb that ends, keeps or frees what was let in is never refused"
        await contents.check(before)
    else:
        assert not adds, "nothing new comes in or is started"
        assert answer == case.answer
        await contents.check(changed(before, case.changes(now)))
    await contents.client.config_set("maxmemory", 0)
    assert await full.audit() == []


async def test_a_submit_to_a_full_redis_is_refused_and_writes_nothing(full: TaskStore) -> None:
    contents = Contents(full.redis, full.keys.prefix)
    await full.redis.config_set("maxmemory", 1)
    with pytest.raises(StorageFull) as refusal:
        await full.submit(TASK)
    assert refusal.value.retry_after_s == 5
    await contents.check({})
    await full.redis.config_set("maxmemory", 0)
    assert (await full.submit(TASK)).created


async def test_a_full_redis_still_lets_the_sweep_make_room(full: TaskStore) -> None:
    contents = Contents(full.redis, full.keys.prefix)
    now = await contents.clock()
    state: State = half_a_second_ago(success)(now) | {"gone": ZSet({"t1 alice": now - 100})}
    await contents.seed(state)
    await full.redis.config_set("maxmemory", 1)
    assert await sweep()(full) == {"forgotten": 1}
    assert "task:t1" not in await contents.snapshot()


async def test_a_replica_is_unavailable_and_not_a_bug(full_server: RedisServer, full: TaskStore) -> None:
    await full.redis.slaveof("127.0.0.1", 1)
    try:
        with pytest.raises(StoreUnavailable):
            await full.submit(TASK)
    finally:
        await full.redis.slaveof()


async def test_a_broken_script_or_key_is_a_bug_and_says_so(store: TaskStore, contents: Contents) -> None:
    await contents.client.set(contents.prefix + "live", "not a sorted set")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.submit(TASK)


async def test_a_disk_that_takes_no_snapshot_is_full_storage(
    private_server: RedisServer, private_store: TaskStore
) -> None:
    """Redis then refuses every write with MISCONF."""
    client: Any = private_store.redis
    shutil.rmtree(private_server.folder)  # where its snapshots go
    await client.config_set("save", "3600 1")
    await client.bgsave()
    async with asyncio.timeout(10):
        while (await client.info("persistence"))["rdb_last_bgsave_status"] != "err":
            await asyncio.sleep(0.02)
    with pytest.raises(StorageFull, match="RDB snapshots"):
        await private_store.submit(TASK)
    assert await client.dbsize() == 0


FULL = "OOM command not allowed when used memory > 'maxmemory'."
UNSAVED = "MISCONF Errors writing to the AOF file: No space left on device"
IN_6_2 = "Error running script (call to f_5838): @user_script:51: @user_script: 51: -"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (f"{FULL} script: 5838, on @user_script:1.", "OOM"),
        (f"{IN_6_2}{FULL}", "OOM"),
        (f"{IN_6_2}{UNSAVED}", "MISCONF"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"),
        ("Error running script (call to f_1): @user_script:3: attempt to index a nil value", "Error"),
    ],
)
def test_the_code_of_an_error_inside_a_script_is_found(said: str, code: str) -> None:
    """As Redis 7 says it and as 6.2 does, which wraps it."""
    assert code_of(said) == code
