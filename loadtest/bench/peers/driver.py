"""The client's side of every contender: the same loops around its own way to submit.

Reads a line of JSON for each thing to do and answers each with a line of JSON; ends at the end of its input.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from loadtest.bench.peers import given
from loadtest.bench.peers.marks import Marks

Submit = Callable[[int, float], Awaitable[object]]
"""Submits the task of this number, which sleeps for so many seconds."""

Verb = Callable[..., Awaitable[dict[str, Any]]]

_POLL_S = 0.0005
_LOST_S = 20.0


class Client:
    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._marks = Marks(given.MARKS)

    async def submit(self, first: int, count: int, seconds: float = 0.0, at_once: int = 1) -> dict[str, Any]:
        """`at_once` are under way at the same time. Seconds that it took."""
        numbers = iter(range(first, first + count))

        async def one_after_another() -> None:
            for number in numbers:
                await self._submit(number, seconds)

        begun = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(at_once)))
        return {"seconds": time.perf_counter() - begun}

    async def pick_up(self, first: int, count: int, most_s: float, pause_s: float) -> dict[str, Any]:
        """One task at a time to an idle worker, for at most `most_s`. Milliseconds from before each submit until the
        task's first statement.
        """
        waits: list[float] = []
        until = time.monotonic() + most_s
        for number in range(first, first + count):
            before = time.monotonic_ns()
            await self._submit(number, 0.0)
            waits.append((await self._began(number) - before) / 1e6)
            if time.monotonic() > until:
                break
            # at random, for who polls: it would else be met at the same place of its wait each time
            await asyncio.sleep(pause_s + random.random() * waits[-1] / 1000)  # noqa: S311 no secret
        return {"ms": waits}

    async def steady(self, first: int, count: int, every_s: float) -> dict[str, Any]:
        """Tasks at a steady rate, none held up by another that is still being submitted."""
        begun = time.monotonic()
        running = set()
        for place in range(count):
            await asyncio.sleep(max(0.0, begun + place * every_s - time.monotonic()))
            running.add(asyncio.ensure_future(self._submit(first + place, 0.0)))
        await asyncio.gather(*running)
        return {"seconds": time.monotonic() - begun}

    async def _began(self, number: int) -> int:
        until = time.monotonic() + _LOST_S
        while time.monotonic() < until:
            for mark in self._marks.unfinished_or_new():
                if mark.number == number and mark.ended:
                    return mark.began
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"task {number} did not run within {_LOST_S:g} s")


async def drive(connected: Callable[[], AbstractAsyncContextManager[Submit]]) -> None:
    """`connected` opens the contender's connection, or pool of them, and gives its way to submit."""
    async with connected() as submit:
        client = Client(submit)
        verbs: dict[str, Verb] = {"submit": client.submit, "pick_up": client.pick_up, "steady": client.steady}
        async for wanted in _lines():
            answer = await verbs[wanted.pop("do")](**wanted)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


async def _lines() -> AsyncIterator[dict[str, Any]]:
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield json.loads(line)
