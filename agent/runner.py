"""Runs tasks' agents."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from agent.build import Graph, build_agent, recursion_limit
from agent.errors import AgentError, ErrorCode
from agent.meter import Meter
from agent.models import RegistryModel
from agent.resume import invoke
from agent.run_context import CURRENT_RUN, Run, StepListener, is_cancelled
from agent.specs import spec_of
from agent.transport import ProviderTransport
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
            graph = self._graph(work.model, work.agent)
            run = Run(meter=meter, on_step=on_step, call_limit=self._settings.agent_max_iterations)
            if work.durable is not None:
                earlier = await work.durable.open()
                run.model_calls, run.steps, run.ledger = earlier.model_calls, earlier.steps, work.durable.ledger
            token = CURRENT_RUN.set(run)
            try:
                given, config = {"messages": _messages(work)}, self._config(work, callbacks)
                state = await invoke(graph, given, config, thread=work.task_id, durable=work.durable)
            finally:
                CURRENT_RUN.reset(token)
            return Answer(_answer(state["messages"], work.model))
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

    def _graph(self, model_key: str, agent: str) -> Graph:
        """From the model's key and the agent's name, which stand for model, tools and prompt: they don't change."""
        if (model_key, agent) not in self._graphs:
            config = self._registry.get(model_key)
            if config is None:
                raise AgentError(ErrorCode.MODEL_UNAVAILABLE, f"The registry has no model {model_key[:60]!r}.")
            model = RegistryModel.of(model_key, config, self._settings, self._transport)
            spec = spec_of(agent, self._settings)
            self._graphs[model_key, agent] = build_agent(model, spec, self._settings, self._threads)
        return self._graphs[model_key, agent]

    def _config(self, work: AgentWork, callbacks: Sequence[BaseCallbackHandler]) -> RunnableConfig:
        return {
            "run_name": work.agent,
            "recursion_limit": recursion_limit(self._settings),
            "callbacks": list(callbacks),
            "metadata": dict(work.metadata),
        }


def _messages(work: AgentWork) -> list[BaseMessage]:
    earlier = [HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text) for turn in work.history]
    return [*earlier, HumanMessage(work.message)]


def _answer(messages: list[BaseMessage], model: str) -> str:
    """The text of the last message, if the model wrote it and meant it as the whole answer."""
    last = messages[-1]
    if not isinstance(last, AIMessage):
        raise AgentError(ErrorCode.EMPTY_ANSWER)
    match last.response_metadata.get("finish_reason"):
        case "length" | "max_tokens":
            raise AgentError(ErrorCode.ANSWER_TRUNCATED, f"{ErrorCode.ANSWER_TRUNCATED.meaning} (model {model})")
        case "content_filter":
            raise AgentError(ErrorCode.CONTENT_BLOCKED, f"{ErrorCode.CONTENT_BLOCKED.meaning} (model {model})")
    text = last.text.strip()
    if not text:
        raise AgentError(ErrorCode.EMPTY_ANSWER, f"{ErrorCode.EMPTY_ANSWER.meaning} (model {model})")
    return text
