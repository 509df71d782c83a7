"""A model call that is streamed: what it says is told as it comes, and it ends as an unstreamed one does."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain_core.messages import AIMessageChunk, message_chunk_to_message
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from agent.errors import BrokenAnswerError
from agent.run_context import TokenKind

Tell = Callable[[TokenKind, str], None]


async def streamed(chunks: AsyncIterator[ChatGenerationChunk], tell: Tell) -> ChatResult:
    """All of LangChain's stream as one result. `tell` is called with each piece of text or of reasoning; what a tool
    is called with is neither.
    """
    came: list[ChatGenerationChunk] = []
    async for chunk in chunks:
        came.append(chunk)
        if reasoning := chunk.message.additional_kwargs.get("reasoning_content"):
            tell("reasoning", reasoning)
        if text := chunk.text:
            tell("text", text)
    if not came:
        raise BrokenAnswerError("the stream held nothing")
    whole = came[0] + came[1:]
    message = message_chunk_to_message(whole.message)
    if isinstance(whole.message, AIMessageChunk):
        _unmend(whole.message, message)
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=whole.generation_info)])


def _unmend(chunk: AIMessageChunk, message: Any) -> None:
    """Takes back what LangChain made of tool calls whose arguments are no JSON: it mends a stream's as far as they
    came, also when it is over, and a tool would be called with the half of what the model meant.
    """
    broken = [call for call in chunk.tool_call_chunks if (call["args"] or "").strip() and not _is_object(call["args"])]
    if not broken:
        return
    kept = [call for call in chunk.tool_call_chunks if call not in broken]
    message.tool_calls = AIMessageChunk(content="", tool_call_chunks=kept).tool_calls
    message.invalid_tool_calls = [
        invalid_tool_call(name=call["name"], args=call["args"], id=call["id"], error=None) for call in broken
    ]


def _is_object(text: str | None) -> bool:
    try:
        return isinstance(json.loads(text or ""), dict)
    except (ValueError, RecursionError):
        return False


async def to_its_end(stream: Any) -> AsyncIterator[Any]:
    """litellm's stream, without what it makes up: that a model which was cut off has stopped, and how many tokens there
    were when the provider did not say. Raises BrokenAnswerError for the first.
    """
    async for chunk in stream:
        if getattr(chunk, "usage", None) and not any(getattr(one, "usage", None) for one in stream.chunks):
            chunk.usage = None
        yield chunk
    if stream.received_finish_reason is None and stream.intermittent_finish_reason is None:
        raise BrokenAnswerError("the stream ended before the answer did")
