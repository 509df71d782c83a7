"""An agent that is a plain `async def agent(input, ctx)`: what it is given, what it may answer, how it fails."""

import asyncio
import json
import logging
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langsmith.run_helpers import tracing_context

from agent.context import current_context
from agent.errors import AgentError
from agent.work import Answer, Turn
from tests.agent.conftest import Bench, OwnCode
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, eventually

ONE = '[agents.mine]\nrun = "mine:agent"\n'


def function(body: str) -> str:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    head = "import asyncio, os, sys, threading\nfrom agent.context import *\n\nasync def agent(given, ctx):\n"
    return head + indented + "\n"


async def test_a_message_and_an_input_object_arrive_and_texts_and_dicts_are_answers(
    bench: Bench, own_code: OwnCode
) -> None:
    own_code(ONE, mine=function("return given"))
    assert await bench.answer("mine", "Grüße") == Answer("Grüße")
    assert await bench.answer("mine", {"ä": [1, None]}) == Answer('{"ä": [1, null]}', {"ä": [1, None]})
    assert bench.meter.model_calls == 0


async def test_what_ctx_tells_of_the_task(bench: Bench, own_code: OwnCode) -> None:
    own_code(
        '[agents.mine]\nrun = "mine:agent"\ntools = ["calculator", "search"]\n',
        mine=function(
            "task = ctx.task\n"
            "assert current_context() is ctx\n"
            "return {'task': [task.id, task.user_id, task.session_id, dict(task.metadata), task.agent, task.model,"
            " task.message, task.input, [(turn.role, turn.text) for turn in task.history]], 'tools': sorted(ctx.tools),"
            " 'left': 20 < ctx.seconds_left <= 30, 'cancelled': ctx.cancelled}"
        ),
    )
    answer = await bench.answer(
        "mine",
        "hi",
        user_id="u",
        session_id="s",
        metadata={"order": 7, "langfuse_session_id": "x"},
        history=(Turn(role="user", text="before"),),
        seconds_left=30.0,
    )
    assert answer.data == {
        "task": ["t1", "u", "s", {"order": 7}, "mine", "Simulator", "hi", None, [["user", "before"]]],
        "tools": ["calculator", "search"],
        "left": True,
        "cancelled": False,
    }
    with pytest.raises(RuntimeError, match=r"there is no current_context\(\) outside of a task's run"):
        current_context()


INNER = function(
    "from langchain_core.runnables import RunnableLambda\n"
    "async def inner(given, config):\n"
    "    return config['metadata']\n"
    "return await RunnableLambda(inner).ainvoke(given)"
)


