"""Builds LangChain agents: one graph for a model, its tools and a prompt, shared by all runs."""

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from langchain.agents import create_agent
from langgraph.graph.state import CompiledStateGraph

from agent.models import RegistryModel
from agent.specs import AgentSpec
from agent.tool_edge import edged
from agent.typed_output import TypedOutput
from core_config import Settings

Graph = CompiledStateGraph[Any, Any, Any, Any]


def build_agent(
    model: RegistryModel,
    spec: AgentSpec,
    settings: Settings,
    threads: Executor,
    output_schema: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph: model and tools in turn, until the model calls no tool. agent.models bounds the turns."""
    typed = None if output_schema is None else TypedOutput(output_schema)
    return create_agent(
        model,
        [edged(tool, seconds=settings.tool_timeout_seconds, threads=threads) for tool in spec.tools],
        system_prompt=spec.prompt,
        middleware=[typed] if typed else [],
        response_format=typed.strategy() if typed else None,
    )


def recursion_limit(settings: Settings) -> int:
    """Steps of the graph: more than the model calls allowed can ever need, so that their limit comes first."""
    return settings.agent_max_iterations * 8 + 20
