"""Notes when the machine itself stood still: a fault that nobody asked for, and that excuses what a fault excuses."""

import asyncio
import time
from typing import Final

_LOOK_S: Final = 0.1
STALL_S: Final = 1.0
"""How much later than asked for is a stall: a third of the kit's lease."""


class Stalls:
    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []
        """Beginning and end of each, time.time()."""

    async def look(self) -> None:
        """Until it is cancelled."""
        while True:
            began = time.time()
            await asyncio.sleep(_LOOK_S)
            now = time.time()
            if now - began > STALL_S:
                self.seen.append((began, now))
