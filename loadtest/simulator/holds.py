"""Streams that wait, in the middle of an answer, until somebody says that they may go on (`POST /release`)."""

import asyncio

from loadtest.simulator.exchange import Exchange
from loadtest.simulator.request import RefusedError


class Holds:
    def __init__(self) -> None:
        self._held: dict[asyncio.Event, str] = {}

    async def wait(self, exchange: Exchange, question: str) -> None:
        """Until the message's release; raises ClientGoneError when the client leaves first."""
        release = asyncio.Event()
        self._held[release] = question
        try:
            await exchange.until(release)
        finally:
            del self._held[release]

    def release(self, data: object) -> dict[str, int]:
        """Lets those go on that wait now, and whose message holds `match`; answers how many."""
        match = data.get("match", "") if isinstance(data, dict) else None
        if not isinstance(match, str):
            raise RefusedError("Expected an object with a string 'match'.", param="match")
        released = 0
        for event, question in self._held.items():
            if match in question and not event.is_set():
                event.set()
                released += 1
        return {"released": released}
