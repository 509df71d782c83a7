"""Server-sent events as a client reads them, line by line (HTML's rules, as far as they matter here)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    id: str | None
    name: str
    data: Any


class EventReader:
    """The events of an answer; `comments` and `retry` as they were met on the way."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.comments: list[str] = []
        self.retry: int | None = None
        self._lines = answer.aiter_lines()

    def __aiter__(self) -> "EventReader":
        return self

    async def __anext__(self) -> Event:
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(line[2:])
            elif name == "retry":
                self.retry = int(value)
            elif line:
                fields[name] = value
            elif fields:
                return Event(fields.get("id"), fields["event"], json.loads(fields["data"]))
        raise StopAsyncIteration

    async def rest(self) -> list[Event]:
        return [event async for event in self]

    async def until_comments(self, count: int) -> None:
        """Reads until so many comments were met; events that come in between are lost."""
        async for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line[2:])
            if len(self.comments) >= count:
                return
        raise AssertionError("the stream ended")


@contextlib.asynccontextmanager
async def events_of(
    client: httpx.AsyncClient, task_id: str, after: str | None = None, **query: Any
) -> AsyncIterator[EventReader]:
    headers = {} if after is None else {"last-event-id": after}
    async with client.stream("GET", f"/task/{task_id}/events", params=query, headers=headers) as answer:
        if answer.status_code != 200:
            await answer.aread()
        assert answer.status_code == 200, answer.text
        yield EventReader(answer)


async def all_events(client: httpx.AsyncClient, task_id: str, after: str | None = None, **query: Any) -> list[Event]:
    async with asyncio.timeout(30), events_of(client, task_id, after, **query) as reader:
        return await reader.rest()
