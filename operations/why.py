"""Where a task's time went and what it cost: each wait and its reason, each attempt, each call of a model or a tool.

It reads the task store itself, so it also works while no gateway runs. Exit code 1: there is no such task.
"""

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Iterator

from redis.exceptions import RedisError

from core_config import Settings
from operations import configuration, redis_check, terminal
from operations.cost import redis_of
from operations.errors import CommandError
from operations.timeline import Note, Part, Run, Wait, timeline
from taskstore.connection import connect
from taskstore.errors import StoreError, TaskNotFound
from taskstore.events import TaskHistory
from taskstore.steps import Step
from taskstore.store import TaskStore

MOST_CALLS = 12
"""Calls shown of one attempt, so that it stays one screen: the first and the last."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task_id", metavar="TASK_ID", help="as POST /task answered it (manage.py tasks lists them)")


def run(arguments: argparse.Namespace) -> int:
    settings = configuration.load()
    url = redis_of(settings)
    redis_check.check(url)
    try:
        history = asyncio.run(_history(settings, url, arguments.task_id))
    except TaskNotFound:
        raise CommandError("no task has this id: it never existed, or its retention is over.") from None
    except (RedisError, StoreError) as error:
        raise CommandError(f"the task cannot be read: {error}") from None
    print("\n".join(account(history)))
    return 0


def account(history: TaskHistory) -> Iterator[str]:
    """The screen, line by line."""
    record, parts = history.record, timeline(history)
    until = record.completed_at or history.now
    age = (until - record.created_at).total_seconds() * 1000
    state = (
        f"{record.status.value} after {_time(age)}" if record.is_final else f"{record.status.value}, {_time(age)} old"
    )
    yield f"Task {record.task_id}: {state}"
    yield f"  {terminal.plain(record.asked, 100)}"
    yield f"  {_about(history)}"
    if record.error:
        yield f"  {record.error_code}: {terminal.plain(record.error, 200)}"
    yield ""
    yield from _sums(parts)
    yield f"  cost     {_cost(history, parts)}"
    yield ""
    yield f"  {'at':>9}"
    for part in parts:
        at = _time((part.started - record.created_at).total_seconds() * 1000)
        match part:
            case Wait():
                yield f"  {at:>9}  waited {_time(part.ms)} {part.reason}"
            case Note():
                yield f"  {at:>9}  {part.text}"
            case Run():
                how = f"ran {_time(part.ms)}, {part.ended}" if part.ended else f"has run for {_time(part.ms)}"
                yield f"  {at:>9}  attempt {part.attempt} on {terminal.plain(part.worker, 60)}: {how}"
                yield from _calls(part)
    if record.steps_dropped:
        yield f"  {record.steps_dropped} beginnings and ends of calls were too many to keep, or Redis was away."
    if record.queue_position is not None:
        yield f"  It is ready; {record.queue_position} tasks of its lane come first."


def _about(history: TaskHistory) -> str:
    record = history.record
    who = [f"model {record.model}", f"agent {record.agent}", f"caller {record.caller}"]
    who += [f"user {record.user_id}"] if record.user_id else []
    who += [f"session {record.session_id}"] if record.session_id else []
    simulated = ["SIMULATED: no language model ran"] if record.simulated else []
    return ", ".join(terminal.plain(one, 80) for one in [*who, *simulated])


def _sums(parts: list[Part]) -> Iterator[str]:
    waits: defaultdict[str, int] = defaultdict(int)
    for wait in (part for part in parts if isinstance(part, Wait)):
        waits[wait.reason] += wait.ms
    runs = [part for part in parts if isinstance(part, Run)]
    of_waits = ", ".join(f"{_time(ms)} {reason}" for reason, ms in waits.items())
    yield f"  waiting  {_time(sum(waits.values()))}{f': {of_waits}' if of_waits else ''}"
    ran = sum(run.ms for run in runs)
    calls = [
        f"{len(steps)} {kind} call{'s' if len(steps) > 1 else ''} {_time(sum(step.duration_ms or 0 for step in steps))}"
        for kind in ("model", "tool")
        if (steps := [step for run in runs for step in run.steps if step.kind == kind])
    ]
    if calls:
        calls.append(f"the rest {_time(ran - sum(run.in_calls_ms for run in runs))}")
    of_calls = ", ".join(calls)
    yield f"  running  {_time(ran)}{f': {of_calls}' if calls else ''}"


def _calls(run: Run) -> Iterator[str]:
    half = MOST_CALLS // 2
    left_out = len(run.steps) - MOST_CALLS
    for number, step in enumerate(run.steps):
        if left_out > 0 and half <= number < half + left_out:
            if number == half:
                lost = sum(one.duration_ms or 0 for one in run.steps[half : half + left_out])
                yield f"{'':13}... {left_out} more calls, {_time(lost)}"
            continue
        yield f"{'':13}{_call(step)}"


def _call(step: Step) -> str:
    took = _time(step.duration_ms) if step.duration_ms is not None else step.state
    told = f"{step.kind:<6}{terminal.plain(step.name, 30):<16}{took:>9}"
    if step.usage is not None:
        told += f"  {step.usage.total_tokens} tokens, {terminal.dollars(step.cost_usd)}"
    if step.arguments is not None:
        told += f"  {terminal.plain(step.arguments, 60)}"
    if step.error is not None:
        return f"{told}  FAILED: {terminal.plain(step.error, 80)}"
    if step.kind != "model" and step.result is not None:
        told += f" -> {terminal.plain(step.result, 60)}"
    return told


def _cost(history: TaskHistory, parts: list[Part]) -> str:
    """What is on the bill, which an attempt reaches when it ends, and what the one that runs has spent since."""
    record, told = history.record, []
    if record.usage is not None:
        usage = record.usage
        counts = f"{usage.total_tokens} tokens, {usage.prompt_tokens} in and {usage.completion_tokens} out"
        told.append(f"{terminal.dollars(record.cost_usd)} ({counts})")
    running = [part for part in parts if isinstance(part, Run) and not part.ended]
    spent = [step for run in running for step in run.steps if step.usage is not None]
    if spent:
        costs = [step.cost_usd for step in spent]
        known = [cost for cost in costs if cost is not None]
        told.append(f"{terminal.dollars(sum(known) if known == costs else None)} in the attempt that runs")
    return ", and ".join(told) or "nothing: no model has answered"


def _time(ms: float) -> str:
    """`12 ms`, `1.25 s`, `3 min`."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.2f} s" if ms < 60_000 else terminal.duration(ms / 1000)


async def _history(settings: Settings, url: str, task_id: str) -> TaskHistory:
    async with connect(url) as client:
        return await TaskStore(client, settings).history(task_id)
