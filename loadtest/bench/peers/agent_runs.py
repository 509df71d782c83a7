"""What the process of every agent here does: runs its agent when told to, and says when that is done.

    python -m loadtest.bench.peers.agent_NAME MODEL_URL

On its input a JSON object a line, on its output one for each: `{"runs": 200, "at_once": 50}` runs that many to their
ends, `{"begin": 1000, "message": ...}` begins that many and does not wait for them; `"as"` chooses where there are
several agents. It runs under uvloop. Whoever started it reads its processor time and memory from outside.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import uvloop

Run = Callable[[str], Awaitable[str]]
"""One run of the agent on a message; returns its answer."""

Agents = Mapping[str, Run]
AGENT: Final = "agent"
"""The name of the only one."""

PROMPT: Final = "You compute. Use the calculator."
QUESTION: Final = "Compute 0 + 1, then 1 + 1."
ANSWER: Final = "Done."
PATIENCE_S: Final = 600.0
"""For clients whose own limit for a connect is short: a thousand runs that begin at once take longer."""


async def until_done(run: Run, runs: int, at_once: int) -> None:
    left = iter(range(runs))

    async def one_after_another() -> None:
        for _ in left:
            answer = await run(QUESTION)
            if answer != ANSWER:
                raise SystemExit(f"the agent answered {answer!r}, not {ANSWER!r}")

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))


async def _obey(make: Callable[[str], Awaitable[Agents]]) -> None:
    agents = await make(sys.argv[1])
    begun: list[asyncio.Future[str]] = []
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        order = json.loads(line)
        run = agents[order.get("as", AGENT)]
        if "begin" in order:
            begun += [asyncio.ensure_future(run(order["message"])) for _ in range(order["begin"])]
        else:
            await until_done(run, order["runs"], order["at_once"])
        sys.stdout.write("{}\n")
        sys.stdout.flush()


def obey(make: Callable[[str], Awaitable[Agents]]) -> None:
    """`make` builds the agents, once, for the model server at a URL such as http://127.0.0.1:8000/v1."""
    uvloop.run(_obey(make))
