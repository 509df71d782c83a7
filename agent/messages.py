"""A task as the messages that a model reads."""

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from agent.typed_output import json_text
from agent.work import AgentWork


def messages_of(work: AgentWork) -> list[BaseMessage]:
    """The session's earlier turns, then the task's message, or its input object as JSON."""
    earlier = [HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text) for turn in work.history]
    return [
        *earlier,
        HumanMessage(work.message if work.input is None else json_text(work.input)),
    ]
