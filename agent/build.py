"""Builds agents, one for a model and a spec, shared by all runs; `answer` runs one.

DescribedAgent   LangChain's `create_agent` on model, prompt, tools and middleware
GraphAgent       somebody's own compiled LangGraph graph
FunctionAgent    somebody's own `async def agent(input, ctx)`
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol

from langchain.agents import create_agent
from langchain_core.globals import get_debug
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import StructuredTool
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langsmith.utils import tracing_is_enabled

from agent.answers import answer_of_function, answer_of_state, held_to
from agent.context import current_context
from agent.errors import RefusedError, UnavailableError
from agent.fallbacks import Fallbacks
from agent.final_text import final_text
from agent.imports import failed, place_of
from agent.messages import messages_of
from agent.middleware import Middleware, middleware_of
from agent.models import RegistryModel
from agent.no_tools import NoTools
from agent.resume import invoke
from agent.specs import AgentSpec
from agent.tool_edge import edged
from agent.typed_output import RecentGraphs, TypedOutput, typed_answer
from agent.work import AgentWork, Answer
from agents_config import AgentsFile
from core_config import Settings

Graph = CompiledStateGraph[Any, Any, Any, Any]


MESSAGE_KEYS: Final = ("message", "input")
"""Keys of a graph's state that a task's message is put into; the first that is there."""

Function = Callable[[Any, Any], Awaitable[Any]]


class Agent(Protocol):
    """Built for one model; shared by runs."""

    model: RegistryModel
    tools: Mapping[str, StructuredTool]
    """By name, with their edge."""

    async def answer(self, work: AgentWork, config: RunnableConfig) -> Answer: ...


class DescribedAgent:
    """Model and tools in turn, until the model calls no tool. agent.models bounds the turns."""

    def __init__(
        self,
        model: RegistryModel,
        spec: AgentSpec,
        tools: Mapping[str, StructuredTool],
        middleware: list[Middleware],
        limit: int,
        typed: RecentGraphs[Graph],
    ) -> None:
        self.model, self.tools = model, tools
        self._spec, self._middleware, self._typed = spec, middleware, typed
        fallbacks = [one for each in middleware if isinstance(each, Fallbacks) for one in each.keys]
        self._built_from = (spec.name, model.key, *fallbacks)
        # Steps of the graph: more than the model calls allowed can ever need, so that their limit comes first.
        self._recursion_limit = limit * (12 + 4 * len(middleware)) + 20
        self._untyped = self._graph()

    async def answer(self, work: AgentWork, config: RunnableConfig) -> Answer:
        graph, schema = self._untyped, work.output_schema
        if schema is not None:
            graph = self._typed.get(self._built_from, schema, lambda: self._graph(TypedOutput(schema)))
        given = {"messages": messages_of(work)}
        limited: RunnableConfig = {**config, "recursion_limit": self._recursion_limit}
        state = await invoke(graph, given, limited, work, self.tools.values())
        return Answer(final_text(state["messages"][-1], work.model)) if schema is None else typed_answer(state)

    def _graph(self, typed: TypedOutput | None = None) -> Graph:
        middleware = list(self._middleware)
        if not self.tools and not any(getattr(one, "tools", ()) for one in middleware):
            middleware.append(NoTools())  # create_agent makes no node then that would answer a call of a tool
        return create_agent(
            self.model,
            list(self.tools.values()),
            system_prompt=self._spec.config.prompt,
            middleware=[*middleware, *([typed] if typed else [])],
            response_format=typed.strategy() if typed else None,
        )


class GraphAgent:
    """A graph is given messages if its input has them, else the task's input object as its state."""

    def __init__(self, model: RegistryModel, graph: Graph, tools: Mapping[str, StructuredTool]) -> None:
        self.model, self.tools, self.graph = model, tools, graph
        self._takes = list(graph.builder.schemas[graph.builder.input_schema])
        self._gives = list(graph.builder.schemas[graph.builder.output_schema])

    async def answer(self, work: AgentWork, config: RunnableConfig) -> Answer:
        state = await invoke(self.graph, self._input(work), config, work, self.tools.values())
        return await held_to(work.output_schema, answer_of_state(state, self._gives, work.model))

    def _input(self, work: AgentWork) -> dict[str, Any]:
        given = dict(work.input or {})
        if strangers := [key for key in given if key not in self._takes]:
            raise RefusedError(f"The agent's input has no {strangers[0][:60]!r}. It has: {', '.join(self._takes)}.")
        if "messages" in self._takes:
            return {**given, "messages": messages_of(work)}
        if work.input is not None:
            return given
        for key in MESSAGE_KEYS:
            if key in self._takes:
                return {key: work.message}
        raise RefusedError(f"The agent takes an input object and no message. It has: {', '.join(self._takes)}.")


