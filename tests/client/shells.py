"""Both clients behind one face, so that a scenario is written once and runs with each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal, Self

from longhaul_client import AsyncClient, Client, Event

Kind = Literal["sync", "async"]


class Shell:
    """`call` and `events` of a client of that kind. The blocking one works in threads: the proxy needs this loop."""

    def __init__(self, kind: Kind, url: str, key: str | None = None, **settings: Any) -> None:
        self._sync = Client(url, key, **settings) if kind == "sync" else None
        self._async = AsyncClient(url, key, **settings) if kind == "async" else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sync is not None:
            await asyncio.to_thread(self._sync.close)
        if self._async is not None:
            await self._async.aclose()

    async def call(self, name: str, *arguments: Any, **fields: Any) -> Any:
        if self._sync is not None:
            return await asyncio.to_thread(getattr(self._sync, name), *arguments, **fields)
        return await getattr(self._async, name)(*arguments, **fields)

    async def each(self, name: str, *arguments: Any, **fields: Any) -> AsyncIterator[Event]:
        """The events of `stream` or `chat_stream`, as they come."""
        if self._async is not None:
            async with getattr(self._async, name)(*arguments, **fields) as events:
                async for event in events:
                    yield event
            return
        stream = getattr(self._sync, name)(*arguments, **fields)
        try:
            while (event := await asyncio.to_thread(next, stream, None)) is not None:
                yield event
        finally:
            await asyncio.to_thread(stream.close)

    async def events(self, task_id: str, **fields: Any) -> list[Event]:
        return [event async for event in self.each("stream", task_id, **fields)]
