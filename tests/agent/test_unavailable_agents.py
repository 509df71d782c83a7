"""An agent whose code or tools cannot be had is unavailable, with place, problem and remedy; the others run."""

import logging

import pytest

from agent.errors import AgentError
from agent.run_context import StepEvent
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import ScriptedProvider

TOOL = '[agents.mine]\ntools = ["mine:tool"]\n'
RUN = '[agents.mine]\nrun = "mine:agent"\n'
MIDDLEWARE = "[[agents.mine.middleware]]\n"
GRAPH = (
    "from typing import TypedDict\nfrom langgraph.graph import START, StateGraph\n"
    "g = StateGraph(TypedDict('S', {'n': int})).add_node('a', lambda s: s).add_edge(START, 'a')\n"
)

BAD: dict[str, tuple[str, str, str]] = {
    "no module": (RUN, "x = 1", "{run}: there is no module 'mine'. Put it beside the agents file, or install it."),
    "no name": (
        RUN,
        "def agend(): ...",
        "{run}: {mine} has no 'agent'; did you mean 'agend'? Known: agend.",
    ),
    "needs another": (
        RUN,
        "\nimport no_such_package",
        (
            "{run}: importing 'mine' failed at {mine}, line 2 "
            "(ModuleNotFoundError: No module named 'no_such_package'). Correct it and restart."
        ),
    ),
    "syntax": (
        RUN,
        "x = 1\ndef f(:\n",
        "{run}: importing 'mine' failed at {mine}, line 2 (SyntaxError: invalid syntax). Correct it and restart.",
    ),
    "raises": (
        RUN,
        "x = 1\n\nraise ValueError('sk-secret')",
        "{run}: importing 'mine' failed at {mine}, line 3 (ValueError). Correct it and restart.",
    ),
    "exits": (
        RUN,
        "import sys\nsys.exit('sk-secret')",
        "{run}: importing 'mine' failed at {mine}, line 2 (SystemExit). Correct it and restart.",
    ),
    "not callable": (
        RUN,
        "agent = 3",
        "{run}: mine:agent is a int. Name a factory, a compiled graph or an async def agent(input, ctx).",
    ),
    "blocks": (
        RUN,
        "\ndef agent(given, ctx):\n    return ''",
        (
            "{run}: mine:agent ({mine}, line 2) asks for given, ctx. A factory may ask for model, tools, prompt, "
            "middleware; an agent that is a function is an async def agent(input, ctx), and what blocks in it goes "
            "through asyncio.to_thread."
        ),
    ),
    "one argument": (
        RUN,
        "async def agent(given): ...",
        "{run}: mine:agent ({mine}, line 1) has to take two arguments: async def agent(input, ctx).",
    ),
    "not compiled": (RUN, GRAPH + "agent = g", "{run}: mine:agent is a graph that is not compiled. Add .compile()."),
    "factory of the uncompiled": (
        RUN,
        GRAPH + "def agent(): return g",
        "{run}: mine:agent is a graph that is not compiled. Add .compile().",
    ),
    "factory of something": (
        RUN,
        "def agent(): return []",
        "{run}: mine:agent returned a list. A factory returns a compiled graph.",
    ),
    "factory that raises": (
        RUN,
        "def agent(model):\n    return model.nothing_such",
        "{run}: mine:agent failed at ",
    ),
    "factory that raises at its place": (
        RUN,
        "def agent():\n\n    raise KeyError('sk-secret')",
        "{run}: mine:agent failed at {mine}, line 3 (KeyError). Correct it and restart.",
    ),
    "checkpointer": (
        RUN,
        GRAPH + "from langgraph.checkpoint.memory import MemorySaver\nagent = g.compile(checkpointer=MemorySaver())",
        "{run}: mine:agent has a checkpointer of its own. Compile it without one: the queue keeps tasks.",
    ),
    "prompt without effect": (
        RUN + 'prompt = "Hi."\n',
        "async def agent(given, ctx): ...",
        "{file}, line 3, agent 'mine', prompt: it has no effect, as a function calls its model by itself. Take it out.",
    ),
    "tools without effect": (
        RUN + 'tools = ["calculator"]\n',
        GRAPH + "def agent(): return g.compile()",
        "{file}, line 3, agent 'mine', tools: it has no effect, as the factory does not ask for it. Take it out.",
    ),
    "no docstring": (
        TOOL,
        "\ndef tool(a: str) -> str:\n    return a",
        (
            "{tools}: mine:tool ({mine}, line 2) has no docstring, which is all that tells the model what it does. "
            "Write one."
        ),
    ),
    "no type": (
        TOOL,
        "def tool(a: str, b) -> str:\n    '''Does.'''",
        "{tools}: mine:tool ({mine}, line 1): the parameter 'b' has no type. Write one, such as b: str.",
    ),
    "any arguments": (
        TOOL,
        "async def tool(**more: str) -> str:\n    '''Does.'''",
        "{tools}: mine:tool ({mine}, line 1) takes any arguments (**more: str). Name each one, with its type.",
    ),
    "a type that is none": (
        TOOL,
        "import threading\ndef tool(a: threading.Event) -> str:\n    '''Does.'''",
        (
            "{tools}: mine:tool ({mine}, line 2) cannot be described to a model (PydanticInvalidForJsonSchema). "
            "Use types that JSON has."
        ),
    ),
    "no function": (
        TOOL,
        "tool = 'x'",
        "{tools}: mine:tool is a str. A tool is a typed function with a docstring.",
    ),
    "twice": (
        '[agents.mine]\ntools = ["calculator", "mine:tool"]\n',
        (
            "from langchain_core.tools import StructuredTool\n"
            "def calculator(a: str) -> str:\n    '''Does.'''\ntool = StructuredTool.from_function(calculator)"
        ),
        "{tools}: two of them are called 'calculator'. Rename one of them.",
    ),
    "the answers' name": (
        TOOL,
        "def final_answer(a: str) -> str:\n    '''Does.'''\ntool = final_answer",
        "{tools}: mine:tool is called 'final_answer', as answers are. Rename it.",
    ),
    "fetch is off": (
        '[agents.mine]\ntools = ["fetch"]\n',
        "",
        "{tools}: 'fetch' is switched off. Set FETCH_ENABLED=true, or take it out.",
    ),
    "database is off": (
        '[agents.mine]\ntools = ["database"]\n',
        "",
        "{tools}: 'database' is switched off. Set DATABASE_URL, or take it out.",
    ),
    "middleware's option": (
        MIDDLEWARE + 'use = "pii"\npii_typ = "email"\n',
        "",
        (
            "{file}, line 1, agent 'mine', middleware: pii cannot be made (TypeError: PIIMiddleware.__init__() got an "
            "unexpected keyword argument 'pii_typ'). Correct its options."
        ),
    ),
    "middleware twice": (
        '[agents.mine]\nmiddleware = ["todo_list", "todo_list"]\n',
        "",
        "{file}, line 2, agent 'mine', middleware: building the agent failed at ",
    ),
    "middleware of its own": (
        MIDDLEWARE + 'use = "mine:made"\n',
        "def made(): return 3",
        "{file}, line 1, agent 'mine', middleware: mine:made returned a int and no LangChain middleware.",
    ),
    "middleware that cannot be called": (
        MIDDLEWARE + 'use = "mine:made"\n',
        "made = 3",
        (
            "{file}, line 1, agent 'mine', middleware: mine:made is a int. Name a function that returns middleware, or "
            "its class."
        ),
    ),
}


