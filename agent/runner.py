"""Runs tasks' agents."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from agent.build import Graph, build_agent, recursion_limit
from agent.errors import AgentError, ErrorCode
from agent.final_text import final_text
from agent.meter import Meter
from agent.models import RegistryModel
from agent.run_context import CURRENT_RUN, Run, StepListener, is_cancelled
from agent.specs import spec_of
from agent.transport import ProviderTransport
from agent.typed_output import RecentGraphs, json_text, typed_answer
from agent.work import AgentWork, Answer
from core_config import Settings, load_registry

MAX_TOOL_THREADS = 64
"""Blocking tools that run at once; they have threads of their own, so that hanging ones hold up no model call."""


class AgentRunner:
    """Runs tasks' agents; builds each agent once per (model, tools, prompt) and reuses it.

    One for a process, in one event loop. Raises ConfigurationError when the registry is wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = load_registry(settings)
        self._transport = ProviderTransport()
        self._threads = ThreadPoolExecutor(MAX_TOOL_THREADS, thread_name_prefix="tool")
        self._graphs: dict[tuple[str, str], Graph] = {}
        self._typed: RecentGraphs[Graph] = RecentGraphs()

    async def run(
        self,
        work: AgentWork,
        meter: Meter,
        *,
        callbacks: Sequence[BaseCallbackHandler] = (),
        on_step: StepListener | None = None,
    ) -> Answer:
        """Raises AgentError, or CancelledError when it was cancelled; nothing else."""
        try:
            graph = self._graph(work.model, work.agent, work.output_schema)
            token = CURRENT_RUN.set(Run(meter=meter, on_step=on_step, call_limit=self._settings.agent_max_iterations))
            try:
                state = await graph.ainvoke({"messages": _messages(work)}, self._config(work, callbacks))
            finally:
                CURRENT_RUN.reset(token)
            if work.output_schema is not None:
                return typed_answer(state)
            return Answer(final_text(state["messages"][-1], work.model))
        except AgentError:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            raise AgentError(ErrorCode.INTERNAL) from error

    async def close(self) -> None:
        """Closes the connections to the providers. A blocked tool's thread is left to end by itself."""
        await self._transport.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _graph(self, model_key: str, agent: str, output_schema: Mapping[str, Any] | None = None) -> Graph:
        """From the model's key and the agent's name, which stand for model, tools and prompt: they don't change."""
        key = (model_key, agent)
        if output_schema is not None:
            return self._typed.get(key, output_schema, lambda: self._built(model_key, agent, output_schema))
        if key not in self._graphs:
            self._graphs[key] = self._built(model_key, agent)
        return self._graphs[key]

    def _built(self, model_key: str, agent: str, output_schema: Mapping[str, Any] | None = None) -> Graph:
        config = self._registry.get(model_key)
        if config is None:
            raise AgentError(ErrorCode.MODEL_UNAVAILABLE, f"The registry has no model {model_key[:60]!r}.")
        model = RegistryModel.of(model_key, config, self._settings, self._transport)
        return build_agent(model, spec_of(agent, self._settings), self._settings, self._threads, output_schema)

    def _config(self, work: AgentWork, callbacks: Sequence[BaseCallbackHandler]) -> RunnableConfig:
        return {
            "run_name": work.agent,
            "recursion_limit": recursion_limit(self._settings),
            "callbacks": list(callbacks),
            "metadata": dict(work.metadata),
        }


def _messages(work: AgentWork) -> list[BaseMessage]:
    earlier = [HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text) for turn in work.history]
    return [*earlier, HumanMessage(work.message if work.input is None else json_text(work.input))]
