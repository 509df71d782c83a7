"""An attempt that finds what an agent left before it was changed: by a reload, or by new code and new workers."""

import sys

import pytest

from agent.durable import Durable
from agent.errors import AgentError, ErrorCode
from agent.meter import Meter
from agent.run_context import StepEvent
from agent.work import AgentWork
from core_config import SIMULATOR
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider, completion
from worker.checkpoints import DurableRun
from worker.progress import TaskProgress

TOOLS = """
from langchain_core.tools import StructuredTool

def pay(to: str) -> str:
    "Pays somebody."
    return "paid"

once = StructuredTool.from_function(pay, metadata={"idempotent": False})
"""
GRAPH = """
from typing import TypedDict
from langgraph.graph import StateGraph

begun = []

class State(TypedDict, total=False):
    message: str
    output: str

async def begin(state):
    begun.append(1)
    return {"output": "half done"}

async def end(state):
    if FAILS:
        raise OSError
    return {"output": f"begun {len(begun)} times, done"}

graph = StateGraph(State).add_node("begin", begin).add_node(NAME, end)
graph = graph.add_edge("__start__", "begin").add_edge("begin", NAME).compile()
"""


class Store:
    """A task's progress, as attempts leave it to each other."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}

    def attempt(self) -> Durable:
        async def read() -> dict[str, bytes]:
            return dict(self.fields)

        def write(seconds: float) -> None:
            if (taken := progress.take()) is not None:
                for name in taken.dropped:
                    self.fields.pop(name, None)
                self.fields.update(taken.fields)
                progress.written(taken)

        progress = TaskProgress(write, read)
        return DurableRun(progress)


def agent(*tools: str) -> str:
    return f'[agents.one]\nprompt = "Be brief."\ntools = {list(tools)}\n'


async def test_an_agent_that_lost_its_tools_takes_no_old_text_for_an_answer(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode
) -> None:
    store, before_the_tool = Store(), dict[str, bytes]()

    def note(event: StepEvent) -> None:
        if (event.kind, event.phase) == ("tool", "start"):
            before_the_tool.update(store.fields)

    own_code(agent("calculator"))
    runner = bench.configure()
    provider.says(completion("Let me see.", calls=[("calculator", {"expression": "1+1"})]), completion("It is 2."))
    work = AgentWork(task_id="t1", message="hello", model=SIMULATOR, agent="one", durable=store.attempt())
    assert (await runner.run(work, Meter(), on_step=note)).text == "It is 2."
    assert before_the_tool
    store.fields = before_the_tool
    own_code(agent())
    bench.configure()
    provider.says(completion("I cannot compute."))
    assert (await bench.answer("one", durable=store.attempt())).text == "I cannot compute."


@pytest.mark.parametrize("name", ["other", "end"])
@pytest.mark.parametrize("tools", [[], ["paying:once"]])
async def test_a_graph_of_ones_own_goes_on_begins_anew_or_says_why_not(
    bench: Bench, own_code: OwnCode, name: str, tools: list[str]
) -> None:
    store = Store()
    agents = f'[agents.one]\nrun = "own_graph:graph"\ntools = {tools}\n'
    own_code(agents, paying=TOOLS, own_graph=f'FAILS, NAME = True, "end"\n{GRAPH}')
    bench.configure()
    with pytest.raises(AgentError, match=ErrorCode.AGENT_FAILED):
        await bench.answer("one", durable=store.attempt())
    del sys.modules["own_graph"]
    own_code(agents, own_graph=f"FAILS, NAME = False, {name!r}\n{GRAPH}")
    bench.configure()
    if name == "other" and tools:
        with pytest.raises(AgentError, match=r"cannot go on.*\(pay\)") as raised:
            await bench.answer("one", durable=store.attempt())
        assert raised.value.code == ErrorCode.TOOL_OUTCOME_UNKNOWN
        return
    begins = 0 if name == "end" else 1
    assert (await bench.answer("one", durable=store.attempt())).text == f"begun {begins} times, done"


THING = """
from dataclasses import dataclass
from typing import Any, TypedDict
from langgraph.graph import StateGraph

@dataclass
class Thing:
    name: str

class State(TypedDict, total=False):
    message: str
    output: str
    thing: DECLARED

begun, fails = [], [OSError]

async def begin(state):
    begun.append(1)
    return {"thing": Thing("x")}

async def end(state):
    if fails:
        raise fails.pop()
    return {"output": f"begun {len(begun)} times, {state['thing'].name}"}

graph = StateGraph(State).add_node("begin", begin).add_node("end", end)
graph = graph.add_edge("__start__", "begin").add_edge("begin", "end").compile()
"""


@pytest.mark.parametrize(("declared", "begun"), [("Thing", 1), ("Any", 2)])
async def test_objects_come_back_as_what_they_were_or_the_run_begins_anew(
    bench: Bench, own_code: OwnCode, caplog: pytest.LogCaptureFixture, declared: str, begun: int
) -> None:
    store = Store()
    own_code('[agents.one]\nrun = "own_thing:graph"\n', own_thing=THING.replace("DECLARED", declared))
    bench.configure()
    with pytest.raises(AgentError, match=ErrorCode.AGENT_FAILED):
        await bench.answer("one", durable=store.attempt())
    assert (await bench.answer("one", durable=store.attempt())).text == f"begun {begun} times, x"
    assert ("Blocked" in caplog.text) == (declared == "Any")


async def test_a_graph_that_wants_no_checkpointer_runs_without(bench: Bench, own_code: OwnCode) -> None:
    store = Store()
    code = f'FAILS, NAME = False, "end"\n{GRAPH}'.replace(".compile()", ".compile(checkpointer=False)")
    own_code('[agents.one]\nrun = "own_graph:graph"\n', own_graph=code)
    bench.configure()
    assert (await bench.answer("one", durable=store.attempt())).text == "begun 1 times, done"
    assert store.fields == {}
