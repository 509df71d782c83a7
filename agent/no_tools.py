"""For an agent without tools, whose model calls one all the same: it is told so, as of an unknown tool."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, ToolMessage

Handler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]


class NoTools(AgentMiddleware[Any, Any, Any]):
    """Asks again until the model calls no tool; the run's limit of model calls ends that.

    Unanswered, such a call would make what stands beside it the answer, or the next request one that providers refuse.
    """

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        said: list[Any] = []
        while True:
            response = await handler(request.override(messages=[*request.messages, *said]))
            said += response.result
            last = response.result[-1]
            if response.structured_response is not None or not isinstance(last, AIMessage) or not last.tool_calls:
                return ModelResponse(result=said, structured_response=response.structured_response)
            said += [
                ToolMessage(
                    f"Error: {call['name']} is not a valid tool. There are none: answer without.",
                    tool_call_id=call["id"], name=call["name"], status="error",
                )
                for call in last.tool_calls
            ]  # fmt: skip
