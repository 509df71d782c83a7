"""Agents as processes: a peer's, which is told to run on its input, and Longhaul's, which runs tasks."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from loadtest.bench import longhaul
from loadtest.bench.peers import agent_runs, agent_tool
from loadtest.bench.stage import BenchError, Program, Stage

MODEL: Final = "Scripted"
NOTHING: Final = "nothing"
"""Longhaul's agent that calls no model."""

_CONNECTIONS: Final = 50
_WAIT_S: Final = 60


@dataclass(frozen=True)
class AgentProcess:
    program: Program

    @property
    def pid(self) -> int:
        return self.program.pid

    async def run(self, runs: int, at_once: int, **more: str) -> None:
        """Raises BenchError when an agent's answer is wrong."""
        await self._order({"runs": runs, "at_once": at_once, **more})

    async def begin(self, runs: int, message: str) -> None:
        await self._order({"begin": runs, "message": message})

    async def _order(self, order: Mapping[str, Any]) -> None:
        pipe_in, pipe_out = self.program.process.stdin, self.program.process.stdout
        if pipe_in is None or pipe_out is None:
            raise BenchError(f"{self.program.name} was started without pipes")
        with suppress(ConnectionError):
            pipe_in.write(json.dumps(order).encode() + b"\n")
            await pipe_in.drain()
        if not await pipe_out.readline():
            await self.program.process.wait()
            self.program.check()
            raise BenchError(f"{self.program.name} ended: {self.program.last_lines()}")


async def start_peer(stage: Stage, module: str, python: Literal["ours", "peers"], model: str) -> AgentProcess:
    """`module` is one of loadtest/bench/peers/agent_*.py, `model` the model server's base URL."""
    path = stage.means.python if python == "ours" else stage.means.peers_python
    command: list[str | Path] = [path, "-m", f"loadtest.bench.peers.{module}", f"{model}/v1"]
    return AgentProcess(await stage.start(module, command, stdin=True, stdout=True))


def settings_of(stage: Stage, model: str) -> dict[str, str]:
    """Settings with which Longhaul has the peers' agent as `bench`, on the same model server, and NOTHING."""
    folder = stage.folder / "agents"
    folder.mkdir(exist_ok=True)
    shutil.copy(agent_tool.__file__, folder / "bench_tool.py")
    agents, models = folder / "agents.toml", folder / "models.toml"
    agents.write_text(
        f'[agents.bench]\nprompt = "{agent_runs.PROMPT}"\ntools = ["bench_tool:calculator"]\n\n'
        f'[agents.{NOTHING}]\nrun = "bench_tool:nothing"\n'
    )
    models.write_text(
        f'[{MODEL}]\nlitellm_id = "openai/scripted"\nbase_url = "{model}/v1"\nprice_in = 0.001\nprice_out = 0.002\n'
    )
    return {"AGENTS_FILE": str(agents), "MODELS_FILE": str(models), "ACTIVE_MODEL_KEY": MODEL}


@dataclass(frozen=True)
class Caller:
    """Submits tasks to a running Longhaul over HTTP."""

    http: httpx.AsyncClient

    @classmethod
    async def of(cls, stage: Stage, system: longhaul.System) -> "Caller":
        """Closed with the visit."""
        limits = httpx.Limits(max_connections=_CONNECTIONS)
        http = httpx.AsyncClient(
            base_url=system.url, headers=system.headers, limits=limits, timeout=2 * _WAIT_S, trust_env=False
        )
        await stage.stack.enter_async_context(http)
        return cls(http)

    async def submit(self, tasks: int, agent: str, message: str = agent_runs.QUESTION) -> list[str]:
        """Their ids."""
        body = {"message": message, "agent": agent}
        answers = await asyncio.gather(*(self.http.post("/task", json=body) for _ in range(tasks)))
        return [str(_told(answer)["task_id"]) for answer in answers]

    async def run(self, tasks: int, agent: str) -> list[str]:
        """The ids of as many tasks, all of which succeeded. Raises BenchError when one did not."""
        ids = await self.submit(tasks, agent)
        answers = await asyncio.gather(*(self.http.get(f"/task/{one}", params={"wait": _WAIT_S}) for one in ids))
        for answer in answers:
            task = _told(answer)
            if task["result"] != agent_runs.ANSWER:
                raise BenchError(f"a task is {task['status']}: {task['error'] or task['result']!r}")
        return ids


def _told(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != httpx.codes.OK:
        raise BenchError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    told: dict[str, Any] = answer.json()
    return told
