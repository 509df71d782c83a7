"""The plain agent: a LangGraph graph that calls the simulator over httpx, so that its workers need no more than that.

Two model calls, a tool that may not run twice, a third model call; the second one streams. What it asks names the task
and the step, and what its tool does stands in the witness file. A task whose message says so ends its process.
"""

import asyncio
import os
import signal
from functools import cache
from typing import Any, Final

import httpx
from langchain_core.tools import StructuredTool
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from agent.context import TryAgainError, current_context
from tests.chaos import marker, witness
from tests.chaos.http_clients import HttpClients
from tests.chaos.system import CALL_SECONDS, TOOL_SECONDS_VARIABLE

STREAMED_STEP: Final = 2


class ModelError(Exception):
    """The model did not answer; another attempt may do better."""


async def ask(given: str, key: str, step: int) -> str:
    """What the model says to the task whose message is `given`. One HTTP call. Raises ModelError."""
    witness.write("ask", key)
    body = {
        "model": "simulator",
        "messages": [{"role": "user", "content": marker.step_message(given, key, step)}],
        "stream": step == STREAMED_STEP,
    }
    try:
        async with asyncio.timeout(CALL_SECONDS):
            with _clients().one() as client:
                answer = await client.post("/chat/completions", json=body)
        answer.raise_for_status()
        if step == STREAMED_STEP:
            return _streamed(answer.text)
        return str(answer.json()["choices"][0]["message"]["content"])
    except (httpx.HTTPError, TimeoutError, ValueError, KeyError) as error:
        raise ModelError(f"the model did not answer: {type(error).__name__}") from error


async def act_once(key: str) -> str:
    """What may not be done twice: a line when it begins and one when it is done."""
    witness.write("begin", key)
    await asyncio.sleep(float(os.environ.get(TOOL_SECONDS_VARIABLE, "0.3")))
    witness.write("done", key)
    return f"recorded {key}"


def die(key: str) -> None:
    """Ends the process as no handler can hold up."""
    witness.write("poison", key)
    os.kill(os.getpid(), signal.SIGKILL)


def _streamed(text: str) -> str:
    if "data: [DONE]" not in text:
        raise ValueError("the stream broke off")
    return f"{text.count('data: ')} events"


@cache
def _clients() -> HttpClients:
    """For the process, whose event loop is one."""
    return HttpClients(f"http://127.0.0.1:{os.environ['SIMULATOR_PORT']}/v1", timeout_s=CALL_SECONDS)


class State(TypedDict, total=False):
    message: str
    key: str
    said: str
    output: str


async def _asked(state: State, step: int) -> str:
    try:
        return await ask(state["message"], state["key"], step)
    except ModelError as error:
        raise TryAgainError(str(error)) from error


async def plan(state: State) -> State:
    mark = marker.read(state["message"])
    if mark is None:
        raise ValueError("the message has no mark")
    key = mark[0]
    if marker.POISON in state["message"]:
        die(key)
    return {"key": key, "said": await _asked({**state, "key": key}, 1)}


async def draft(state: State) -> State:
    return {"said": await _asked(state, 2)}


async def record(state: State) -> State:
    done = await current_context().tools["record_once"].ainvoke({"key": state["key"]})
    return {"said": str(done)}


async def answer(state: State) -> State:
    return {"output": f"{state['said']}; {await _asked(state, 3)}"}


record_once: Any = StructuredTool.from_function(
    coroutine=act_once,
    name="record_once",
    description="Records that the task was done.",
    metadata={"idempotent": False},
)

graph = (
    StateGraph(State)
    .add_node("plan", plan)
    .add_node("draft", draft)
    .add_node("record", record)
    .add_node("answer", answer)
    .add_edge(START, "plan")
    .add_edge("plan", "draft")
    .add_edge("draft", "record")
    .add_edge("record", "answer")
    .add_edge("answer", END)
    .compile()
)
