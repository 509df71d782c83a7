"""The agent of Longhaul that does what the peers' tasks do: `NUMBER SECONDS` is the message.

`entrants.py` copies it beside an agents file, into the folder where its marks are to be.
"""

import asyncio
from pathlib import Path
from typing import Any

from loadtest.bench.peers.marks import Marker

MARKER = Marker(Path(__file__).parent)


async def agent(given: str, ctx: Any) -> str:  # noqa: ARG001  the signature of an agent that is a function
    number, seconds = given.split()
    slot = MARKER.began(int(number))
    await asyncio.sleep(float(seconds))
    MARKER.ended(slot)
    return "done"
