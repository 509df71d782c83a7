"""Runs a graph from where an earlier attempt left it."""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.constants import CONFIG_KEY_CHECKPOINTER
from langgraph.graph.state import CompiledStateGraph

from agent.run_context import current_run
from agent.work import AgentWork

Graph = CompiledStateGraph[Any, Any, Any, Any]


async def invoke(graph: Graph, given: Mapping[str, Any], config: RunnableConfig, work: AgentWork) -> dict[str, Any]:
    """The graph's last state. If the work is durable, each of its steps is kept before the next one begins, and what an
    earlier attempt got done is not done again; `given` is then what that attempt was given. Once in a run.

    The saver is lent by the config, as a parent graph lends its own to a subgraph: graphs are built once and shared.
    """
    if work.durable is None:
        return await graph.ainvoke(given, config)
    config = {**config, "configurable": {"thread_id": work.task_id, CONFIG_KEY_CHECKPOINTER: work.durable.saver}}
    # Its values, not what is next, say whether there is something to go on from: next is empty in states that are.
    if not (await graph.aget_state(config)).values:
        return await graph.ainvoke(given, config, durability="sync")
    current_run().model_calls = (await work.durable.open()).model_calls
    return await graph.ainvoke(None, config, durability="sync")
