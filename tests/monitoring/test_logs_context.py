"""What is bound to an attempt is on all its lines, in its threads too, and on no other's."""

import asyncio
import contextvars
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool, ToolException

from agent.tool_edge import edged
from monitoring import log_context

from .conftest import Written

log = logging.getLogger("spoken.library")


def blocking(word: str) -> str:
    """Logs in its thread."""
    log.info("in_a_tool", extra={"word": word})
    return word


async def test_it_follows_the_tasks_and_threads_of_its_attempt_and_no_others(writing: Callable[..., Written]):
    written = writing(log_format="json")
    both = asyncio.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        tool = edged(StructuredTool.from_function(blocking), seconds=10, threads=threads)
        chain: RunnableLambda[str, str] = RunnableLambda(blocking)  # LangChain runs it in a thread of its own

        async def attempt(number: int) -> None:
            log_context.begin(task=f"task-{number}", attempt=number, session=None)
            await both.wait()
            log.info("begins")
            await asyncio.create_task(tool.ainvoke({"word": "a"}))
            await asyncio.gather(asyncio.to_thread(blocking, "b"), chain.ainvoke("c"))
            structlog.contextvars.bind_contextvars(order=number)
            log.info("ends", extra={"attempt": "its own"})

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for number in (1, 2):
                group.create_task(attempt(number), context=contextvars.Context())
    log.info("outside")
    of_one = Counter({"begins": 1, "in_a_tool": 3, "ends": 1})
    told = written.objects
    for number in (1, 2):
        assert Counter(one["event"] for one in told if one.get("task") == f"task-{number}") == of_one
        (last,) = [one for one in told if one["event"] == "ends" and one["task"] == f"task-{number}"]
        assert (last["attempt"], last["order"]) == ("its own", number), "a call's own field goes before what is bound"
    assert "task" not in next(one for one in told if one["event"] == "outside")
    assert not any("session" in one for one in told)


def test_what_is_bound_stands_in_one_order_behind_the_events_own(writing: Callable[..., Written]):
    def speak(**bound: Any) -> str:
        written = writing()
        log_context.begin(**bound)
        log.info("said", extra={"own": 1})
        return written.line.partition(" said ")[2]

    fields = {
        "zeal": 1,
        "trace": "t",
        "model": "M",
        "task": "x",
        "request_id": "r",
        "attempt": 2,
        "event": "e",
        "apt": 0,
    }
    wanted = "own=1 task=x attempt=2 model=M trace=t request_id=r apt=0 event_=e zeal=1"
    assert contextvars.Context().run(speak, **fields) == wanted
    assert contextvars.Context().run(speak, **dict(reversed(fields.items()))) == wanted


def test_what_begins_has_nothing_of_what_was_before(written: Written):
    log_context.begin(task="before", caller="alice")
    log_context.begin(task="after")
    log.info("said")
    assert "after" in written.line
    assert "alice" not in written.line


async def test_a_tool_that_fails_leaves_its_traceback_in_the_log_and_not_with_the_model(
    caplog: pytest.LogCaptureFixture,
):
    def breaks(word: str) -> str:
        """Breaks."""
        raise KeyError(f"of {word}")

    def refuses(word: str) -> str:
        """Refuses."""
        raise ToolException(f"There is no {word}.")

    async def hangs(word: str) -> str:
        """Hangs."""
        await asyncio.Event().wait()
        return word

    with ThreadPoolExecutor(1) as threads:
        broken = edged(StructuredTool.from_function(breaks), seconds=10, threads=threads)
        hanging = edged(StructuredTool.from_function(coroutine=hangs), seconds=0.01, threads=threads)
        told = [await tool.ainvoke({"word": "tea"}) for tool in (broken, hanging)]
        assert not any("tea" in one for one in told)
        with caplog.at_level(logging.INFO):
            refusing = edged(StructuredTool.from_function(refuses), seconds=10, threads=threads)
            assert await refusing.ainvoke({"word": "tea"}) == "There is no tea."
    failed, late, refused = caplog.records
    assert (refused.getMessage(), vars(refused)["tool"]) == ("tool_refused", "refuses")
    assert not refused.exc_info, "what a tool says to the model is contents, and in no line"
    assert (failed.getMessage(), vars(failed)["tool"], vars(failed)["error"]) == ("tool_failed", "breaks", "KeyError")
    assert failed.exc_info
    assert "of tea" in str(failed.exc_info[1])
    assert (late.getMessage(), vars(late)["tool"]) == ("tool_timeout", "hangs")
