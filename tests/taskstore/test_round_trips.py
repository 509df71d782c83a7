"""What the server is asked: one command a verb, counted by the server itself."""

import re
from itertools import takewhile

import pytest
from redis.asyncio import Redis

from core_config import Settings
from taskstore.claims import Settlement
from taskstore.connection import connect
from taskstore.records import NewTask, WorkerInfo
from taskstore.scripts import FOLDER, SHARED, VERBS, source
from taskstore.store import TaskStore

WORKER = WorkerInfo("w1", "host", 1, "1", 5, 0)


async def commands(client: Redis) -> dict[str, int]:
    """How often each command was called."""
    monitored = await client.info("commandstats")
    return {name.removeprefix("cmdstat_"): stats["calls"] for name, stats in monitored.items()}


async def test_each_verb_is_one_command(private_store: TaskStore, private_settings: Settings) -> None:
    """MONITOR shows what clients send; what a script calls is marked `lua` and left out."""
    store = private_store
    await store.submit(NewTask(task_id="t0", caller="alice", message="x", model="M"))
    await store.claim("w0", 1, room=1, extra=0, models={"M": None})
    await store.settle([Settlement(task_id="t0", fence=1, kind="success", result="x")])  # loads the scripts
    await store.purge("t9", 1)
    for verb in ("cancel", "decide", "replay"):
        with pytest.raises(Exception):  # noqa: B017  only to load the script
            await (store.decide("t9", "{}") if verb == "decide" else getattr(store, verb)("t9"))
    await store.get("t0")
    await store.renew(WORKER, [])
    await store.sweep()

    async with connect(private_settings.redis_address) as other, other.monitor() as monitor:
        await store.submit(NewTask(task_id="t1", caller="alice", message="x", model="M", idempotency_key="k"))
        await store.claim("w1", 1, room=1, extra=0, models={"M": None})
        await store.renew(WORKER, [("t1", 1)])
        await store.settle([Settlement(task_id="t1", fence=1, kind="fail")])
        await store.get("t1")
        await store.replay("t1")
        await store.cancel("t1")
        await store.purge("t9", 1)
        await store.sweep()
        await store.redis.echo("end")
        sent = []
        while True:
            line = await monitor.next_command()
            if line["client_type"] == "lua":
                continue
            if line["command"].startswith("ECHO"):
                break
            sent.append(line["command"].split(" ", 1)[0].upper())
    assert sent == ["EVALSHA"] * 9


async def test_a_batch_of_settles_is_one_command_and_each_gets_its_word(audited: TaskStore) -> None:
    for task_id in ("t1", "t2", "t3"):
        await audited.submit(NewTask(task_id=task_id, caller="alice", message="x", model="M"))
    await audited.claim("w1", 1, room=3, extra=0, models={"M": None})
    await audited.redis.script_load(source("settle"))  # unknown, it would be asked for twice
    before = (await commands(audited.redis)).get("evalsha", 0)
    words = await audited.settle([
        Settlement(task_id="t1", fence=1, kind="success", result="a"),
        Settlement(task_id="t2", fence=9, kind="success", result="b"),
        Settlement(task_id="t3", fence=1, kind="retry", delay_ms=5_000),
    ])  # fmt: skip
    assert words == ["ok", "lease_lost", "ok"]
    # the settle and the fixture's audit after it
    assert (await commands(audited.redis))["evalsha"] - before == 2
    statuses = [(await audited.get(task_id)).status.value for task_id in ("t1", "t2", "t3")]
    assert statuses == ["success", "running", "retrying"]


async def test_a_server_that_forgot_the_scripts_gets_them_again(audited: TaskStore) -> None:
    await audited.submit(NewTask(task_id="t1", caller="alice", message="x", model="M"))
    await audited.redis.script_flush()
    assert len((await audited.claim("w1", 1, room=1, extra=0, models={"M": None})).tasks) == 1


async def test_two_versions_of_a_script_run_side_by_side(audited: TaskStore) -> None:
    """An old process goes on with the old script while a new one runs a newer: each is named by its content."""
    old = audited.redis.register_script(source("overview"))
    newer = audited.redis.register_script(source("overview") + "-- a later version\n")
    assert old.sha != newer.sha
    keys, args = [audited.keys.prefix], [audited._scripts._policy]
    answers = [await script(keys=keys, args=args) for script in (old, newer, old)]
    assert answers[0] == answers[1] == answers[2]


def test_each_script_is_a_verb_and_says_what_it_takes_and_returns() -> None:
    assert {path.stem for path in FOLDER.glob("*.lua")} == {*VERBS, *SHARED}
    for verb in VERBS:
        lines = (FOLDER / f"{verb}.lua").read_text().splitlines()
        header = list(takewhile(lambda line: line.startswith("--"), lines))
        body = "\n".join(lines[len(header) :])
        says = "\n".join(header)
        assert header[0].startswith(f"-- {verb}: ")
        assert "\n-- Returns " in says, verb
        assert ("\n-- ARGV: 2" in says) == bool(re.search(r"ARGV(\[|, \d)", body)), verb
        assert ("\n-- Event: " in says) == bool(re.search(r"\b(event|final|cancel|again|append_steps)\(", body)), verb
