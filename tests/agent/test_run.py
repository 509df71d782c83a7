"""The agent's loop over real HTTP: tools, usage, cost, the answer, the limits."""

import asyncio
import threading

import pytest
from langchain_core.tools import StructuredTool, tool

from agent.errors import AgentError
from agent.run_context import StepEvent
from agent.work import Turn
from tests.agent.conftest import Bench, Install, PointAt
from tests.agent.scripted_provider import Reply, ScriptedProvider, completion, eventually


async def test_a_whole_tool_loop(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(
        completion("Let me see.", calls=[("calculator", {"expression": "(123 * 456 + 789) / 3"})]),
        completion("It is 18959."),
    )
    assert await bench.run("Compute (123 * 456 + 789) / 3") == "It is 18959."
    first, second = provider.requests
    assert [m["role"] for m in first.body["messages"]] == ["system", "user"]
    assert [t["function"]["name"] for t in first.body["tools"]] == ["calculator", "get_time", "search"]
    asked, answered = second.body["messages"][-2:]
    assert asked["tool_calls"][0]["function"]["name"] == "calculator"
    assert answered == {"role": "tool", "content": "18959", "tool_call_id": "call_0_calculator"} | {
        k: v for k, v in answered.items() if k == "name"
    }
    meter = bench.meter
    assert (meter.model_calls, meter.tool_calls, meter.model, meter.simulated) == (2, 1, "Simulator", True)
    assert meter.usage.as_dict() == {
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "total_tokens": 30,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
    }
    assert meter.cost_usd == 0.0
    assert meter.partial == "It is 18959."


async def test_a_graph_is_built_once_and_history_is_sent(bench: Bench, provider: ScriptedProvider) -> None:
    runner = bench.configure()
    await bench.run("first")
    agent = runner._agent("Simulator", "default")
    await bench.run("second", history=(Turn(role="user", text="hi"), Turn(role="assistant", text="hello you")))
    assert runner._agent("Simulator", "default") is agent
    told = [(m["role"], m["content"]) for m in provider.requests[-1].body["messages"][1:]]
    assert told == [("user", "hi"), ("assistant", "hello you"), ("user", "second")]


async def test_two_blocking_tools_of_one_turn_run_at_once_and_off_the_loop(
    bench: Bench, provider: ScriptedProvider, install: Install
) -> None:
    barrier = threading.Barrier(2)
    threads: set[int] = set()

    @tool
    def meet(who: str) -> str:
        """Waits for the other."""
        threads.add(threading.get_ident())
        barrier.wait(10)  # raises when the other does not come: one after the other can't pass
        return who

    install(meet)
    provider.says(completion(calls=[("meet", {"who": "a"}), ("meet", {"who": "b"})]), completion("Met."))
    assert await bench.run(agent="probe") == "Met."
    results = [m["content"] for m in provider.requests[1].body["messages"] if m["role"] == "tool"]
    assert results == ["a", "b"]
    assert threading.get_ident() not in threads
    assert len(threads) == 2


async def test_a_blocking_tool_leaves_the_loop_free(bench: Bench, provider: ScriptedProvider, install: Install) -> None:
    entered, release = threading.Event(), threading.Event()

    @tool
    def block() -> str:
        """Blocks until released."""
        entered.set()
        assert release.wait(10)
        return "released"

    install(block)
    provider.says(completion(calls=[("block", {})]), completion("Done."))
    run = asyncio.create_task(bench.run(agent="probe"))
    await eventually(entered.is_set)
    release.set()  # only a loop that still turns gets here
    assert await run == "Done."


async def test_hanging_tools_hold_up_no_model_call(bench: Bench, provider: ScriptedProvider, install: Install) -> None:
    """More of them than the loop's own executor has threads, which every model call passes through."""
    release = threading.Event()
    hanging = 40

    @tool
    def block() -> str:
        """Blocks until released."""
        release.wait(20)
        return "released"

    install(block)
    bench.configure(tool_timeout_seconds=0.3)
    provider.says(completion(calls=[("block", {})] * hanging), completion("Gave up."))
    try:
        async with asyncio.timeout(10):  # the tools would hold their threads for twenty seconds
            assert await bench.run(agent="probe") == "Gave up."
    finally:
        release.set()
    told = [m["content"] for m in provider.requests[1].body["messages"] if m["role"] == "tool"]
    assert told == ["The tool block did not finish within 0.3 seconds."] * hanging


class Oddity(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        StopAsyncIteration(),
        asyncio.CancelledError(),  # the tool's own: nobody cancelled the run
        MemoryError(),
        RecursionError(),
        Oddity(),
        TimeoutError("/etc/secret"),
        ValueError("/home/me/.env sk-live-123"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_whatever_a_tool_raises_the_model_is_told_and_goes_on(
    bench: Bench, provider: ScriptedProvider, install: Install, kind: str, error: BaseException
) -> None:
    def sync_boom() -> str:
        """Fails."""
        raise error

    async def async_boom() -> str:
        """Fails."""
        raise error

    made = {"sync": {"func": sync_boom}, "async": {"coroutine": async_boom}}[kind]
    install(StructuredTool.from_function(name="boom", **made))  # type: ignore[arg-type]  # one of the two
    provider.says(completion(calls=[("boom", {})]), completion("It did not work."))
    assert await bench.run(agent="probe") == "It did not work."
    told = provider.requests[1].body["messages"][-1]["content"]
    assert told.startswith("The tool boom failed (")
    assert "sk-live" not in told
    assert "/" not in told


async def test_bad_arguments_and_unknown_tools_are_told_to_the_model(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(
        completion(calls=[("calculator", {"formula": "1+1"}), ("abacus", {})]),
        completion("Sorry."),
    )
    assert await bench.run() == "Sorry."
    bad, unknown = (m["content"] for m in provider.requests[1].body["messages"] if m["role"] == "tool")
    assert "expression" in bad
    assert "abacus" in unknown
    assert "calculator" in unknown
    assert "Traceback" not in bad + unknown


async def test_a_tool_call_without_arguments_text_is_a_call_with_none(bench: Bench, provider: ScriptedProvider) -> None:
    provider.says(completion(calls=[("get_time", "")]), completion("Now."))
    assert await bench.run() == "Now."
    assert provider.requests[1].body["messages"][-1]["content"].startswith("20")


async def test_an_agent_that_never_stops_ends_with_max_iterations_and_its_usage(
    bench: Bench, provider: ScriptedProvider
) -> None:
    bench.configure(agent_max_iterations=30)
    provider.says(completion("Thinking…", calls=[("calculator", {"expression": "1+1"})]))
    with pytest.raises(AgentError) as caught:
        await bench.run()
    assert (caught.value.code, caught.value.transient) == ("max_iterations", False)
    assert len(provider.requests) == bench.meter.model_calls == 30
    assert bench.meter.usage.total_tokens == 30 * 15
    assert bench.meter.cost_usd == 0.0
    assert bench.meter.partial == "Thinking…"


async def test_the_last_call_allowed_may_answer(bench: Bench, provider: ScriptedProvider) -> None:
    bench.configure(agent_max_iterations=2)
    provider.says(completion(calls=[("calculator", {"expression": "1+1"})]), completion("2"))
    assert await bench.run() == "2"


@pytest.mark.parametrize(
    ("reply", "code", "transient"),
    [
        (completion(""), "empty_answer", True),
        (completion(None), "empty_answer", True),
        (completion(" \n "), "empty_answer", True),
        (completion("It is", finish="length"), "answer_truncated", False),
        (completion("It", finish="content_filter"), "content_blocked", False),
        (completion(calls=[("calculator", '{"expression": "1+')], finish="length"), "answer_truncated", False),
        (completion(calls=[("calculator", "{oops")]), "provider_bad_response", True),
        (completion(calls=[("get_time", {}), ("calculator", "1 + 1 =")]), "provider_bad_response", True),
    ],
)
async def test_an_answer_that_is_none_is_no_success(
    bench: Bench, provider: ScriptedProvider, reply: Reply, code: str, transient: bool
) -> None:
    provider.says(reply)
    with pytest.raises(AgentError) as caught:
        await bench.run()
    assert (caught.value.code, caught.value.transient) == (code, transient)
    assert len(provider.requests) == 1
    assert bench.meter.usage.total_tokens == 15


async def test_only_the_model_s_own_text_is_the_answer(bench: Bench, provider: ScriptedProvider) -> None:
    """An empty last message is not filled from the tool's, the user's or an earlier one of the model's."""
    provider.says(completion("Wait.", calls=[("calculator", {"expression": "6*7"})]), completion(""))
    with pytest.raises(AgentError, match="empty_answer"):
        await bench.run("say 42")
    assert bench.meter.partial == "Wait."


async def test_an_answer_in_blocks_is_joined(bench: Bench, provider: ScriptedProvider, point_at: PointAt) -> None:
    point_at("Claude-Small", path="")
    provider.says(anthropic("Hello ", "there."))
    assert await bench.run(model="Claude-Small") == "Hello there."
    assert bench.meter.usage.total_tokens == 12


def anthropic(*texts: str) -> Reply:
    return Reply(
        body={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [{"type": "text", "text": text} for text in texts],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 7, "output_tokens": 5},
        }
    )


async def test_steps_are_told_as_they_happen_with_bounded_text(bench: Bench, provider: ScriptedProvider) -> None:
    expression = "1+" * 400 + "1"
    provider.says(completion(calls=[("calculator", {"expression": expression * 5})]), completion("x" * 9000))
    steps: list[StepEvent] = []
    await bench.run(on_step=steps.append)
    assert [(s.kind, s.phase, s.number, s.name) for s in steps] == [
        ("model", "start", 1, "Simulator"),
        ("model", "end", 1, "Simulator"),
        ("tool", "start", 2, "calculator"),
        ("tool", "end", 2, "calculator"),
        ("model", "start", 3, "Simulator"),
        ("model", "end", 3, "Simulator"),
    ]
    assert all(len(text) <= 2000 for s in steps for text in (s.arguments, s.result, s.error) if text)
    assert steps[1].usage is not None
    assert (steps[1].usage.total_tokens, steps[1].cost_usd) == (15, 0.0)
    assert steps[3].error is not None
    assert "at most 1000" in steps[3].error
    assert all(s.duration_ms is not None for s in steps if s.phase == "end")


async def test_a_listener_that_raises_costs_the_run_nothing(
    bench: Bench, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: StepEvent) -> None:
        raise RuntimeError("listener")

    assert await bench.run(on_step=broken) == "Done."
    assert "step_listener_failed" in caplog.messages


async def test_cancelling_is_prompt_and_closes_the_provider_s_connection(
    bench: Bench, provider: ScriptedProvider
) -> None:
    provider.says(completion("First.", calls=[("get_time", {})]), Reply(how="hang"))
    run = asyncio.create_task(bench.run())
    await eventually(lambda: len(provider.requests) == 2)
    run.cancel()
    await asyncio.wait([run], timeout=60)
    assert run.cancelled(), "it waits for no provider"
    await eventually(lambda: provider.closed_early == 1)
    assert (bench.meter.model_calls, bench.meter.usage.total_tokens, bench.meter.partial) == (2, 15, "First.")


async def test_a_cancelled_tool_is_not_told_as_failed(
    bench: Bench, provider: ScriptedProvider, install: Install
) -> None:
    entered = asyncio.Event()

    @tool
    async def wait() -> str:
        """Waits."""
        entered.set()
        await asyncio.sleep(30)
        return "late"

    install(wait)
    provider.says(completion(calls=[("wait", {})]), completion("Done."))
    run = asyncio.create_task(bench.run(agent="probe"))
    async with asyncio.timeout(10):
        await entered.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(provider.requests) == 1


async def test_unknown_agents_and_models_are_named(bench: Bench, provider: ScriptedProvider) -> None:
    with pytest.raises(AgentError, match=r"agent_unknown: No agent is called 'nobody'. Known: default"):
        await bench.run(agent="nobody")
    with pytest.raises(AgentError, match="model_unavailable: The registry has no model 'gpt-2'"):
        await bench.run(model="gpt-2")
    with pytest.raises(AgentError, match="provider_auth: Model DeepSeek-V3 needs an API key: DEEPSEEK_API_KEY"):
        await bench.run(model="DeepSeek-V3")
    assert provider.requests == []
