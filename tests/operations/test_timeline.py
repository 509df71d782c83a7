"""What `why` says of a task: each wait by its reason, each attempt and how it ended, of tasks that real verbs made."""

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operations.timeline import (
    BEHIND,
    DELAY,
    LIMIT,
    PERSON,
    QUARANTINE,
    SESSION,
    SLOT,
    TIME,
    TURN,
    Note,
    Run,
    Wait,
    timeline,
)
from operations.why import account
from taskstore.claims import QuarantinePart, Settlement
from taskstore.records import NewTask, TokenUsage
from taskstore.steps import StepBatch, StepNote
from taskstore.store import TaskStore


class Life:
    """One task `t` among others, pushed along by verbs, with time moved by hand: entries keep their own times."""

    def __init__(self, store: TaskStore) -> None:
        self.store = store
        self.number = 0

    async def submit(self, task_id: str = "t", **fields: Any) -> None:
        await self.store.submit(
            NewTask(**{"task_id": task_id, "caller": "alice", "message": "hi", "model": "M", **fields})
        )

    async def claim(self, most: int | None = None, quarantine: QuarantinePart = "leave") -> None:
        self.number += 1
        await self.store.claim("w1", self.number, room=5, extra=0, models={"M": most}, quarantine=quarantine)

    async def settle(self, kind: str, task_id: str = "t", **data: Any) -> None:
        fence = (await self.store.get(task_id)).fence
        settlement = Settlement(task_id=task_id, fence=fence, kind=kind, **data)  # type: ignore[arg-type]  # the kind is one of the list
        assert await self.store.settle([settlement]) == ["ok"]

    async def step(self, *texts: str, first: int = 1) -> None:
        notes = tuple(StepNote(text, time.monotonic()) for text in texts)
        fence = (await self.store.get("t")).fence
        assert await self.store.step([("t", fence, StepBatch(first, notes))]) == ["ok"]

    async def told(self) -> list[str]:
        """The parts in short. Waits of no time are left out by the timeline, so each is made to take some."""
        return [short(part) for part in timeline(await self.store.history("t"))]

    async def screen(self) -> str:
        return "\n".join(account(await self.store.history("t")))


def short(part: Wait | Run | Note) -> str:
    match part:
        case Wait(reason=reason):
            return reason
        case Run(attempt=attempt, ended=ended):
            return f"{attempt}: {ended or 'runs'}"
        case Note(text=text):
            return text


async def passes() -> None:
    """Some milliseconds by Redis's clock, so that a wait is one."""
    until = time.time() + 0.003
    while time.time() < until:
        pass


@pytest.fixture
async def life(store: TaskStore) -> AsyncIterator[Life]:
    yield Life(store)
    assert await store.audit() == []


async def test_a_plain_success_waited_for_a_worker_and_ran_once(life: Life) -> None:
    await life.submit()
    await passes()
    assert await life.told() == [SLOT]
    await life.claim()
    assert await life.told() == [SLOT, "1: runs"]
    await life.settle("success", result="x")
    assert await life.told() == [SLOT, "1: succeeded"]


async def test_a_scheduled_task_waits_for_its_time(life: Life, store: TaskStore) -> None:
    seconds, _ = await store.redis.time()
    await life.submit(run_at_ms=(seconds + 3600) * 1000)
    await passes()
    assert await life.told() == [TIME]


async def test_a_task_behind_its_session_waits_for_it(life: Life) -> None:
    await life.submit("first", session_id="s")
    await life.submit(session_id="s")
    await life.claim()
    await passes()
    assert await life.told() == [BEHIND.format("first")], "it names the task that whoever waits has to look at"
    await life.settle("success", "first", result="x")
    await passes()
    await life.claim()
    assert await life.told() == [SESSION, SLOT, "1: runs"]


async def test_a_task_behind_its_models_limit_waits_for_that(life: Life) -> None:
    await life.submit("first")
    await life.submit()
    await life.claim(1)
    await passes()
    assert (await life.told())[0] == LIMIT
    await life.settle("success", "first", result="x")
    await life.claim(1)
    told = await life.told()
    assert (told[0], told[-1]) == (LIMIT, "1: runs")


async def test_a_task_that_workers_died_with_waits_for_its_turn_in_quarantine(life: Life, store: TaskStore) -> None:
    await life.submit()
    for _ in range(2):
        await life.claim()
        await store.sweep(dead="w1")
    await passes()
    assert (await life.told())[-1] == QUARANTINE
    await life.claim(quarantine="only")
    await life.settle("success", result="x")
    assert (await life.told())[-2:] == [QUARANTINE, "3: succeeded"]