class Roots(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.names: list[str] = []

    async def on_chain_start(self, *_: object, parent_run_id: object = None, **about: Any) -> None:
        if parent_run_id is None:
            self.names.append(about["name"])


async def test_it_is_the_root_of_its_run_s_trace_and_what_it_runs_inherits_the_metadata(
    bench: Bench, own_code: OwnCode
) -> None:
    own_code(ONE, mine=INNER)
    roots = Roots()
    answer = await bench.answer("mine", metadata={"order": 7}, callbacks=[roots])
    assert answer.data == {"order": 7}
    assert roots.names == ["mine"]
    assert (await bench.answer("mine", metadata={"order": 7})).data == {"order": 7}


async def test_it_is_a_root_for_langsmith_too(
    bench: Bench, own_code: OwnCode, caplog: pytest.LogCaptureFixture
) -> None:
    own_code(ONE, mine=INNER)
    with tracing_context(enabled="local"):
        await bench.answer("mine")
    # there is no key: each Runnable says that it cannot be traced, the root and what it runs
    assert caplog.text.count("Unable to load requested LangChainTracer") == 2


async def test_one_line_calls_the_task_s_model_metered_and_limited(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode
) -> None:
    own_code(
        '[agents.mine]\nrun = "mine:agent"\nmax_iterations = 2\n',
        mine=function("first = await ctx.model(given, system='Be short.')\nreturn first + await ctx.model('again')"),
    )
    provider.says(completion("One. "), completion("Two."))
    assert (await bench.answer("mine", "hi")).text == "One.Two."
    assert [[(m["role"], m["content"]) for m in r.body["messages"]] for r in provider.requests] == [
        [("system", "Be short."), ("user", "hi")],
        [("user", "again")],
    ]
    assert (bench.meter.model_calls, bench.meter.usage.total_tokens, bench.meter.model) == (2, 30, "Simulator")
    assert [(step.kind, step.phase, step.number) for step in bench.steps] == [
        ("model", "start", 1),
        ("model", "end", 1),
        ("model", "start", 2),
        ("model", "end", 2),
    ]
    own_code(
        '[agents.mine]\nrun = "mine2:agent"\nmax_iterations = 2\n',
        mine2=function("while True:\n    await ctx.model('on and on')"),
    )
    bench.configure(agent_max_iterations=30)
    with pytest.raises(AgentError, match="max_iterations: The agent had no answer after 2 model calls"):
        await bench.answer("mine")
    assert bench.meter.model_calls == 2


async def test_its_tools_have_their_edge(bench: Bench, own_code: OwnCode) -> None:
    own_code(
        '[agents.mine]\nrun = "mine:agent"\ntools = ["calculator"]\n',
        mine=function("return await ctx.tools['calculator'].ainvoke({'expression': '6 * 7'})"),
    )
    assert (await bench.answer("mine")).text == "42"
    assert [(step.kind, step.phase, step.name, step.result) for step in bench.steps] == [
        ("tool", "start", "calculator", None),
        ("tool", "end", "calculator", "42"),
    ]
    assert bench.meter.tool_calls == 1


async def test_its_own_steps_are_told_with_bounded_text_also_from_a_thread(bench: Bench, own_code: OwnCode) -> None:
    own_code(
        ONE,
        mine=function(
            "ctx.emit('read', {'pages': 3}, arguments='a' * 9000)\n"
            "with ctx.step('n' * 500) as step:\n"
            "    await asyncio.to_thread(ctx.emit, 'in a thread', 'text')\n"
            "    step.result = object\n"
            "try:\n"
            "    with ctx.step('fails', arguments={'n': 1}):\n"
            "        raise ValueError('sk-secret')\n"
            "except ValueError:\n"
            "    return 'done'"
        ),
    )
    await bench.answer("mine")
    told = [(s.phase, s.number, s.name, s.arguments, s.result, s.error) for s in bench.steps]
    assert {s.kind for s in bench.steps} == {"step"}
    long, thread = "n" * 100, ("in a thread", None)
    assert told == [
        ("start", 1, "read", "a" * 1999 + "…", None, None),
        ("end", 1, "read", "a" * 1999 + "…", '{"pages": 3}', None),
        ("start", 2, long, None, None, None),
        ("start", 3, *thread, None, None),
        ("end", 3, *thread, "text", None),
        ("end", 2, long, None, "\"<class 'object'>\"", None),
        ("start", 4, "fails", '{"n": 1}', None, None),
        ("end", 4, "fails", '{"n": 1}', None, "ValueError"),
    ]
    assert all((s.duration_ms is not None) == (s.phase == "end") for s in bench.steps)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return None", "answered with a NoneType; it has to return a str or a dict."),
        ("return 3", "answered with a int; it has to return a str or a dict."),
        ("return ctx.chat_model", "answered with a RegistryModel; it has to return a str or a dict."),
        ("return ' '", "answered with an empty text."),
        ("return {'a': float('nan')}", "answered with a dict that JSON cannot hold."),
        ("return {'a': threading.Lock()}", "answered with a dict that JSON cannot hold."),
        ("a = {}\na['a'] = a\nreturn a", "answered with a dict that JSON cannot hold."),
    ],
)
async def test_what_is_no_answer_fails_clearly(bench: Bench, own_code: OwnCode, body: str, told: str) -> None:
    own_code(ONE, mine=function(body))
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine")
    assert (caught.value.code, caught.value.transient) == ("invalid_agent_answer", False)
    assert caught.value.detail == f"The agent's own code {told}"


