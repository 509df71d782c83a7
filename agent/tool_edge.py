"""The edge of a tool call: its thread, its time limit, its step, and what the model is told when it fails.

LangChain runs each tool in a task of its own; a SystemExit that leaves a task ends the event loop. So the edge is
around the tool's own function, inside that task, and not in middleware around it.
"""

import asyncio
import contextvars
import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from langchain_core.messages import ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException

from agent.errors import AgentError, ErrorCode
from agent.run_context import Run, StepEvent, current_run, cut, is_cancelled

SEPARATOR = "\x1f"
"""Between the parts of a call's name in the ledger; the first part is the step's."""
MAX_RESULT_CHARS = 20_000
"""Of what a tool answers, this much reaches the model."""

log = logging.getLogger(__name__)


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
            if run.allowed is not None and tool.name not in run.allowed:
                raise ToolException(f"The tool {tool.name} is not one that this agent may call, so nothing was done.")
            async with limit:
                result = await work(*args, **kwargs)
            result = _bounded(result) if isinstance(result, str) else result
            return result
        except ToolException as error:  # a tool's own words, meant for the model
            failure = cut(str(error))
            log.info("tool_refused", extra={"tool": tool.name})  # its words may quote contents: the step has them
            if len(str(error)) <= MAX_RESULT_CHARS:
                raise
            raise ToolException(_bounded(str(error))) from None  # an MCP server's may be of any length
        except BaseException as error:  # the edge: nothing else passes
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                failure = "cancelled"
                raise
            # Its text may hold a path, an address or a key: the model, and so the client, learns the kind only.
            failure = f"The tool {tool.name} failed ({type(error).__name__}). It may not work for these arguments."
            if isinstance(error, TimeoutError) and limit.expired():
                failure = f"The tool {tool.name} did not finish within {seconds:g} seconds."
                log.warning("tool_timeout", extra={"tool": tool.name, "seconds": seconds})
            else:
                log.warning("tool_failed", extra={"tool": tool.name, "error": type(error).__name__}, exc_info=error)
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

    # Without `func` a blocking `invoke` is refused by LangChain, instead of going around the edge.
    fields = {name: getattr(tool, name) for name in StructuredTool.model_fields}
    return EdgedTool(**{**fields, "coroutine": call, "func": None, "handle_tool_error": True})


class EdgedTool(StructuredTool):
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
        run, once = current_run(), may_not_run_twice(self)
        call = None if run.ledger is None else _call_name(self.name, input, config, run, once=once)
        if run.ledger is None or call is None:
            return await super().ainvoke(input, config, **kwargs)
        if (outcome := run.ledger.outcome(call)) is not None:
            return outcome
        if once:
            if run.ledger.begun(call):
                code = ErrorCode.TOOL_OUTCOME_UNKNOWN
                raise AgentError(code, f"{code.meaning} (tool {self.name})")
            await run.ledger.begin(call)
        outcome = await super().ainvoke(input, config, **kwargs)
        await run.ledger.finish(call, outcome)
        return outcome


def may_not_run_twice(tool: BaseTool) -> bool:
    """Whether it says so itself. An MCP server says it with its hints; what is read only does no harm twice."""
    said = tool.metadata or {}
    if said.get("idempotent") is not None:
        return said["idempotent"] is False
    return said.get("idempotentHint") is False and said.get("readOnlyHint") is not True


def _call_name(
    tool: str, given: str | dict[str, Any] | ToolCall, config: RunnableConfig | None, run: Run, *, once: bool
) -> str | None:
    """The same in every attempt, and no other call's: the step of the graph, the id that the model gave the call, and
    what is called, since some servers number their calls from 0 in each answer. None for a call that is not kept.

    A call that no model made, of an agent that is code, is told by how many times that was called before; such code
    begins again in every attempt, so only what may not run twice is kept.
    """
    step = str(((config or {}).get("configurable") or {}).get("checkpoint_ns", ""))
    if isinstance(given, dict) and given.get("type") == "tool_call" and step:
        return SEPARATOR.join((step, _digest(tool, given["args"], given["id"])))
    if not once:
        return None
    arguments = given["args"] if isinstance(given, dict) and given.get("type") == "tool_call" else given
    return SEPARATOR.join((step, _digest(tool, arguments, run.nth(step + _digest(tool, arguments)))))


def _digest(*what: Any) -> str:
    return hashlib.blake2b(json.dumps(what, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_RESULT_CHARS else text[:MAX_RESULT_CHARS] + "\n[The rest is cut off.]"


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