@pytest.mark.parametrize(("agents", "code", "told"), BAD.values(), ids=BAD)
async def test_what_is_wrong_is_told_with_place_and_remedy(
    bench: Bench, own_code: OwnCode, agents: str, code: str, told: str
) -> None:
    module = "other" if "no module" in told else "mine"
    path = own_code(agents, **{module: code})
    runner = bench.configure()
    problems = await runner.prepare()
    file = f"AGENTS_FILE {path}"
    lines = {key: f"{file}, line 2, agent 'mine', {key}" for key in ("run", "tools")}
    wanted = told.format(file=file, mine=path.parent / "mine.py", **lines)
    assert problems["default"] is None
    problem = problems["mine"] or "it is available"
    # what a library says of itself may change
    assert problem.startswith(wanted) if wanted.endswith((": ", "at ")) else problem == wanted
    assert "sk-secret" not in problem
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine")
    assert (caught.value.code, caught.value.transient) == ("agent_unavailable", True)
    assert caught.value.detail == "The agent cannot run on this worker, whose log says why."
    assert await bench.run("hello") == "Done."


async def test_the_log_has_the_traceback_and_who_asks_for_it(
    bench: Bench, own_code: OwnCode, caplog: pytest.LogCaptureFixture
) -> None:
    own_code(RUN, mine="def helper():\n    raise ValueError('no')\n\nhelper()\n")
    runner = bench.configure()
    await runner.prepare()
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "in helper" in logging.Formatter().formatException(record.exc_info)
    with pytest.raises(AgentError):
        await bench.answer("mine")
    asked = caplog.records[-1]
    assert (asked.getMessage(), vars(asked)["agent"]) == ("agent_asked_for_unavailable", "mine")
    assert "AGENTS_FILE" in str(vars(asked)["problem"])


async def test_what_is_prepared_is_used(bench: Bench, own_code: OwnCode, provider: ScriptedProvider) -> None:
    """With no key for its own model it is tried on the Simulator: a key that is missing is no fault of the agent's."""
    own_code(
        '[agents.mine]\nrun = "mine:build"\nmodel = "DeepSeek-V3"\n',
        mine=GRAPH + "CALLS = []\ndef build():\n    CALLS.append(1)\n    return g.compile()\n",
    )
    runner = bench.configure()
    assert await runner.prepare() == {"default": None, "mine": None}
    assert await runner.prepare() == {"default": None, "mine": None}
    assert (await bench.answer("mine", {"n": 1})).data == {"n": 1}
    import mine  # type: ignore[import-not-found]  # noqa: PLC0415  it was written by this test

    assert mine.CALLS == [1]
    assert provider.requests == []


async def test_a_file_s_own_tools_are_what_the_model_is_offered(
    bench: Bench, own_code: OwnCode, provider: ScriptedProvider
) -> None:
    own_code(
        '[agents.mine]\ntools = ["mine:slow", "mine:quick", "mine:made", "get_time"]\n',
        mine="from typing import Annotated, Literal\nfrom langchain_core.tools import tool\n"
        "def slow(number: Annotated[str, 'Of the order.']) -> str:\n    '''Look it up.'''\n    return number\n"
        "async def quick(to: Literal['a', 'b'] = 'a') -> int:\n    '''Count.'''\n    return 3\n"
        "@tool\ndef made(x: int) -> int:\n    '''Make.'''\n    return x\n",
    )
    steps: list[StepEvent] = []
    assert await bench.run("hello", agent="mine", on_step=steps.append) == "Done."
    offered = [one["function"] for one in provider.requests[0].body["tools"]]
    assert [(one["name"], one["description"]) for one in offered] == [
        ("slow", "Look it up."),
        ("quick", "Count."),
        ("made", "Make."),
        ("get_time", "Tell the current date, time and weekday."),
    ]
    assert offered[0]["parameters"]["properties"]["number"]["description"] == "Of the order."
    assert offered[1]["parameters"]["properties"]["to"]["enum"] == ["a", "b"]
