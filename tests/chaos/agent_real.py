"""What the real agent is given: a calculator that may not run twice, and a middleware that bears witness.

Both write to the witness file; the agent itself is LangChain's, as a user describes one.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.tools import StructuredTool

from agent.context import current_context
from tests.chaos import agent, marker, witness


def _key() -> str:
    mark = marker.read(current_context().task.message)
    if mark is None:
        raise ValueError("the message has no mark")
    return mark[0]


async def _calculate(expression: Annotated[str, "The arithmetic expression."]) -> str:
    await agent.act_once(_key())
    return f"the value of {expression}"


calculate_once: Any = StructuredTool.from_function(
    coroutine=_calculate,
    name="calculate_once",
    description="Computes an arithmetic expression.",
    metadata={"idempotent": False},
)


class Witnessed(AgentMiddleware[Any, Any]):
    """Writes a line before each model call, and ends the process of a poison task."""

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        key = _key()
        if marker.POISON in current_context().task.message:
            agent.die(key)
        witness.write("ask", key)
        return await handler(request)
