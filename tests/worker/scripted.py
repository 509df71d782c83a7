"""A worker process whose agent does what the task's message says. Run by the tests as a program of its own.

Messages: `say TEXT`, `clock` (answers its monotonic clock, ns), `sleep SECONDS`, `hold PATH` (until the file exists),
`block SECONDS` (the event loop itself), `swallow PATH` (a hold that ignores its cancellation), `raise NAME`,
`beat PATH` (a dot every moment, for ever), `once PATH` (fails in passing the first time, then holds for ever), `spend
PATH` (tokens, then says so with a file, and holds for ever), `surrogate`, `large BYTES`, `recall SECONDS WORD` (answers
the last words of its session's earlier messages), `die HOW` (the process: by `exit`, a real `segfault`, or `killed` as
the kernel does it when there is no memory left).
It attends to quarantined tasks with processes of the same kind.
With the flag `agents=JSON` it says of its agents what that says.
With steps: `call CODE` (of its model, which fails so, or `answered`), `steps N` (of a model and tools in turn),
`begin PATH` (a tool that holds until the file exists), `leak TEXT` (in every text of a step).
"""

import asyncio
import builtins
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from agent.errors import AgentError, ErrorCode
from agent.meter import Meter, TokenUsage
from agent.run_context import MAX_STEP_TEXT, StepEvent, StepListener
from agent.run_context import cut as cut_text
from agent.work import AgentWork, Answer
from core_config import Settings
from monitoring.logs import setup_logging
from monitoring.tracing import Tracing
from taskstore.claims import ModelRules
from taskstore.records import WorkerInfo
from worker import quarantine
from worker.announcement import Prepare
from worker.engine import Engine
from worker.executor import Executor
from worker.quarantine import Parent, QuarantineEngine, be_killed_first


async def until(path: str) -> None:
    while not Path(path).exists():
        await asyncio.sleep(0.01)


def a_step(on_step: StepListener | None, number: int) -> None:
    """Odd ones are a model's, even ones a tool's."""
    assert on_step
    if number % 2:
        on_step(StepEvent(kind="model", phase="start", number=number, name="M"))
        usage = TokenUsage(10, 5, 15, 0, 0)
        on_step(
            StepEvent(
                kind="model", phase="end", number=number, name="M", result="text", duration_ms=20.4, usage=usage,
                cost_usd=0.25,
            )
        )  # fmt: skip
    else:
        on_step(StepEvent(kind="tool", phase="start", number=number, name="adder", arguments='{"a": 1}'))
        on_step(StepEvent(kind="tool", phase="end", number=number, name="adder", error="no", duration_ms=3.0))


def a_call(on_step: StepListener | None, model: str, code: str | None) -> None:
    assert on_step
    on_step(StepEvent(kind="model", phase="start", number=1, name=model))
    on_step(StepEvent(kind="model", phase="end", number=1, name=model, error=code, duration_ms=1.0))
    if code is not None:
        raise AgentError(ErrorCode.INTERNAL)


def leak(on_step: StepListener | None, secret: str) -> None:
    assert on_step
    on_step(StepEvent(kind="tool", phase="end", number=1, name="t", arguments=secret, result=secret, error=secret))
    cut = cut_text("x" * (MAX_STEP_TEXT - 10) + secret)
    on_step(StepEvent(kind="tool", phase="end", number=2, name="t", result=cut))


def die(how: str) -> None:
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            os._exit(0)


async def beat(path: Path) -> None:
    while True:
        with path.open("a") as beats:
            beats.write(".")
        await asyncio.sleep(0.02)


class ScriptedRunner:
    async def run(
        self, work: AgentWork, meter: Meter, *, callbacks: object = (), on_step: StepListener | None = None
    ) -> Answer:
        verb, _, rest = work.message.partition(" ")
        match verb:
            case "say":
                return Answer(rest or work.task_id)
            case "recall":
                await asyncio.sleep(float(rest.split(" ")[0]))
                return Answer(" ".join(turn.text.split(" ")[-1] for turn in work.history if turn.role == "user"))
            case "clock":
                return Answer(str(time.monotonic_ns()))
            case "sleep":
                await asyncio.sleep(float(rest))
            case "beat":
                await beat(Path(rest))
            case "once":
                marker = Path(rest)
                if not marker.exists():
                    marker.touch()
                    raise AgentError(ErrorCode.PROVIDER_RATE_LIMITED, "planted detail", retry_after=0.0)
                await asyncio.Event().wait()
            case "hold":
                await until(rest)
            case "block":
                time.sleep(float(rest))
            case "swallow":
                while not Path(rest).exists():
                    try:
                        await until(rest)
                    except asyncio.CancelledError:
                        continue
            case "raise":
                error = getattr(builtins, rest, None)
                raise error("planted") if error else AgentError(ErrorCode[rest.upper()], "planted detail")
            case "spend":
                meter.model_calls = 1
                usage = TokenUsage(10, 5, 15, 0, 0)
                meter.answered(model=work.model, simulated=False, usage=usage, cost_usd=0.01, text="so far")
                if rest:
                    Path(rest).touch()
                await asyncio.Event().wait()
            case "die":
                die(rest)
            case "surrogate":
                return Answer("half \ud800 pair")
            case "steps":
                for number in range(1, int(rest) + 1):
                    a_step(on_step, number)
            case "call":
                a_call(on_step, work.model, None if rest == "answered" else rest)
            case "begin":
                assert on_step
                on_step(StepEvent(kind="tool", phase="start", number=1, name="held", arguments="{}"))
                await until(rest)
                on_step(StepEvent(kind="tool", phase="end", number=1, name="held", result="ok", duration_ms=1.0))
            case "leak":
                leak(on_step, rest)
            case "large":
                return Answer("x" * int(rest))
        return Answer("done")


async def slow_hook(ctx: dict[object, object]) -> None:
    await asyncio.sleep(0.5)


async def hook(ctx: dict[object, object]) -> None:
    raise RuntimeError("a hook of arq's that raises")


def says(agents: dict[str, str | None]) -> Prepare:
    async def prepare() -> dict[str, str | None]:
        return agents

    return prepare


def main() -> None:
    settings = Settings(_env_file=None)
    redact = setup_logging(settings, "worker")
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    models = {"M": None, "Few": 2, "Slow": None}
    rules = {"Slow": ModelRules(rpm=60)}
    hooks: dict[str, Any] = {}
    if "hooks" in sys.argv:
        hooks = {"on_job_start": hook, "on_job_end": hook, "after_job_end": hook}
    if "slow-hook" in sys.argv:
        hooks = {"after_job_end": slow_hook}
    for flag in sys.argv[2:]:
        if flag.startswith("agents="):
            hooks["prepare"] = says(json.loads(flag.removeprefix("agents=")))
    engine_of: Callable[..., Engine] = partial(Engine, quarantine=(sys.executable, "-m", "tests.worker.scripted"))
    name, slots, alone = sys.argv[1], settings.worker_concurrency, sys.argv[1] == "--id"
    if alone:
        name, parent, pid = sys.argv[2], sys.argv[4], int(sys.argv[5])
        engine_of, slots = partial(QuarantineEngine, Parent(parent, pid)), 1
        be_killed_first()
        quarantine.LEAVES_AFTER_S = float(os.environ.get("LEAVES_AFTER_S", quarantine.LEAVES_AFTER_S))
    worker = WorkerInfo(name, "test", os.getpid(), "test", slots, 0, quarantine=alone)
    executor = Executor(ScriptedRunner(), Tracing(settings, redact))
    engine_of(settings, executor, worker, models, rules=rules, **hooks).run()


if __name__ == "__main__":
    main()
