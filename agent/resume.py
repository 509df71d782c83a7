"""Runs a graph from where an earlier attempt left it."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import Checkpoint
from langgraph.constants import CONFIG_KEY_CHECKPOINTER, TASKS
from langgraph.graph.state import CompiledStateGraph

from agent.errors import AgentError, ErrorCode
from agent.run_context import current_run
from agent.tool_edge import may_not_run_twice
from agent.work import AgentWork

Graph = CompiledStateGraph[Any, Any, Any, Any]

log = logging.getLogger(__name__)


async def invoke(
    graph: Graph, given: Mapping[str, Any], config: RunnableConfig, work: AgentWork, tools: Iterable[BaseTool] = ()
) -> dict[str, Any]:
    """The graph's last state. If the work is durable, each of its steps is kept before the next one begins, and what an
    earlier attempt got done is not done again; `given` is then what that attempt was given. Once in a run.

    What an agent left that has been changed since, so that the next step is none of the graph's, is of no use: the run
    begins anew. If one of its `tools` may not run twice it raises AgentError instead.

    The saver is lent by the config, as a parent graph lends its own to a subgraph: graphs are built once and shared.
    """
    if work.durable is None:
        return await graph.ainvoke(given, config)
    saver = work.durable.saver
    config = {**config, "configurable": {"thread_id": work.task_id, CONFIG_KEY_CHECKPOINTER: saver}}
    left = await saver.aget_tuple(config)
    if left is not None and not _fits(left.checkpoint, graph):
        log.warning("checkpoint_of_another_graph", extra={"task": work.task_id, "agent": work.agent})
        if once := [tool.name for tool in tools if may_not_run_twice(tool)]:
            raise AgentError(
                ErrorCode.TOOL_OUTCOME_UNKNOWN,
                "The agent was changed while the task was under way, so it cannot go on, and to begin anew it has a "
                f"tool that may not run twice ({once[0]}). Submit the task again if that does no harm.",
            )
        await saver.adelete_thread(work.task_id)
    # Its values, not what is next, say whether there is something to go on from: next is empty in states that are.
    if not (await graph.aget_state(config)).values:
        return await graph.ainvoke(given, config, durability="sync")
    current_run().model_calls = (await work.durable.open()).model_calls
    return await graph.ainvoke(None, config, durability="sync")


def _fits(checkpoint: Checkpoint, graph: Graph) -> bool:
    """Whether the graph has the nodes that come next. LangGraph passes over those that it does not know, and would take
    the state as it stands for the run's end.
    """
    values = checkpoint["channel_values"]
    known = all(name in graph.channels for name in values if name.startswith(("branch:", "join:")))
    return known and all(send.node in graph.nodes for send in values.get(TASKS) or ())
