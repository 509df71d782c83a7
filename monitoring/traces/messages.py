"""What a call was given and what it gave, as JSON, in the shape in which Langfuse shows a conversation."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import orjson
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation

ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
"""LangChain's names for them; the others are the same."""

_JSON = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


def json_of(value: Any) -> str:
    """A text is given as it is, and what JSON does not know as its own text. No value makes it raise."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=_known, option=_JSON).decode()
    except TypeError:  # such as an integer of more than 64 bits, or half of an emoji
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            return json.dumps(value, default=_known)
        return str(value)


def prompt_of(messages: Sequence[BaseMessage], tools: Any) -> str:
    """Of a model call: its messages, and beside them the tools that it was offered."""
    told = [message_of(message) for message in messages]
    return json_of({"messages": told, "tools": tools} if tools else told)


def answer_of(generation: Generation) -> str:
    return json_of(message_of(generation.message) if isinstance(generation, ChatGeneration) else generation.text)


def message_of(message: BaseMessage) -> dict[str, Any]:
    role = message.role if isinstance(message, ChatMessage) else ROLES.get(message.type, message.type)
    told: dict[str, Any] = {"role": role, "content": message.content}
    if isinstance(message, AIMessage):
        told |= {name: calls for name in ("tool_calls", "invalid_tool_calls") if (calls := getattr(message, name))}
    elif isinstance(message, ToolMessage):
        told["tool_call_id"] = message.tool_call_id
    if message.additional_kwargs:
        told["additional_kwargs"] = message.additional_kwargs
    return told


def _known(value: Any) -> Any:
    """For orjson: something that it knows, in the place of what it does not."""
    if isinstance(value, BaseMessage):
        return message_of(value)
    if isinstance(value, Document):
        return {"content": value.page_content, "metadata": value.metadata}
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
