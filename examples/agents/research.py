"""A LangGraph graph with parallel branches: one model call a side of the question, all at once, then one that joins.

question ──┬── for ──────┐
           ├── against ──┼── write ── output
           └── unknown ──┘
"""

import operator
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

SIDES = {
    "for": "What speaks for it?",
    "against": "What speaks against it?",
    "unknown": "What would one have to find out first?",
}


class State(TypedDict, total=False):
    message: str
    """The task's message is put here."""
    notes: Annotated[dict[str, str], operator.or_]
    """By side; branches that end at once are merged."""
    output: dict[str, Any]
    """The answer: a dict, so the task has data."""


class Side(TypedDict):
    message: str
    side: str


def build(model: BaseChatModel) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A factory: it asks for the task's model by the name of its parameter."""

    def fan_out(state: State) -> list[Send]:
        return [Send("look", Side(message=state["message"], side=side)) for side in SIDES]

    async def look(state: Side) -> State:
        said = await model.ainvoke(f"{state['message']}\n\n{SIDES[state['side']]} Answer in three sentences.")
        return {"notes": {state["side"]: said.text}}

    async def write(state: State) -> State:
        notes = "\n\n".join(f"{side}: {state['notes'][side]}" for side in SIDES)
        said = await model.ainvoke(f"Question: {state['message']}\n\n{notes}\n\nSum up in three sentences.")
        return {"output": {"summary": said.text, "notes": state["notes"]}}

    graph = StateGraph(State)
    graph.add_node("look", look)
    graph.add_node("write", write)
    graph.add_conditional_edges(START, fan_out, ["look"])
    graph.add_edge("look", "write")
    graph.add_edge("write", END)
    return graph.compile()
