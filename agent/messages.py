"""A task as the messages that a model reads."""

from langchain_core.messages import BaseMessage, HumanMessage

from agent.memory import messages_of_turns
from agent.typed_output import json_text
from agent.work import AgentWork


def messages_of(work: AgentWork) -> list[BaseMessage]:
    """The session's earlier turns, then the task's message, or its input object as JSON."""
    return [
        *messages_of_turns(work.history),
        HumanMessage(work.message if work.input is None else json_text(work.input)),
    ]
