"""What the code of an agent ended with, as an Answer: a text, or data that JSON can hold."""

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_jsonable_python

from agent.errors import AgentError, ErrorCode
from agent.final_text import final_text
from agent.run_context import current_run
from agent.schema_check import check
from agent.work import Answer

ANSWER_KEYS: Final = ("output", "answer")
"""Keys of a graph's state that are its answer; the first that is there counts."""


def answer_of_value(value: Any) -> Answer:
    """A text as it is, anything else as data. Raises AgentError when it is neither."""
    if isinstance(value, str):
        if not value.strip():
            raise AgentError(ErrorCode.INVALID_AGENT_ANSWER, "The agent's own code answered with an empty text.")
        return Answer(value)
    try:
        data = to_jsonable_python(value, by_alias=True)
        return Answer(json.dumps(data, ensure_ascii=False, allow_nan=False), data)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise AgentError(
            ErrorCode.INVALID_AGENT_ANSWER,
            f"The agent's own code answered with a {type(value).__name__} that JSON cannot hold.",
        ) from error


def answer_of_function(value: Any) -> Answer:
    """Of a plain function: str or dict, and nothing else, so that a forgotten `return` is no answer `null`."""
    if not isinstance(value, str | dict):
        raise AgentError(
            ErrorCode.INVALID_AGENT_ANSWER,
            f"The agent's own code answered with a {type(value).__name__}; it has to return a str or a dict.",
        )
    return answer_of_value(value)


def answer_of_state(state: Any, keys: Collection[str], model: str) -> Answer:
    """Of a graph whose output has `keys`: the last message's text, else one of ANSWER_KEYS, else all of it."""
    if not isinstance(state, Mapping):
        return answer_of_value(state)
    if "messages" in keys:
        messages = state.get("messages") or []
        if not messages:
            raise AgentError(ErrorCode.EMPTY_ANSWER)
        data = state.get("structured_response")
        if data is not None:
            return answer_of_value(data)
        return Answer(final_text(messages[-1], model))
    for key in ANSWER_KEYS:
        if key in keys and state.get(key) is not None:
            return answer_of_value(state[key])
    return answer_of_value(dict(state))


async def held_to(schema: Mapping[str, Any] | None, answer: Answer) -> Answer:
    """The answer as the data that a task's `output_schema` asks for. There is no repair: code does not err in passing.

    Raises AgentError (invalid_output), and keeps what was answered as the run's partial text.
    """
    if schema is None:
        return answer
    data, wrong = answer.data, None
    if data is None:
        try:
            data = json.loads(answer.text)
        except (ValueError, RecursionError):
            wrong = "the answer is text and no JSON"
    wrong = wrong or await asyncio.to_thread(check, data, schema)
    if wrong is not None:
        current_run().meter.partial = answer.text
        raise AgentError(ErrorCode.INVALID_OUTPUT, f"The answer does not satisfy output_schema: {wrong}")
    return Answer(json.dumps(data, ensure_ascii=False), data)
