"""The edge of a tool call: its thread, its time limit, its step, and what the model is told when it fails.

LangChain runs each tool in a task of its own; a SystemExit that leaves a task ends the event loop. So the edge is
around the tool's own function, inside that task, and not in middleware around it.
"""

import asyncio
import contextvars
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool, ToolException

from agent.errors import AgentError, ErrorCode
from agent.run_context import StepEvent, current_run, cut, is_cancelled

SEPARATOR = "\x1f"
"""Between the parts of a call's name in the ledger; the first part is the step's."""
MAX_RESULT_CHARS = 20_000
"""Of what a tool answers, this much reaches the model."""


class ToolCrashError(Exception):
    """A tool raised what no tool may raise (SystemExit, KeyboardInterrupt)."""


def edged(tool: StructuredTool, *, seconds: float, threads: Executor) -> StructuredTool:
    """A copy of `tool` that never blocks the loop, ends within `seconds` and fails only towards the model.

    A function that blocks runs in `threads`. Its thread can't be stopped: after the time limit it runs on and its
    result is dropped.
    """
    work = _in_thread(tool.func, threads) if tool.coroutine is None and tool.func is not None else tool.coroutine
    if work is None:
        raise TypeError(f"the tool {tool.name} has no function")

    @functools.wraps(tool.coroutine or tool.func or work)
    async def call(*args: Any, **kwargs: Any) -> Any:
        run = current_run()
        run.meter.tool_calls += 1
        number = run.next_step()
        arguments = cut(json.dumps(kwargs, ensure_ascii=False, default=str))
        run.tell(StepEvent(kind="tool", phase="start", number=number, name=tool.name, arguments=arguments))
        started = time.monotonic()
        result: Any = None
        limit = asyncio.timeout(seconds)
        failure: str | None = None
        try:
            async with limit:
                result = await work(*args, **kwargs)
            if isinstance(result, str) and len(result) > MAX_RESULT_CHARS:
                result = result[:MAX_RESULT_CHARS] + "\n[The rest is cut off.]"
            return result
        except ToolException as error:  # a tool's own words, meant for the model
            failure = str(error)
            raise
        except BaseException as error:  # the edge: nothing else passes
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                failure = "cancelled"
                raise
            # Its text may hold a path, an address or a key: the model, and so the client, learns the kind only.
            failure = f"The tool {tool.name} failed ({type(error).__name__}). It may not work for these arguments."
            if isinstance(error, TimeoutError) and limit.expired():
                failure = f"The tool {tool.name} did not finish within {seconds:g} seconds."
            raise ToolException(failure) from (error if isinstance(error, Exception) else None)
        finally:
            run.tell(
                StepEvent(
                    kind="tool",
                    phase="end",
                    number=number,
                    name=tool.name,
                    arguments=arguments,
                    result=None if result is None else cut(str(result)),
                    error=failure,
                    duration_ms=(time.monotonic() - started) * 1000,
                )
            )

    fields = {name: getattr(tool, name) for name in StructuredTool.model_fields}
    return OnceTool(**{**fields, "coroutine": call, "handle_tool_error": True})


class OnceTool(StructuredTool):
    """A tool whose finished calls are not made again by a later attempt.

    With `metadata={"idempotent": False}` it also isn't made again when an attempt died inside the call: whether it
    did what it was asked, nobody knows.
    """

    async def ainvoke(
        self,
        input: str | dict[str, Any] | ToolCall,  # noqa: A002  LangChain's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        ledger = current_run().ledger
        if ledger is None or not isinstance(input, dict) or input.get("type") != "tool_call":
            return await super().ainvoke(input, config, **kwargs)
        call = _call_name(input, config)
        if (outcome := ledger.outcome(call)) is not None:
            return outcome
        if (self.metadata or {}).get("idempotent") is False:
            if ledger.begun(call):
                code = ErrorCode.TOOL_OUTCOME_UNKNOWN
                raise AgentError(code, f"{code.meaning} (tool {self.name})")
            await ledger.begin(call)
        outcome = await super().ainvoke(input, config, **kwargs)
        await ledger.finish(call, outcome)
        return outcome


def _call_name(call: Mapping[str, Any], config: RunnableConfig | None) -> str:
    """The same in every attempt, and no other call's: some servers number their calls from 0 in each answer, so the
    step of the graph belongs to it, and what is called.
    """
    step = ((config or {}).get("configurable") or {}).get("checkpoint_ns", "")
    what = json.dumps([call.get("name"), call.get("args")], sort_keys=True, default=str)
    digest = hashlib.blake2b(what.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return SEPARATOR.join((step, str(call.get("id")), digest))


def _in_thread(function: Callable[..., Any], threads: Executor) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except StopIteration as error:
            # It can't be put into a future: who waits for it would wait for ever.
            raise RuntimeError("StopIteration") from error
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001  a SystemExit would end the loop that waits for it
            raise ToolCrashError(type(error).__name__) from None

    async def work(*args: Any, **kwargs: Any) -> Any:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, functools.partial(context.run, guarded, *args, **kwargs))

    return work