class FunctionAgent:
    """A function is given the task's message, or its input object, and the run's context.

    As a Runnable it is the root of the run's trace. That takes LangChain half a millisecond, ten times as long as all
    else around the function, so a run that nobody traces goes without.
    """

    def __init__(self, model: RegistryModel, function: Function, tools: Mapping[str, StructuredTool]) -> None:
        self.model, self.tools = model, tools
        self._langsmith = bool(tracing_is_enabled())  # by LangSmith's own variables, which are read once

        async def call(given: str | dict[str, Any]) -> tuple[Any, BaseException | None]:
            # in a tuple: a RunnableLambda runs what is itself a Runnable
            try:
                return await function(given, current_context()), None
            except (Exception, asyncio.CancelledError):
                raise
            except BaseException as error:  # noqa: BLE001  a SystemExit that leaves this task would end the event loop
                return None, error

        self._call, self._runnable = call, RunnableLambda(call)

    async def answer(self, work: AgentWork, config: RunnableConfig) -> Answer:
        given = work.message if work.input is None else dict(work.input)
        if config.get("callbacks") or self._langsmith or get_debug():
            value, error = await self._runnable.ainvoke(given, config)
        else:
            value, error = await self._untraced(given, config)
        if error is not None:
            raise error
        return await held_to(work.output_schema, answer_of_function(value))

    async def _untraced(self, given: str | dict[str, Any], config: RunnableConfig) -> tuple[Any, BaseException | None]:
        """What the function runs of LangChain's inherits the task's metadata, as it does in a trace."""
        inherited = var_child_runnable_config.set({"metadata": config.get("metadata", {})})
        try:
            return await self._call(given)
        finally:
            var_child_runnable_config.reset(inherited)


def build_agent(
    model: RegistryModel,
    spec: AgentSpec,
    file: AgentsFile,
    settings: Settings,
    threads: Executor,
    typed: RecentGraphs[Graph],
    fallbacks: Sequence[RegistryModel] = (),
) -> Agent:
    """`typed` keeps the graphs that are built for a task's output_schema, of all agents. `fallbacks` are asked in turn
    when a call of `model` fails. Raises UnavailableError when the agent's code is none of the three kinds, or fails.
    """
    tools = {tool.name: edged(tool, seconds=settings.tool_timeout_seconds, threads=threads) for tool in spec.tools}
    about = file.where(spec.name, "middleware")
    middleware = [middleware_of(one, model, about) for one in spec.config.middleware]
    if fallbacks:  # next to the model: what the others change of a request is changed for all
        middleware.append(Fallbacks(fallbacks))
    code, place = spec.code, f"{spec.where}: {spec.config.run}"
    if spec.config.run is None:
        limit = spec.config.max_iterations or settings.agent_max_iterations
        return DescribedAgent(model, spec, tools, middleware, limit, typed)
    if isinstance(code, StateGraph | CompiledStateGraph):
        _refuse_unused(spec, file, ("prompt", "middleware"), "a graph brings its own; a factory may ask for it")
        return GraphAgent(model, _compiled(code, place), tools)
    if inspect.iscoroutinefunction(code):
        _refuse_unused(spec, file, ("prompt", "middleware"), "a function calls its model by itself")
        if _required(code) != 2:
            raise UnavailableError(
                f"{place} ({place_of(code)}) has to take two arguments: async def agent(input, ctx)."
            )
        return FunctionAgent(model, code, tools)
    if not callable(code):
        raise UnavailableError(
            f"{place} is a {type(code).__name__}. Name a factory, a compiled graph or an async def agent(input, ctx)."
        )
    offered = {"model": model, "tools": list(tools.values()), "prompt": spec.config.prompt, "middleware": middleware}
    return GraphAgent(model, _manufactured(code, offered, spec, file, place), tools)


def _manufactured(
    factory: Callable[..., Any], offered: Mapping[str, Any], spec: AgentSpec, file: AgentsFile, place: str
) -> Graph:
    parameters = inspect.signature(factory).parameters
    strangers = [name for name, one in parameters.items() if name not in offered and one.default is one.empty]
    if strangers:
        raise UnavailableError(
            f"{place} ({place_of(factory)}) asks for {', '.join(strangers)}. A factory may ask for "
            f"{', '.join(offered)}; an agent that is a function is an async def agent(input, ctx), and what blocks in "
            "it goes through asyncio.to_thread."
        )
    unused = tuple(name for name in ("tools", "prompt", "middleware") if name not in parameters)
    _refuse_unused(spec, file, unused, "the factory does not ask for it")
    try:
        made = factory(**{name: offered[name] for name in parameters if name in offered})
    except Exception as error:
        raise failed(place, "failed", error) from error
    return _compiled(made, place)


def _compiled(graph: Any, place: str) -> Graph:
    if isinstance(graph, StateGraph):
        raise UnavailableError(f"{place} is a graph that is not compiled. Add .compile().")
    if not isinstance(graph, CompiledStateGraph):
        raise UnavailableError(f"{place} returned a {type(graph).__name__}. A factory returns a compiled graph.")
    if graph.checkpointer:
        raise UnavailableError(f"{place} has a checkpointer of its own. Compile it without one: the queue keeps tasks.")
    return graph


def _refuse_unused(spec: AgentSpec, file: AgentsFile, keys: tuple[str, ...], why: str) -> None:
    for key in keys:
        if getattr(spec.config, key):
            raise UnavailableError(f"{file.where(spec.name, key)}: it has no effect, as {why}. Take it out.")


def _required(function: Callable[..., Any]) -> int:
    """How many positional arguments it takes; -1 when it cannot be called with positional ones alone."""
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in parameters):
        return -1
    return sum(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty for one in parameters
    )