SLOW_DOWN = "The model's provider limits the rate of requests. (model Simulator, HTTP 429)"
BRANCHES = """\
async with asyncio.TaskGroup() as group:
    for _ in range(3):
        group.create_task(ctx.model('x'))
"""
LIMITED = Reply(status=429, body={"error": {"message": "slow down"}}, headers={"retry-after": "7"})


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("raise ValueError('sk-secret')", ("agent_failed", False, "The agent's own code failed (ValueError).", None)),
        ("sys.exit(3)", ("agent_failed", False, "The agent's own code failed (SystemExit).", None)),
        (
            "raise asyncio.CancelledError",
            ("agent_failed", False, "The agent's own code failed (CancelledError).", None),
        ),
        ("raise RefusedError('Not on Sundays.')", ("agent_refused", False, "Not on Sundays.", None)),
        (
            "raise TryAgainError('The warehouse is shut.', retry_after=9)",
            ("agent_try_again", True, "The warehouse is shut.", 9),
        ),
        ("await ctx.model('x')", ("provider_rate_limited", True, SLOW_DOWN, 7)),
        (BRANCHES, ("provider_rate_limited", True, SLOW_DOWN, 7)),
        (
            "raise ExceptionGroup('g', [TryAgainError('a'), RefusedError('b')])",
            ("agent_refused", False, "b", None),
        ),
        (
            "raise ExceptionGroup('g', [TryAgainError('a'), KeyError('sk-secret')])",
            ("agent_failed", False, "The agent's own code failed (KeyError).", None),
        ),
    ],
)
async def test_how_it_fails(
    bench: Bench, provider: ScriptedProvider, own_code: OwnCode, body: str, wanted: tuple[Any, ...]
) -> None:
    provider.says(LIMITED)
    own_code(ONE, mine=function(body))
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine")
    error = caught.value
    assert (error.code, error.transient, error.detail, error.retry_after) == wanted


async def test_the_worker_s_log_has_the_traceback_of_what_failed(bench: Bench, own_code: OwnCode) -> None:
    own_code(ONE, mine=function("raise ValueError('details')"))
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine")
    error = caught.value.__cause__
    assert isinstance(error, ValueError)
    assert "mine.py" in logging.Formatter().formatException((type(error), error, error.__traceback__))


async def test_it_is_cancelled_and_a_thread_of_its_can_ask(bench: Bench, own_code: OwnCode) -> None:
    own_code(
        ONE,
        mine="import asyncio, threading\nfrom agent.context import current_context\n"
        "STARTED, SEEN = threading.Event(), threading.Event()\n\n"
        "def work():\n    ctx = current_context()\n    assert not ctx.cancelled\n    STARTED.set()\n"
        "    for _ in range(1000):\n        if ctx.cancelled:\n            return SEEN.set()\n"
        "        SEEN.wait(0.01)\n\n"
        "async def agent(given, ctx):\n    await asyncio.to_thread(work)\n    return 'late'\n",
    )
    run = asyncio.create_task(bench.answer("mine"))
    await eventually(lambda: "mine" in __import__("sys").modules)
    import mine  # type: ignore[import-not-found]  # noqa: PLC0415  it was written by this test

    await eventually(mine.STARTED.is_set)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await eventually(mine.SEEN.is_set)


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize("value", ["{'n': 1}", "'{\"n\": 1}'"])
async def test_its_answer_is_held_to_the_task_s_schema(bench: Bench, own_code: OwnCode, value: str) -> None:
    own_code(ONE, mine=function(f"return {value}"))
    assert await bench.answer("mine", output_schema=SCHEMA) == Answer('{"n": 1}', {"n": 1})


@pytest.mark.parametrize(
    ("value", "wrong"),
    [("{'m': 1}", "'n' is a required property"), ("'one'", "the answer is text and no JSON"), ("'[1]'", "[1] is not")],
)
async def test_an_answer_that_its_schema_refuses_is_invalid_output(
    bench: Bench, own_code: OwnCode, value: str, wrong: str
) -> None:
    own_code(ONE, mine=function(f"return {value}"))
    with pytest.raises(AgentError) as caught:
        await bench.answer("mine", output_schema=SCHEMA)
    assert (caught.value.code, caught.value.transient) == ("invalid_output", False)
    assert caught.value.detail.startswith("The answer does not satisfy output_schema: ")
    assert wrong in caught.value.detail
    assert bench.meter.partial


async def test_a_data_answer_may_hold_what_pydantic_can_write(bench: Bench, own_code: OwnCode) -> None:
    own_code(ONE, mine=function("import datetime\nreturn {'day': datetime.date(2026, 11, 21), 'some': {1}}"))
    answer = await bench.answer("mine")
    assert answer.data == {"day": "2026-11-21", "some": [1]}
    assert json.loads(answer.text) == answer.data
