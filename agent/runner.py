"""Runs tasks' agents."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig

from agent.build import Agent, Graph, build_agent
from agent.context import AgentContext
from agent.errors import AgentError, ErrorCode, UnavailableError
from agent.fallbacks import chain_of
from agent.imports import failed
from agent.mcp_tools import McpTools
from agent.memory import SUMMARIZATION, trimmed
from agent.meter import Meter
from agent.models import RegistryModel
from agent.run_context import CURRENT_RUN, Run, StepListener, is_cancelled
from agent.specs import AgentSpec, Specs
from agent.transport import ProviderTransport
from agent.typed_output import RecentGraphs
from agent.work import AgentWork, Answer
from agents_config import is_import_path, load_agents
from core_config import SIMULATOR, Settings, load_registry

MAX_TOOL_THREADS = 64
"""Blocking tools that run at once; they have threads of their own, so that hanging ones hold up no model call."""

logger = logging.getLogger(__name__)


class AgentRunner:
    """Runs tasks' agents; builds each agent once per model and reuses it.

    One for a process, in one event loop. Raises ConfigurationError when the registry or the agents file is wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = load_registry(settings)
        self._transport = ProviderTransport()
        self._threads = ThreadPoolExecutor(MAX_TOOL_THREADS, thread_name_prefix="tool")
        agents = load_agents(settings)
        self._mcp = McpTools(agents.mcp)
        self._mcp_starting = asyncio.Lock()
        self._mcp_started = not agents.mcp
        self._specs = Specs(agents, settings, self._mcp)
        self._models: dict[str, RegistryModel] = {}
        self._built: dict[tuple[str, ...], Agent] = {}
        self._typed: RecentGraphs[Graph] = RecentGraphs()

    async def prepare(self) -> dict[str, str | None]:
        """Imports and builds every agent: its name, and None or why it cannot run, for the operator: place, problem and
        remedy. The others run. May be called again.
        """
        await self._start_servers()
        problems: dict[str, str | None] = {}
        for name in self._specs.file.agents:
            try:
                self._agent(self._any_model(name), name)
            except UnavailableError as error:
                problems[name] = str(error)
                if error.__cause__ is not None:
                    logger.exception("agent_not_built", extra={"agent": name}, exc_info=error.__cause__)
            except AgentError:
                problems[name] = None  # no model to try it with has a key here, which is no fault of the agent's
            else:
                problems[name] = None
        return problems

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
            work = self._with_trimmed_history(work)
            await self._start_servers()
            agent = self._agent(work.model, work.agent, work.avoid)
            run = Run(
                meter=meter,
                on_step=on_step,
                on_token=work.on_token,
                call_limit=self._call_limit(work.agent),
                allowed=frozenset(agent.tools),
            )
            if work.durable is not None:
                run.steps, run.ledger = (await work.durable.open()).steps, work.durable.ledger
            run.context = AgentContext(work, run, agent.model, agent.tools)
            token = CURRENT_RUN.set(run)
            try:
                return await agent.answer(work, _config(work, callbacks))
            finally:
                CURRENT_RUN.reset(token)
        except AgentError:
            raise
        except UnavailableError as error:
            logger.warning("agent_asked_for_unavailable", extra={"agent": work.agent, "problem": error})
            raise AgentError(ErrorCode.AGENT_UNAVAILABLE) from error
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            raise self._failure(work.agent, error) from error

    async def close(self) -> None:
        """Ends MCP servers and the connections to the providers. A blocked tool's thread is left to end by itself."""
        await self._mcp.close()
        await self._transport.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _start_servers(self) -> None:
        """The MCP servers, once: what is wrong with one then shows in the agents that name it."""
        if not self._mcp_started:
            async with self._mcp_starting:
                if not self._mcp_started:
                    await self._mcp.start()
                    self._mcp_started = True

    def _agent(self, model_key: str, name: str, avoid: Sequence[str] = ()) -> Agent:
        """From the agent's name and the models to call in turn, which stand for all that it is built from: they don't
        change.
        """
        chain = chain_of(model_key, self._registry, avoid)
        made = (name, model_key, *chain)
        if made not in self._built:
            spec = self._specs.find(name)
            # the task's own may be one to avoid, but not when it is all that this worker has a key for
            first, *others = self._usable(model_key, chain) or [self._model(model_key)]
            self._built[made] = self._build(first, spec, others)
        return self._built[made]

    def _usable(self, own: str, chain: Sequence[str]) -> list[RegistryModel]:
        models = []
        for key in chain:
            try:
                models.append(self._model(key))
            except AgentError as error:
                if key == own:
                    raise
                logger.warning("fallback_unusable", extra={"fallback": key, "problem": error.detail})
        return models

    def _build(self, model: RegistryModel, spec: AgentSpec, fallbacks: Sequence[RegistryModel]) -> Agent:
        try:
            return build_agent(model, spec, self._specs.file, self._settings, self._threads, self._typed, fallbacks)
        except (AgentError, UnavailableError):
            raise
        except Exception as error:  # LangChain's, of parts that do not go together
            where = self._specs.file.where(spec.name, "run" if spec.config.run else "middleware")
            raise failed(f"{where}:", "building the agent failed", error) from error

    def _model(self, key: str) -> RegistryModel:
        if key not in self._models:
            config = self._registry.get(key)
            if config is None:
                raise AgentError(ErrorCode.MODEL_UNAVAILABLE, f"The registry has no model {key[:60]!r}.")
            self._models[key] = RegistryModel.of(key, config, self._settings, self._transport)
        return self._models[key]

    def _any_model(self, agent: str) -> str:
        """A model to try an agent with: its own if its key is set here, which is no fault of the agent's."""
        for key in (self._specs.file.agents[agent].model, self._settings.active_model_key):
            if key is None:
                continue
            try:
                self._model(key)
            except AgentError:
                continue
            return key
        return SIMULATOR

    def _with_trimmed_history(self, work: AgentWork) -> AgentWork:
        """Unless its agent has a summarizer, which would have nothing to do."""
        config = self._specs.file.agents.get(work.agent)
        if not work.history or (config and any(one.use == SUMMARIZATION for one in config.middleware)):
            return work
        return replace(work, history=trimmed(work.history, self._settings.session_max_tokens))

    def _call_limit(self, agent: str) -> int:
        return self._specs.file.agents[agent].max_iterations or self._settings.agent_max_iterations

    def _failure(self, agent: str, error: BaseException) -> AgentError:
        """Of what an agent raised that says nothing of itself. Its text stays in the log: it may hold anything."""
        raised = list(_leaves(error))
        told = [one for one in raised if isinstance(one, AgentError)]
        if len(told) == len(raised):  # a group, of branches that ran at once
            return min(told, key=lambda one: one.transient)
        config = self._specs.file.agents[agent]
        if config.run is None and not any(is_import_path(one.use) for one in config.middleware):
            return AgentError(ErrorCode.INTERNAL)
        kinds = sorted({type(one).__name__ for one in raised if not isinstance(one, AgentError)})
        return AgentError(ErrorCode.AGENT_FAILED, f"The agent's own code failed ({', '.join(kinds)}).")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _config(work: AgentWork, callbacks: Sequence[BaseCallbackHandler]) -> RunnableConfig:
    return {"run_name": work.agent, "callbacks": list(callbacks), "metadata": dict(work.metadata)}
