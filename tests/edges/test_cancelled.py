"""Calls that are given up in the middle of a Redis command: no reply goes to another call (CVE-2023-28858, -28859).

A call is cancelled after a number of turns of the event loop, so at every point from before the command is written to
after its reply has arrived.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson

from taskstore.errors import TaskNotFound
from taskstore.records import NewTask
from taskstore.store import TaskStore

from .conftest import ALICE, Deployment

GIVEN_UP = 600
AT_ONCE = 40
MOST_TURNS = 12


def new_task(number: int) -> NewTask:
    return NewTask(task_id=f"t{number}", caller="alice", message=f"message {number}", model="M")


async def give_up(begin: Callable[[int], Awaitable[None]], wanted: int) -> int:
    """Begins calls, some at once, and gives up each after another number of turns of the loop, until so many were given
    up before they had ended. How many were begun.

    How many turns a call takes is the machine's affair: on a quick one most end before they are given up. Each that
    ends makes room for the next at once, which takes the connection while its late reply is on the way.
    """
    numbers, turns = itertools.count(), itertools.cycle([*range(MOST_TURNS), 100])
    given_up = begun = 0

    async def one_after_another() -> None:
        nonlocal given_up, begun
        while given_up < wanted:
            assert begun < 20 * wanted, f"of {begun} calls only {given_up} had not ended when they were given up"
            begun += 1
            call = asyncio.ensure_future(begin(next(numbers)))
            for _ in range(next(turns)):
                await asyncio.sleep(0)
            call.cancel()
            (ended,) = await asyncio.gather(call, return_exceptions=True)
            if isinstance(ended, asyncio.CancelledError):
                given_up += 1
            else:
                assert ended is None, ended

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return begun


async def test_no_reply_of_a_read_that_was_given_up_reaches_another(store: TaskStore) -> None:
    for number in range(AT_ONCE):
        await store.submit(new_task(number))

    async def read(number: int) -> None:
        """The one that is asked for: `give_up` fails on anything else."""
        assert (await store.get(f"t{number % AT_ONCE}")).message == f"message {number % AT_ONCE}"

    await give_up(read, GIVEN_UP)
    await asyncio.gather(*(read(number) for number in range(4 * AT_ONCE)))


async def test_no_reply_of_a_bare_command_that_was_given_up_reaches_another(store: TaskStore) -> None:
    """Also of pipelines, whose many replies are read one by one."""
    client = store.redis
    for number in range(AT_ONCE):
        await client.set(f"{store.keys.prefix}n{number}", number)

    async def ask(number: int) -> None:
        name, value = f"{store.keys.prefix}n{number % AT_ONCE}", str(number % AT_ONCE)
        if number % 2:
            assert await client.get(name) == value
            return
        async with client.pipeline(transaction=number % 4 == 0) as pipe:
            for _ in range(5):
                pipe.get(name)
            assert await pipe.execute() == [value] * 5

    await give_up(ask, GIVEN_UP)
    await asyncio.gather(*(ask(number) for number in range(4 * AT_ONCE)))


async def test_a_submit_that_is_given_up_is_whole_or_was_never_sent(store: TaskStore) -> None:
    async def submit(number: int) -> None:
        assert (await store.submit(new_task(number))).task_id == f"t{number}"

    begun = await give_up(submit, 150)
    assert await store.audit() == []
    for number in range(begun):
        try:
            assert (await store.get(f"t{number}")).message == f"message {number}"
        except TaskNotFound:
            assert (await store.submit(new_task(number))).created
    assert (await store.overview()).queued == begun


async def test_no_answer_of_a_request_that_was_given_up_reaches_another(deployment: Deployment) -> None:
    """Over HTTP, into a gateway that is a process: connections that break off at every point."""
    users = [f"user-{number}" for number in range(AT_ONCE)]
    with deployment.client() as client:
        later = {"message": "m", "run_at": "2099-01-01T00:00:00Z"}
        answers = [client.post("/task", json={**later, "user_id": user}).raise_for_status() for user in users]
    ids = [answer.json()["task_id"] for answer in answers]

    async def read(number: int, wait: str = "") -> None:
        task = await get(deployment, f"/task/{ids[number % AT_ONCE]}{wait}")
        assert (task["task_id"], task["user_id"]) == (ids[number % AT_ONCE], users[number % AT_ONCE])

    async def read_or_wait(number: int) -> None:
        await read(number, "?wait=0.05" if number % 3 == 0 else "")

    await give_up(read_or_wait, GIVEN_UP)
    await asyncio.gather(*(read(number) for number in range(4 * AT_ONCE)))


async def get(deployment: Deployment, path: str) -> Any:
    """On a connection of its own, broken off when cancelled: httpx's pool loses connections by cancellations."""
    url = httpx.URL(deployment.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        head = f"GET {path} HTTP/1.1\r\nhost: {url.host}\r\nauthorization: Bearer {ALICE}\r\nconnection: close\r\n"
        writer.write(f"{head}\r\n".encode())
        answer = await reader.read()
        return orjson.loads(answer.partition(b"\r\n\r\n")[2])
    finally:
        writer.transport.abort()
