"""Runs a graph from where an earlier attempt left it."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
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

    What the graph cannot go on from is of no use: the run begins anew. If one of its `tools` may not run twice it
    raises AgentError instead.

    The saver is lent by the config, as a parent graph lends its own to a subgraph: graphs are built once and shared.
    """
    if work.durable is None or graph.checkpointer is False:  # such a graph takes no checkpointer from anybody
        return await graph.ainvoke(given, config)
    saver = work.durable.saver
    config = {**config, "configurable": {"thread_id": work.task_id, CONFIG_KEY_CHECKPOINTER: saver}}
    await work.durable.open()
    if not _can_go_on(graph, saver, config):
        log.warning("checkpoint_of_no_use", extra={"task": work.task_id, "agent": work.agent})
        if once := [tool.name for tool in tools if may_not_run_twice(tool)]:
            raise AgentError(
                ErrorCode.TOOL_OUTCOME_UNKNOWN,
                "The agent cannot go on from what an earlier attempt left: it was changed since, or its state held "
                f"objects of no declared class. To begin anew, it has a tool that may not run twice ({once[0]}).",
            )
        await saver.adelete_thread(work.task_id)
    # Its values, not what is next, say whether there is something to go on from: next is empty in states that are.
    if not (await graph.aget_state(config)).values:
        return await graph.ainvoke(given, config, durability="sync")
    current_run().model_calls = (await work.durable.open()).model_calls
    return await graph.ainvoke(None, config, durability="sync")


def _can_go_on(graph: Graph, saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> bool:
    """Whether the graph has the nodes that come next and the state is as it was left; also when nothing was left.

    LangGraph passes over nodes that it does not know, and would take the state as it stands for the run's end. Objects
    of a class that the graph does not declare come back as plain data, which its code would stumble over.
    """
    changed: list[SerdeEvent] = []
    stop_listening = register_serde_event_listener(changed.append)
    try:
        left = saver.with_allowlist(getattr(graph, "_serde_allowlist", None) or ()).get_tuple(config)
    finally:
        stop_listening()
    if left is None:
        return True
    values = left.checkpoint["channel_values"]
    known = all(name in graph.channels for name in values if name.startswith(("branch:", "join:")))
    return known and not changed and all(send.node in graph.nodes for send in values.get(TASKS) or ())
