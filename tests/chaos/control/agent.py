"""The kit's plain agent without Longhaul: the same graph of the same calls, as LangGraph's own pages write one."""

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.chaos import marker
from tests.chaos.agent import act_once, ask, die


class State(TypedDict, total=False):
    message: str
    key: str
    said: str
    output: str


async def plan(state: State) -> State:
    mark = marker.read(state["message"])
    if mark is None:
        raise ValueError("the message has no mark")
    key = mark[0]
    if marker.POISON in state["message"]:
        die(key)
    return {"key": key, "said": await ask(state["message"], key, 1)}


async def draft(state: State) -> State:
    return {"said": await ask(state["message"], state["key"], 2)}


async def record(state: State) -> State:
    return {"said": await act_once(state["key"])}


async def answer(state: State) -> State:
    said = await ask(state["message"], state["key"], 3)
    return {"output": f"{state['said']}; {said}"}


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
