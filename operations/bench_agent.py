"""Three agents in one process, for the benchmark's rows of what Longhaul adds to LangChain and LiteLLM. Not for people.

It stands here because loadtest imports nothing of ours. loadtest/bench/agent_study.py runs it as a peer's agent, on
a Redis and settings of the benchmark's; its agents, beside `prepare`, which submits and claims the next task:

langchain   `create_agent` on ChatLiteLLM, with the switches of LiteLLM's that the worker sets
plain       an attempt as the worker makes it, from the claim to the written outcome, without durable steps
durable     the same with them
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler

from agent.meter import Meter
from agent.quiet_litellm import ChatLiteLLM
from agent.run_context import StepListener
from agent.runner import AgentRunner
from agent.work import AgentWork, Answer
from core_config import Settings, load_registry, resolve_active_model
from loadtest.bench.peers import agent_runs
from loadtest.bench.peers.agent_tool import calculator
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.claims import Claim
from taskstore.connection import connect
from taskstore.records import NewTask
from taskstore.store import TaskStore
from worker.attempt import Attempt
from worker.executor import Executor, Runner
from worker.outage import Outage
from worker.steps import StepLog
from worker.writer import Writer

WORKER = "bench"


class WithoutDurableSteps:
    """The worker's runner, on an attempt that keeps nothing."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def run(
        self,
        work: AgentWork,
        meter: Meter,
        *,
        callbacks: Sequence[BaseCallbackHandler] = (),
        on_step: StepListener | None = None,
    ) -> Answer:
        return await self._runner.run(replace(work, durable=None), meter, callbacks=callbacks, on_step=on_step)


class Tasks:
    """Claimed ones, ready to be run by anybody."""

    def __init__(self, store: TaskStore, model: str) -> None:
        self._store, self._model = store, model
        self._claims: list[Claim] = []
        self._number = 0

    async def prepare(self, message: str) -> str:
        task = NewTask(task_id=uuid.uuid4().hex, caller="bench", message=message, model=self._model, agent="bench")
        await self._store.submit(task)
        self._number += 1
        claimed = await self._store.claim(WORKER, self._number, room=1, extra=0, models={self._model: None})
        self._claims += claimed.tasks
        return agent_runs.ANSWER

    async def next(self) -> Claim:
        if not self._claims:
            await self.prepare(agent_runs.QUESTION)
        return self._claims.pop()


def langchains(settings: Settings, model: str) -> agent_runs.Run:
    config = load_registry(settings)[model]
    llm = ChatLiteLLM(
        model=config.litellm_id,
        api_base=config.base_url,
        api_key="none-needed",
        max_retries=1,
        model_kwargs={"max_retries": 0},
    )
    graph = create_agent(llm, [calculator], system_prompt=agent_runs.PROMPT)

    async def run(message: str) -> str:
        given: Any = {"messages": [{"role": "user", "content": message}]}  # LangChain types its own classes only
        state = await graph.ainvoke(given)
        return str(state["messages"][-1].content)

    return run


async def make(url: str) -> agent_runs.Agents:  # noqa: ARG001  the models file has it
    settings = Settings()
    model = resolve_active_model(settings)
    redact = setup_logging(settings, "worker")
    store = TaskStore(connect(settings.redis_address), settings)
    writer = Writer(store, Outage())
    await writer.start()
    runner, tracing, tasks = AgentRunner(settings), Tracing(settings, redact, WORKER), Tasks(store, model)

    def attempts(executor: Executor) -> agent_runs.Run:
        async def run(_: str) -> str:
            """As worker/engine.py does it."""
            claim = await tasks.next()
            attempt = Attempt(claim, settings.attempt_timeout_seconds, StepLog(claim, redact, writer.noted))
            settlement = await executor.run(attempt)
            if settlement is None or await writer.settle(settlement, attempt.steps) != "ok":
                return "not settled"
            return settlement.result or settlement.error or ""

        return run

    return {
        "prepare": tasks.prepare,
        "langchain": langchains(settings, model),
        "plain": attempts(Executor(WithoutDurableSteps(runner), tracing)),
        "durable": attempts(Executor(runner, tracing)),
    }


if __name__ == "__main__":
    agent_runs.obey(make)