async def test_each_attempt_says_how_it_ended(life: Life, store: TaskStore) -> None:
    await life.submit()
    for ended in ("retry", "release", "lost", "suspend", "fail"):
        await passes()
        await life.claim()
        match ended:
            case "retry":
                await life.settle("retry", error="busy", error_code="provider_unavailable", delay_ms=50)
                await store.redis.zadd(store.keys.scheduled(), {"t": 1}, xx=True)
                await store.redis.hset(store.keys.task("t"), "queued_at", str(int(time.time() * 1000)))  # type: ignore[misc]  # typed as awaitable or not
            case "lost":
                await store.sweep("w1")
            case "suspend":
                await life.settle("suspend", cause="tool_approval")
                await passes()
                assert (await life.told())[-1] == PERSON
                await store.decide("t", "{}")
            case "release":
                await life.settle("release")
            case _:
                await life.settle("fail", error="no", error_code="provider_auth")
    told = [part for part in await life.told() if part not in {SLOT, DELAY}]
    assert told == [
        "1: failed in passing (provider_unavailable), to be run again",
        "2: given back by a worker that was stopping (not charged)",
        "2: lost its worker, to be run again",
        "3: handed to a person (tool_approval)",
        PERSON,
        "put back into the queue (decided)",
        "4: failed (provider_auth)",
    ]


async def test_a_cancelled_task_that_never_ran_says_so(life: Life, store: TaskStore) -> None:
    await life.submit()
    await passes()
    await store.cancel("t")
    assert await life.told() == [TURN, "cancelled"]


async def test_a_late_task_that_never_ran_says_so(life: Life, store: TaskStore) -> None:
    await life.submit(deadline_ms=1)
    await passes()
    await store.sweep()
    assert (await life.told())[-1] == "failed (deadline_exceeded)"


async def test_a_cancel_of_a_running_task_is_noted_when_it_was_asked_for(life: Life, store: TaskStore) -> None:
    await life.submit()
    await life.claim()
    await store.cancel("t")
    await life.settle("cancelled")
    told = await life.told()
    assert told[-2:] == ["a cancel was requested", "1: cancelled"]


async def test_an_interrupted_task_says_by_what(life: Life) -> None:
    await life.submit(session_id="s")
    await life.claim()
    await life.submit("u", session_id="s", on_busy="interrupt")
    await life.settle("cancelled")
    told = await life.told()
    assert told[-2:] == ["a cancel was requested", "1: interrupted by another task of its session"]


USAGE = '"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}'
MODEL = (
    '{"kind":"model","phase":"start","number":1,"name":"M"}',
    f'{{"kind":"model","phase":"end","number":1,"name":"M","duration_ms":40,"cost_usd":0.5,{USAGE}}}',
)
ARGUMENTS = '"arguments":"{\\"a\\": 1}"'
TOOL = f'{{"kind":"tool","phase":"end","number":2,"name":"adder",{ARGUMENTS},"result":"3","duration_ms":7}}'
BROKEN = '{"kind":"tool","phase":"end","number":3,"name":"adder","error":"no\\u001b[2Jway","duration_ms":7}'


async def test_the_screen_says_what_each_call_took_and_cost(life: Life) -> None:
    await life.submit(user_id="u\x1b[31m", message="line one\nline two")
    await passes()
    await life.claim()
    await life.step(*MODEL, TOOL, BROKEN)
    running = await life.screen()
    assert "Task t: running" in running
    assert "cost     $0.500000 in the attempt that runs" in running
    usage = TokenUsage(10, 5, 15)
    await life.settle("success", result="x", usage=usage, cost_usd=0.5, answered_by="M")
    screen = await life.screen()
    assert "Task t: success after" in screen
    assert "line one line two" in screen
    assert "1 model call 40 ms, 2 tool calls 14 ms, the rest" in screen
    assert "$0.500000 (15 tokens, 10 in and 5 out)" in screen
    assert "attempt 1 on w1: ran" in screen
    assert "15 tokens, $0.500000" in screen
    assert '{"a": 1} -> 3' in screen
    assert "FAILED: no [2Jway" in screen
    assert "\x1b" not in screen, "what clients and models write cannot steer the terminal"


async def test_an_attempt_with_many_calls_stays_one_screen(life: Life) -> None:
    await life.submit()
    await life.claim()
    calls = [TOOL.replace('"number":2', f'"number":{number}') for number in range(1, 101)]
    await life.step(*calls)
    screen = await life.screen()
    assert "... 88 more calls, 616 ms" in screen
    assert len(screen.splitlines()) < 30
    (run,) = [part for part in timeline(await life.store.history("t")) if isinstance(part, Run)]
    assert run.in_calls_ms <= run.ms, "calls that ran beside each other count once"


async def test_a_step_of_the_agent_s_own_is_shown_and_is_no_call(life: Life) -> None:
    await life.submit()
    await life.claim()
    own = TOOL.replace('"kind":"tool"', '"kind":"step"').replace('"name":"adder"', '"name":"part 1 of 2"')
    assert '"kind":"step"' in own
    await life.step(own)
    screen = await life.screen()
    assert re.search(r'step +\S+.* 7 ms  \{"a": 1\} -> 3', screen), screen
    (run,) = [part for part in timeline(await life.store.history("t")) if isinstance(part, Run)]
    assert (len(run.steps), run.in_calls_ms) == (1, 0)
